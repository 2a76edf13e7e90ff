//! A gateway's start: what can fail comes first, and what others notice comes last.
//!
//! What cannot be served by is found before the store is opened, whose schema may be brought up to date; nobody queues at an
//! address, and nothing is accepted, before nothing can fail any more; and what was changed meanwhile is in force by then
//! (invariant 4). Called by `app`.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::acme::CertificateKeeping;
use super::consoles::Consoles;
use super::control::{self, HealthChecks};
use super::control_runtime::ControlRuntime;
use super::doors::{self, Pulse};
use super::generation::Generation;
use super::loading::StoreAway;
use super::opening::{Opened, open_shared};
use super::ops_listeners::OpsListeners;
use super::reload::{Reloader, Signals};
use super::security_hook::{follow_security_events, tell_security_events};
use super::snapshots::Snapshots;
use super::sockets::{Held, SocketFault, Sockets};
use super::source::FileMarks;
use super::surroundings::Surroundings;
use super::swap::{Heir, OwnProgram};
use super::systemd::Supervisor;
use super::trace_export::Collector;
use super::watchdog::give_signs_of_life;
use super::{ConfigSource, Gateway, Serving, Shared, process};
use crate::auth::{ControlPlane, DenialReason};
use crate::config::Config;
use crate::net::Drain;
use crate::ops::{Live, OpsState, Readiness};
use crate::telemetry::{Metrics, SwapOutcome};

/// Security events that are read before those before them are told.
const SECURITY_EVENTS_AT_ONCE: usize = 1;

/// What a gateway is to serve by; nobody has noticed it yet.
struct Plan {
    source: ConfigSource,
    marks: FileMarks,
    generation: Arc<Generation>,
    sockets: Sockets,
    program: Option<OwnProgram>,
    supervisor: Supervisor,
}

/// What others than the control plane use of what was opened.
struct Used {
    shared: Shared,
    plane: ControlPlane,
    snapshots: Snapshots,
    /// Takes where spans go.
    collectors: watch::Sender<Option<Arc<Collector>>>,
}

/// How the parts of a gateway learn of each other's ends.
struct Ends {
    drain: Drain,
    consoles: TaskTracker,
    broken: CancellationToken,
    readiness: watch::Sender<Readiness>,
    /// Ends the telling of security events, which is another process's matter then.
    telling: CancellationToken,
    /// Asks for a new snapshot.
    outdated: Arc<Notify>,
    /// The process before this one has ended.
    predecessor: Arc<Notify>,
}

/// Starts a gateway by the configuration of `source`.
pub(super) fn start(source: ConfigSource, surroundings: Surroundings) -> Result<Gateway> {
    let Surroundings { inherited, heir, program, supervisor } = surroundings;
    process::harden();
    let control = ControlRuntime::start()?;
    // First of all: a SIGHUP that nobody waits for ends the process.
    let signals = control.runtime.block_on(async { Signals::caught_from_now_on() })?;
    let reading = source.read(&FileMarks::default());
    let config = Arc::new(reading.config?);
    let metrics = Arc::new(Metrics::new(&DenialReason::ALL.map(DenialReason::as_str)));
    let generation = Arc::new(Generation::first(Arc::clone(&config), &metrics)?);
    let sockets = take_sockets(&config, inherited)?;
    let away = if heir.is_some() { StoreAway::Refuse } else { StoreAway::FromSnapshot };
    let opened = control.runtime.block_on(open_shared(&config, &metrics, away))?;
    for warning in generation.warnings(opened.shared.clock.now()) {
        tracing::warn!("{warning}");
    }
    let store = opened.store.clone();
    let plan = Plan { source, marks: reading.marks, generation, sockets, program, supervisor };
    match serve(&control, plan, opened, heir, signals) {
        Ok(serving) => Ok(Gateway { control, store, serving }),
        Err(error) => {
            // It takes itself out of the store's list; otherwise it would be waited for.
            control.end(&store);
            Err(error)
        }
    }
}

/// The sockets for `config`, those that are there already first; connections to new ones are refused still.
fn take_sockets(config: &Config, inherited: Vec<Held>) -> Result<Sockets> {
    let inherited = Sockets::of(inherited);
    let sockets = inherited.successor(config).map_err(|faults| in_lines(&faults))?;
    inherited.tell_unnamed(&sockets);
    Ok(sockets)
}

fn in_lines(faults: &[SocketFault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}

/// Serves by `plan`, and takes the place of the process before this one, if there is one.
///
/// # Errors
/// What keeps it from being served; nothing was accepted then.
fn serve(
    control: &ControlRuntime,
    plan: Plan,
    opened: Opened,
    heir: Option<Heir>,
    signals: Signals,
) -> Result<Serving> {
    let ControlRuntime { runtime, tasks, stop } = control;
    // What is spawned here runs there.
    let _inside = runtime.enter();
    let ends = Ends::of(control);
    let (store, metrics, supervisor) =
        (opened.store.clone(), Arc::clone(&opened.shared.metrics), plan.supervisor.clone());
    let used = Used {
        shared: opened.shared.clone(),
        plane: opened.plane.clone(),
        snapshots: opened.snapshots.clone(),
        collectors: watch::Sender::new(plan.generation.collector.clone()),
    };
    runtime.block_on(control::start(control::Parts {
        opened,
        collectors: used.collectors.subscribe(),
        outdated: Arc::clone(&ends.outdated),
        limits: plan.generation.config.limits.clone(),
        readiness: ends.readiness.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
        broken: ends.broken.clone(),
    }))?;
    let addresses = plan.sockets.addresses();
    let (reloader, handles, pulses) = open_doors(control, plan, used, &ends)?;
    let Ends { drain, consoles, broken, readiness, telling, outdated, predecessor } = ends;
    take_over(heir, &metrics, runtime.handle(), [outdated, predecessor]);
    // Only now: the process before this one has told them until here.
    let (sender, events) = mpsc::channel(SECURITY_EVENTS_AT_ONCE);
    tasks.spawn(tell_security_events(events, reloader.hooks.subscribe(), stop.clone()));
    tasks.spawn(follow_security_events(store, sender, telling));
    tasks.spawn(give_signs_of_life(supervisor.clone(), pulses, stop.clone()));
    supervisor.tell_ready("serving");
    let reloading = tasks.spawn(reloader.run(signals));
    Ok(Serving { addresses, doors: handles, consoles, readiness, drain, broken, reloading, supervisor })
}

/// Opens all listeners: first what can fail, and then the doors.
fn open_doors(
    control: &ControlRuntime,
    plan: Plan,
    used: Used,
    ends: &Ends,
) -> Result<(Reloader, Vec<JoinHandle<()>>, Vec<Pulse>)> {
    let ControlRuntime { runtime, tasks, stop } = control;
    let Plan { source, marks, generation, sockets, program, supervisor } = plan;
    let Used { shared, plane, snapshots, collectors } = used;
    let (config_refused, _) = watch::channel(None);
    let live = Live::new(&shared.metrics, ends.readiness.subscribe());
    // Also where nobody can look yet: a reload may bring a listener.
    tasks.spawn(Arc::clone(&live).take_samples(stop.clone()));
    let ops = OpsState {
        readiness: ends.readiness.subscribe(),
        config_refused: config_refused.subscribe(),
        metrics: Arc::clone(&shared.metrics),
        access_log: shared.access_log.clone(),
        live,
    };
    let ops = OpsListeners::new(ops, tasks.clone(), stop.clone());
    let consoles = Consoles::new(&shared, &plane, snapshots, &ends.drain, &ends.consoles);
    sockets.listen().map_err(|faults| in_lines(&faults))?;
    let new_ops = ops.prepare(&generation, &sockets)?;
    let new_consoles = runtime.block_on(consoles.prepare(&generation, &sockets))?;
    let doors = doors::spawn(&shared, &generation, &sockets, &ends.drain)?;
    sockets.tell_beside(&Sockets::default());
    let certificates = CertificateKeeping::new(&plane, &shared.clock, tasks, stop);
    let mut reloader = Reloader {
        consoles,
        ops,
        health_checks: HealthChecks { tasks: tasks.clone(), stop: stop.clone() },
        certificates,
        collectors,
        supervisor,
        drain: ends.drain.clone(),
        hooks: watch::Sender::new(Arc::clone(&generation.security_hook)),
        shared,
        plane,
        source,
        marks,
        started: Arc::clone(&generation.config),
        present: generation,
        sockets,
        orders: doors.orders,
        slots: doors.slots,
        telling: ends.telling.clone(),
        outdated: Arc::clone(&ends.outdated),
        predecessor: Arc::clone(&ends.predecessor),
        config_refused,
        recording: JoinSet::new(),
        program,
    };
    reloader.serve_first(&ends.readiness, new_consoles, new_ops);
    Ok((reloader, doors.handles, doors.pulses))
}

impl Ends {
    fn of(control: &ControlRuntime) -> Self {
        Self {
            drain: Drain::default(),
            consoles: TaskTracker::new(),
            broken: CancellationToken::new(),
            readiness: watch::Sender::new(Readiness::Starting),
            telling: control.stop.child_token(),
            outdated: Arc::default(),
            predecessor: Arc::default(),
        }
    }
}

/// Takes the place of the process before this one, if there is one, and tells `waiting` when that has ended.
fn take_over(heir: Option<Heir>, metrics: &Metrics, runtime: &Handle, waiting: [Arc<Notify>; 2]) {
    let Some(heir) = heir else { return };
    match heir.take_over() {
        Ok(()) => tracing::info!("the process before this one leaves its listeners to this one"),
        Err(error) => {
            tracing::warn!(%error, "the process before this one does not answer; serving all the same");
        }
    }
    metrics.binary_swapped(SwapOutcome::TakenOver);
    runtime.spawn(async move {
        heir.predecessor_ended().await;
        tracing::info!("the process before this one has ended");
        // It may have written a snapshot whose later changes it alone has noted, and held an address that is free now.
        for waiting in waiting {
            waiting.notify_one();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::TestInstallation;

    #[test]
    fn a_gateway_that_fails_to_start_is_in_the_stores_list_no_more() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let installation = runtime.block_on(TestInstallation::new());
        let inherited = installation.sockets_with_a_broken_one();
        let mut config = Config::clone(&installation.config);
        // A port that the system chose belongs to the listener that asked for it.
        config.listeners[0].address = inherited[0].bound.address;
        let surroundings = Surroundings { inherited, ..Surroundings::default() };
        let refused = start(ConfigSource::given(config), surroundings).unwrap_err();
        assert!(refused.to_string().starts_with("listener `api` cannot listen"), "{refused}");
        let opened = runtime.block_on(installation.open());
        let applied = *opened.shared.index.applied().borrow();
        let listed = opened.store.await_acknowledgements(applied, std::time::Duration::ZERO);
        assert_eq!(runtime.block_on(listed).unwrap(), []);
    }
}
