//! The control plane beside the doors: follows the change feed, keeps API sessions, ends what expires, writes key
//! uses and usage, cleans the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::cleaning::Cleaning;
use super::clock_difference::ClockDifference;
use super::generation::UpstreamPlan;
use super::opening::Opened;
use super::refusals::RefusalKeeper;
use super::snapshots::{self, SnapshotWriter};
use super::supervision::Vital;
use super::trace_export::{Collector, export_spans};
use super::usage::keep_usage;
use crate::auth::{ControlPlane, IndexAge};
use crate::config::{Limits, StoreLocation, UpstreamProtocol};
use crate::crypto::random;
use crate::gateway::{http, isproxy};
use crate::model::Timestamp;
use crate::ops::Readiness;
use crate::store::{
    Follower, FollowerError, FollowerEvents, KeyUse, NewGateway, SnapshotKeeper, Store, StoreError, Subject,
};

/// A key's time is over within this (PROTOCOL section 3, point 8: one second).
const LOOK_FOR_EXPIRED_EVERY: Duration = Duration::from_millis(250);
/// How exactly `policy.max_staleness` is kept.
const LOOK_FOR_OLD_NEWS_EVERY: Duration = Duration::from_millis(250);
/// Uses of keys are written at most this often.
const WRITE_KEY_USES_EVERY: Duration = Duration::from_secs(5);
/// So many at once and no more, so that they take no more of a core than a few percent: 48,000 keys a minute. Others are
/// noted when they are used again.
const KEY_USES_AT_ONCE: usize = 4_000;
/// The head of the audit trail is logged so often (S100).
const LOG_AUDIT_HEAD_EVERY: Duration = Duration::from_hours(1);

/// What the control plane is started with.
pub(super) struct Parts {
    pub(super) opened: Opened,
    /// Where spans go.
    pub(super) collectors: watch::Receiver<Option<Arc<Collector>>>,
    /// Asks for a new snapshot.
    pub(super) outdated: Arc<Notify>,
    /// For how long sessions of the console are kept.
    pub(super) limits: Limits,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Takes that nobody can be let in by this process any more.
    pub(super) broken: CancellationToken,
}

/// Starts the tasks of the control plane on the present runtime. Returns once everything that was changed up to the gateway's
/// registration is applied: what is changed from then on waits for this gateway's acknowledgement.
pub(super) async fn start(parts: Parts) -> Result<()> {
    let Parts { opened, collectors, outdated, limits, readiness, stop, tasks, broken } = parts;
    let Opened {
        shared,
        store,
        plane,
        noted_uses,
        refused,
        spans,
        session_keeper,
        failure_counter,
        snapshots,
    } = opened;
    let applied = *shared.index.applied().borrow();
    let id = format!("{:016x}", random::bits()?);
    let name = match store.location() {
        StoreLocation::Sqlite(_) => format!("pid {}", std::process::id()),
        StoreLocation::Postgres(_) => {
            format!("{} pid {}", whoami::hostname().unwrap_or_default(), std::process::id())
        }
    };
    let trusted = shared.authenticator.policy().max_staleness.duration();
    let new = NewGateway { id, name, trusted };
    let registration = match snapshots.age {
        None => store.register_gateway(new, applied, shared.clock.now()).await?,
        Some(_) => Store::register_later(new, shared.clock.now()),
    };
    let (away, away_since) = watch::channel(None);
    let mut events = Events {
        shared: shared.clone(),
        readiness: readiness.clone(),
        away,
        snapshots: snapshots.keeper.clone(),
        outdated: Arc::clone(&outdated),
        clocks: ClockDifference::new(shared.clock.clone()),
    };
    if let Some(age) = snapshots.age {
        let now = Instant::now();
        show(&readiness, events.away_since(now.checked_sub(age).unwrap_or(now)));
    }
    events.show_index();
    let mut follower = Follower::new(store.clone(), shared.index.clone(), registration);
    if snapshots.age.is_none()
        && let Err(error) = follower.look(&mut events).await
    {
        // Otherwise it would count as silent for `policy.max_staleness`.
        tell_of_registration(store.in_time(follower.leave()).await);
        return Err(error.into());
    }
    if let Some(keeper) = snapshots.keeper {
        let readiness = readiness.subscribe();
        let writer =
            SnapshotWriter { keeper, store: store.clone(), shared: shared.clone(), readiness, outdated };
        tasks.spawn(writer.run(stop.clone()));
    }
    let stop_follower = stop.clone();
    let following = async move { tell_of_registration(follower.run(&mut events, stop_follower).await) };
    let vital = Vital { shared: shared.clone(), readiness: readiness.clone(), broken, tasks: tasks.clone() };
    vital.spawn("following the change feed", following);
    let old_news = let_nobody_in_by_old_news(shared.clone(), away_since, readiness, stop.clone());
    vital.spawn("looking for the store's absence", old_news);
    vital.spawn("ending what expires", end_expired_sessions(shared.clone(), stop.clone()));
    tasks.spawn(log_audit_head(plane.clone(), stop.clone()));
    let (unkept, failures) = (shared.metrics.unkept_refusals(), shared.failures.clone());
    tasks.spawn(RefusalKeeper { plane: plane.clone(), unkept, failures }.run(refused, stop.clone()));
    tasks.spawn(write_key_uses(store.clone(), noted_uses, stop.clone()));
    tasks.spawn(Cleaning::new(store.clone(), shared.clock.clone(), &limits).run(stop.clone()));
    let uncounted = shared.metrics.uncounted_uses();
    tasks.spawn(keep_usage(shared.clone(), store, plane, uncounted, stop.clone()));
    tasks.spawn(session_keeper.run(stop.clone()));
    tasks.spawn(export_spans(spans, collectors, shared.metrics.spans(), stop.clone()));
    if let Some(counter) = failure_counter {
        tasks.spawn(counter.run(stop.clone()));
    }
    Ok(())
}

fn tell_of_registration(taken_back: Result<(), FollowerError>) {
    if let Err(error) = taken_back {
        tracing::warn!(%error, "the gateway could not be taken out of the store's list");
    }
}

/// Where health checks run.
pub(super) struct HealthChecks {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl HealthChecks {
    /// Starts the checks of the servers of `upstreams` that ask for checks.
    pub(super) fn spawn<'a>(&self, upstreams: impl Iterator<Item = &'a Arc<UpstreamPlan>>) {
        for upstream in upstreams {
            match &upstream.config {
                UpstreamProtocol::Http(config) => {
                    self.spawn_for(upstream, http::health_checks(&upstream.servers, config));
                }
                UpstreamProtocol::IsProxy(config) => {
                    self.spawn_for(upstream, isproxy::health_checks(&upstream.servers, config));
                }
            }
        }
    }

    fn spawn_for<C: Future<Output = ()> + Send + 'static>(&self, upstream: &UpstreamPlan, checks: Vec<C>) {
        for checks in checks {
            let until_gone = upstream.checks.clone().run_until_cancelled_owned(checks);
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(until_gone));
        }
    }
}

/// What happens when the follower has news.
struct Events {
    shared: Shared,
    readiness: watch::Sender<Readiness>,
    /// Since when the store cannot be read.
    away: watch::Sender<Option<Instant>>,
    snapshots: Option<Arc<SnapshotKeeper>>,
    /// Asks for a new snapshot.
    outdated: Arc<Notify>,
    clocks: ClockDifference,
}

impl Events {
    /// Decisions go on from what was known at `since`.
    fn away_since(&self, since: Instant) -> Readiness {
        self.away.send_replace(Some(since));
        Readiness::Degraded { reason: String::from("the store cannot be read"), since }
    }

    fn show_index(&self) {
        let size = self.shared.index.size();
        let revision = *self.shared.index.applied().borrow();
        let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
        self.shared.metrics.set_index(count(size.keys), count(size.users), revision);
    }
}

impl FollowerEvents for Events {
    fn applied(&mut self, subjects: &[Subject]) -> u64 {
        let ended = self.shared.authenticator.end_revoked_sessions(subjects);
        // Behind it, so that a slow disk keeps nothing open; before the change is acknowledged.
        if let Some(keeper) = &self.snapshots {
            snapshots::note(keeper, &self.outdated, subjects);
        }
        self.show_index();
        ended
    }

    fn trusted(&self) -> Duration {
        self.shared.authenticator.policy().max_staleness.duration()
    }

    fn database_time(&mut self, now: Timestamp) {
        self.clocks.compare(now);
    }

    fn store_state(&mut self, state: Result<(), &StoreError>) {
        let readiness = match state {
            Ok(()) => {
                tracing::info!("the store can be read again");
                // In this order: from here on nobody finds the index too old.
                self.away.send_replace(None);
                self.shared.authenticator.set_index_age(IndexAge::Fresh);
                Readiness::Ready
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read; deciding from what was loaded");
                self.away_since(Instant::now())
            }
        };
        show(&self.readiness, readiness);
    }
}

/// Shows `new`, but that draining is for good.
pub(super) fn show(readiness: &watch::Sender<Readiness>, new: Readiness) {
    readiness.send_if_modified(|present| {
        let changes = !matches!(present, Readiness::Draining);
        if changes {
            *present = new;
        }
        changes
    });
}

/// Lets nobody in any more once the store has been away for `policy.max_staleness` (S80).
async fn let_nobody_in_by_old_news(
    shared: Shared,
    mut away_since: watch::Receiver<Option<Instant>>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let mut looks = interval(LOOK_FOR_OLD_NEWS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            away = away_since.wait_for(Option::is_some) => if away.is_err() { return },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        // Held, so that a store that comes back meanwhile is told of behind this and not before.
        let away = away_since.borrow();
        let too_long = shared.authenticator.policy().max_staleness.duration();
        if away.is_some_and(|since| since.elapsed() >= too_long)
            && shared.authenticator.index_age() == IndexAge::Fresh
        {
            let ended = shared.authenticator.set_index_age(IndexAge::TooOld);
            tracing::error!(
                ended,
                "the store has been away for too long (policy.max_staleness): nobody is let in"
            );
            show(&readiness, Readiness::Unready(String::from("the store has been away for too long")));
        }
    }
}

async fn end_expired_sessions(shared: Shared, stop: CancellationToken) {
    let mut ticks = interval(LOOK_FOR_EXPIRED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => drop(shared.authenticator.end_expired_sessions()),
        }
    }
}

/// Logs the head of the audit trail, at once and then every hour: whoever cuts rows off its end does not reach the log.
async fn log_audit_head(plane: ControlPlane, stop: CancellationToken) {
    let mut ticks = interval(LOG_AUDIT_HEAD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match plane.audit_head().await {
            Ok(head) => tracing::info!(%head, "the audit trail's head"),
            Err(error) => tracing::warn!(%error, "the audit trail's head could not be read"),
        }
    }
}

/// Collects uses and writes them in batches, all that wait at the end; what cannot be written is let go.
async fn write_key_uses(store: Store, mut noted_uses: mpsc::Receiver<KeyUse>, stop: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let pause = timeout(WRITE_KEY_USES_EVERY, stop.cancelled());
        let stopping = pause.await.is_ok();
        let most = if stopping { usize::MAX } else { KEY_USES_AT_ONCE };
        while batch.len() < most
            && let Ok(used) = noted_uses.try_recv()
        {
            batch.push(used);
        }
        if let Err(error) = store.note_key_uses(&batch).await {
            tracing::warn!(%error, uses = batch.len(), "uses of keys could not be written");
        }
        batch.clear();
        if stopping {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
