//! The task that keeps one certificate: waits until it is to be renewed, orders, and tries again after a failure.
//!
//! One order at a time: they share the address of HTTP-01.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::KeptCertificate;
use super::order::OrderError;
use super::schedule::{renewal_due, wait_seconds, within_window};
use crate::auth::{ControlPlane, Event, EventKind};
use crate::clock::Clock;
use crate::crypto::random;
use crate::model::Timestamp;
use crate::net::Certificate;

/// How often the clock is looked at and the authority is asked whether it would have a certificate replaced early
/// (RFC 9773 §4.3.3 names this time).
const LOOK_EVERY: Duration = Duration::from_hours(6);

/// Keeps certificates while the gateway runs.
#[derive(Clone)]
pub(in crate::app) struct CertificateKeeping {
    /// Acts for the gateway.
    pub(in crate::app) plane: ControlPlane,
    pub(in crate::app) clock: Clock,
    pub(in crate::app) tasks: TaskTracker,
    pub(in crate::app) stop: CancellationToken,
    /// Who orders at present.
    pub(in crate::app) turn: Arc<Mutex<()>>,
}

impl CertificateKeeping {
    /// Keeps `certificates` until they are gone, or the gateway stops.
    pub(in crate::app) fn spawn<'a>(&self, certificates: impl IntoIterator<Item = &'a Arc<KeptCertificate>>) {
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
        self.tell_what_is_shown();
        loop {
            self.until_due().await;
            self.until_obtained().await;
        }
    }

    fn tell_what_is_shown(&self) {
        let hosts = self.kept.names();
        match (self.kept.own(), self.kept.issued.present()) {
            (None, Some(present)) => tracing::warn!(
                hosts,
                until = %present.not_after(),
                "no certificate was issued yet: the one of before is shown until one is"
            ),
            (None, None) => {
                tracing::warn!(hosts, "no certificate was issued yet: handshakes are refused until one is");
            }
            (Some(_), _) => {}
        }
    }

    /// Waits until the present certificate is to be renewed; at once where there is none.
    async fn until_due(&mut self) {
        while let Some(present) = self.kept.own() {
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
        let present = self.kept.own();
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
