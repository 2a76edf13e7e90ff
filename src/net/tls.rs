//! TLS for listeners: certificates and how they are offered, as a rustls configuration.
//!
//! One provider (aws-lc-rs), TLS 1.2 and 1.3 with forward secrecy and AEAD only, as rustls has no others; tickets
//! whose keys rotate every few hours; no early data, because that can be replayed (S76). Reloading is the caller's.

mod certificate;
mod choice;
mod issued;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCert;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use certificate::Certificate;
pub use choice::CertificatesByName;
pub use issued::{ACME_TLS_ALPN, Challenges, ExpectedQuestion, IssuedByName, IssuedCertificate, shake_hands};

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {fault}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The two files are each right, and do not belong together.
    #[error(
        "the private key {} does not belong to the certificate {}",
        private_key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
    },
    /// Nobody could tell which of two certificates is meant.
    #[error("the name {name} of the certificate {} stands in {}, too", certificate.display(), other.display())]
    SameName {
        /// What both are for.
        name: String,
        /// The file of the first.
        other: PathBuf,
        /// The file of the second.
        certificate: PathBuf,
    },
    /// A certificate that no client asks for by name.
    #[error(
        "the certificate {} holds no host name, so that no client would be shown it; put it first, or leave it out",
        .0.display()
    )]
    Nameless(PathBuf),
    /// No certificate can be for a server.
    #[error("no certificate can be for {0}")]
    NoName(String),
    /// The system has no certificates of authorities.
    #[error(
        "the system has no authorities to trust (package `ca-certificates`, or SSL_CERT_FILE); or name one in `tls: {{ ca: FILE }}`"
    )]
    NoAuthorities,
    /// The library refuses what was given, or has no random numbers.
    #[error("{}: {source}", file.display())]
    Refused {
        /// The chain's file.
        file: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
    /// The library has no random numbers.
    #[error("TLS cannot be offered: {0}")]
    Library(rustls::Error),
}

impl TlsError {
    /// The file that is to be looked at first; `None` where no file is at fault.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. }
            | Self::KeyMismatch { private_key: file, .. }
            | Self::SameName { certificate: file, .. }
            | Self::Nameless(file)
            | Self::Refused { file, .. } => Some(file),
            Self::NoName(_) | Self::NoAuthorities | Self::Library(_) => None,
        }
    }
}

/// Are sessions of before resumed?
#[derive(Clone, Copy, Debug)]
pub enum Sessions<'a> {
    /// There are none, or they end: tickets get new keys.
    New,
    /// Those of this configuration go on.
    Continue(&'a ServerConfig),
}

/// Shows what `certificates` chooses, and offers `alpn`, the most wanted protocol first (`h2`, `http/1.1`); none for
/// `IsProxy`.
///
/// # Errors
/// The library has no random numbers for tickets.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    alpn: &[&[u8]],
    sessions: Sessions<'_>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Library)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = match sessions {
        Sessions::New => aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?,
        Sessions::Continue(before) => Arc::clone(&before.ticketer),
    };
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

pub(super) fn load_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| pem_fault(file, &error, "a certificate");
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)?;
    if chain.is_empty() {
        return Err(pem_fault(file, &pem::Error::NoItemsFound, "a certificate"));
    }
    Ok(chain)
}

pub(super) fn load_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| pem_fault(file, &error, "a private key"))
}

/// Names the file and what is wrong with it, never what stands in it.
fn pem_fault(file: &Path, error: &pem::Error, wanted: &str) -> TlsError {
    let fault = match error {
        pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => "file not found".to_owned(),
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no PEM block with {wanted}"),
        _ => format!("is not well-formed PEM with {wanted}"),
    };
    TlsError::File { file: file.to_owned(), fault }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fs;

    use super::*;
    use crate::config::{TlsFiles, UnknownNames};

    /// A folder with certificates, gone with this value.
    pub(crate) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub(crate) fn path(&self) -> &Path {
            self.0.path()
        }

        pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        /// Writes `NAME.crt` for `hosts`, and `NAME.key`.
        pub(crate) fn pair(&self, name: &str, hosts: &[&str]) -> TlsFiles {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
            let made = rcgen::generate_simple_self_signed(hosts).unwrap();
            TlsFiles {
                certificate: self.write(&format!("{name}.crt"), &made.cert.pem()),
                private_key: self.write(&format!("{name}.key"), &made.signing_key.serialize_pem()),
            }
        }

        /// Writes `NAME.crt` for `host`, good from 2010 up to the beginning of the year `until`, and `NAME.key`.
        pub(crate) fn pair_until(&self, name: &str, host: &str, until: i32) -> TlsFiles {
            let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(2010, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            TlsFiles {
                certificate: self.write(&format!("{name}.crt"), &params.self_signed(&key).unwrap().pem()),
                private_key: self.write(&format!("{name}.key"), &key.serialize_pem()),
            }
        }
    }

    /// What shows the one certificate of `files`, whatever name is asked for.
    pub(crate) fn server_config_of(files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let certificate = Certificate::load(files)?;
        let only = CertificatesByName::new([(&certificate, &files.certificate)], UnknownNames::First)?;
        server_config(Arc::new(only), alpn, Sessions::New)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};
    use rustls_pki_types::ServerName;

    use super::testing::{Folder, server_config_of};
    use super::*;
    use crate::config::{TlsFiles, UnknownNames};

    #[test]
    fn s76_a_pair_is_loaded_with_tickets_and_without_early_data() {
        let folder = Folder::new();
        let config = server_config_of(&folder.pair("one", &["localhost"]), &[b"h2", b"http/1.1"]).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(config.max_early_data_size, 0);
        assert!(config.ticketer.enabled());
        assert!(config.ticketer.lifetime() <= 24 * 3600, "tickets rotate within a day");
        for suite in &config.crypto_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(!name.contains("_CBC_"), "{name}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = Folder::new();
        let mixed = TlsFiles {
            private_key: folder.pair("two", &["localhost"]).private_key,
            certificate: folder.pair("one", &["localhost"]).certificate,
        };
        let error = server_config_of(&mixed, &[]).unwrap_err();
        assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn faults_name_the_file_and_what_is_wrong_with_it() {
        let folder = Folder::new();
        let good = folder.pair("good", &["localhost"]);
        let missing = folder.path().join("missing.pem");
        let empty = folder.write("empty.pem", "nothing in here\n");
        let broken =
            folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
        for (certificate, private_key, expected) in [
            (&missing, &good.private_key, "missing.pem: file not found"),
            (&empty, &good.private_key, "empty.pem: holds no PEM block with a certificate"),
            (&good.private_key, &good.private_key, "good.key: holds no PEM block with a certificate"),
            (&broken, &good.private_key, "broken.pem: is not well-formed PEM with a certificate"),
            (&good.certificate, &good.certificate, "good.crt: holds no PEM block with a private key"),
            (&good.certificate, &missing, "missing.pem: file not found"),
        ] {
            let files = TlsFiles { certificate: certificate.clone(), private_key: private_key.clone() };
            let error = server_config_of(&files, &[]).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error} — expected {expected}");
        }
    }

    /// Two certificates of one listener, and a client that trusts both.
    struct Two {
        folder: Folder,
        files: [TlsFiles; 2],
    }

    impl Two {
        fn new() -> Self {
            let folder = Folder::new();
            Self { files: [folder.pair("a", &["a.example"]), folder.pair("b", &["b.example"])], folder }
        }

        fn server(&self, sessions: Sessions<'_>) -> Arc<ServerConfig> {
            let loaded =
                self.files.each_ref().map(|files| (Certificate::load(files).unwrap(), &files.certificate));
            let loaded = loaded.iter().map(|(certificate, file)| (certificate, *file));
            let by_name = CertificatesByName::new(loaded, UnknownNames::First).unwrap();
            server_config(Arc::new(by_name), &[], sessions).unwrap()
        }

        fn client(&self) -> ClientConfig {
            let mut trusted = RootCertStore::empty();
            for files in &self.files {
                trusted.add(load_chain(&files.certificate).unwrap().remove(0)).unwrap();
            }
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(trusted)
                .with_no_client_auth()
        }
    }

    /// Shakes hands under `name`, and takes the tickets; what came of it, and the certificate that the client was shown.
    fn shake_hands(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> (HandshakeKind, Option<CertificateDer<'static>>) {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        for _ in 0..4 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| server.read_tls(bytes));
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| client.read_tls(bytes));
            client.process_new_packets().unwrap();
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let shown = client.peer_certificates().and_then(|chain| chain.first()).cloned();
        (client.handshake_kind().unwrap(), shown)
    }

    fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
        while !bytes.is_empty() {
            read(&mut bytes).unwrap();
        }
    }

    #[test]
    fn s76_each_name_is_shown_its_certificate_and_sessions_of_one_are_not_resumed_under_another() {
        let two = Two::new();
        let (server, client) = (two.server(Sessions::New), Arc::new(two.client()));
        for (name, files) in [("a.example", &two.files[0]), ("b.example", &two.files[1])] {
            let (kind, shown) = shake_hands(&server, &client, name);
            assert_eq!(
                (kind, shown),
                (HandshakeKind::Full, Certificate::load(files).unwrap().leaf().cloned())
            );
            assert_eq!(shake_hands(&server, &client, name).0, HandshakeKind::Resumed, "{name}");
        }
        // A client that brings the ticket of another name, as none does by itself.
        let mut mixing = two.client();
        mixing.resumption = rustls::client::Resumption::store(Arc::new(AnyName::default()));
        let mixing = Arc::new(mixing);
        assert_eq!(shake_hands(&server, &mixing, "a.example").0, HandshakeKind::Full);
        assert_eq!(shake_hands(&server, &mixing, "a.example").0, HandshakeKind::Resumed);
        let (kind, shown) = shake_hands(&server, &mixing, "b.example");
        assert_eq!(kind, HandshakeKind::Full, "a ticket counts under its own name alone");
        assert_eq!(shown, Certificate::load(&two.files[1]).unwrap().leaf().cloned());
    }

    #[test]
    fn sessions_go_on_with_a_new_certificate_where_that_is_asked_for() {
        let two = Two::new();
        let (before, client) = (two.server(Sessions::New), Arc::new(two.client()));
        shake_hands(&before, &client, "b.example");
        two.folder.pair("a", &["a.example"]);
        let after = two.server(Sessions::Continue(&before));
        assert_eq!(shake_hands(&after, &client, "b.example").0, HandshakeKind::Resumed);
        assert_eq!(shake_hands(&two.server(Sessions::New), &client, "b.example").0, HandshakeKind::Full);
    }

    #[test]
    fn a_name_with_a_trailing_dot_is_the_same_name() {
        let client = Arc::new(Two::new().client());
        let name = ServerName::try_from("a.exampleX").unwrap();
        let mut client = ClientConnection::new(client, name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        // Clients of this library send none.
        let at = wire.windows(10).position(|bytes| bytes == b"a.exampleX").unwrap();
        wire[at + 9] = b'.';
        let mut server = rustls::server::Acceptor::default();
        feed(&wire, |bytes| server.read_tls(bytes));
        let accepted = server.accept().unwrap().unwrap();
        assert_eq!(accepted.client_hello().server_name(), Some("a.example"));
    }

    /// Keeps the tickets of all names in one place.
    #[derive(Debug, Default)]
    struct AnyName(std::sync::Mutex<Vec<rustls::client::Tls13ClientSessionValue>>);

    impl rustls::client::ClientSessionStore for AnyName {
        fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}

        fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
            None
        }

        fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {}

        fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
            None
        }

        fn remove_tls12_session(&self, _: &ServerName<'static>) {}

        fn insert_tls13_ticket(
            &self,
            _: ServerName<'static>,
            value: rustls::client::Tls13ClientSessionValue,
        ) {
            self.0.lock().unwrap().push(value);
        }

        fn take_tls13_ticket(
            &self,
            _: &ServerName<'static>,
        ) -> Option<rustls::client::Tls13ClientSessionValue> {
            self.0.lock().unwrap().pop()
        }
    }
}
