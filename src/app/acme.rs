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
#[cfg(test)]
mod testing;
mod unwritten;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use self::cache::{Cache, CacheError};
use self::directory::Directory;
pub(super) use self::keeping::CertificateKeeping;
use self::order::Orderer;
use crate::config::AcmeSettings;
use crate::model::Timestamp;
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
    /// Sorted.
    hosts: Vec<String>,
    orderer: Orderer,
    /// Is what is shown another one than is asked for, until that is there?
    is_stand_in: AtomicBool,
}

impl KeptCertificate {
    /// A certificate for `hosts`, which are sorted, from the cache if it is there; nothing is asked for yet.
    ///
    /// # Errors
    /// Nobody vouches for the authority.
    pub(super) fn new(
        settings: &Arc<AcmeSettings>,
        hosts: &[String],
        challenges: &Arc<Challenges>,
    ) -> Result<Self, TlsError> {
        // Read anew by each order: whom it trusts may change while the settings stay.
        Directory::new(settings)?;
        let challenges = Arc::clone(challenges);
        let cache = Cache::new(settings);
        let made = Self {
            issued: Arc::default(),
            challenges: Arc::clone(&challenges),
            end: Arc::default(),
            gone: CancellationToken::new(),
            hosts: hosts.to_vec(),
            orderer: Orderer { settings: Arc::clone(settings), cache, challenges },
            is_stand_in: AtomicBool::new(false),
        };
        made.take_over(made.orderer.cache.load_certificate(hosts));
        Ok(made)
    }

    /// Is it what these settings and names ask for?
    pub(super) fn is_of(&self, settings: &AcmeSettings, hosts: &[String]) -> bool {
        *self.orderer.settings == *settings && self.hosts == hosts
    }

    /// The names that it is for, for people.
    pub(super) fn names(&self) -> String {
        self.hosts.join(", ")
    }

    /// Shows the one of `others` that is for the most of its names until one is issued, where none is shown that clients
    /// would take at `now`.
    pub(super) fn show_meanwhile(&self, others: Vec<Arc<Certificate>>, now: Timestamp) {
        if self.issued.present().is_some_and(|present| present.not_after() > now) {
            return;
        }
        let covered = |other: &Arc<Certificate>| self.hosts.iter().filter(|host| other.covers(host)).count();
        // Of several that are as good it is the first.
        let good = others.into_iter().rev().filter(|other| other.not_after() > now);
        if let Some(best) = good.max_by_key(covered) {
            self.show(best);
            self.is_stand_in.store(true, Ordering::Relaxed);
        }
    }

    /// What was issued for these names; `None`: nothing yet, whatever is shown meanwhile.
    fn own(&self) -> Option<Arc<Certificate>> {
        self.issued.present().filter(|_| !self.is_stand_in.load(Ordering::Relaxed))
    }

    fn take_over(&self, kept: Result<Option<Certificate>, CacheError>) {
        let hosts = self.names();
        match kept {
            Ok(Some(certificate)) if self.is_covered_by(&certificate) => {
                tracing::info!(hosts, until = %certificate.not_after(), "an issued certificate is in the cache");
                self.put_in_force(certificate);
            }
            Ok(Some(_)) => {
                tracing::warn!(hosts, "the certificate in the cache is for other names, and not used");
            }
            // Its keeper tells.
            Ok(None) => {}
            Err(error) => tracing::warn!(hosts, %error, "the certificate in the cache is not used"),
        }
    }

    /// Takes a better one than is shown from the cache, where the process before this one has put it since. Reads a file.
    fn look_into_cache_again(&self, now: Timestamp) {
        if let Ok(Some(kept)) = self.orderer.cache.load_certificate(&self.hosts)
            && self.is_covered_by(&kept)
            && kept.not_after() > self.own().map_or(now, |own| own.not_after().max(now))
        {
            tracing::info!(hosts = self.names(), until = %kept.not_after(), "a newer certificate is in the cache");
            self.put_in_force(kept);
        }
    }

    fn is_covered_by(&self, certificate: &Certificate) -> bool {
        self.hosts.iter().all(|host| certificate.covers(host))
    }

    fn put_in_force(&self, certificate: Certificate) {
        self.show(Arc::new(certificate));
        self.is_stand_in.store(false, Ordering::Relaxed);
    }

    fn show(&self, certificate: Arc<Certificate>) {
        self.end.set(certificate.not_after());
        self.issued.replace(certificate);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::cache::keep;
    use super::*;
    use crate::auth::testing::NOW;
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

    fn put_into_cache(settings: &AcmeSettings, hosts: &[String], names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        keep(&Cache::new(settings).certificate_file(hosts), pem.as_bytes()).unwrap();
    }

    #[test]
    fn a_certificate_that_was_kept_is_shown_without_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) = (settings(folder.path()), vec![String::from("a.example")]);
        let none = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert!(none.issued.present().is_none());
        put_into_cache(&settings, &hosts, &["a.example", "b.example"]);
        let kept = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert_eq!(kept.issued.present().unwrap().names(), ["a.example", "b.example"]);
        assert!(kept.is_of(&settings, &hosts) && !kept.is_of(&settings, &[String::from("b.example")]));
    }

    #[test]
    fn a_certificate_for_other_names_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) = (settings(folder.path()), vec![String::from("a.example")]);
        put_into_cache(&settings, &hosts, &["b.example"]);
        let kept = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        assert!(kept.issued.present().is_none());
    }

    fn certificate(names: &[&str], until: i32) -> Arc<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
        Arc::new(Certificate::parse(pem.as_bytes(), Path::new("a.pem")).unwrap())
    }

    #[test]
    fn until_one_is_issued_the_best_of_those_before_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) =
            (settings(folder.path()), vec![String::from("a.example"), String::from("b.example")]);
        let none = || KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        let (old, one) = (certificate(&["a.example", "b.example"], 2020), certificate(&["b.example"], 2030));
        let other = certificate(&["c.example"], 2040);
        for (before, expected) in [
            (vec![&old], None),
            (vec![&other, &one, &old], Some(&one)),
            (vec![&other], Some(&other)),
            (vec![], None),
        ] {
            let kept = none();
            kept.show_meanwhile(before.into_iter().map(Arc::clone).collect(), NOW);
            let shown = kept.issued.present();
            assert!(match (&shown, expected) {
                (Some(shown), Some(expected)) => Arc::ptr_eq(shown, expected),
                (shown, expected) => shown.is_none() && expected.is_none(),
            });
            assert!(kept.own().is_none(), "it is ordered all the same");
        }
        put_into_cache(&settings, &hosts, &["a.example", "b.example"]);
        let kept = none();
        kept.show_meanwhile(vec![one], NOW);
        assert_eq!(kept.own().unwrap().names(), hosts, "what is its own goes before");
    }

    #[test]
    fn what_another_process_has_put_into_the_cache_since_is_taken_if_it_is_better() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, hosts) = (settings(folder.path()), vec![String::from("a.example")]);
        let kept = KeptCertificate::new(&settings, &hosts, &Arc::default()).unwrap();
        put_into_cache(&settings, &hosts, &["b.example"]);
        kept.look_into_cache_again(NOW);
        assert!(kept.own().is_none(), "it is for other names");
        put_into_cache(&settings, &hosts, &["a.example"]);
        kept.look_into_cache_again(NOW);
        let first = kept.own().unwrap();
        put_into_cache(&settings, &hosts, &["a.example"]);
        kept.look_into_cache_again(NOW);
        assert!(Arc::ptr_eq(&first, &kept.own().unwrap()), "the other one ends no later");
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
