//! `upstreams:` of protocol isproxy: servers by `STARTTLS` or in clear, and the key that Latchkey logs in with.
//!
//! The key is read here, so that a broken one is a fault of the configuration and not of the first session.

use super::{schedule, servers, tls_files};
use crate::config::faults::KeyPath;
use crate::config::meaning::{Review, host_and_port};
use crate::config::raw::{RawHealthCheck, RawUpstream, RawUpstreamTls, RawUpstreamTlsWord};
use crate::config::{HealthCheckSchedule, IsProxyServer, IsProxyUpstream, PlaintextCredentials, UpstreamTls};

/// What belongs into the file of a login key.
const LOGIN_KEY_HELP: &str = "a file of mode 0600 with the key that the upstream knows Latchkey by";

/// Keys of `health_check` that only HTTP has a use for.
const CHECK_BELONGING: &[(&str, &[&str])] = &[("path", &["http"])];

pub(super) fn isproxy_upstream(
    raw: RawUpstream,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<IsProxyUpstream> {
    let (tls_path, key_path) = (path.key("tls"), path.key("login_key_file"));
    let health_check = raw.health_check.map(|check| checks(&check, &path.key("health_check"), review));
    let tls = starttls(raw.tls, &tls_path, review);
    let servers = servers(raw.servers, &path.key("servers"), server, review);
    let login_key = match raw.login_key_file {
        Some(file) => review.secret_text(file, &key_path, 1, LOGIN_KEY_HELP).map(Some),
        None => Some(None),
    };
    let upstream = IsProxyUpstream { servers: servers?, tls: tls?, login_key: login_key?, health_check };
    if upstream.tls.is_some() {
        refuse_unnameable(&upstream, &path.key("servers"), review);
    } else if raw.plaintext_credentials == PlaintextCredentials::Refuse && !review.faults.cover(&tls_path) {
        refuse_in_clear(&upstream, &key_path, review);
    }
    Some(upstream)
}

fn checks(raw: &RawHealthCheck, path: &KeyPath, review: &mut Review<'_>) -> HealthCheckSchedule {
    review.refuse_misplaced(path, CHECK_BELONGING, "isproxy");
    schedule(raw)
}

/// `tls:`, where a mapping stands for `starttls` and says how servers are verified.
#[expect(clippy::option_option, reason = "the outer is what all checks answer: unsound, and told")]
fn starttls(
    raw: Option<RawUpstreamTls>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<Option<UpstreamTls>> {
    match raw {
        None | Some(RawUpstreamTls::Word(RawUpstreamTlsWord::None)) => Some(None),
        Some(RawUpstreamTls::Word(RawUpstreamTlsWord::StartTls)) => Some(Some(UpstreamTls::default())),
        Some(RawUpstreamTls::Files(files)) => tls_files(files, path, review).map(Some),
    }
}

fn server(text: &str, path: &KeyPath, review: &mut Review<'_>) -> Option<IsProxyServer> {
    let Some((host, Some(port))) = host_and_port(text) else {
        review.refuse(path, "must be HOST:PORT", Some("for example 127.0.0.1:9001"));
        return None;
    };
    Some(IsProxyServer { host, port })
}

/// Behind `STARTTLS` every server needs a name that a certificate can be for.
fn refuse_unnameable(upstream: &IsProxyUpstream, path: &KeyPath, review: &mut Review<'_>) {
    for (position, server) in upstream.servers.iter().enumerate() {
        if upstream.server_name(server).is_none() {
            review.refuse(&path.index(position), "no certificate can be for this host", None);
        }
    }
}

/// A login key leaves the machine in clear only where somebody said that it may.
fn refuse_in_clear(upstream: &IsProxyUpstream, path: &KeyPath, review: &mut Review<'_>) {
    let far = upstream.servers.iter().any(|server| !server.is_loopback());
    if far && upstream.login_key.is_some() {
        let message = "without TLS the key would go in clear to another machine";
        let help = "`tls: starttls`; or, on a network where nobody listens, `plaintext_credentials: allow`";
        review.refuse(path, message, Some(help));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use rustls_pki_types::ServerName;

    use super::*;
    use crate::config::UpstreamProtocol;
    use crate::config::testing::{BASE, TestFolder};

    const KEY: &str = "upstream-key-hunter2";

    /// A folder with a good key, a key that others can read, and files that hold no key.
    fn folder() -> TestFolder {
        let folder = TestFolder::new();
        for (name, text, mode) in [
            ("good.key", format!("{KEY}\r\n"), 0o600),
            ("shown.key", format!("{KEY}\n"), 0o644),
            ("empty.key", String::from("\n"), 0o600),
            ("two.key", String::from("hunter2 hunter2\n"), 0o600),
            ("lines.key", String::from("hunter2\nhunter2\n"), 0o600),
            ("foreign.key", String::from("hunter2\u{e9}"), 0o600),
            ("long.key", "x".repeat(257), 0o600),
            ("huge.key", "x".repeat(5_000), 0o600),
        ] {
            let file = folder.write(name, &text);
            std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    /// A configuration whose second upstream, from line 11 on, speaks `IsProxy`.
    fn relay(servers: &str, rest: &str) -> String {
        format!("{BASE}  - name: names\n    protocol: isproxy\n    servers: {servers}\n    {rest}\n")
    }

    fn upstream(servers: &str, rest: &str) -> IsProxyUpstream {
        let config = folder().parse(&relay(servers, rest)).unwrap_or_else(|faults| panic!("{faults}"));
        match &config.upstreams[1].protocol {
            UpstreamProtocol::IsProxy(isproxy) => isproxy.clone(),
            UpstreamProtocol::Http(_) => panic!("not IsProxy"),
        }
    }

    #[test]
    fn several_servers_stand_in_clear_where_nothing_else_is_said() {
        let found = upstream("[\"localhost:9001\", \"[::1]:9002\", \"names.example:9001\"]", "");
        let shown: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["localhost:9001", "[::1]:9002", "names.example:9001"]);
        assert_eq!(
            found.servers.iter().map(IsProxyServer::is_loopback).collect::<Vec<_>>(),
            [true, true, false]
        );
        assert_eq!((found.tls, found.login_key, found.health_check), (None, None, None));
        assert_eq!(upstream("[\"a:1\"]", "tls: none").tls, None);
    }

    #[test]
    fn starttls_is_a_word_or_says_how_servers_are_verified() {
        let found = upstream("[\"a:1\"]", "tls: starttls");
        assert_eq!(found.tls, Some(UpstreamTls::default()));
        assert_eq!(found.server_name(&found.servers[0]), ServerName::try_from("a").ok());
        let found = upstream("[\"a:1\"]", "tls: { ca: certs/dev.crt, server_name: names.example }");
        assert!(found.tls.as_ref().unwrap().ca.as_ref().unwrap().ends_with("certs/dev.crt"));
        assert_eq!(found.server_name(&found.servers[0]), ServerName::try_from("names.example").ok());
        assert_eq!(upstream("[\"a:1\"]", "tls: {}").tls, Some(UpstreamTls::default()));
    }

    #[test]
    fn s40_a_login_key_is_read_without_its_line_end_and_never_shown() {
        for (servers, rest) in [
            ("[\"127.0.0.1:1\", \"[::1]:1\", \"localhost:1\"]", ""),
            ("[\"a:1\"]", "tls: starttls\n    "),
            ("[\"a:1\"]", "plaintext_credentials: allow\n    "),
        ] {
            let found = upstream(servers, &format!("{rest}login_key_file: good.key"));
            assert_eq!(found.login_key.as_ref().map(|key| key.expose().as_str()), Some(KEY));
            assert!(!format!("{found:?}").contains(KEY), "{found:?}");
        }
    }

    #[test]
    fn s40_a_login_key_that_cannot_be_used_is_refused_without_being_shown() {
        let key = |file: &str| format!("tls: starttls\n    login_key_file: {file}");
        for (rest, expected) in [
            (key("nowhere.key"), "login_key_file: file not found: nowhere.key"),
            (key("certs"), "login_key_file: not a file: certs"),
            (key("empty.key"), "login_key_file: the file must hold 1 to 256 visible ASCII characters"),
            (key("two.key"), "login_key_file: the file must hold 1 to 256 visible ASCII characters"),
            (key("lines.key"), "login_key_file: the file must hold 1 to 256 visible ASCII characters"),
            (key("foreign.key"), "login_key_file: the file must hold 1 to 256 visible ASCII characters"),
            (key("long.key"), "login_key_file: the file must hold 1 to 256 visible ASCII characters"),
            (key("huge.key"), "login_key_file: file is too large: huge.key"),
            (key("shown.key"), "login_key_file: others can read the file, its mode is 0644: shown.key"),
            (key("\"\""), "login_key_file: must be the path of a file"),
            (
                String::from("login_key_file: good.key"),
                "f.yaml:14:21  error  upstreams[1].login_key_file: without TLS the key would go in clear",
            ),
        ] {
            let told = folder().faults(&relay("[\"127.0.0.1:1\", \"a:1\"]", &rest));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{rest}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn every_other_fault_is_told_at_its_place() {
        for (servers, rest, expected) in [
            ("[]", "", "f.yaml:13:14  error  upstreams[1].servers: must hold 1 to 64 servers, not 0"),
            ("[localhost]", "", "f.yaml:13:15  error  upstreams[1].servers[0]: must be HOST:PORT"),
            ("[\"a:1\", \"A:1\"]", "", "upstreams[1].servers[1]: this server stands in the list already"),
            ("[\"a-:1\"]", "tls: starttls", "upstreams[1].servers[0]: no certificate can be for this host"),
            (
                "[\"a:1\"]",
                "tls: start_tls",
                "f.yaml:14:10  error  upstreams[1].tls: unknown value `start_tls`",
            ),
            ("[\"a:1\"]", "tls: { ca: f }", "upstreams[1].tls.ca: file not found: f"),
            ("[\"a:1\"]", "tls: { verify: false }", "upstreams[1].tls: unknown key `verify`"),
            ("[\"a:1\"]", "set_headers: {}", "upstreams[1]: key `set_headers` belongs to protocol http"),
            (
                "[\"a:1\"]",
                "health_check: { path: /up }",
                "f.yaml:14:21  error  upstreams[1].health_check: key `path` belongs to protocol http, not isproxy",
            ),
            (
                "[\"a:1\"]",
                "health_check: { interval_seconds: 0 }",
                "interval_seconds: must be from 1 to 3600",
            ),
            ("[\"a:1\"]", "tls: maybe\n    login_key_file: good.key", "unknown value `maybe`"),
        ] {
            let told = folder().faults(&relay(servers, rest));
            assert!(told.contains(expected) && told.contains("\n1 error"), "{rest}: {told}");
        }
    }

    #[test]
    fn a_server_whose_host_no_certificate_can_be_for_is_sound_under_another_name() {
        let found = upstream("[\"a-:1\"]", "tls: { server_name: names.example }");
        assert_eq!(found.server_name(&found.servers[0]), ServerName::try_from("names.example").ok());
    }

    #[test]
    fn checks_of_isproxy_have_the_usual_schedule() {
        let schedule = upstream("[\"a:1\"]", "health_check: { interval_seconds: 3 }").health_check.unwrap();
        assert_eq!((schedule.interval_seconds, schedule.timeout_milliseconds), (3, 1_000));
    }
}
