//! TLS for listeners: certificate and key from PEM files into a rustls configuration.
//!
//! One provider (aws-lc-rs), TLS 1.2 and 1.3 with forward secrecy and AEAD only, as rustls has no others; tickets
//! whose keys rotate every few hours; no early data, because that can be replayed (S76). Reloading is the caller's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

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
}

impl TlsError {
    /// The file that is to be looked at first; `None` where no file is at fault.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. }
            | Self::KeyMismatch { private_key: file, .. }
            | Self::Refused { file, .. } => Some(file),
            Self::NoName(_) | Self::NoAuthorities => None,
        }
    }
}

/// Loads `files` and offers `alpn`, the most wanted protocol first (`h2`, `http/1.1`); none for `IsProxy`.
pub fn server_config(files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = load_chain(&files.certificate)?;
    let key = load_key(&files.private_key)?;
    let refused = |source| TlsError::Refused { file: files.certificate.clone(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch {
                certificate: files.certificate.clone(),
                private_key: files.private_key.clone(),
            },
            source => TlsError::Refused { file: files.certificate.clone(), source },
        })?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
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
mod tests {
    use std::fs;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn pair(&self, name: &str) -> TlsFiles {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            TlsFiles {
                certificate: self.write(&format!("{name}.crt"), &made.cert.pem()),
                private_key: self.write(&format!("{name}.key"), &made.signing_key.serialize_pem()),
            }
        }
    }

    #[test]
    fn s76_a_pair_is_loaded_with_tickets_and_without_early_data() {
        let folder = Folder::new();
        let config = server_config(&folder.pair("one"), &[b"h2", b"http/1.1"]).unwrap();
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
            private_key: folder.pair("two").private_key,
            certificate: folder.pair("one").certificate,
        };
        let error = server_config(&mixed, &[]).unwrap_err();
        assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn faults_name_the_file_and_what_is_wrong_with_it() {
        let folder = Folder::new();
        let good = folder.pair("good");
        let missing = folder.0.path().join("missing.pem");
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
            let error = server_config(&files, &[]).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error} — expected {expected}");
        }
    }
}
