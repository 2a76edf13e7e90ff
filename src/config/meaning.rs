//! What the YAML means: [`RawConfig`] → [`Config`], with every rule that types and ranges cannot say.
//!
//! Looks at the files that the text names, and at nothing else; binds nothing. All faults are collected: a value that
//! is unsound yields `None`, and whatever does not depend on it is checked all the same.

mod acme;
mod listeners;
mod security_events;
mod traces;
mod upstreams;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::faults::{Fault, FaultList, KeyPath, shown};
use super::interpolation::{read_text, reason};
use super::raw::{RawConfig, RawDoor, RawPolicy, RawStore, Required};
use super::tree::{Node, Origin, Value};
use super::{Config, MasterKeySource, Policy, StoreLocation, mode_for_strangers};
use crate::model::{Secret, TimeSpan};

/// Used where neither `master_key_file` nor `master_key` is given.
const MASTER_KEY_VARIABLE: &str = "LATCHKEY_MASTER_KEY";
const MASTER_KEY_FILE: &str = "master.key";

/// The longest secret that is read from a file, as the longest key that can be imported (PROTOCOL section 4).
const SECRET_MAX_BYTES: usize = 256;
/// More than any file with one secret and line ends behind it holds.
const SECRET_FILE_MAX_BYTES: u64 = 4_096;

/// The longest name of a listener or upstream, in characters.
const NAME_MAX_CHARACTERS: usize = 64;

/// What `raw` means; `None` where `review` has found something that makes it mean nothing.
pub(super) fn config(raw: RawConfig, review: &mut Review<'_>) -> Option<Config> {
    let top = KeyPath::default();
    let store = store(&raw.store, review);
    let snapshot = review.path(&top.key("store").key("snapshot"), raw.store.snapshot);
    let master_key = master_key(raw.master_key_file, raw.master_key, review);
    let (upstreams, known) = upstreams::upstreams(raw.upstreams, review);
    let listeners = raw.listeners.0.map(|raw| listeners::listeners(raw, &known, review));
    let acme = match raw.acme {
        Some(raw) => acme::acme(raw, review).map(Some),
        None => Some(None),
    };
    if let (Some(Some(acme)), Some(listeners)) = (&acme, &listeners) {
        acme::review_use(acme, listeners, review);
    }
    let policy = policy(&raw.policy, review);
    let access_log = match raw.access_log {
        Some(raw) => Some(traces::access_log(raw, review)?),
        None => None,
    };
    let traces = match raw.traces {
        Some(raw) => Some(traces::traces(raw, review)?),
        None => None,
    };
    let security_events = match raw.security_events {
        Some(raw) => Some(security_events::security_events(raw, review)?),
        None => None,
    };
    Some(Config {
        store: store?,
        snapshot: snapshot?,
        master_key: master_key?,
        listeners: listeners?,
        upstreams,
        threads: threads(raw.threads),
        policy,
        limits: raw.limits,
        access_log,
        traces,
        security_events,
        acme: acme?,
    })
}

fn store(raw: &RawStore, review: &mut Review<'_>) -> Option<StoreLocation> {
    let path = KeyPath::default().key("store").key("url");
    match StoreLocation::parse(&raw.url, review.folder) {
        Ok(location) => Some(location),
        Err(fault) => {
            review.refuse(&path, fault, Some(StoreLocation::ALLOWED));
            None
        }
    }
}

fn master_key(
    file: Option<String>,
    text: Option<Secret<String>>,
    review: &mut Review<'_>,
) -> Option<MasterKeySource> {
    let top = KeyPath::default();
    let text_path = top.key("master_key");
    match (file, text) {
        (Some(_), Some(_)) => {
            review.refuse(&text_path, "stands beside `master_key_file`; keep one of them", None);
            None
        }
        (None, Some(text)) if text.expose().trim().is_empty() => {
            review.refuse(&text_path, "is empty", Some("`openssl rand -base64 32` makes a master key"));
            None
        }
        (None, Some(text)) => Some(MasterKeySource::Text(text)),
        (Some(file), None) => {
            review.path(&top.key("master_key_file"), Required(Some(file))).map(MasterKeySource::File)
        }
        (None, None) => Some(match (review.environment)(MASTER_KEY_VARIABLE) {
            Some(text) if !text.trim().is_empty() => MasterKeySource::Text(Secret::new(text)),
            _ => MasterKeySource::File(review.folder.join(MASTER_KEY_FILE)),
        }),
    }
}

fn threads(raw: u16) -> NonZeroUsize {
    NonZeroUsize::new(usize::from(raw))
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

fn policy(raw: &RawPolicy, review: &mut Review<'_>) -> Policy {
    let holds = |door| raw.key_ends_password_at.iter().any(|each| each.0 == Some(door));
    if !holds(RawDoor::Api) {
        let path = KeyPath::default().key("policy").key("key_ends_password_at");
        review.refuse(&path, "must hold api; allowed: [api], [api, isproxy]", None);
    }
    let max_staleness: Option<Result<TimeSpan, _>> = raw.max_staleness.0.as_deref().map(str::parse);
    if matches!(max_staleness, Some(Err(_))) {
        let path = KeyPath::default().key("policy").key("max_staleness");
        review.refuse(&path, "must be a number with its unit: s, m, h or d, such as 90s or 1h", None);
    }
    Policy {
        key_ends_password_at_isproxy: holds(RawDoor::IsProxy),
        max_staleness: max_staleness.and_then(Result::ok).unwrap_or(Policy::default().max_staleness),
        mfa_required: raw.mfa_required,
        security_key_user_verification: raw.security_key_user_verification,
    }
}

/// What a check of meaning needs, and the faults it finds.
pub(super) struct Review<'a> {
    pub(super) tree: &'a Node,
    pub(super) folder: &'a Path,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The files that were read or should have been.
    pub(super) files: &'a mut BTreeSet<PathBuf>,
    pub(super) faults: &'a mut FaultList,
}

impl Review<'_> {
    /// Tells what is wrong with the value at `path`, unless something there is known to be wrong already: then this
    /// would be an echo of it.
    fn refuse(&mut self, path: &KeyPath, message: impl Into<String>, help: Option<&str>) {
        if !self.faults.cover(path) {
            let fault = Fault::new(self.tree.place_of(path), path, message);
            self.faults.push(match help {
                Some(help) => fault.help(help),
                None => fault,
            });
        }
    }

    /// Tells that the mapping at `path` needs `key`, and what for.
    fn refuse_missing(&mut self, path: &KeyPath, key: &str, what_for: &str) {
        let subject = path.key(key);
        if !self.faults.cover(&subject) {
            let message = format!("missing key `{key}`: {what_for}");
            self.faults.push(Fault::new(self.tree.place_of(path), path, message).about(subject));
        }
    }

    /// Refuses keys of the mapping at `path` that belong to another protocol than `protocol`.
    fn refuse_misplaced(&mut self, path: &KeyPath, belonging: &[(&str, &[&str])], protocol: &str) {
        let Some(Value::Mapping(entries)) = self.tree.find(path).map(|node| &node.value) else { return };
        for entry in entries {
            let owner = belonging.iter().find(|(key, _)| *key == entry.key);
            if let Some((key, protocols)) = owner.filter(|(_, protocols)| !protocols.contains(&protocol)) {
                let owners = match protocols {
                    [several @ .., last] if !several.is_empty() => {
                        format!("{} and {last}", several.join(", "))
                    }
                    _ => protocols.concat(),
                };
                let message = format!("key `{key}` belongs to protocol {owners}, not {protocol}");
                self.faults.push(Fault::new(entry.key_place, path, message).about(path.key(key)));
            }
        }
    }

    /// Was the value at `path` written as it is? What came through `${…}` may be a secret, and is never shown.
    fn is_written(&self, path: &KeyPath) -> bool {
        match self.tree.find(path).map(|node| &node.value) {
            Some(Value::Scalar(scalar)) => scalar.origin != Origin::Interpolated,
            _ => false,
        }
    }

    /// `text`, which stands at `path`, with a blank before it, if a fault may show it.
    fn named(&self, path: &KeyPath, text: &str) -> String {
        shown(text).filter(|_| self.is_written(path)).map(|text| format!(" `{text}`")).unwrap_or_default()
    }

    /// A path that starts at the configuration's folder.
    fn path(&mut self, path: &KeyPath, text: Required<String>) -> Option<PathBuf> {
        let text = text.0?;
        if text.trim().is_empty() || text.contains('\0') {
            self.refuse(path, "must be the path of a file", None);
            return None;
        }
        Some(self.folder.join(text))
    }

    /// The path of a file that must be there and be readable.
    fn existing_file(&mut self, path: &KeyPath, text: Required<String>, help: &str) -> Option<PathBuf> {
        let file = self.path(path, text)?;
        self.files.insert(file.clone());
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let opened = std::fs::metadata(&file).and_then(|metadata| {
            if metadata.is_file() {
                std::fs::File::open(&file).map(drop)
            } else {
                Err(std::io::ErrorKind::IsADirectory.into())
            }
        });
        if let Err(error) = opened {
            let named = self.file_named(path);
            self.refuse(path, format!("{}{named}", reason(&error)), Some(help));
            return None;
        }
        Some(file)
    }

    /// The secret in `file`, which nobody else may read, of at least `min_bytes` visible ASCII characters. A fault never
    /// repeats what it holds; `help` says what belongs there.
    fn secret_text(
        &mut self,
        file: String,
        path: &KeyPath,
        min_bytes: usize,
        help: &str,
    ) -> Option<Secret<String>> {
        let file = self.path(path, Required(Some(file)))?;
        self.files.insert(file.clone());
        let named = self.file_named(path);
        let text = std::fs::metadata(&file).and_then(|metadata| {
            let text = read_text(&file, SECRET_FILE_MAX_BYTES)?;
            Ok((text, mode_for_strangers(&metadata)))
        });
        let text = match text {
            Ok((text, None)) => text,
            Ok((_, Some(mode))) => {
                let message = format!("others can read the file, its mode is {mode:04o}{named}");
                self.refuse(path, message, Some("run `chmod 600` on it"));
                return None;
            }
            Err(error) => {
                self.refuse(path, format!("{}{named}", reason(&error)), Some(help));
                return None;
            }
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        let is_sound = (min_bytes..=SECRET_MAX_BYTES).contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            let message = format!(
                "the file must hold {min_bytes} to {SECRET_MAX_BYTES} visible ASCII characters without a blank, and nothing else{named}"
            );
            self.refuse(path, message, None);
            return None;
        }
        Some(Secret::new(secret.to_owned()))
    }

    /// `: certs/api.pem` for the file that is written at `path`.
    fn file_named(&self, path: &KeyPath) -> String {
        match self.tree.find(path).map(|node| &node.value) {
            Some(Value::Scalar(scalar)) if scalar.origin != Origin::Interpolated => {
                format!(": {}", scalar.text.escape_debug())
            }
            _ => String::new(),
        }
    }

    /// A name that is none yet in `taken`, which maps names to the places of their owners.
    fn name(
        &mut self,
        path: &KeyPath,
        text: Required<String>,
        taken: &mut HashMap<String, String>,
    ) -> Option<String> {
        let text = text.0?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if text.is_empty() || text.len() > NAME_MAX_CHARACTERS || !text.chars().all(plain) {
            let message = format!(
                "must be 1 to {NAME_MAX_CHARACTERS} of the letters a-z and A-Z, digits, `.`, `_` and `-`"
            );
            self.refuse(path, message, None);
            return None;
        }
        let named = self.named(path, &text);
        if let Some(owner) = taken.get(&text) {
            self.refuse(path, format!("the name{named} is taken: {owner}"), None);
            return None;
        }
        taken.insert(text.clone(), path.to_string());
        Some(text)
    }
}

/// A host and perhaps a port: `api.example:80`, `192.0.2.1`, `[2001:db8::1]:80`; the host without brackets.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, behind) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, behind) = bracketed.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, behind)
    } else {
        let (host, behind) = text.split_at(text.find(':').unwrap_or(text.len()));
        (host, is_host(host).then_some(behind)?)
    };
    let port = match behind.strip_prefix(':') {
        None if behind.is_empty() => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        _ => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// Is `text` a host name or IPv4 address (RFC 1123 §2.1, and `_`, which internal names use)?
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamProtocol;
    use crate::config::testing::{BASE, TestFolder};

    fn told(setting: &str) -> String {
        TestFolder::new().faults(&format!("{setting}\n{BASE}"))
    }

    #[test]
    fn a_store_is_a_file() {
        let folder = TestFolder::new();
        for (url, file) in
            [("sqlite:a.db", folder.path("a.db")), ("sqlite:/srv/a.db", PathBuf::from("/srv/a.db"))]
        {
            let config = folder.parse(&format!("store: {{ url: \"{url}\" }}\n{BASE}")).unwrap();
            assert_eq!(config.store, StoreLocation::Sqlite(file));
        }
        for url in ["sqlite:", "sqlite://a.db", "sqlite::memory:", "a.db", ""] {
            let told = told(&format!("store: {{ url: \"{url}\" }}"));
            assert!(told.starts_with("f.yaml:1:15  error  store.url: must "), "{told}");
        }
    }

    #[test]
    fn a_store_is_a_database_that_is_shown_without_its_password() {
        let folder = TestFolder::new();
        for (url, exposed) in [
            ("postgres://lk@127.0.0.1/lk", "postgres://lk@127.0.0.1/lk"),
            ("postgres://lk@[::1]:5433/lk", "postgres://lk@[::1]:5433/lk"),
            ("postgres://lk@%2Frun%2Fpostgresql/lk", "postgres://lk@%2Frun%2Fpostgresql/lk"),
            (
                "postgres://lk@localhost/lk?host=/run/postgresql",
                "postgres://lk@localhost/lk?host=/run/postgresql",
            ),
            ("postgresql://lk:${SECRET}@db/lk", "postgresql://lk:hunter2@db/lk?sslmode=verify-full"),
            ("postgres://lk@db/lk?sslmode=disable", "postgres://lk@db/lk?sslmode=disable"),
            (
                "postgres://lk@db/lk?sslrootcert=ca.pem",
                "postgres://lk@db/lk?sslrootcert=ca.pem&sslmode=verify-full",
            ),
        ] {
            let config = folder.parse(&format!("store: {{ url: \"{url}\" }}\n{BASE}")).unwrap();
            let StoreLocation::Postgres(read) = &config.store else { panic!("{url}") };
            assert_eq!(read.expose(), exposed);
            for shown in [read.to_string(), format!("{read:?}"), config.store.to_string()] {
                assert!(shown.contains("lk@") && !shown.contains("hunter2"), "{shown}");
            }
        }
        for (url, fault) in [
            ("postgres://lk:hunter2@db", "names no database"),
            ("postgres://lk:hunter2@db:port/lk", "is not a URL"),
            ("postgres:///lk", "names no host"),
        ] {
            let told = told(&format!("store: {{ url: \"{url}\" }}"));
            assert!(told.contains(fault) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn nothing_that_metrics_are_labelled_with_could_end_a_label() {
        let folder = TestFolder::new();
        let mut labels = Vec::new();
        for sign in (0..=u8::MAX).map(char::from).chain(['\u{2028}', '\u{ff02}']) {
            let quoted = |text: String| serde_json::to_string(&text).unwrap();
            let name = quoted(format!("a{sign}b"));
            let names = quoted(format!("a{sign}b:9001"));
            for text in [
                BASE.replace("name: api", &format!("name: {name}")),
                BASE.replace("registry", &name),
                BASE.replace("http://127.0.0.1:9000", &quoted(format!("http://a{sign}b:9000"))),
                format!("{BASE}  - name: names\n    protocol: isproxy\n    servers: [{names}]\n"),
            ] {
                let Ok(config) = folder.parse(&text) else { continue };
                labels.extend(config.listeners.into_iter().map(|listener| listener.name));
                for upstream in config.upstreams {
                    labels.push(upstream.name);
                    match upstream.protocol {
                        UpstreamProtocol::Http(http) => {
                            labels.extend(http.servers.iter().map(ToString::to_string));
                        }
                        UpstreamProtocol::IsProxy(isproxy) => {
                            labels.extend(isproxy.servers.iter().map(ToString::to_string));
                        }
                    }
                }
            }
        }
        for label in ["a.b", "a_b", "http://a-b:9000", "a7b:9001"] {
            assert!(labels.iter().any(|known| known == label), "{label}");
        }
        for label in labels {
            let ends_a_label = |sign: char| "\"\\".contains(sign) || sign.is_control();
            assert!(!label.contains(ends_a_label), "{label:?}");
        }
    }

    #[test]
    fn a_policy_is_what_is_chosen() {
        let folder = TestFolder::new();
        let setting = "policy: { key_ends_password_at: [api, isproxy], mfa_required: all }";
        let policy = folder.parse(&format!("{setting}\n{BASE}")).unwrap().policy;
        assert!(policy.key_ends_password_at_isproxy);
        assert_eq!(policy.max_staleness.seconds(), 3_600);
        assert_eq!(policy.mfa_required, crate::config::MfaPolicy::All);
        for list in ["[]", "[isproxy]"] {
            let told = told(&format!("policy: {{ key_ends_password_at: {list} }}"));
            assert!(
                told.starts_with("f.yaml:1:33  error  policy.key_ends_password_at: must hold api"),
                "{told}"
            );
        }
        let short = folder.parse(&format!("policy: {{ max_staleness: 90s }}\n{BASE}")).unwrap().policy;
        assert_eq!(short.max_staleness.seconds(), 90);
        let told_of = told("policy: { max_staleness: soon }");
        assert!(
            told_of.starts_with("f.yaml:1:26  error  policy.max_staleness: must be a number"),
            "{told_of}"
        );
        let told = told("policy: { key_ends_password_at: [apis] }");
        assert!(told.ends_with("allowed: api, isproxy\n1 error"), "no echo of the unsound value: {told}");
    }

    #[test]
    fn a_path_names_something() {
        for path in ["\"\"", "\" \"", "\"a\\0b\""] {
            let told = told(&format!("access_log: {{ path: {path} }}"));
            assert!(
                told.starts_with("f.yaml:1:21  error  access_log.path: must be the path of a file"),
                "{told}"
            );
        }
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("api.example", "api.example", None),
            ("API.example:80", "api.example", Some(80)),
            ("192.0.2.1:65535", "192.0.2.1", Some(65_535)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[::1]:8080", "::1", Some(8_080)),
            ("my_service:1", "my_service", Some(1)),
        ] {
            assert_eq!(host_and_port(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in [
            "", ":80", "a:", "a:0", "a:65536", "a:+1", "a b", "a/b", "user@a", "a:1:2", "::1", "[::1", "[a]",
            "[::1]x", "a..b", ".", "é", "a?b", "a#b", "[::1]:", "[]:1",
        ] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }
}
