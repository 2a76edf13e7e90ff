//! The configuration: what the YAML says, turned into what it means ([`Config`]).
//!
//! [`load`] reads a file and answers either a [`Config`] or **all** its faults, each with its place. The steps, a file
//! each: text → `tree` (places kept) → `interpolation` (`${…}`) → `structure` (against the schema) → `raw` →
//! `meaning`. Binds nothing, prints nothing, and never repeats a value that came through `${…}`. Called by `cli` and
//! `app`.

mod acme;
mod faults;
mod interpolation;
mod limits;
mod listener;
mod meaning;
mod other_names;
mod policy;
mod public_url;
mod raw;
mod secret_file;
mod security_events;
mod store_location;
mod structure;
#[cfg(test)]
mod testing;
mod tls;
mod traces;
mod tree;
mod upstream;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use acme::{AcmeChallenge, AcmeSettings, ExternalAccount};
pub use faults::{Faults, KeyPath};
pub use limits::Limits;
pub use listener::{
    ClientAddressRules, ConsoleListener, ForwardAuthListener, HttpListener, IsProxyListener, Listener,
    ListenerProtocol, PlaintextCredentials, ProxyProtocol, Route, Upgrade,
};
pub use policy::{MfaPolicy, Policy, UserVerification};
pub use public_url::{PublicUrl, WebScheme};
pub use secret_file::mode_for_strangers;
pub use security_events::{EventCommand, EventWebhook, SecurityEvents};
pub use store_location::{PostgresUrl, StoreLocation};
pub use tls::{CertificateSource, TlsFiles, TlsSettings, UnknownNames};
pub use traces::{Traces, TrustIncoming};
pub use upstream::{
    HealthCheckSchedule, Http2Use, HttpHealthCheck, HttpServer, HttpUpstream, IdentityHeaders, IsProxyServer,
    IsProxyUpstream, SERVERS_MAX, Scheme, SetHeaders, Upstream, UpstreamProtocol, UpstreamTls,
};

use crate::model::{SampleRatio, Secret};
use faults::{Fault, FaultList, Place};
use meaning::Review;
use raw::RawConfig;

/// A whole configuration that has passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store is.
    pub store: StoreLocation,
    /// Where a gateway keeps what it needs to be started while a shared store is away.
    pub snapshot: PathBuf,
    /// Where the master key is.
    pub master_key: MasterKeySource,
    /// What to listen on, names and addresses unique.
    pub listeners: Vec<Listener>,
    /// Where to forward to, names unique.
    pub upstreams: Vec<Upstream>,
    /// Door threads; `threads: 0` in the file is one per core.
    pub threads: NonZeroUsize,
    /// Rules an operator may choose.
    pub policy: Policy,
    /// Every bound and deadline.
    pub limits: Limits,
    /// The access log; `None`: there is none.
    pub access_log: Option<AccessLogFile>,
    /// Where spans go; `None`: none are made.
    pub traces: Option<Traces>,
    /// Whom to tell of what concerns an account's safety; `None`: nobody.
    pub security_events: Option<SecurityEvents>,
    /// Who issues certificates to listeners that have no files; `None`: no listener asks for that.
    pub acme: Option<AcmeSettings>,
}

impl Config {
    /// What browsers call the console by, which is the same at each of its listeners; `None`: there is no console.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.listeners.iter().find_map(|listener| match &listener.protocol {
            ListenerProtocol::Console(console) => Some(&console.public_url),
            _ => None,
        })
    }
}

/// The access log's file, and how much of what happens stands in it.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogFile {
    /// It is appended to.
    pub path: PathBuf,
    /// Of the requests that were let in and answered, the share that is written.
    pub allowed: SampleRatio,
}

/// Where the master key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file outside the data folder, mode 0600; made on first start beside an empty store.
    File(PathBuf),
    /// The text itself, from the environment.
    Text(Secret<String>),
}

/// Finds what is wrong with a configuration whose text is sound: the key of each fault, and what it is.
pub type Trial<'t> = &'t dyn Fn(&Config) -> Vec<(KeyPath, String)>;

/// A trial that finds nothing, for who tries by doing.
const UNTRIED: Trial<'static> = &|_| Vec::new();

/// Reads the configuration at `path`; what it names is looked up in `environment` and beside it.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    load_noting_files(path, environment, &mut BTreeSet::new())
}

/// Like [`load`]; if nothing else is wrong, what `trial` finds is told in the same way, at its place.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load_and_try(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    trial: Trial<'_>,
) -> Result<Config, Faults> {
    load_file(path, environment, &mut BTreeSet::new(), trial)
}

/// Like [`load`]; adds to `files` the files that decided what comes of it, the missing ones too: that at `path`, and
/// those that it names to be read, but for the master key's.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load_noting_files(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut BTreeSet<PathBuf>,
) -> Result<Config, Faults> {
    load_file(path, environment, files, UNTRIED)
}

fn load_file(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut BTreeSet<PathBuf>,
    trial: Trial<'_>,
) -> Result<Config, Faults> {
    files.insert(path.to_owned());
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::InvalidData => String::from("it is not UTF-8 text"),
                _ => error.to_string(),
            };
            let fault = Fault::of_file(format!("the configuration cannot be read: {why}"));
            return Err(Faults::one(&shown_path(path), fault));
        }
    };
    parse_text(&text, path, path.parent().unwrap_or(Path::new("")), environment, files, trial)
}

/// Reads no more than needed to see that a file is too large.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(tree::TEXT_MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the configuration `text`, whose faults are shown as of `shown_as` and whose paths start at `folder`.
///
/// Touches no file but those that the text names.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(
    text: &str,
    shown_as: &Path,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    parse_text(text, shown_as, folder, environment, &mut BTreeSet::new(), UNTRIED)
}

fn parse_text(
    text: &str,
    shown_as: &Path,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut BTreeSet<PathBuf>,
    trial: Trial<'_>,
) -> Result<Config, Faults> {
    let file = shown_path(shown_as);
    let mut faults = FaultList::default();
    let mut tree = tree::read(text, &mut faults).map_err(|fault| Faults::one(&file, fault))?;
    interpolation::interpolate(&mut tree, folder, environment, files, &mut faults);
    let sound = structure::check(&tree, &schema(), &mut faults);
    let config = serde_json::from_value::<RawConfig>(sound).ok().and_then(|raw| {
        meaning::config(raw, &mut Review { tree: &tree, folder, environment, files, faults: &mut faults })
    });
    // With a fault anywhere, what is left of the configuration has other positions than the text.
    if let Some(config) = config.as_ref().filter(|_| !faults.cover(&KeyPath::default())) {
        for (path, message) in trial(config) {
            faults.push(Fault::new(tree.place_of(&path), &path, message));
        }
    }
    match (faults.into_faults(&file), config) {
        (Some(faults), _) => Err(faults),
        (None, Some(config)) => Ok(config),
        // Not reachable while the schema and the types it is made from agree, which a test holds.
        (None, None) => {
            let start = Place { line: 1, column: 1 };
            Err(Faults::one(&file, Fault::new(start, &KeyPath::default(), "cannot be understood")))
        }
    }
}

fn shown_path(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// The JSON Schema of the configuration (2020-12), for editors; [`parse`] checks against this very schema.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::testing::{BASE, TestFolder};
    use super::*;

    const REFERENCE: &str = include_str!("../config/latchkey.yaml");

    #[test]
    fn five_faults_of_five_kinds_are_told_at_once_each_at_its_place() {
        let folder = TestFolder::new();
        let text = "\
listeners:
  - name: api
    protocol: htpp
    address: 127.0.0.1:8443
    tls:
      certificate: certs/api.pem
      private_key: certs/dev.key
    routes:
      - { path: /, upstream: registri }
upstreams:
  - name: registry
    protocol: http
    servers: [http://127.0.0.1:9000]
    timout: 3
threads: many
";
        let told = folder.faults(text);
        let lines: Vec<&str> = told.lines().filter(|line| !line.contains("  help   ")).collect();
        assert_eq!(
            lines,
            [
                "f.yaml:3:15  error  listeners[0].protocol: unknown value `htpp`; did you mean `http`? allowed: http, isproxy, console, ops, forward_auth",
                "f.yaml:6:20  error  listeners[0].tls.certificate: file not found: certs/api.pem",
                "f.yaml:9:30  error  listeners[0].routes[0].upstream: there is no upstream `registri`; did you mean `registry`?",
                "f.yaml:14:5  error  upstreams[0]: unknown key `timout`",
                "f.yaml:15:10  error  threads: must be a whole number, not text",
                "5 errors",
            ]
            .map(pad)
        );
    }

    /// The place padded as the longest one, `f.yaml:15:10`.
    fn pad(line: &str) -> String {
        line.split_once("  error  ")
            .map_or_else(|| line.to_owned(), |(place, message)| format!("{place:<12}  error  {message}"))
    }

    #[test]
    fn the_smallest_configuration_takes_every_default() {
        let folder = TestFolder::new();
        let config = folder.parse(BASE).unwrap();
        assert_eq!(config.store, StoreLocation::Sqlite(folder.path("data/latchkey.db")));
        assert!(
            matches!(&config.master_key, MasterKeySource::File(file) if *file == folder.path("master.key"))
        );
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.threads, std::thread::available_parallelism().unwrap());
        assert_eq!(config.access_log, None);
        let [Listener { name, address, protocol: ListenerProtocol::Http(http) }] = &config.listeners[..]
        else {
            panic!("not one HTTP listener")
        };
        assert_eq!((name.as_str(), address.to_string().as_str()), ("api", "127.0.0.1:8443"));
        assert_eq!(http.plaintext_credentials, PlaintextCredentials::Refuse);
        assert!(http.tls.is_none() && http.allow_list.is_empty());
        let UpstreamProtocol::Http(upstream) = &config.upstreams[0].protocol else { panic!("not HTTP") };
        assert_eq!(
            upstream.servers,
            [HttpServer { scheme: Scheme::Http, host: String::from("127.0.0.1"), port: 9000 }]
        );
        assert_eq!(upstream.identity_headers, IdentityHeaders::default());
    }

    #[test]
    fn the_reference_is_valid_and_states_the_defaults() {
        let folder = TestFolder::new();
        let config = folder.parse(REFERENCE).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.listeners.len(), 4);
        assert_eq!(config.upstreams.len(), 2);
    }

    #[test]
    fn the_reference_and_the_schema_have_the_same_keys() {
        // A setting that is off stands there as `#key: value`; explanations have a blank behind the `#`.
        let all_on: String = REFERENCE
            .lines()
            .map(|line| match line.split_once('#') {
                Some((indent, setting))
                    if indent.trim().is_empty() && setting.starts_with(|c: char| c != ' ') =>
                {
                    format!("{indent}{setting}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let mut faults = FaultList::default();
        let tree = tree::read(&all_on, &mut faults).unwrap_or_else(|fault| panic!("{fault:?}"));
        structure::check(&tree, &schema(), &mut faults);
        assert!(faults.into_faults("all_on").is_none_or(|faults| panic!("{faults}")));
        let mut written = BTreeSet::new();
        keys_of_tree(&tree, &KeyPath::default(), &mut written);
        let mut known = BTreeSet::new();
        let schema = schema();
        keys_of_schema(&schema, &schema, "", &mut known);
        assert_eq!(written, known);
    }

    fn keys_of_tree(node: &tree::Node, path: &KeyPath, keys: &mut BTreeSet<String>) {
        match &node.value {
            tree::Value::Mapping(entries) => {
                for entry in entries {
                    let below = path.key(&entry.key);
                    keys.insert(below.pattern());
                    keys_of_tree(&entry.node, &below, keys);
                }
            }
            tree::Value::List(items) => {
                for item in items {
                    keys_of_tree(item, &path.index(0), keys);
                }
            }
            _ => {}
        }
    }

    fn keys_of_schema(schema: &Json, root: &Json, path: &str, keys: &mut BTreeSet<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            keys_of_schema(root.pointer(&reference[1..]).unwrap(), root, path, keys);
        }
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            keys_of_schema(choice, root, path, keys);
        }
        if schema["items"].is_object() {
            keys_of_schema(&schema["items"], root, &format!("{path}[]"), keys);
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            keys.insert(path.clone());
            keys_of_schema(below, root, &path, keys);
        }
    }

    #[test]
    fn a_file_is_loaded_and_its_paths_start_at_its_folder() {
        let folder = TestFolder::new();
        let file = folder.write("f.yaml", BASE);
        let config = load(&file, &|_| None).unwrap();
        assert_eq!(config.store, StoreLocation::Sqlite(folder.path("data/latchkey.db")));
    }

    #[test]
    fn files_that_are_read_are_noted_whether_they_are_there_or_not() {
        let folder = TestFolder::new();
        folder.write("networks", "192.0.2.0/24\n");
        let text = BASE.replace(
            "    routes:",
            "    tls: { certificate: certs/none.crt, private_key: certs/dev.key }\n    allow_list_file: networks\n    routes:",
        ) + "    set_headers: { x-key: \"${file:secret}\" }\n    tls: { ca: ca.pem }\naccess_log: { path: log }\nmaster_key_file: key\n";
        let file = folder.write("f.yaml", &text);
        let mut files = BTreeSet::new();
        load_noting_files(&file, &|_| None, &mut files).unwrap_err();
        let noted: Vec<_> = files.iter().map(|file| file.strip_prefix(folder.path("")).unwrap()).collect();
        let expected = ["ca.pem", "certs/dev.key", "certs/none.crt", "f.yaml", "networks", "secret"];
        assert_eq!(noted, expected.map(Path::new));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_fault_with_its_reason() {
        let folder = TestFolder::new();
        folder.write("empty.yaml", "");
        std::fs::write(folder.path("binary.yaml"), [0xff, 0xfe, 0x00]).unwrap();
        folder.write("large.yaml", &"#".repeat(tree::TEXT_MAX_BYTES + 2));
        for (name, expected) in [
            ("missing.yaml", "missing.yaml  error  the configuration cannot be read: No such file"),
            ("certs", "certs  error  the configuration cannot be read: Is a directory"),
            ("binary.yaml", "binary.yaml  error  the configuration cannot be read: it is not UTF-8 text"),
            ("empty.yaml", "empty.yaml:1:1  error  the file is empty"),
            ("large.yaml", "large.yaml  error  larger than 1048576 bytes"),
        ] {
            let told = load(&folder.path(name), &|_| None).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
            assert!(told.ends_with("\n1 error"), "{told}");
        }
    }

    #[test]
    fn a_syntax_error_is_one_fault_at_its_place() {
        let told = TestFolder::new().faults("listeners:\n  - name: api\n   protocol: http\n");
        assert!(told.starts_with("f.yaml:3:4  error  not valid YAML: "), "{told}");
        assert!(told.ends_with("\n1 error"), "{told}");
    }

    #[test]
    fn values_from_the_environment_and_from_files_are_what_is_asked_for() {
        let folder = TestFolder::new();
        folder.write("secrets/name", "from-file\n");
        let text = BASE
            .replace("name: api", "name: ${NUMBER}")
            .replace("upstream: registry", "upstream: \"${file:secrets/name}\"")
            .replace("name: registry", "name: ${file:secrets/name}")
            + "threads: ${THREADS:-2}\nlimits: { http2_streams: \"${NUMBER}\" }\naccess_log:\n  path: logs/${NUMBER}\n";
        let config = folder.parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(config.threads.get(), 2);
        assert_eq!(config.limits.http2_streams, 12);
        assert_eq!(config.listeners[0].name, "12", "a number where a name is asked for is text");
        assert_eq!(config.upstreams[0].name, "from-file");
        let access_log = config.access_log.unwrap();
        assert_eq!((access_log.path, access_log.allowed), (folder.path("logs/12"), SampleRatio::ALL));
    }

    #[test]
    fn a_missing_variable_or_file_is_told_where_it_is_named() {
        let text = format!("threads: ${{NOBODY}}\naccess_log:\n  path: ${{file:nowhere}}\n{BASE}");
        let told = TestFolder::new().faults(&text);
        assert_eq!(
            told,
            "f.yaml:1:10  error  threads: the environment has no variable `NOBODY`\n\
             \x20            help   set it, or give a default: `${NOBODY:-default}`\n\
             f.yaml:3:9   error  access_log.path: file not found: nowhere\n\
             2 errors"
        );
    }

    #[test]
    fn the_master_key_comes_from_the_file_the_text_or_the_environment() {
        let folder = TestFolder::new();
        let source = |text: &str, variable: Option<&str>| {
            let environment =
                |name: &str| variable.filter(|_| name == "LATCHKEY_MASTER_KEY").map(str::to_owned);
            match parse(text, Path::new("f.yaml"), folder.path("").as_path(), &environment)
                .unwrap()
                .master_key
            {
                MasterKeySource::File(file) => format!("file {}", file.file_name().unwrap().display()),
                MasterKeySource::Text(text) => format!("text {}", text.expose()),
            }
        };
        assert_eq!(source(BASE, None), "file master.key");
        assert_eq!(source(BASE, Some("")), "file master.key");
        assert_eq!(source(BASE, Some("k1")), "text k1");
        assert_eq!(source(&format!("master_key_file: own.key\n{BASE}"), Some("k1")), "file own.key");
        assert_eq!(source(&format!("master_key: ${{LATCHKEY_MASTER_KEY}}\n{BASE}"), Some("12")), "text 12");
        let both = format!("master_key_file: a\nmaster_key: b\n{BASE}");
        assert!(
            folder
                .faults(&both)
                .starts_with("f.yaml:2:13  error  master_key: stands beside `master_key_file`")
        );
        let empty = format!("master_key: \"\"\n{BASE}");
        assert!(folder.faults(&empty).starts_with("f.yaml:1:13  error  master_key: is empty"));
    }

    #[test]
    fn s40_no_fault_shows_what_came_from_elsewhere_and_no_debug_text_shows_the_master_key() {
        let folder = TestFolder::new();
        folder.write("secret", "hunter2\n");
        let secret = "\"${SECRET}\"";
        let settings = [
            format!("master_key: {{ a: {secret} }}"),
            format!("store: {{ url: {secret} }}"),
            format!("threads: {secret}"),
            format!("policy: {{ mfa_required: {secret}, key_ends_password_at: [{secret}] }}"),
            format!("limits: {{ connections: {secret} }}"),
            format!("unknown: {secret}"),
            String::from("threads: ${file:secret}"),
        ];
        for setting in settings {
            let told = folder.faults(&format!("{setting}\n{BASE}"));
            assert!(!told.contains("hunter2"), "{setting}: {told}");
        }
        for (from, to) in [
            ("api", secret),
            ("http", secret),
            ("127.0.0.1:8443", secret),
            ("/,", "\"${SECRET}\","),
            ("upstream: registry", "upstream: \"${SECRET}\""),
            ("http://127.0.0.1:9000", secret),
            ("routes:", "allow_list: [\"${SECRET}\"]\n    routes:"),
            ("routes:", "allow_list_file: ${SECRET}\n    routes:"),
            ("routes:", "allow_list_file: secret\n    routes:"),
            ("routes:", "tls: { certificate: \"${SECRET}\", private_key: \"${SECRET}\" }\n    routes:"),
        ] {
            let text = BASE.replacen(from, to, 1);
            assert_ne!(text, BASE);
            if let Err(faults) = folder.parse(&text) {
                assert!(!faults.to_string().contains("hunter2"), "{text}: {faults}");
            }
        }
        let text = format!("master_key: ${{SECRET}}\n{BASE}");
        assert!(!format!("{:?}", folder.parse(&text).unwrap()).contains("hunter2"));
    }

    #[test]
    fn the_schema_describes_every_key() {
        fn described(schema: &Json, path: &str) {
            for (key, below) in schema["properties"].as_object().into_iter().flatten() {
                assert!(below["description"].is_string(), "{path}.{key}");
                described(below, &format!("{path}.{key}"));
            }
        }
        let schema = schema();
        described(&schema, "");
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            described(definition, name);
        }
        assert_eq!(schema["properties"]["limits"]["properties"]["connections"]["default"], 50_000);
    }

    #[test]
    fn a_configuration_full_of_faults_takes_no_more_time_than_its_length() {
        let folder = TestFolder::new();
        let time = |listeners: usize| {
            let start = Instant::now();
            let text = "  - {name: a, protocol: http, address: x}\n".repeat(listeners);
            let told = folder.faults(&format!("listeners:\n{text}"));
            assert!(told.ends_with("500 errors"), "more are not collected");
            start.elapsed()
        };
        // Against itself, so that a busy machine does not count: were each fault looked for in the whole text, sixteen
        // times the length would take some 256 times as long.
        let (short, long) = (time(1_250), time(20_000));
        assert!(long < short * 64, "{long:?} against {short:?}");
    }

    #[test]
    fn any_kind_of_value_at_any_key_is_read_or_told_with_a_reason() {
        let folder = TestFolder::new();
        let lines: Vec<&str> = REFERENCE.lines().collect();
        let keyed = |line: &str| !line.trim_start().starts_with('#') && line.contains(':');
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| keyed(line)) {
            let key = line.split_once(':').unwrap().0;
            for value in
                ["", "~", "1", "-1.5", "true", "x", "\"\"", "[]", "[1, ~]", "{}", "{ a: 1 }", "[{ a: [x] }]"]
            {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[number] = format!("{key}: {value}");
                if let Err(faults) = folder.parse(&changed.join("\n")) {
                    let told = faults.to_string();
                    assert!(!told.contains("cannot be understood"), "{key}: {value}: {told}");
                }
            }
        }
    }

    /// Lines that a configuration is made of, sound and unsound, to be put together at random.
    fn line() -> impl Strategy<Value = String> {
        let keys = "(listeners|upstreams|name|protocol|address|tls|routes|path|servers|limits|policy|threads|store|url|x|<<)";
        let values = "( (api|http|ops|127.0.0.1:0|/|\\[\\]|\\{\\}|null|1|-1|1e9|true|\\$\\{A\\}|\\$\\{|\"|&a|\\*a|!!str|http://a|sqlite:a|\\|))?";
        proptest::string::string_regex(&format!("[ ]{{0,6}}(- )?{keys}:{values}")).unwrap()
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse(&text, Path::new("f"), Path::new("/nonexistent"), &|_| None);
        }

        #[test]
        fn no_configuration_panics_or_fails_without_a_reason(lines in proptest::collection::vec(line(), 0..30)) {
            let text = lines.join("\n");
            let environment = |name: &str| (name == "A").then(|| String::from("1"));
            if let Err(faults) = parse(&text, Path::new("f"), Path::new("/nonexistent"), &environment) {
                prop_assert!(!faults.to_string().contains("cannot be understood"), "{}", text);
            }
        }

        #[test]
        fn changing_one_place_of_a_sound_configuration_is_told_with_a_reason(
            position in 0..BASE.len(), with in "[ -~\n]{0,3}",
        ) {
            let text = format!("{}{with}{}", &BASE[..position], &BASE[position + 1..]);
            if let Err(faults) = parse(&text, Path::new("f"), Path::new("/nonexistent"), &|_| None) {
                prop_assert!(!faults.to_string().contains("cannot be understood"), "{}", text);
            }
        }
    }
}
