//! The console's listeners: made ready with a generation, served on the control runtime, changed by a reload.
//!
//! They are no doors: their sockets belong to no door thread, and their limits are their own.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::generation::{ConsolePlan, Generation};
use super::snapshots::Snapshots;
use crate::auth::{ConsoleAccess, ControlPlane, SessionTerms};
use crate::config::{Config, ListenerProtocol};
use crate::console::{
    BoundConsole, ConsoleDoor, ConsoleParts, ConsoleSettings, ConsoleState, DoorAddresses, ServerParts,
    console_connection_limits, console_slots, serve_console,
};
use crate::crypto::random;
use crate::net::{BoundListener, ConnectionSlots};

/// The running console, as a reload sees it.
#[derive(Debug)]
pub(super) struct Consoles {
    state: ConsoleState,
    /// In the order of the generation's.
    doors: Vec<Arc<ConsoleDoor>>,
    slots: Arc<ConnectionSlots>,
}

/// Serves the consoles of `generation` on the present runtime until `drain` and what is open then has ended; `None`:
/// there are none.
pub(super) async fn spawn(
    shared: &Shared,
    plane: &ControlPlane,
    snapshots: &Snapshots,
    generation: &Generation,
    (sockets, addresses): (Vec<TcpListener>, DoorAddresses),
    drain: &CancellationToken,
) -> Result<Option<(Consoles, JoinHandle<()>)>> {
    let config = &generation.config;
    let Some(public_url) = config.public_url() else { return Ok(None) };
    let terms = SessionTerms {
        idle_seconds: config.limits.console_session_idle_seconds.into(),
        absolute_seconds: config.limits.console_session_seconds.into(),
    };
    let security_keys = match snapshots.age {
        None => plane.security_keys(public_url).await?,
        Some(_) => plane.security_keys_without_store(public_url, snapshots.relying_party.as_deref())?,
    };
    let authenticator = Arc::clone(&shared.authenticator);
    let access =
        ConsoleAccess::new(plane.clone(), authenticator, security_keys, terms, shared.failures.clone());
    let state = ConsoleState::new(ConsoleParts {
        access,
        metrics: Arc::clone(&shared.metrics),
        public_url: public_url.clone(),
        limits: Arc::clone(&generation.limits),
        doors: addresses,
    });
    let (mut doors, mut listeners) = (Vec::new(), Vec::new());
    for (plan, socket) in generation.consoles.iter().zip(sockets) {
        let socket =
            tokio::net::TcpListener::from_std(socket).context("a console listener cannot be used")?;
        let door = ConsoleDoor::new(&plan.listener_name, settings(plan));
        listeners.push(BoundConsole { socket, door: Arc::clone(&door) });
        doors.push(door);
    }
    let slots = console_slots(&generation.limits, listeners.len());
    let parts = ServerParts {
        state: state.clone(),
        access_log: shared.access_log.clone(),
        seed: random::bits()?,
        slots: Arc::clone(&slots),
    };
    let serving = tokio::spawn(serve_console(listeners, parts, drain.clone()));
    Ok(Some((Consoles { state, doors, slots }, serving)))
}

impl Consoles {
    /// Connections and requests that begin from now on go by `generation`.
    pub(super) fn put_in_force(&self, generation: &Generation) {
        self.slots.set_limits(console_connection_limits(&generation.limits));
        self.state.reconfigure(Arc::clone(&generation.limits));
        for (door, plan) in self.doors.iter().zip(&generation.consoles) {
            door.replace(settings(plan));
        }
    }
}

fn settings(plan: &ConsolePlan) -> ConsoleSettings {
    let tls = plan.tls.as_ref().map(|tls| Arc::clone(&tls.config));
    ConsoleSettings { listener: plan.listener.clone(), tls }
}

/// Takes the sockets of the consoles.
pub(super) fn console_sockets(
    config: &Config,
    bound: &[(String, BoundListener)],
) -> Result<Vec<TcpListener>> {
    config
        .listeners
        .iter()
        .zip(bound)
        .filter(|(listener, _)| matches!(listener.protocol, ListenerProtocol::Console(_)))
        .flat_map(|(_, (_, bound))| bound.sockets.iter())
        .map(|socket| socket.try_clone().context("a console listener cannot be used"))
        .collect()
}
