//! Opens the store and makes of it what every part of a gateway holds on to. Called by `app`, once.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::Shared;
use super::loading::{Loaded, StoreAway, load};
use super::snapshots::Snapshots;
use crate::auth::{
    Actor, Authenticator, AuthenticatorParts, ControlPlane, FailureCounter, FailureGroups, HashingLane,
    SessionKeeper, SessionKeeperParts,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{KeyUse, Store};
use crate::telemetry::{AccessLog, KeptRefusal, Metrics, RefusalRecorder, SpanBatch, SpanChannel};

/// Uses of keys that may wait to be written; beyond, a use goes unnoted.
const WAITING_KEY_USES: usize = 65_536;

/// The store, what answers from it, and what is to be written to it.
pub(super) struct Opened {
    pub(super) shared: Shared,
    pub(super) store: Store,
    /// Acts for the gateway.
    pub(super) plane: ControlPlane,
    pub(super) noted_uses: mpsc::Receiver<KeyUse>,
    pub(super) refused: mpsc::Receiver<KeptRefusal>,
    /// Of all threads' traces.
    pub(super) spans: mpsc::Receiver<SpanBatch>,
    pub(super) session_keeper: SessionKeeper,
    /// Where several gateways share the store.
    pub(super) failure_counter: Option<FailureCounter>,
    pub(super) snapshots: Snapshots,
}

/// Opens everything that `config` names but its listeners.
pub(super) async fn open_shared(config: &Config, metrics: &Arc<Metrics>, away: StoreAway) -> Result<Opened> {
    let clock = Clock::system();
    let Loaded { store, key_ring, index, snapshots } = load(config, &clock, away).await?;
    let (key_uses, noted_uses) = mpsc::channel(WAITING_KEY_USES);
    let limits = Arc::new(config.limits.clone());
    let (session_keeper, session_orders) = SessionKeeper::new(SessionKeeperParts {
        store: store.clone(),
        index: Arc::clone(&index),
        key_ring: Arc::clone(&key_ring),
        clock: clock.clone(),
        limits: Arc::clone(&limits),
    });
    let (failure_counter, shared_failures) = FailureCounter::new(&store, &key_ring).unzip();
    let plane = ControlPlane {
        store: store.clone(),
        key_ring: Arc::clone(&key_ring),
        clock: clock.clone(),
        policy: config.policy.clone(),
        actor: Actor::Gateway,
        once: None,
        hashing: HashingLane::default(),
    };
    let authenticator = Arc::new(Authenticator::new(AuthenticatorParts {
        index: Arc::clone(&index),
        key_ring: Arc::clone(&key_ring),
        policy: config.policy.clone(),
        limits,
        clock: clock.clone(),
        key_uses,
        session_orders,
        shared_failures,
        password_threads: password_threads(),
    })?);
    let access_log = match &config.access_log {
        Some(log) => AccessLog::open_for(&log.path, log.allowed)
            .with_context(|| format!("the access log {} cannot be opened", log.path.display()))?,
        None => AccessLog::off(),
    };
    let (refusals, refused) = RefusalRecorder::new(clock.clone(), metrics.unkept_refusals());
    let (span_channel, spans) = SpanChannel::new(metrics.spans());
    let shared = Shared {
        clock,
        index,
        authenticator,
        metrics: Arc::clone(metrics),
        access_log,
        spans: span_channel,
        refusals,
        failures: FailureGroups::default(),
    };
    Ok(Opened {
        shared,
        store,
        plane,
        noted_uses,
        refused,
        spans,
        session_keeper,
        failure_counter,
        snapshots,
    })
}

/// Half the cores hash passwords, so that the other half answers keys (DESIGN section 4).
fn password_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
