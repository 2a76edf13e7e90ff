//! The task that keeps one certificate: waits until it is to be renewed, orders, and tries again after a failure.
//!
//! One order at a time: they share the address of HTTP-01, and the account. What asks an authority runs in a task of its
//! own, so that not even a panic in a library ends the keeping.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use zeroize::Zeroizing;

use super::KeptCertificate;
use super::order::{OrderError, Replacing, Wanted};
use super::schedule::{renewal_due, wait_seconds, within_window};
use super::unwritten::Unwritten;
use crate::auth::{ControlPlane, Event, EventKind};
use crate::clock::Clock;
use crate::crypto::random;
use crate::model::Timestamp;
use crate::net::Certificate;

/// How often the clock is looked at, and what is not written yet is written again.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// How often the authority is asked whether it would have a certificate replaced early (RFC 9773 §4.3.3 names this time).
const ASK_EVERY: Duration = Duration::from_hours(6);
/// A certificate that was just issued is not asked about: an authority that would have each one replaced at once is left
/// in peace for so long.
const YOUNG_FOR: Duration = Duration::from_hours(1);
/// How long an order, or a question, may take altogether.
const DONE_WITHIN: Duration = Duration::from_mins(15);

/// Keeps certificates while the gateway runs.
#[derive(Clone)]
pub(in crate::app) struct CertificateKeeping {
    /// Acts for the gateway.
    plane: ControlPlane,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Whoever orders at present has it, with what is not written yet.
    turn: Arc<Mutex<Unwritten>>,
    /// Wakes who waits after a failure.
    again: Arc<watch::Sender<()>>,
}

impl CertificateKeeping {
    /// Keeps certificates by `tasks` until `stop`; what becomes of them is written into the audit trail by `plane`.
    pub(in crate::app) fn new(
        plane: &ControlPlane,
        clock: &Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (plane, clock, tasks) = (plane.clone(), clock.clone(), tasks.clone());
        let (turn, again) = (Arc::default(), Arc::new(watch::Sender::new(())));
        Self { plane, clock, tasks, stop: stop.child_token(), turn, again }
    }

    /// Keeps `certificates` until they are gone, or the gateway stops.
    pub(in crate::app) fn spawn<'a>(&self, certificates: impl IntoIterator<Item = &'a Arc<KeptCertificate>>) {
        for certificate in certificates {
            let keeper = Keeper::new(Arc::clone(certificate), self.clone());
            let until_gone = certificate.gone.clone().run_until_cancelled_owned(keeper.run());
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(until_gone));
        }
    }

    /// Whoever waits after a failure tries again at once: what was in the way may be gone.
    pub(in crate::app) fn try_again(&self) {
        self.again.send_replace(());
    }

    /// Keeps none any more: another process does.
    pub(in crate::app) fn leave(&self) {
        self.stop.cancel();
    }
}

/// One certificate's keeper.
struct Keeper {
    kept: Arc<KeptCertificate>,
    keeping: CertificateKeeping,
    /// Orders in a row that brought nothing which lasts.
    failures: u32,
    again: watch::Receiver<()>,
    /// When the authority would have the present certificate replaced, drawn from the window that it names.
    suggested: Option<Timestamp>,
    /// When it is asked for that.
    ask_at: Instant,
    /// Decides where in its time the present certificate is renewed.
    draw: u64,
}

/// What came of an order.
struct Obtained {
    not_before: Timestamp,
    not_after: Timestamp,
    /// Why what was issued is not written yet.
    unwritten: Option<String>,
}

impl Keeper {
    fn new(kept: Arc<KeptCertificate>, keeping: CertificateKeeping) -> Self {
        let (again, draw) = (keeping.again.subscribe(), random::bits().unwrap_or_default());
        Self { kept, keeping, failures: 0, again, suggested: None, ask_at: Instant::now(), draw }
    }

    async fn run(mut self) {
        self.begin().await;
        loop {
            self.until_due().await;
            let wait = self.order().await;
            self.rest(wait).await;
        }
    }

    /// Takes what the process before this one may have put into the cache since it was read, and tells what is shown.
    async fn begin(&self) {
        self.write_again().await;
        let (kept, now) = (Arc::clone(&self.kept), self.keeping.clock.now());
        if let Err(error) = spawn_blocking(move || kept.look_into_cache_again(now)).await {
            tracing::warn!(%error, "the cache of certificates could not be looked into");
        }
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

    /// Waits until the present certificate is to be renewed; at once where there is none for these names.
    async fn until_due(&mut self) {
        loop {
            self.write_again().await;
            let Some(present) = self.kept.own() else { return };
            if self.ask_at <= Instant::now() {
                self.ask_for_suggestion(Arc::clone(&present)).await;
            }
            let due = renewal_due(present.not_before(), present.not_after(), self.draw);
            let due = self.suggested.map_or(due, |suggested| suggested.min(due));
            let left = due.unix_milliseconds().saturating_sub(self.keeping.clock.now().unix_milliseconds());
            let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return };
            // In steps: a clock may be set, and a machine may have slept.
            let step = Duration::from_millis(left).min(LOOK_EVERY);
            sleep(step.min(self.ask_at.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Writes what could not be written before, unless somebody orders, who writes, too.
    async fn write_again(&self) {
        if let Ok(mut unwritten) = self.keeping.turn.try_lock() {
            unwritten.write_again().await;
        }
    }

    async fn ask_for_suggestion(&mut self, present: Arc<Certificate>) {
        self.ask_at = Instant::now() + ASK_EVERY;
        let mut unwritten = Arc::clone(&self.keeping.turn).lock_owned().await;
        let kept = Arc::clone(&self.kept);
        let asking = async move { kept.orderer.renewal_info(&present, &mut unwritten).await };
        match self.apart(asking).await {
            Ok(Some(info)) => {
                let moment = |at: time::OffsetDateTime| {
                    Timestamp::from_unix_milliseconds(at.unix_timestamp().saturating_mul(1_000))
                };
                let window = info.suggested_window;
                self.suggested = Some(within_window(moment(window.start), moment(window.end), self.draw));
            }
            Ok(None) => self.suggested = None,
            Err(error) => {
                let error = error.told();
                tracing::debug!(?error, "the certificate authority could not be asked about renewal");
            }
        }
    }

    /// Orders once, and tells what came of it; how long to wait until the next order may follow.
    async fn order(&mut self) -> Duration {
        // A reload that comes from now on is one to try again for.
        self.again.borrow_and_update();
        let hosts = self.kept.names();
        match self.obtain().await {
            Ok(obtained) => self.on_obtained(obtained, &hosts).await,
            Err(error) => self.on_failure(&error, &hosts).await,
        }
    }

    /// Orders once, and puts what comes of it in force.
    async fn obtain(&self) -> Result<Obtained, OrderError> {
        let mut unwritten = Arc::clone(&self.keeping.turn).lock_owned().await;
        let (kept, now) = (Arc::clone(&self.kept), self.keeping.clock.now());
        let replacing = if self.suggested.is_some() { Replacing::Told } else { Replacing::Untold };
        self.apart(async move {
            let present = kept.own();
            let wanted = Wanted { hosts: &kept.hosts, present: present.as_deref(), replacing, now };
            let issued = kept.orderer.obtain(&wanted, &mut unwritten).await?;
            let (not_before, not_after) = (issued.certificate.not_before(), issued.certificate.not_after());
            // Before it is written: a full disk keeps no certificate from its clients.
            kept.put_in_force(issued.certificate);
            let file = kept.orderer.cache.certificate_file(&kept.hosts);
            unwritten.write(file, Zeroizing::new(issued.pem.as_bytes().to_vec())).await;
            Ok(Obtained { not_before, not_after, unwritten: unwritten.fault().map(str::to_owned) })
        })
        .await
    }

    /// Runs `work` in a task of its own, within a quarter of an hour.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OrderError>> + Send + 'static,
    ) -> Result<T, OrderError> {
        let task = AbortOnDropHandle::new(self.keeping.tasks.spawn(timeout(DONE_WITHIN, work)));
        task.await?.unwrap_or(Err(OrderError::TooLate))
    }

    async fn on_obtained(&mut self, obtained: Obtained, hosts: &str) -> Duration {
        let Obtained { not_before, not_after, unwritten } = obtained;
        self.draw = random::bits().unwrap_or_default();
        self.suggested = None;
        self.ask_at = Instant::now() + YOUNG_FOR;
        tracing::info!(hosts, until = %not_after, "a certificate was issued, and is in force");
        let mut event = Event::new(EventKind::CertificateIssued).with("until", not_after);
        if let Some(why) = unwritten {
            event = event.with("unwritten", why);
        }
        self.record(event, hosts).await;
        if renewal_due(not_before, not_after, self.draw) > self.keeping.clock.now() {
            self.failures = 0;
            return Duration::ZERO;
        }
        // Or orders would follow on one another.
        self.failures = self.failures.saturating_add(1);
        let wait = self.wait();
        tracing::warn!(
            hosts,
            until = %not_after,
            again_in_seconds = wait.as_secs(),
            "the certificate that was just issued is to be renewed already; is the clock of this machine right?"
        );
        wait
    }

    async fn on_failure(&mut self, error: &OrderError, hosts: &str) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let (failures, wait, why) = (self.failures, self.wait(), error.told());
        let again_in_seconds = wait.as_secs();
        tracing::error!(hosts, failures, again_in_seconds, error = ?why, "no certificate was issued");
        let event = Event::new(EventKind::CertificateRefused).with("failures", failures);
        self.record(event.with("error", why), hosts).await;
        wait
    }

    /// How long to wait after so many failures.
    fn wait(&self) -> Duration {
        let now = self.keeping.clock.now();
        let good = self.kept.issued.present().filter(|present| self.kept.is_covered_by(present));
        let left = good.map(|good| good.not_after().unix_seconds().saturating_sub(now.unix_seconds()));
        let left = left.filter(|left| *left > 0);
        let wait = wait_seconds(self.failures, left, random::bits().unwrap_or_default());
        Duration::from_secs(u64::try_from(wait).unwrap_or_default())
    }

    /// Waits for so long, or until a reload, after which failures count anew.
    async fn rest(&mut self, wait: Duration) {
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.again.changed() => self.failures = 0,
        }
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
    use std::fs;

    use super::super::testing::FakeAuthority;
    use super::*;
    use crate::auth::Actor;
    use crate::auth::testing::{NOW, World};
    use crate::config::{AcmeSettings, Limits};
    use crate::store::AuditFilter;

    const DAY: i64 = 86_400;

    /// A gateway that keeps certificates, and its clock.
    struct Gateway {
        world: World,
        keeping: CertificateKeeping,
    }

    impl Gateway {
        async fn new() -> Self {
            let world = World::new(Limits::default()).await;
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            let plane = world.plane().acting_as(Actor::Gateway);
            let keeping = CertificateKeeping::new(&plane, &world.clock, &tasks, &stop);
            Self { world, keeping }
        }

        fn keeper(&self, settings: &AcmeSettings) -> Keeper {
            Keeper::new(kept(settings), self.keeping.clone())
        }

        async fn told(&self) -> Vec<String> {
            let rows = self.world.store.oldest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
            rows.into_iter().map(|row| format!("{} {}", row.entry.event, row.entry.details)).collect()
        }
    }

    fn kept(settings: &AcmeSettings) -> Arc<KeptCertificate> {
        let hosts = [String::from("a.example")];
        Arc::new(KeptCertificate::new(&Arc::new(settings.clone()), &hosts, &Arc::default()).unwrap())
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let waiting = timeout(Duration::from_secs(20), async {
            while !is_so() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        waiting.await.expect(what);
    }

    #[tokio::test]
    async fn a_panic_while_ordering_is_a_failure_like_another_and_a_reload_tries_again_at_once() {
        let (authority, gateway) = (FakeAuthority::start().await, Gateway::new().await);
        // A moment that the library cannot reckon with.
        authority.behave(|manners| manners.retry_after = Some("18446744073709551615"));
        let kept = kept(&authority.settings());
        gateway.keeping.spawn([&kept]);
        until("the failure", || !authority.asked("/order/1").is_empty()).await;
        let failed = async {
            while gateway.told().await.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), failed).await.expect("it is told");
        let told = gateway.told().await;
        assert!(told[0].starts_with("certificate.refused ") && told[0].contains("panicked"), "{told:?}");
        authority.behave(|manners| manners.retry_after = None);
        gateway.keeping.try_again();
        until("the certificate", || kept.own().is_some()).await;
        gateway.keeping.leave();
        gateway.keeping.tasks.close();
        gateway.keeping.tasks.wait().await;
    }

    #[tokio::test]
    async fn a_certificate_that_is_to_be_renewed_on_arrival_is_in_force_and_the_next_order_waits() {
        let (authority, gateway) = (FakeAuthority::start().await, Gateway::new().await);
        let mut keeper = gateway.keeper(&authority.settings());
        for (life, waits) in [((-90 * DAY, DAY), true), ((-90 * DAY, 2 * DAY), true), ((0, 90 * DAY), false)]
        {
            authority.behave(|manners| manners.life = life);
            assert_eq!(keeper.order().await >= Duration::from_mins(1), waits, "{life:?}");
            assert_eq!(keeper.kept.own().unwrap().not_after(), NOW.plus_seconds(life.1));
        }
        assert_eq!(keeper.failures, 0);
    }

    #[tokio::test]
    async fn a_worse_certificate_leaves_the_present_one_in_force() {
        let (authority, gateway) = (FakeAuthority::start().await, Gateway::new().await);
        let mut keeper = gateway.keeper(&authority.settings());
        assert_eq!(keeper.order().await, Duration::ZERO);
        let present = keeper.kept.own().unwrap();
        authority.behave(|manners| manners.life = (0, DAY));
        assert!(keeper.order().await >= Duration::from_mins(1));
        assert!(Arc::ptr_eq(&present, &keeper.kept.own().unwrap()));
        let told = gateway.told().await;
        assert!(told.iter().any(|row| row.contains("no later than the present one")), "{told:?}");
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_written_is_in_force_and_written_later() {
        let (authority, gateway) = (FakeAuthority::start().await, Gateway::new().await);
        let settings = authority.settings();
        let mut keeper = gateway.keeper(&settings);
        let file = keeper.kept.orderer.cache.certificate_file(&keeper.kept.hosts);
        fs::create_dir_all(&file).unwrap();
        assert_eq!(keeper.order().await, Duration::ZERO);
        let present = keeper.kept.own().unwrap();
        let told = gateway.told().await;
        assert!(told[0].starts_with("certificate.issued ") && told[0].contains("unwritten"), "{told:?}");
        fs::remove_dir(&file).unwrap();
        // It looks first, and then waits for weeks.
        let _ = timeout(Duration::from_millis(1), keeper.until_due()).await;
        until("the file", || file.is_file()).await;
        assert_eq!(kept(&settings).own().unwrap().leaf(), present.leaf());
        assert_eq!(authority.asked("/order").len(), 1);
    }

    #[tokio::test]
    async fn an_authority_is_not_asked_about_a_certificate_that_it_has_just_issued() {
        let (authority, gateway) = (FakeAuthority::start().await, Gateway::new().await);
        let settings = authority.settings();
        let mut keeper = gateway.keeper(&settings);
        assert_eq!(keeper.order().await, Duration::ZERO);
        assert!(keeper.ask_at > Instant::now() + YOUNG_FOR - Duration::from_mins(1));
        // Another process does not know how old it is, and its window lies in the past.
        let mut keeper = gateway.keeper(&settings);
        timeout(Duration::from_secs(20), keeper.until_due()).await.expect("it is due");
        assert!(keeper.suggested.is_some());
    }
}
