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
use crate::auth::{Actor, ControlPlane};
use crate::config::{Config, ListenerProtocol};
use crate::console::{
    BoundConsole, ConsoleDoor, ConsoleParts, ConsoleSettings, ConsoleState, ServerParts,
    console_connection_limits, console_slots, serve_console,
};
use crate::crypto::{KeyRing, random};
use crate::net::{BoundListener, ConnectionSlots};
use crate::store::Store;

/// The running console, as a reload sees it.
#[derive(Debug)]
pub(super) struct Consoles {
    state: ConsoleState,
    /// In the order of the generation's.
    doors: Vec<Arc<ConsoleDoor>>,
    slots: Arc<ConnectionSlots>,
}

/// What the console needs of the store.
pub(super) struct ConsoleStore {
    pub(super) store: Store,
    pub(super) key_ring: Arc<KeyRing>,
}

/// Serves the consoles of `generation` on the present runtime until `drain` and what is open then has ended; `None`:
/// there are none.
pub(super) fn spawn(
    shared: &Shared,
    console_store: ConsoleStore,
    generation: &Generation,
    sockets: Vec<TcpListener>,
    drain: &CancellationToken,
) -> Result<Option<(Consoles, JoinHandle<()>)>> {
    let config = &generation.config;
    let Some(public_url) = config.public_url() else { return Ok(None) };
    let ConsoleStore { store, key_ring } = console_store;
    let state = ConsoleState::new(ConsoleParts {
        control: ControlPlane {
            store,
            key_ring,
            clock: shared.clock.clone(),
            policy: config.policy.clone(),
            actor: Actor::Gateway,
        },
        authenticator: Arc::clone(&shared.authenticator),
        metrics: Arc::clone(&shared.metrics),
        public_url: public_url.clone(),
        limits: Arc::clone(&generation.limits),
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
        self.state.reconfigure(generation.config.policy.clone(), Arc::clone(&generation.limits));
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
