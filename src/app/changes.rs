//! What differs between two configurations, in words for the log. Pure; called by `reload`.

use std::mem::discriminant;

use super::generation::Generation;
use crate::config::{Config, ConsoleListener, Limits, Listener, ListenerProtocol, PublicUrl};

/// What has changed from `before` to `after` and is in force now: listeners and upstreams by name, and sections.
pub(super) fn changed_parts(before: &Generation, after: &Generation) -> Vec<String> {
    let was = &*before.config;
    // Every part by its name, so that a new one is put here or into `what_needs_a_restart`.
    let Config {
        listeners,
        upstreams,
        policy,
        traces,
        security_events,
        acme,
        // As they are in force, which depends on more than what was written.
        limits: _,
        store: _,
        snapshot: _,
        master_key: _,
        threads: _,
        access_log: _,
    } = &*after.config;
    let find = |name: &str| was.listeners.iter().find(|was| was.name == name);
    let mut parts: Vec<_> =
        listeners.iter().filter_map(|is| change_of_listener(find(&is.name), is)).collect();
    let gone = was.listeners.iter().filter(|was| !listeners.iter().any(|is| is.name == was.name));
    parts.extend(gone.map(|was| format!("listener `{}`, which is gone", was.name)));
    let other = upstreams.iter().filter(|is| !was.upstreams.contains(is));
    parts.extend(other.map(|is| format!("upstream `{}`", is.name)));
    let gone = was.upstreams.iter().filter(|was| !upstreams.iter().any(|is| is.name == was.name));
    parts.extend(gone.map(|was| format!("upstream `{}`, which is gone", was.name)));
    let sections = [
        ("limits", before.limits != after.limits),
        ("policy", was.policy != *policy),
        ("acme", was.acme != *acme),
        ("traces", was.traces != *traces),
        ("security_events", was.security_events != *security_events),
        ("certificates", has_other_certificates(before, after)),
    ];
    parts.extend(sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section.to_owned()));
    parts
}

fn change_of_listener(was: Option<&Listener>, is: &Listener) -> Option<String> {
    let name = &is.name;
    let Some(was) = was else { return Some(format!("listener `{name}`, which is new")) };
    if discriminant(&was.protocol) != discriminant(&is.protocol) {
        return Some(format!("listener `{name}`, which has another protocol"));
    }
    if was.address != is.address {
        return Some(format!("listener `{name}`, which is at {} now", is.address));
    }
    let is_same = match (&was.protocol, &is.protocol) {
        // Its public URL counts from the next start.
        (ListenerProtocol::Console(was), ListenerProtocol::Console(is)) => {
            *was == ConsoleListener { public_url: was.public_url.clone(), ..is.clone() }
        }
        (was, is) => was == is,
    };
    (!is_same).then(|| format!("listener `{name}`"))
}

fn has_other_certificates(before: &Generation, after: &Generation) -> bool {
    let of_listeners = after.doors.iter().any(|is| {
        let was = before.doors.iter().find(|was| was.id == is.id);
        was.is_some_and(|was| was.certificates() != is.certificates())
    });
    let of_consoles = after.consoles.iter().any(|is| {
        let was = before.consoles.iter().find(|was| was.id == is.id);
        was.is_some_and(|was| was.certificates() != is.certificates())
    });
    let of_upstreams = after.upstreams.iter().any(|is| {
        let was = before.upstreams.iter().find(|was| was.name == is.name);
        was.is_some_and(|was| was.certificates() != is.certificates())
    });
    of_listeners || of_consoles || of_upstreams
}

/// What of `wanted` is not in force, because the process was started with `started` and cannot change it. A console
/// that was served is called by `console_url`.
pub(super) fn what_needs_a_restart(
    started: &Config,
    console_url: Option<&PublicUrl>,
    wanted: &Config,
) -> Vec<String> {
    // Every part by its name, so that a new one is put here or into `changed_parts`.
    let Config {
        store,
        snapshot,
        master_key,
        threads,
        access_log,
        // Some of them.
        limits,
        // The console's public URL.
        listeners: _,
        upstreams: _,
        policy: _,
        traces: _,
        security_events: _,
        acme: _,
    } = wanted;
    let sections = [
        ("store", started.store != *store),
        ("store.snapshot", started.snapshot != *snapshot),
        ("the master key", started.master_key != *master_key),
        ("threads", started.threads != *threads),
        ("access_log", started.access_log != *access_log),
        ("public_url", console_url.zip(wanted.public_url()).is_some_and(|(was, is)| was != is)),
        ("limits.password_queue", started.limits.password_queue != limits.password_queue),
        ("limits.api_session…", session_limits(&started.limits) != session_limits(limits)),
    ];
    let differing = sections.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(section, _)| format!("{section} has changed")).collect()
}

const fn session_limits(limits: &Limits) -> [u32; 3] {
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
            (
                TEXT.replace("127.0.0.1:9100", "127.0.0.1:9101"),
                &["listener `ops`, which is at 127.0.0.1:9101 now"],
            ),
            (
                TEXT.replace("name: internal", "name: other"),
                &["listener `other`, which is new", "listener `internal`, which is gone"],
            ),
            (
                TEXT.replace("protocol: ops\n", "protocol: isproxy\n    upstream: availability\n"),
                &["listener `ops`, which has another protocol"],
            ),
            (TEXT.replace("127.0.0.1:9003", "127.0.0.1:9004"), &["upstream `second`"]),
            (TEXT.replace("127.0.0.1:9001", "127.0.0.1:9004"), &["upstream `availability`"]),
            (
                TEXT.replace("second", "third"),
                &["listener `internal`", "upstream `third`", "upstream `second`, which is gone"],
            ),
            (format!("{TEXT}limits: {{ connections: 7 }}\n"), &["limits"]),
            (format!("{TEXT}policy: {{ mfa_required: all }}\n"), &["policy"]),
            (
                format!("{TEXT}acme: {{ directory: https://ca.example/dir, terms_accepted: true }}\n"),
                &["acme"],
            ),
            (format!("{TEXT}traces: {{ otlp: \"http://127.0.0.1:4318\" }}\n"), &["traces"]),
            (format!("{TEXT}security_events: {{ command: [echo] }}\n"), &["security_events"]),
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
        let url = started.public_url();
        let told = |text: &str| what_needs_a_restart(&started, url, &folder.parse(text)).join(", ");
        assert_eq!(told(TEXT), "");
        assert_eq!(told(&TEXT.replace("127.0.0.1:8443", "127.0.0.1:8445")), "", "sockets are no such thing");
        assert_eq!(told(&format!("{TEXT}traces: {{ otlp: \"http://127.0.0.1:4318\" }}\n")), "");
        assert_eq!(told(&TEXT.replace("localhost:8446", "localhost:8447")), "public_url has changed");
        assert_eq!(
            what_needs_a_restart(&started, None, &folder.parse(&TEXT.replace("t:8446", "t:8447"))),
            [""; 0],
            "no console was served yet"
        );
        assert_eq!(
            told(&format!(
                "{TEXT}threads: 999\nstore: {{ url: \"sqlite:x\", snapshot: s }}\nmaster_key_file: k\naccess_log: {{ path: l }}\n\
                 limits: {{ password_queue: 1, api_session_seconds: 99 }}\n"
            )),
            "store has changed, store.snapshot has changed, the master key has changed, threads has changed, access_log has changed, \
             limits.password_queue has changed, limits.api_session… has changed"
        );
    }
}
