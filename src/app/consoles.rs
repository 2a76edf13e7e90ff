//! The console's listeners: made ready with a generation, served on the control runtime, changed by a reload.
//!
//! They are no doors: their sockets belong to no door thread, and their limits are their own. The console itself is made
//! with the first listener, and stays until the process ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::door_addresses::door_addresses;
use super::generation::{ConsolePlan, Generation};
use super::snapshots::Snapshots;
use super::sockets::Sockets;
use crate::auth::{ConsoleAccess, ControlPlane, SessionTerms};
use crate::config::PublicUrl;
use crate::console::{
    BoundConsole, ConsoleDoor, ConsoleParts, ConsoleServer, ConsoleSettings, ConsoleState, ServerParts,
    console_connection_limits, console_slots,
};
use crate::crypto::random;
use crate::net::{ConnectionSlots, Drain, ListenerId};

/// The consoles that are served, as a reload sees them.
pub(super) struct Consoles {
    shared: Shared,
    plane: ControlPlane,
    snapshots: Snapshots,
    /// The process's.
    drain: Drain,
    /// Is empty once the drain has begun and what was open has ended.
    tasks: TaskTracker,
    console: Option<Console>,
    open: Vec<OpenConsole>,
}

/// The console behind all its listeners.
#[derive(Clone)]
struct Console {
    state: ConsoleState,
    slots: Arc<ConnectionSlots>,
    server: Arc<ConsoleServer>,
}

/// A listener that is served.
struct OpenConsole {
    id: ListenerId,
    door: Arc<ConsoleDoor>,
    drain: Drain,
}

/// What is about to be served.
pub(super) struct NewConsoles {
    /// `None`: no listener of the console is or was configured.
    console: Option<Console>,
    listeners: Vec<(Arc<ConsolePlan>, Vec<TcpListener>)>,
}

impl Consoles {
    /// None yet. They end with `drain`; `tasks` is empty when they have.
    pub(super) fn new(
        shared: &Shared,
        plane: &ControlPlane,
        snapshots: Snapshots,
        drain: &Drain,
        tasks: &TaskTracker,
    ) -> Self {
        Self {
            shared: shared.clone(),
            plane: plane.clone(),
            snapshots,
            drain: drain.clone(),
            tasks: tasks.clone(),
            console: None,
            open: Vec::new(),
        }
    }

    /// What browsers call the console by, if there is one.
    pub(super) fn public_url(&self) -> Option<&PublicUrl> {
        self.console.as_ref().map(|console| console.state.public_url())
    }

    /// Makes ready what of `generation` is not served yet.
    ///
    /// # Errors
    /// What keeps it from being served; nothing has changed then.
    pub(super) async fn prepare(&self, generation: &Generation, sockets: &Sockets) -> Result<NewConsoles> {
        let console = match (&self.console, generation.config.public_url()) {
            (Some(console), _) => Some(console.clone()),
            (None, Some(public_url)) => Some(self.make(generation, public_url, sockets).await?),
            (None, None) => None,
        };
        let is_new = |id| !self.open.iter().any(|open| open.id == id);
        let new = generation.consoles.iter().filter(|plan| is_new(plan.id));
        let listeners = new.map(|plan| Ok((Arc::clone(plan), sockets.whole(&plan.listener_name)?)));
        Ok(NewConsoles { console, listeners: listeners.collect::<Result<_>>()? })
    }

    async fn make(
        &self,
        generation: &Generation,
        public_url: &PublicUrl,
        sockets: &Sockets,
    ) -> Result<Console> {
        let Self { shared, plane, snapshots, .. } = self;
        let limits = &generation.limits;
        let terms = SessionTerms {
            idle_seconds: limits.console_session_idle_seconds.into(),
            absolute_seconds: limits.console_session_seconds.into(),
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
            limits: Arc::clone(limits),
            doors: door_addresses(&generation.config, sockets),
        });
        let slots = console_slots(limits);
        let server = ConsoleServer::start(ServerParts {
            state: state.clone(),
            access_log: shared.access_log.clone(),
            seed: random::bits()?,
            slots: Arc::clone(&slots),
        });
        Ok(Console { state, slots, server: Arc::new(server) })
    }

    /// Connections and requests that begin from now on go by `generation`; those that are `new` are served, and those
    /// that it does not have drain.
    pub(super) fn put_in_force(&mut self, generation: &Generation, sockets: &Sockets, new: NewConsoles) {
        let NewConsoles { console: Some(console), listeners } = new else { return };
        console.slots.set_limits(console_connection_limits(&generation.limits));
        console.state.reconfigure(Arc::clone(&generation.limits));
        console.state.tell_of(door_addresses(&generation.config, sockets));
        for open in &self.open {
            if let Some(plan) = generation.consoles.iter().find(|plan| plan.id == open.id) {
                open.door.replace(settings(plan));
            }
        }
        for (plan, accepting_on) in listeners {
            let queue = sockets.queue(&plan.listener_name);
            let (id, drain) = (plan.id, self.drain.child());
            let door = ConsoleDoor::new(&plan.listener_name, settings(&plan));
            let bound = BoundConsole { id, sockets: accepting_on, queue, door: Arc::clone(&door) };
            console.server.open(bound, &drain);
            self.open.push(OpenConsole { id, door, drain });
        }
        if self.console.is_none() {
            let (server, drain) = (Arc::clone(&console.server), self.drain.clone());
            self.tasks.spawn(async move {
                drain.begun().await;
                server.ended().await;
            });
        }
        self.console = Some(console);
        let idle_for = Duration::from_secs(generation.limits.drain_seconds.into()) / 2;
        self.open.retain(|open| {
            let stays = generation.consoles.iter().any(|plan| plan.id == open.id);
            if !stays {
                open.drain.begin_gently(Instant::now() + idle_for);
            }
            stays
        });
    }
}

fn settings(plan: &ConsolePlan) -> ConsoleSettings {
    let tls = plan.tls.as_ref().map(|tls| Arc::clone(&tls.config));
    ConsoleSettings { listener: plan.listener.clone(), tls }
}
