//! One server of an upstream as one door thread sees it: the idle connections to it, and how many are in use.
//!
//! The pool belongs to the thread, so that no lock is taken and a connection is used where its buffers are warm. A
//! connection carries one request at a time, so the connections in use are the requests in flight. Which server is
//! asked is `upstream`'s to say.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::sleep;

use super::denial::Fault;
use super::exchange::UpstreamConnection;
use crate::config::Limits;
use crate::net::upstream::{ServerState, UpstreamServers};

/// How often idle connections are looked through for closed and outlived ones.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// One server with its idle connections, for one thread.
#[derive(Debug)]
pub struct ServerPool {
    servers: Arc<UpstreamServers>,
    state: Arc<ServerState>,
    limits: Arc<Limits>,
    /// Longest idle first; the one used last is used next, so that the others may grow old and go.
    idle: RefCell<VecDeque<Box<UpstreamConnection>>>,
    in_flight: Cell<u32>,
    sweeping: Cell<bool>,
}

/// A request on its way to a server and back; counted for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Rc<ServerPool>);

impl ServerPool {
    /// A pool for the server that `state` is of, without a connection yet.
    pub fn new(servers: &Arc<UpstreamServers>, state: &Arc<ServerState>, limits: &Arc<Limits>) -> Rc<Self> {
        Rc::new(Self {
            servers: Arc::clone(servers),
            state: Arc::clone(state),
            limits: Arc::clone(limits),
            idle: RefCell::default(),
            in_flight: Cell::new(0),
            sweeping: Cell::new(false),
        })
    }

    /// How the server does, for all threads.
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// Requests of this thread that wait for this server.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Connections that wait for a request.
    pub fn idle_connections(&self) -> usize {
        self.idle.borrow().len()
    }

    /// The server broke off, answered no HTTP, or was late.
    pub fn note_failure(&self) {
        self.servers.note_failure(&self.state);
    }

    /// The server has sent the head of an answer.
    pub fn note_head(&self) {
        self.servers.note_head(&self.state);
    }

    /// The connection used last that is still open and young enough.
    pub fn take_idle(self: &Rc<Self>) -> Option<Box<UpstreamConnection>> {
        let idle_limit = self.idle_limit();
        loop {
            let mut kept = self.idle.borrow_mut().pop_back()?;
            if kept.idle_for() < idle_limit {
                kept.take_up(InFlight::new(self));
                return Some(kept);
            }
        }
    }

    /// A new connection. Where none comes about, that counts against the server.
    pub async fn connect(self: &Rc<Self>) -> Result<Box<UpstreamConnection>, Fault> {
        let in_flight = InFlight::new(self);
        let deadline = Duration::from_millis(self.limits.upstream_connect_milliseconds.into());
        match self.state.target().connect(deadline).await {
            Ok(stream) => UpstreamConnection::open(stream, in_flight).await,
            Err(error) => {
                self.servers.note_unreachable(&self.state, &error);
                Err(Fault::of_connecting(&error))
            }
        }
    }

    fn idle_limit(&self) -> Duration {
        Duration::from_secs(self.limits.upstream_idle_seconds.into())
    }

    /// Takes back a connection that is ready for another request; beyond the limit the oldest is closed.
    fn keep(self: &Rc<Self>, connection: Box<UpstreamConnection>) {
        let limit = usize::try_from(self.limits.upstream_idle_connections).unwrap_or(usize::MAX);
        let mut idle = self.idle.borrow_mut();
        idle.push_back(connection);
        if idle.len() > limit {
            idle.pop_front();
        }
        drop(idle);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes connections that the server closed, or that have been idle for too long.
    fn close_outlived(&self) {
        let idle_limit = self.idle_limit();
        // Whoever would be woken by these connections has nothing to do with them.
        let mut cx = Context::from_waker(Waker::noop());
        self.idle.borrow_mut().retain_mut(|kept| kept.idle_for() < idle_limit && kept.is_open(&mut cx));
    }
}

impl InFlight {
    fn new(pool: &Rc<ServerPool>) -> Self {
        pool.in_flight.set(pool.in_flight.get().saturating_add(1));
        Self(Rc::clone(pool))
    }

    /// The server that it is at.
    pub const fn pool(&self) -> &Rc<ServerPool> {
        &self.0
    }

    /// The request is done, and its connection can carry another.
    pub fn keep(self, connection: Box<UpstreamConnection>) {
        self.0.keep(connection);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// Runs while there are idle connections, and ends with the pool.
async fn sweep(pool: Weak<ServerPool>) {
    loop {
        let Some(idle_limit) = pool.upgrade().map(|pool| pool.idle_limit()) else { return };
        sleep(SWEEP_EVERY.min(idle_limit)).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.close_outlived();
        if pool.idle.borrow().is_empty() {
            pool.sweeping.set(false);
            return;
        }
    }
}
