//! Certificates from an authority: kept, ordered where there is none, and renewed in time (RFC 8555).
//!
//! Listeners with the same names share one certificate. It is read from the cache when a configuration is made ready, so
//! that a gateway starts without its authority, and is ordered and renewed by a task of its own while the gateway runs.
//! One order at a time: they share the address of HTTP-01. Made by `generation`, run by `app` and `reload`.

mod cache;
mod directory;
mod order;
mod questions;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cache::{Cache, CacheError};
use self::directory::Directory;
use self::order::{OrderError, Orderer};
use self::schedule::{renewal_due, wait_seconds, within_window};
use crate::auth::{ControlPlane, Event, EventKind};
use crate::clock::Clock;
use crate::config::AcmeSettings;
use crate::crypto::random;
use crate::model::Timestamp;
use crate::net::{Certificate, Challenges, IssuedCertificate, TlsError};
use crate::telemetry::CertificateEnd;

/// How often the clock is looked at and the authority is asked whether it would have a certificate replaced early
/// (RFC 9773 §4.3.3 names this time).
const LOOK_EVERY: Duration = Duration::from_hours(6);

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

/// Keeps certificates while the gateway runs.
#[derive(Clone)]
pub(super) struct CertificateKeeping {
    /// Acts for the gateway.
    pub(super) plane: ControlPlane,
    pub(super) clock: Clock,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Who orders at present.
    pub(super) turn: Arc<Mutex<()>>,
}

impl CertificateKeeping {
    /// Keeps `certificates` until they are gone, or the gateway stops.
    pub(super) fn spawn<'a>(&self, certificates: impl IntoIterator<Item = &'a Arc<KeptCertificate>>) {
        for certificate in certificates {
            let keeper = Keeper {
                kept: Arc::clone(certificate),
                keeping: self.clone(),
                account: None,
                suggested: None,
                draw: 0,
            };
            let until_gone = certificate.gone.clone().run_until_cancelled_owned(keeper.run());
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(until_gone));
        }
    }
}

/// One certificate's keeper.
struct Keeper {
    kept: Arc<KeptCertificate>,
    keeping: CertificateKeeping,
    /// Once it was needed.
    account: Option<Account>,
    /// When the authority would have the present certificate replaced, drawn from the window that it names.
    suggested: Option<Timestamp>,
    /// Decides where in its time the present certificate is renewed.
    draw: u64,
}

impl Keeper {
    async fn run(mut self) {
        self.draw = random::bits().unwrap_or_default();
        loop {
            self.until_due().await;
            self.until_obtained().await;
        }
    }

    /// Waits until the present certificate is to be renewed; at once where there is none.
    async fn until_due(&mut self) {
        while let Some(present) = self.kept.issued.present() {
            self.ask_for_suggestion(&present).await;
            let due = renewal_due(present.not_before(), present.not_after(), self.draw);
            let due = self.suggested.map_or(due, |suggested| suggested.min(due));
            let left = due.unix_milliseconds().saturating_sub(self.keeping.clock.now().unix_milliseconds());
            let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return };
            // In steps: a clock may be set, and a machine may have slept.
            sleep(Duration::from_millis(left).min(LOOK_EVERY)).await;
        }
    }

    async fn ask_for_suggestion(&mut self, present: &Certificate) {
        let turn = Arc::clone(&self.keeping.turn);
        let told = async {
            // An account is made once, though several certificates may want it.
            let _turn = turn.lock().await;
            let account = self.account().await?;
            self.kept.orderer.renewal_info(&account, present).await
        };
        match told.await {
            Ok(Some(info)) => {
                let moment = |at: time::OffsetDateTime| {
                    Timestamp::from_unix_milliseconds(at.unix_timestamp().saturating_mul(1_000))
                };
                let window = info.suggested_window;
                self.suggested = Some(within_window(moment(window.start), moment(window.end), self.draw));
            }
            Ok(None) => self.suggested = None,
            Err(error) => {
                let error = error.to_string();
                tracing::debug!(?error, "the certificate authority could not be asked about renewal");
            }
        }
    }

    async fn account(&mut self) -> Result<Account, OrderError> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let account = self.kept.orderer.account().await?;
        self.account = Some(account.clone());
        Ok(account)
    }

    /// Orders again and again, with growing waits, until there is a new certificate.
    async fn until_obtained(&mut self) {
        let hosts = self.kept.hosts.join(", ");
        let mut failures = 1_u32;
        loop {
            match self.obtain(failures).await {
                Ok(until) => {
                    self.draw = random::bits().unwrap_or_default();
                    self.suggested = None;
                    tracing::info!(hosts, %until, "a certificate was issued, and is in force");
                    let event = Event::new(EventKind::CertificateIssued).with("until", until);
                    return self.record(event, &hosts).await;
                }
                Err(error) => {
                    // What the authority knows of it may have changed.
                    self.account = None;
                    let wait = wait_seconds(failures, random::bits().unwrap_or_default());
                    // What the authority says is a peer's text.
                    let why = error.to_string();
                    tracing::error!(hosts, failures, again_in_seconds = wait, error = ?why, "no certificate was issued");
                    let event = Event::new(EventKind::CertificateRefused).with("failures", failures);
                    self.record(event.with("error", why), &hosts).await;
                    sleep(Duration::from_secs(u64::try_from(wait).unwrap_or_default())).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Orders once, and puts what comes of it in force; until when it is good.
    async fn obtain(&mut self, attempt: u32) -> Result<Timestamp, OrderError> {
        let turn = Arc::clone(&self.keeping.turn);
        let _turn = turn.lock().await;
        let account = self.account().await?;
        let present = self.kept.issued.present();
        // Only to an authority that has said something of it, and not again after it was refused.
        let replaced = present.as_deref().filter(|_| self.suggested.is_some() && attempt == 1);
        let certificate = self.kept.orderer.obtain(&account, &self.kept.hosts, replaced).await?;
        let until = certificate.not_after();
        self.kept.put_in_force(certificate);
        Ok(until)
    }

    /// Writes into the audit trail. A store that is away keeps nothing from being renewed.
    async fn record(&self, event: Event, hosts: &str) {
        if let Err(error) = self.keeping.plane.record(event.about_thing(None, hosts)).await {
            tracing::warn!(%error, "a certificate's order could not be written into the audit trail");
        }
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
