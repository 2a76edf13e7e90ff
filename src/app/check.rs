//! What would keep a sound configuration from being served by, told by the keys of the configuration.
//!
//! Prepares the first generation as a start does, and drops it: there is no second way that could find something else.
//! Reads files; binds nothing and opens no store. Called by `cli`.

use std::path::Path;
use std::sync::Arc;

use super::generation::{Fault, Generation, tls_of};
use super::post_address::AddressError;
use crate::clock::Clock;
use crate::config::{CertificateSource, Config, KeyPath, ListenerProtocol, TlsFiles, UpstreamTls};
use crate::net::TlsError;
use crate::telemetry::Metrics;

/// What `config` can be served by all the same, and should be seen to: certificates that clients refuse.
pub fn find_warnings(config: &Config) -> Vec<String> {
    let first = Generation::first(Arc::new(config.clone()), &Metrics::default());
    first.map(|generation| generation.warnings(Clock::system().now())).unwrap_or_default()
}

/// All that keeps `config` from being served by: the key of each fault, and what it is.
pub fn find_unusable(config: &Config) -> Vec<(KeyPath, String)> {
    match Generation::first(Arc::new(config.clone()), &Metrics::default()) {
        Ok(_) => Vec::new(),
        Err(unusable) => unusable.0.iter().map(|fault| located(fault, config)).collect(),
    }
}

fn located(fault: &Fault, config: &Config) -> (KeyPath, String) {
    match fault {
        Fault::Listener(name, error) => {
            let mut listeners = config.listeners.iter().enumerate();
            let found = listeners.find(|(_, listener)| listener.name == *name);
            let path = found.map(|(position, listener)| {
                let path = KeyPath::default().key("listeners").index(position).key("tls");
                let files = files_of_listener(&listener.protocol, &path);
                key_of(error, path, &files)
            });
            (path.unwrap_or_default(), error.to_string())
        }
        Fault::Upstream(name, error) => {
            let mut upstreams = config.upstreams.iter().enumerate();
            let found = upstreams.find(|(_, upstream)| upstream.name == *name);
            let path = found.map(|(position, upstream)| {
                let path = KeyPath::default().key("upstreams").index(position).key("tls");
                let files = tls_of(&upstream.protocol).map(|tls| files_of_upstream(tls, &path));
                key_of(error, path, &files.unwrap_or_default())
            });
            (path.unwrap_or_default(), error.to_string())
        }
        Fault::SecurityEvents(error) => {
            (KeyPath::default().key("security_events").key("webhook"), error.to_string())
        }
        Fault::Acme(error) => (KeyPath::default().key("acme").key("ca"), error.to_string()),
        Fault::Traces(error) => {
            let traces = KeyPath::default().key("traces");
            let is_of_file = matches!(error, AddressError::Tls(_, error) if error.file().is_some());
            (traces.key(if is_of_file { "ca" } else { "otlp" }), error.to_string())
        }
        // Told by the configuration itself already.
        Fault::NoUpstream { .. } => (KeyPath::default(), fault.to_string()),
    }
}

/// Keys, and the files that they name.
type Files<'c> = Vec<(KeyPath, &'c Path)>;

/// The key whose file is at fault; `tls` where that is none of `files`. Of those that name the same file it is the first.
fn key_of(error: &TlsError, tls: KeyPath, files: &Files<'_>) -> KeyPath {
    let found = files.iter().find(|(_, file)| Some(*file) == error.file());
    found.map_or(tls, |(key, _)| key.clone())
}

fn files_of_listener<'c>(protocol: &'c ListenerProtocol, path: &KeyPath) -> Files<'c> {
    let tls = match protocol {
        ListenerProtocol::Http(http) => http.tls.as_ref(),
        ListenerProtocol::IsProxy(isproxy) => isproxy.tls.as_ref(),
        ListenerProtocol::Console(console) => console.tls.as_ref(),
        ListenerProtocol::ForwardAuth(asked) => asked.tls.as_ref(),
        ListenerProtocol::Ops => None,
    };
    let keys = ["certificate", "private_key"];
    match tls.map(|tls| &tls.certificates) {
        Some(CertificateSource::Only(files)) => pair(files, path, keys),
        Some(CertificateSource::Files(files)) => {
            let list = path.key("certificates");
            let pairs = files.iter().enumerate();
            pairs.flat_map(|(position, files)| pair(files, &list.index(position), keys)).collect()
        }
        Some(CertificateSource::Acme(_)) | None => Files::new(),
    }
}

fn files_of_upstream<'c>(tls: &'c UpstreamTls, path: &KeyPath) -> Files<'c> {
    let ca = tls.ca.iter().map(|file| (path.key("ca"), file.as_path()));
    let keys = ["client_certificate", "client_private_key"];
    let client = tls.client.iter().flat_map(|files| pair(files, path, keys));
    client.chain(ca).collect()
}

fn pair<'c>(files: &'c TlsFiles, path: &KeyPath, [certificate, private_key]: [&str; 2]) -> Files<'c> {
    vec![
        (path.key(certificate), files.certificate.as_path()),
        (path.key(private_key), files.private_key.as_path()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::generation::testing::{TEXT, TestFolder};
    use super::*;

    /// The keys at fault, and what is said of them, where `changes` are made to a sound configuration.
    fn found(folder: &TestFolder, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let text = changes.iter().fold(TEXT.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let found = find_unusable(&folder.parse(&text));
        found.into_iter().map(|(path, message)| (path.to_string(), message)).collect()
    }

    #[test]
    fn each_file_that_cannot_be_used_is_told_by_its_key() {
        let folder = TestFolder::new();
        folder.certify("other");
        folder.write("empty.pem", "nothing\n");
        assert_eq!(found(&folder, &[]), []);
        let reached_by = |tls: &str| format!("[https://localhost:9003], tls: {tls}");
        for (from, to, path, message) in [
            ("one.crt", "empty.pem", "listeners[0].tls.certificate", "holds no PEM block with a certificate"),
            ("one.key", "empty.pem", "listeners[0].tls.private_key", "holds no PEM block with a private key"),
            ("one.key", "other.key", "listeners[0].tls.private_key", "does not belong to the certificate"),
            (
                "[http://127.0.0.1:9003]",
                &reached_by("{ ca: empty.pem }"),
                "upstreams[1].tls.ca",
                "holds no PEM block with a certificate",
            ),
            (
                "[http://127.0.0.1:9003]",
                &reached_by("{ ca: one.crt, client_certificate: one.key, client_private_key: one.key }"),
                "upstreams[1].tls.client_certificate",
                "holds no PEM block with a certificate",
            ),
            (
                "[http://127.0.0.1:9003]",
                &reached_by("{ ca: one.crt, client_certificate: one.crt, client_private_key: other.key }"),
                "upstreams[1].tls.client_private_key",
                "does not belong to the certificate",
            ),
            (
                "[127.0.0.1:9001]",
                "[localhost:9001], tls: { ca: empty.pem }",
                "upstreams[2].tls.ca",
                "holds no PEM block with a certificate",
            ),
            (
                "127.0.0.1:2001\n",
                "127.0.0.1:2001\n    tls: { certificate: one.crt, private_key: other.key }\n",
                "listeners[2].tls.private_key",
                "does not belong to the certificate",
            ),
            (
                "{ certificate: one.crt, private_key: one.key }",
                "{ certificates: [{ certificate: one.crt, private_key: other.key }] }",
                "listeners[0].tls.certificates[0].private_key",
                "does not belong to the certificate",
            ),
            (
                "{ certificate: one.crt, private_key: one.key }",
                "{ certificates: [{ certificate: one.crt, private_key: one.key }, { certificate: other.crt, private_key: other.key }] }",
                "listeners[0].tls.certificates[1].certificate",
                "the name localhost of the certificate ",
            ),
            (
                "public_url: http:",
                "tls: { certificate: empty.pem, private_key: one.key }\n    public_url: https:",
                "listeners[4].tls.certificate",
                "holds no PEM block with a certificate",
            ),
        ] {
            let found = found(&folder, &[(from, to)]);
            let [(found_path, found_message)] = found.as_slice() else { panic!("{to}: {found:?}") };
            assert_eq!(found_path, path, "{to}");
            assert!(found_message.contains(message), "{to}: {found_message}");
        }
    }

    #[test]
    fn an_expired_certificate_is_a_warning_and_no_fault() {
        let folder = TestFolder::new();
        assert_eq!(find_warnings(&folder.parse(TEXT)), Vec::<String>::new());
        let mut params = rcgen::CertificateParams::new(vec![String::from("localhost")]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        folder.write("one.crt", &params.self_signed(&key).unwrap().pem());
        folder.write("one.key", &key.serialize_pem());
        assert_eq!(found(&folder, &[]), []);
        let warnings = find_warnings(&folder.parse(TEXT));
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.starts_with("listener `api`: the certificate "), "{warning}");
        assert!(warning.ends_with("one.crt has expired, on 2020-01-01T00:00:00Z"), "{warning}");
    }

    #[test]
    fn all_that_cannot_be_used_is_told_at_once() {
        let folder = TestFolder::new();
        folder.write("empty.pem", "nothing\n");
        let changes = [
            ("one.crt", "empty.pem"),
            ("[http://127.0.0.1:9003]", "[https://localhost:9003], tls: { ca: empty.pem }"),
        ];
        let paths: Vec<String> = found(&folder, &changes).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["upstreams[1].tls.ca", "listeners[0].tls.certificate"]);
    }
}
