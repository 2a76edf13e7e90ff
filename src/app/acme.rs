//! Certificates from an authority: kept, ordered where there is none, and renewed in time (RFC 8555).
//!
//! Listeners with the same names share one certificate. It is read from the cache when a configuration is made ready, so
//! that a gateway starts without its authority, and is ordered and renewed by a task of its own while the gateway runs
//! (`keeping`). Made by `generation`, run by `app` and `reload`.

mod account;
mod cache;
mod directory;
mod keeping;
mod order;
mod questions;
mod schedule;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::cache::{Cache, CacheError};
use self::directory::Directory;
pub(super) use self::keeping::CertificateKeeping;
use self::order::Orderer;
use crate::config::AcmeSettings;
use crate::net::{Certificate, Challenges, IssuedCertificate, TlsError};
use crate::telemetry::CertificateEnd;

/// A certificate that an authority issues for some names, shown by whoever holds it.
#[derive(Debug)]
pub(super) struct KeptCertificate {
    pub(super) issued: Arc<IssuedCertificate>,
    /// What authorities are shown, the same for all certificates of a gateway: they ask at any listener.
    pub(super) challenges: Arc<Challenges>,
    /// When it ends, for the metrics.
    pub(super) end: Arc<CertificateEnd>,
    /// Ends its keeping.
    pub(super) gone: CancellationToken,
    hosts: Vec<String>,
    orderer: Orderer,
}

impl KeptCertificate {
    /// A certificate for `hosts`, from the cache if it is there; nothing is asked for yet.
    ///
    /// # Errors
    /// Nobody vouches for the authority.
    pub(super) fn new(
        settings: &Arc<AcmeSettings>,
        hosts: &[String],
        challenges: &Arc<Challenges>,
    ) -> Result<Self, TlsError> {
        let (directory, cache) = (Directory::new(settings)?, Cache::new(settings));
        let kept = cache.load_certificate(hosts);
        let challenges = Arc::clone(challenges);
        let orderer =
            Orderer { settings: Arc::clone(settings), directory, cache, challenges: Arc::clone(&challenges) };
        let made = Self {
            issued: Arc::default(),
            challenges,
            end: Arc::default(),
            gone: CancellationToken::new(),
            hosts: hosts.to_vec(),
            orderer,
        };
        made.take_over(kept);
        Ok(made)
    }

    /// Is it what these settings and names ask for?
    pub(super) fn is_of(&self, settings: &AcmeSettings, hosts: &[String]) -> bool {
        *self.orderer.settings == *settings && self.hosts == hosts
    }

    fn take_over(&self, kept: Result<Option<Certificate>, CacheError>) {
        let hosts = self.hosts.join(", ");
        match kept {
            Ok(Some(certificate)) if self.hosts.iter().all(|host| certificate.covers(host)) => {
                tracing::info!(hosts, until = %certificate.not_after(), "an issued certificate is in the cache");
                self.put_in_force(certificate);
            }
            Ok(Some(_)) => {
                tracing::warn!(hosts, "the certificate in the cache is for other names, and not used");
            }
            Ok(None) => {
                tracing::warn!(hosts, "no certificate was issued yet: handshakes are refused until one is");
            }
            Err(error) => tracing::warn!(hosts, %error, "the certificate in the cache is not used"),
        }
    }

    fn put_in_force(&self, certificate: Certificate) {
        self.end.set(certificate.not_after());
        self.issued.replace(certificate);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::AcmeChallenge;

    fn settings(folder: &Path) -> Arc<AcmeSettings> {
        let ca = rcgen::generate_simple_self_signed(vec![String::from("localhost")]).unwrap();
        std::fs::write(folder.join("ca.crt"), ca.cert.pem()).unwrap();
        Arc::new(AcmeSettings {
            directory: String::from("https://localhost:1/dir"),
            contact: Vec::new(),
            challenge: AcmeChallenge::TlsAlpn01,
            cache: folder.join("acme"),
            ca: Some(folder.join("ca.crt")),
            external_account: None,
        })
    }

    fn keep(settings: &AcmeSettings, hosts: &[String], names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        Cache::new(settings).keep_certificate(hosts, &pem).unwrap();
    }

    #[test]
    fn a_certificate_that_was_kept_is_shown_without_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) = (settings(folder.path()), vec![String::from("a.example")]);
        let none = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert!(none.issued.present().is_none());
        keep(&settings, &hosts, &["a.example", "b.example"]);
        let kept = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert_eq!(kept.issued.present().unwrap().names(), ["a.example", "b.example"]);
        assert!(kept.is_of(&settings, &hosts) && !kept.is_of(&settings, &[String::from("b.example")]));
    }

    #[test]
    fn a_certificate_for_other_names_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) = (settings(folder.path()), vec![String::from("a.example")]);
        keep(&settings, &hosts, &["b.example"]);
        let kept = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert!(kept.issued.present().is_none());
    }

    #[test]
    fn an_authority_that_nobody_vouches_for_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        std::fs::write(folder.path().join("ca.crt"), "nothing").unwrap();
        let error =
            KeptCertificate::new(&settings, &[String::from("a.example")], &Arc::default()).unwrap_err();
        assert!(error.to_string().ends_with("holds no PEM block with a certificate"), "{error}");
    }
}
