//! The limits of the copy: deadlines short enough to wait for, and room for what the attacks need. Pure.
//!
//! A limit that the attacks only have to stay below is raised, so that one that is set low on purpose is not taken for
//! a listener that holds.

use crate::config::Limits;

/// Deadlines that the probe waits for, at most.
const DEADLINE_SECONDS: u32 = 2;
/// Sessions that must be closed at once are told from those that this closes.
const LOGIN_SECONDS: u32 = 3;
/// Failed logins are answered this late, at most.
const FAILED_LOGIN_DELAY_MILLISECONDS: u32 = 20;
/// Connections that the attacks hold at once, and some to spare.
const CONNECTIONS: u32 = 100;
/// Fields of the longest head that must be let through.
const FIELDS: u32 = 100;
/// The longest target of an attack that must be let through.
const TARGET_BYTES: u32 = 4_096;
/// The longest body of an attack that must be let through.
const BODY_BYTES: u64 = 4_096;
/// A busy machine must not decide.
const CONNECT_MILLISECONDS: u32 = 2_000;

/// Changes `limits`, and answers what was changed.
pub(super) fn shorten(limits: &mut Limits) -> Vec<String> {
    let mut changed = Vec::new();
    let mut set = |name: &str, value: &mut u32, to: u32| {
        if *value != to {
            changed.push(format!("{name} {to} instead of {value}"));
            *value = to;
        }
    };
    let most = |value: u32, most: u32| value.min(most);
    let least = |value: u32, least: u32| value.max(least);
    // 0 means unbounded.
    let least_or_none = |value: u32, least: u32| if value == 0 { 0 } else { value.max(least) };
    let Limits { http_header_seconds, tls_handshake_seconds, proxy_protocol_header_seconds, .. } = limits;
    for (name, value) in [
        ("http_header_seconds", http_header_seconds),
        ("tls_handshake_seconds", tls_handshake_seconds),
        ("proxy_protocol_header_seconds", proxy_protocol_header_seconds),
    ] {
        let to = most(*value, DEADLINE_SECONDS);
        set(name, value, to);
    }
    let to = most(limits.isproxy_login_seconds, LOGIN_SECONDS);
    set("isproxy_login_seconds", &mut limits.isproxy_login_seconds, to);
    let delay = &mut limits.isproxy_failed_login_delay_milliseconds;
    let to = most(*delay, FAILED_LOGIN_DELAY_MILLISECONDS);
    set("isproxy_failed_login_delay_milliseconds", delay, to);
    set("drain_seconds", &mut limits.drain_seconds, 0);
    set("requests_per_second_per_key", &mut limits.requests_per_second_per_key, 0);
    let to = least(limits.connections, CONNECTIONS);
    set("connections", &mut limits.connections, to);
    let to = least_or_none(limits.connections_per_address, CONNECTIONS);
    set("connections_per_address", &mut limits.connections_per_address, to);
    let to = least(limits.http_header_fields, FIELDS);
    set("http_header_fields", &mut limits.http_header_fields, to);
    let to = least(limits.http_target_bytes, TARGET_BYTES);
    set("http_target_bytes", &mut limits.http_target_bytes, to);
    let to = least(limits.upstream_connect_milliseconds, CONNECT_MILLISECONDS);
    set("upstream_connect_milliseconds", &mut limits.upstream_connect_milliseconds, to);
    if (1..BODY_BYTES).contains(&limits.http_body_bytes) {
        changed.push(format!("http_body_bytes {BODY_BYTES} instead of {}", limits.http_body_bytes));
        limits.http_body_bytes = BODY_BYTES;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_shortened_and_told_and_nothing_else_of_the_defaults_changes() {
        let mut limits = Limits::default();
        let changed = shorten(&mut limits);
        let expected = Limits {
            http_header_seconds: 2,
            tls_handshake_seconds: 2,
            proxy_protocol_header_seconds: 2,
            isproxy_login_seconds: 3,
            isproxy_failed_login_delay_milliseconds: 20,
            drain_seconds: 0,
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert_eq!(changed.first().unwrap(), "http_header_seconds 2 instead of 10");
        assert_eq!(changed.len(), 6);
        assert!(shorten(&mut limits).is_empty(), "what is short enough stays");
    }

    #[test]
    fn limits_that_would_decide_in_the_attacks_place_are_raised() {
        let mut limits = Limits {
            connections: 1,
            connections_per_address: 1,
            requests_per_second_per_key: 1,
            http_header_fields: 10,
            http_target_bytes: 64,
            http_body_bytes: 1,
            upstream_connect_milliseconds: 10,
            http_header_seconds: 1,
            ..Limits::default()
        };
        shorten(&mut limits);
        assert_eq!((limits.connections, limits.connections_per_address), (100, 100));
        assert_eq!((limits.requests_per_second_per_key, limits.http_header_fields), (0, 100));
        assert_eq!((limits.http_target_bytes, limits.http_body_bytes), (4_096, 4_096));
        assert_eq!((limits.upstream_connect_milliseconds, limits.http_header_seconds), (2_000, 1));
        let mut unbounded = Limits { connections_per_address: 0, ..Limits::default() };
        shorten(&mut unbounded);
        assert_eq!((unbounded.connections_per_address, unbounded.http_body_bytes), (0, 0));
    }
}
