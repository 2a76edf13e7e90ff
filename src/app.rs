//! The composition root: makes a running gateway of a configuration, and takes it down again.
//!
//! Knows every part and none of their rules. Callers: `cli`, `demo` and `probe`.

mod acme;
mod changes;
mod check;
mod cleaning;
mod clock_difference;
mod consoles;
mod control;
mod door_addresses;
mod doors;
mod generation;
mod listener_tls;
mod loading;
mod opening;
mod ops_listeners;
mod places;
mod post_address;
mod process;
mod refusals;
mod reload;
mod security_hook;
mod snapshots;
mod sockets;
mod source;
mod surroundings;
mod swap;
mod systemd;
mod trace_export;
mod usage;
mod watchdog;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, FailureGroups};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::Drain;
use crate::ops::{Live, OpsState, Readiness};
use crate::store::{Index, Store};
use crate::telemetry::{AccessLog, Metrics, RefusalRecorder, SpanChannel, SwapOutcome};
use acme::CertificateKeeping;
pub use check::{find_unusable, find_warnings};
use consoles::Consoles;
use control::HealthChecks;
use generation::Generation;
use opening::{Opened, open_shared};
use ops_listeners::OpsListeners;
use reload::{Reloader, Signals};
use security_hook::{follow_security_events, tell_security_events};
use sockets::{Held, Sockets};
pub use source::ConfigSource;
use source::FileMarks;
use surroundings::Surroundings;
use swap::Heir;
use systemd::Supervisor;
use watchdog::give_signs_of_life;

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
    /// Is empty, like the doors, once it is drained.
    consoles: TaskTracker,
    readiness: watch::Sender<Readiness>,
    /// Ends accepting and lets open connections finish.
    drain: Drain,
    /// Ends the control plane's tasks, after the doors.
    stop_control: CancellationToken,
    control_tasks: TaskTracker,
    store: Store,
    supervisor: Supervisor,
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

/// Serves by the configuration of `source` until SIGTERM or SIGINT, then drains; until a new process has taken over,
/// where SIGUSR2 asks for one. Returns once everything is closed.
///
/// # Errors
/// [`Faults`](crate::config::Faults) of the configuration, or what keeps it from being served by.
pub fn serve(source: ConfigSource) -> Result<()> {
    Gateway::start_in(source, Surroundings::of_service()?)?.run_until_signal()
}

impl Gateway {
    /// Reads the configuration, opens the store, loads the index, and answers on every listener; follows changes of
    /// the configuration from then on. Stands alone: no process hands anything over to it, or gets anything of it.
    pub fn start(source: ConfigSource) -> Result<Self> {
        Self::start_in(source, Surroundings::default())
    }

    fn start_in(source: ConfigSource, surroundings: Surroundings) -> Result<Self> {
        let Surroundings { inherited, heir, program, supervisor } = surroundings;
        process::harden();
        let control = control_runtime()?;
        // First of all: a SIGHUP that nobody waits for ends the process.
        let signals = control.block_on(async { Signals::caught_from_now_on() })?;
        let reading = source.read(&FileMarks::default());
        let config = Arc::new(reading.config?);
        let opened = open_shared(&control, &config)?;
        let Opened { shared, store, plane, snapshots, .. } = &opened;
        let (shared, store, plane, snapshots) =
            (shared.clone(), store.clone(), plane.clone(), snapshots.clone());
        let generation = Arc::new(Generation::first(Arc::clone(&config), &shared.metrics)?);
        for warning in generation.warnings(shared.clock.now()) {
            tracing::warn!("{warning}");
        }
        let sockets = open_sockets(&config, inherited)?;
        let addresses = sockets.addresses();
        let Ends { drain, stop_control, control_tasks, console_tasks } = Ends::default();
        let (readiness, _) = watch::channel(Readiness::Starting);
        let (config_refused, _) = watch::channel(None);
        let outdated = Arc::new(Notify::new());
        let (stop, tasks) = (stop_control.clone(), control_tasks.clone());
        let collectors = watch::Sender::new(generation.collector.clone());
        let parts = control::Parts {
            opened,
            collectors: collectors.subscribe(),
            outdated: Arc::clone(&outdated),
            limits: config.limits.clone(),
            readiness: readiness.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        control.block_on(control::start(parts))?;
        let doors = doors::spawn(&shared, &generation, &sockets, &drain)?;
        let live = Live::new(&shared.metrics, readiness.subscribe());
        // Also where nobody can look yet: a reload may bring a listener.
        control.spawn(tasks.track_future(Arc::clone(&live).take_samples(stop.clone())));
        let ops = OpsState {
            readiness: readiness.subscribe(),
            config_refused: config_refused.subscribe(),
            metrics: Arc::clone(&shared.metrics),
            access_log: shared.access_log.clone(),
            live,
        };
        let hooks = watch::Sender::new(Arc::clone(&generation.security_hook));
        let certificates = CertificateKeeping::new(&plane, &shared.clock, &tasks, &stop);
        let mut reloader = Reloader {
            consoles: Consoles::new(&shared, &plane, snapshots, &drain, &console_tasks),
            ops: OpsListeners::new(ops, tasks.clone(), stop.clone()),
            health_checks: HealthChecks { tasks: tasks.clone(), stop: stop.clone() },
            certificates,
            collectors,
            supervisor: supervisor.clone(),
            drain: drain.clone(),
            shared,
            plane,
            source,
            marks: reading.marks,
            started: config,
            present: generation,
            sockets,
            orders: doors.orders,
            slots: doors.slots,
            hooks,
            config_refused,
            program,
        };
        control.block_on(reloader.serve_first(&readiness))?;
        let (sender, events) = mpsc::channel(SECURITY_EVENTS_AT_ONCE);
        let telling = tell_security_events(events, reloader.hooks.subscribe(), stop.clone());
        tasks.spawn_on(telling, control.handle());
        tasks.spawn_on(follow_security_events(store.clone(), sender, stop.clone()), control.handle());
        tasks.spawn_on(give_signs_of_life(supervisor.clone(), doors.pulses, stop), control.handle());
        take_over(heir, &reloader.shared.metrics, &control, outdated);
        supervisor.tell_ready("serving");
        tasks.spawn_on(reloader.run(signals), control.handle());
        let (doors, consoles) = (doors.handles, console_tasks);
        Ok(Self {
            control,
            addresses,
            doors,
            consoles,
            readiness,
            drain,
            stop_control,
            control_tasks,
            store,
            supervisor,
        })
    }

    /// Where each listener listened at the start, in the order of the configuration.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The control plane's runtime, for what `demo` runs beside the gateway.
    pub(crate) const fn control(&self) -> &Runtime {
        &self.control
    }

    /// Waits for SIGTERM or SIGINT, or until a new process has taken over, and drains: no new connections, open ones end
    /// after what they are at, and what is still open after `limits.drain_seconds` is cut.
    pub fn run_until_signal(self) -> Result<()> {
        self.control.block_on(async {
            tokio::select! {
                signalled = termination_signal() => signalled,
                () = self.drain.begun() => Ok(()),
            }
        })?;
        self.stop()
    }

    /// Drains, as [`Gateway::run_until_signal`] does after a signal.
    pub fn stop(self) -> Result<()> {
        tracing::info!("draining");
        self.readiness.send_replace(Readiness::Draining);
        if !self.drain.has_begun() {
            self.supervisor.tell_stopping();
        }
        self.drain.begin();
        let mut failed = false;
        for door in self.doors {
            failed |= door.join().is_err();
        }
        self.consoles.close();
        self.control.block_on(self.consoles.wait());
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

/// How the parts of a gateway come to their ends.
#[derive(Default)]
struct Ends {
    drain: Drain,
    stop_control: CancellationToken,
    control_tasks: TaskTracker,
    console_tasks: TaskTracker,
}

fn control_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("the control plane's threads could not be started")
}

/// The sockets for `config`, those that are there already first.
fn open_sockets(config: &Config, inherited: Vec<Held>) -> Result<Sockets> {
    let inherited = Sockets::of(inherited);
    let sockets = inherited.successor(config).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("\n"))
    })?;
    sockets.tell_beside(&Sockets::default());
    inherited.tell_unnamed(&sockets);
    Ok(sockets)
}

/// Takes the place of the process before this one, if there is one.
fn take_over(heir: Option<Heir>, metrics: &Metrics, control: &Runtime, outdated: Arc<Notify>) {
    let Some(heir) = heir else { return };
    match heir.take_over() {
        Ok(()) => tracing::info!("the process before this one leaves its listeners to this one"),
        Err(error) => {
            tracing::warn!(%error, "the process before this one does not answer; serving all the same");
        }
    }
    metrics.binary_swapped(SwapOutcome::TakenOver);
    control.spawn(async move {
        heir.predecessor_ended().await;
        tracing::info!("the process before this one has ended");
        // It may have written a snapshot whose later changes it alone has noted.
        outdated.notify_one();
    });
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
