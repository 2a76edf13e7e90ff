//! What differs between two configurations, in words for the log. Pure; called by `reload`.

use std::mem::discriminant;

use super::generation::{DoorKind, Generation};
use crate::config::{Config, ConsoleListener, Listener};

/// What has changed from `before` to `after` and is in force now: listeners and upstreams by name, and sections.
pub(super) fn changed_parts(before: &Generation, after: &Generation) -> Vec<String> {
    let mut parts = Vec::new();
    for (was, is) in before.doors.iter().zip(&after.doors) {
        let same = match (&was.kind, &is.kind) {
            (DoorKind::Http(was, _), DoorKind::Http(is, _)) => was == is,
            (DoorKind::IsProxy(was, _), DoorKind::IsProxy(is, _)) => was == is,
            _ => false,
        };
        if !same {
            parts.push(format!("listener `{}`", is.listener_name));
        }
    }
    for (was, is) in before.consoles.iter().zip(&after.consoles) {
        // Its public URL counts from the next start.
        let is_as_it_was =
            ConsoleListener { public_url: was.listener.public_url.clone(), ..is.listener.clone() };
        if was.listener != is_as_it_was {
            parts.push(format!("listener `{}`", is.listener_name));
        }
    }
    let (was, is) = (&before.config.upstreams, &after.config.upstreams);
    parts.extend(is.iter().filter(|is| !was.contains(is)).map(|is| format!("upstream `{}`", is.name)));
    let gone = was.iter().filter(|was| !is.iter().any(|is| is.name == was.name));
    parts.extend(gone.map(|was| format!("upstream `{}`, which is gone", was.name)));
    if before.limits != after.limits {
        parts.push(String::from("limits"));
    }
    if before.config.policy != after.config.policy {
        parts.push(String::from("policy"));
    }
    if before.config.traces != after.config.traces {
        parts.push(String::from("traces"));
    }
    if has_other_certificates(before, after) {
        parts.push(String::from("certificates"));
    }
    parts
}

fn has_other_certificates(before: &Generation, after: &Generation) -> bool {
    let of_listeners =
        before.doors.iter().zip(&after.doors).any(|(was, is)| was.certificate() != is.certificate());
    let of_consoles =
        before.consoles.iter().zip(&after.consoles).any(|(was, is)| was.certificate() != is.certificate());
    let of_upstreams = after.upstreams.iter().any(|is| {
        let was = before.upstreams.iter().find(|was| was.name == is.name);
        was.is_some_and(|was| was.certificates() != is.certificates())
    });
    of_listeners || of_consoles || of_upstreams
}

/// What of `wanted` is not in force, because the process was started with `started` and cannot change it.
pub(super) fn what_needs_a_restart(started: &Config, wanted: &Config) -> Vec<String> {
    let find = |listeners: &[Listener], name: &str| listeners.iter().find(|l| l.name == name).cloned();
    let mut parts = Vec::new();
    for was in &started.listeners {
        let name = &was.name;
        match find(&wanted.listeners, name) {
            None => parts.push(format!("listener `{name}` is gone")),
            Some(is) if discriminant(&is.protocol) != discriminant(&was.protocol) => {
                parts.push(format!("listener `{name}` has another protocol"));
            }
            Some(is) if is.address != was.address => {
                parts.push(format!("listener `{name}` is at {} and not at {}", was.address, is.address));
            }
            Some(_) => {}
        }
    }
    let new = wanted.listeners.iter().filter(|is| find(&started.listeners, &is.name).is_none());
    parts.extend(new.map(|is| format!("listener `{}` is new", is.name)));
    let sections = [
        ("store", started.store != wanted.store),
        ("the master key", started.master_key != wanted.master_key),
        ("threads", started.threads != wanted.threads),
        ("access_log", started.access_log != wanted.access_log),
        ("public_url", have_other_public_urls(started, wanted)),
        ("limits.password_queue", started.limits.password_queue != wanted.limits.password_queue),
        ("limits.api_session…", session_limits(started) != session_limits(wanted)),
    ];
    let differing = sections.into_iter().filter(|(_, differs)| *differs);
    parts.extend(differing.map(|(section, _)| format!("{section} has changed")));
    parts
}

/// Security keys and cookies belong to it. Where a console comes or goes, that is told already.
fn have_other_public_urls(started: &Config, wanted: &Config) -> bool {
    started.public_url().zip(wanted.public_url()).is_some_and(|(was, is)| was != is)
}

const fn session_limits(config: &Config) -> [u32; 3] {
    let limits = &config.limits;
    [limits.api_session_idle_seconds, limits.api_session_seconds, limits.api_sessions_per_user]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::generation::testing::{TEXT, TestFolder};

    #[test]
    fn the_parts_that_changed_are_named() {
        let folder = TestFolder::new();
        let before = folder.first();
        for (text, expected) in [
            (TEXT.to_owned(), &[][..]),
            (
                TEXT.replace("path: /, upstream: second", "path: /v2, upstream: second"),
                &["listener `internal`"],
            ),
            (
                TEXT.replace("public_url: http", "allow_list: [127.0.0.1]\n    public_url: http"),
                &["listener `console`"],
            ),
            (TEXT.replace("localhost:8446", "localhost:8447"), &[]),
            (TEXT.replace("127.0.0.1:9003", "127.0.0.1:9004"), &["upstream `second`"]),
            (TEXT.replace("127.0.0.1:9001", "127.0.0.1:9004"), &["upstream `availability`"]),
            (
                TEXT.replace("second", "third"),
                &["listener `internal`", "upstream `third`", "upstream `second`, which is gone"],
            ),
            (format!("{TEXT}limits: {{ connections: 7 }}\n"), &["limits"]),
            (format!("{TEXT}policy: {{ mfa_required: all }}\n"), &["policy"]),
            (format!("{TEXT}traces: {{ otlp: \"http://127.0.0.1:4318\" }}\n"), &["traces"]),
        ] {
            assert_eq!(changed_parts(&before, &folder.successor(&before, &text)), expected, "{text}");
        }
        folder.certify("one");
        assert_eq!(changed_parts(&before, &folder.successor(&before, TEXT)), ["certificates"]);
    }

    #[test]
    fn what_a_process_cannot_change_about_itself_is_named() {
        let folder = TestFolder::new();
        let started = folder.parse(TEXT);
        let told = |text: &str| what_needs_a_restart(&started, &folder.parse(text)).join(", ");
        assert_eq!(told(TEXT), "");
        assert_eq!(told(&TEXT.replace("path: /,", "path: /v2,")), "");
        assert_eq!(told(&format!("{TEXT}traces: {{ otlp: \"http://127.0.0.1:4318\" }}\n")), "");
        assert_eq!(told(&TEXT.replace("localhost:8446", "localhost:8447")), "public_url has changed");
        assert_eq!(
            told(&TEXT.replace("127.0.0.1:8443", "127.0.0.1:8445")),
            "listener `api` is at 127.0.0.1:8443 and not at 127.0.0.1:8445"
        );
        assert_eq!(
            told(&TEXT.replace("name: internal", "name: other")),
            "listener `internal` is gone, listener `other` is new"
        );
        let swapped = TEXT.replace("name: ops", "name: x").replace("name: isproxy", "name: ops");
        assert_eq!(
            told(&swapped.replace("name: x", "name: isproxy")),
            "listener `ops` has another protocol, listener `isproxy` has another protocol"
        );
        assert_eq!(
            told(&format!(
                "{TEXT}threads: 999\nstore: {{ url: \"sqlite:x\" }}\nmaster_key_file: k\naccess_log: {{ path: l }}\n\
                 limits: {{ password_queue: 1, api_session_seconds: 99 }}\n"
            )),
            "store has changed, the master key has changed, threads has changed, access_log has changed, \
             limits.password_queue has changed, limits.api_session… has changed"
        );
    }
}
