//! A certificate that can be shown: its chain with the private key, the names in it, and how long it is good.
//!
//! Whom it is shown to is `choice`'s matter. Nothing here verifies a chain: that is the clients' part.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use super::{TlsError, load_chain, load_key, pem_fault};
use crate::config::TlsFiles;
use crate::model::Timestamp;

/// A certificate with its private key, which belong together.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Loads a pair of files.
    ///
    /// # Errors
    /// A file cannot be used, or the two do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let (chain, key) = (load_chain(&files.certificate)?, load_key(&files.private_key)?);
        Self::new(chain, key, files)
    }

    /// Reads `pem`, which holds the chain and the key and stands in `file`.
    ///
    /// # Errors
    /// It holds none of one of them, or the two do not belong together.
    pub fn parse(pem: &[u8], file: &Path) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| pem_fault(file, &error, "a certificate"))?;
        if chain.is_empty() {
            return Err(pem_fault(file, &pem::Error::NoItemsFound, "a certificate"));
        }
        let key =
            PrivateKeyDer::from_pem_slice(pem).map_err(|error| pem_fault(file, &error, "a private key"))?;
        Self::new(chain, key, &TlsFiles { certificate: file.to_owned(), private_key: file.to_owned() })
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        files: &TlsFiles,
    ) -> Result<Self, TlsError> {
        let unreadable = || TlsError::File {
            file: files.certificate.clone(),
            fault: String::from("holds a certificate that cannot be read"),
        };
        let leaf = chain.first().cloned().ok_or_else(|| {
            let fault = String::from("holds no PEM block with a certificate");
            TlsError::File { file: files.certificate.clone(), fault }
        })?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let key = key.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch {
                certificate: files.certificate.clone(),
                private_key: files.private_key.clone(),
            },
            source => TlsError::Refused { file: files.certificate.clone(), source },
        })?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|_| unreadable())?;
        let names = parsed.subject_alternative_name().map_err(|_| unreadable())?;
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let moment = |seconds: i64| Timestamp::from_unix_milliseconds(seconds.saturating_mul(1_000));
        Ok(Self {
            key: Arc::new(key),
            names: names.collect(),
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
        })
    }

    /// The host names that it is for, in lower case, some with `*` as their first label; without its addresses, which
    /// nobody asks for by name (RFC 6066 §3).
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Is it for this host name, in lower case?
    pub fn covers(&self, host: &str) -> bool {
        let wildcard = host.split_once('.').map(|(_, parent)| parent);
        let is_for =
            |name: &String| name.strip_prefix("*.").map_or(name == host, |parent| wildcard == Some(parent));
        self.names.iter().any(is_for)
    }

    /// From when on it is good.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Up to when it is good.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The certificate itself, without its chain.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }

    /// What a handshake is done with.
    pub(super) const fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;

    #[test]
    fn names_and_times_are_read_from_the_certificate() {
        let folder = Folder::new();
        let files = folder.pair("one", &["API.example", "*.example.net", "192.0.2.1"]);
        let certificate = Certificate::load(&files).unwrap();
        assert_eq!(certificate.names(), ["api.example", "*.example.net"]);
        assert!(certificate.not_before() < certificate.not_after());
        for (host, covered) in [
            ("api.example", true),
            ("a.example.net", true),
            ("example.net", false),
            ("a.b.example.net", false),
            ("192.0.2.1", false),
            ("", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
    }

    #[test]
    fn a_chain_and_its_key_may_stand_in_one_text() {
        let folder = Folder::new();
        let files = folder.pair("one", &["api.example"]);
        let (chain, key) =
            (std::fs::read(&files.certificate).unwrap(), std::fs::read(&files.private_key).unwrap());
        let file = Path::new("both.pem");
        let parsed = Certificate::parse(&[key.clone(), chain.clone()].concat(), file).unwrap();
        assert_eq!(parsed.leaf(), Certificate::load(&files).unwrap().leaf());
        let other = std::fs::read(folder.pair("two", &["api.example"]).private_key).unwrap();
        for (text, expected) in [
            (chain.clone(), "both.pem: holds no PEM block with a private key"),
            (key, "both.pem: holds no PEM block with a certificate"),
            ([chain, other].concat(), "the private key both.pem does not belong to the certificate both.pem"),
        ] {
            assert_eq!(Certificate::parse(&text, file).unwrap_err().to_string(), expected);
        }
    }
}
