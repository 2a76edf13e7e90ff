//! The composition root: makes a running gateway of a configuration, and takes it down again.
//!
//! Knows every part and none of their rules. Callers: `cli`, `demo` and `probe`.

mod changes;
mod check;
mod cleaning;
mod clock_difference;
mod consoles;
mod control;
mod door_addresses;
mod doors;
mod generation;
mod loading;
mod post_address;
mod process;
mod refusals;
mod reload;
mod security_hook;
mod snapshots;
mod source;
mod trace_export;
mod usage;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth::{
    Actor, Authenticator, AuthenticatorParts, ControlPlane, DenialReason, FailureCounter, FailureGroups,
    HashingLane, SessionKeeper, SessionKeeperParts,
};
use crate::clock::Clock;
use crate::config::{Config, ListenerProtocol};
use crate::net::{BoundListener, listen};
use crate::ops::Readiness;
use crate::store::{Index, KeyUse, Store};
use crate::telemetry::{AccessLog, KeptRefusal, Metrics, RefusalRecorder, SpanBatch, SpanChannel};
pub use check::find_unusable;
use control::HealthChecks;
use generation::Generation;
use loading::{Loaded, load};
use reload::Reloader;
use security_hook::{follow_security_events, tell_security_events};
use snapshots::Snapshots;
pub use source::ConfigSource;
use source::FileMarks;
use trace_export::export_spans;

/// Uses of keys that may wait to be written; beyond, a use goes unnoted.
const WAITING_KEY_USES: usize = 65_536;
/// Security events that are read before those before them are told.
const SECURITY_EVENTS_AT_ONCE: usize = 1;
/// Worker threads of the control plane.
const CONTROL_THREADS: usize = 2;

/// A gateway that answers on all its listeners.
#[derive(Debug)]
pub struct Gateway {
    control: Runtime,
    addresses: Vec<(String, SocketAddr)>,
    doors: Vec<JoinHandle<()>>,
    /// Ends, like the doors, once it is drained.
    console: Option<tokio::task::JoinHandle<()>>,
    readiness: tokio::sync::watch::Sender<Readiness>,
    /// Ends accepting and lets open connections finish.
    drain: CancellationToken,
    /// Ends the control plane's tasks, after the doors.
    stop_control: CancellationToken,
    control_tasks: tokio_util::task::TaskTracker,
    store: Store,
}

/// What every part of a gateway may hold on to.
#[derive(Clone, Debug)]
struct Shared {
    clock: Clock,
    index: Arc<Index>,
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    /// Takes the spans of traces.
    spans: SpanChannel,
    /// Takes what the doors refuse.
    refusals: RefusalRecorder,
    /// Takes failed sign-ins for the audit trail.
    failures: FailureGroups,
}

/// Serves by the configuration of `source` until SIGTERM or SIGINT, then drains. Returns once everything is closed.
///
/// # Errors
/// [`Faults`](crate::config::Faults) of the configuration, or what keeps it from being served by.
pub fn serve(source: ConfigSource) -> Result<()> {
    Gateway::start(source)?.run_until_signal()
}

impl Gateway {
    /// Reads the configuration, opens the store, loads the index, and answers on every listener; follows changes of
    /// the configuration from then on.
    pub fn start(source: ConfigSource) -> Result<Self> {
        process::harden();
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .context("the control plane's threads could not be started")?;
        // First of all: a SIGHUP that nobody waits for ends the process.
        let hangup = control.block_on(async { hangup_signal() })?;
        let reading = source.read(&FileMarks::default());
        let config = Arc::new(reading.config?);
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
        } = open_shared(&control, &config)?;
        let generation = Arc::new(Generation::first(Arc::clone(&config), &shared.metrics)?);

        let bound = bind_all(&config)?;
        let addresses = bound.iter().map(|(name, bound)| (name.clone(), bound.address)).collect();
        let (readiness, _) = tokio::sync::watch::channel(Readiness::Starting);
        let (drain, stop_control) = (CancellationToken::new(), CancellationToken::new());
        let control_tasks = tokio_util::task::TaskTracker::new();
        control.block_on(control::start(control::Parts {
            shared: shared.clone(),
            store: store.clone(),
            plane: plane.clone(),
            noted_uses,
            refused,
            session_keeper,
            failure_counter,
            snapshots: snapshots.clone(),
            ops: control::ops_sockets(&config, &bound)?,
            limits: config.limits.clone(),
            readiness: readiness.clone(),
            stop: stop_control.clone(),
            tasks: control_tasks.clone(),
        }))?;
        let console_sockets = consoles::console_sockets(&config, &bound)?;
        let told = door_addresses::door_addresses(&config, &bound);
        let doors = doors::spawn(&shared, &generation, bound, &drain)?;
        let consoles = control.block_on(consoles::spawn(
            &shared,
            &plane,
            &snapshots,
            &generation,
            (console_sockets, told),
            &drain,
        ))?;
        let (consoles, console) = consoles.unzip();
        let hooks = watch::Sender::new(Arc::clone(&generation.security_hook));
        let (sender, events) = tokio::sync::mpsc::channel(SECURITY_EVENTS_AT_ONCE);
        let telling = tell_security_events(events, hooks.subscribe(), stop_control.clone());
        let following = follow_security_events(store.clone(), sender, stop_control.clone());
        let collectors = watch::Sender::new(generation.collector.clone());
        let counts = shared.metrics.spans();
        let exporting = export_spans(spans, collectors.subscribe(), counts, stop_control.clone());
        let reloader = Reloader {
            shared,
            plane,
            source,
            marks: reading.marks,
            started: config,
            present: generation,
            orders: doors.orders,
            slots: doors.slots,
            consoles,
            hooks,
            collectors,
            health_checks: HealthChecks { tasks: control_tasks.clone(), stop: stop_control.clone() },
        };
        control.block_on(async {
            reloader.health_checks.spawn(reloader.present.upstreams_beside(None));
            control_tasks.spawn(telling);
            control_tasks.spawn(following);
            control_tasks.spawn(exporting);
            control_tasks.spawn(reloader.run(hangup, drain.clone()));
        });
        // The store may be away already.
        readiness.send_if_modified(|present| {
            let is_starting = matches!(present, Readiness::Starting);
            if is_starting {
                *present = Readiness::Ready;
            }
            is_starting
        });
        let doors = doors.handles;
        Ok(Self { control, addresses, doors, console, readiness, drain, stop_control, control_tasks, store })
    }

    /// Where each listener listens, in the order of the configuration.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The control plane's runtime, for what `demo` runs beside the gateway.
    pub(crate) const fn control(&self) -> &Runtime {
        &self.control
    }

    /// Waits for SIGTERM or SIGINT, then drains: no new connections, open ones end after what they are at, and what is
    /// still open after `limits.drain_seconds` is cut.
    pub fn run_until_signal(self) -> Result<()> {
        self.control.block_on(termination_signal())?;
        self.stop()
    }

    /// Drains, as [`Gateway::run_until_signal`] does after a signal.
    pub fn stop(self) -> Result<()> {
        tracing::info!("draining");
        self.readiness.send_replace(Readiness::Draining);
        self.drain.cancel();
        let mut failed = false;
        for door in self.doors {
            failed |= door.join().is_err();
        }
        if let Some(console) = self.console {
            failed |= self.control.block_on(console).is_err();
        }
        self.stop_control.cancel();
        self.control_tasks.close();
        self.control.block_on(async {
            // The control plane's last writes take milliseconds; a store that hangs must not keep the process.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.control_tasks.wait()).await;
            self.store.close().await;
        });
        if failed { Err(anyhow!("a door thread ended early; see the log")) } else { Ok(()) }
    }
}

/// The store, what answers from it, and what is to be written to it.
struct Opened {
    shared: Shared,
    store: Store,
    /// Acts for the gateway.
    plane: ControlPlane,
    noted_uses: tokio::sync::mpsc::Receiver<KeyUse>,
    refused: tokio::sync::mpsc::Receiver<KeptRefusal>,
    /// Of all threads' traces.
    spans: tokio::sync::mpsc::Receiver<SpanBatch>,
    session_keeper: SessionKeeper,
    /// Where several gateways share the store.
    failure_counter: Option<FailureCounter>,
    snapshots: Snapshots,
}

fn open_shared(control: &Runtime, config: &Config) -> Result<Opened> {
    let clock = Clock::system();
    let Loaded { store, key_ring, index, snapshots } = control.block_on(load(config, &clock))?;
    let (key_uses, noted_uses) = tokio::sync::mpsc::channel(WAITING_KEY_USES);
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
    let metrics = Arc::new(Metrics::new(&DenialReason::ALL.map(DenialReason::as_str)));
    let (refusals, refused) = RefusalRecorder::new(clock.clone(), metrics.unkept_refusals());
    let (span_channel, spans) = SpanChannel::new(metrics.spans());
    let shared = Shared {
        clock,
        index,
        authenticator,
        metrics,
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

fn bind_all(config: &Config) -> Result<Vec<(String, BoundListener)>> {
    config
        .listeners
        .iter()
        .map(|listener| {
            let sockets = match listener.protocol {
                ListenerProtocol::Http(_) | ListenerProtocol::IsProxy(_) => config.threads,
                ListenerProtocol::Console(_) | ListenerProtocol::Ops => NonZeroUsize::MIN,
            };
            let bound = listen(listener.address, sockets)
                .with_context(|| format!("listener `{}` cannot listen", listener.name))?;
            tracing::info!(listener = listener.name, address = %bound.address, "listening");
            Ok((listener.name.clone(), bound))
        })
        .collect()
}

/// Half the cores hash passwords, so that the other half answers keys (DESIGN section 4).
fn password_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Catches SIGHUP from now on, until the process ends.
fn hangup_signal() -> Result<Signal> {
    signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")
}

/// Waits for SIGTERM or SIGINT, which no longer end the process from then on.
pub(crate) async fn termination_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
