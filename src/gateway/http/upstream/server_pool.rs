//! One server of an upstream as one door thread sees it: the connections to it, and how many requests are under way.
//!
//! The pool belongs to the thread, so that no lock is taken and a connection is used where its buffers are warm. A
//! connection of HTTP/1.1 carries one request at a time, and waits here while it carries none; those of HTTP/2 are
//! `http2_pool`'s. Which server is asked is `upstream`'s to say.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::http1_connection::UpstreamConnection;
use super::http2_connection::{Http2Connection, Place};
use super::http2_pool::Http2Pool;
use crate::config::Limits;
use crate::gateway::http::denial::Fault;
use crate::net::upstream::{ConnectError, HttpVersion, ServerState, UpstreamServers, UpstreamStream};

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
    http2: Http2Pool,
    in_flight: Cell<u32>,
    sweeping: Cell<bool>,
}

/// What carries one request.
pub enum Connection {
    /// A connection of its own.
    Http1(Box<UpstreamConnection>),
    /// A place on one that it shares.
    Http2(Place),
}

/// A connection that has just come about.
enum Opened {
    Http1(UpstreamStream),
    Http2(Http2Connection),
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
            http2: Http2Pool::new(state.target().settled_version()),
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

    /// A place on a connection of HTTP/2, or the connection used last that is still open and young enough.
    pub fn take_kept(self: &Rc<Self>, now: Instant) -> Option<Connection> {
        if let Some(place) = self.http2.take(|| InFlight::new(self)) {
            return Some(Connection::Http2(place));
        }
        self.take_idle(now).map(Connection::Http1)
    }

    /// The connection of HTTP/1.1 used last that is still open and young enough.
    pub fn take_idle(self: &Rc<Self>, now: Instant) -> Option<Box<UpstreamConnection>> {
        let idle_limit = self.idle_limit();
        loop {
            let mut kept = self.idle.borrow_mut().pop_back()?;
            if kept.idle_for(now) < idle_limit {
                kept.take_up(InFlight::new(self));
                return Some(kept);
            }
        }
    }

    /// A new connection, or a place on one that is opened for several requests. Where none comes about, that counts
    /// against the server.
    pub async fn connect(self: &Rc<Self>) -> Result<Connection, Fault> {
        while self.http2.is_shared() {
            self.join_opening().await?;
            // Others who waited may have filled it.
            if let Some(connection) = self.take_kept(Instant::now()) {
                return Ok(connection);
            }
        }
        let in_flight = InFlight::new(self);
        match self.open().await? {
            Opened::Http1(stream) => Ok(Connection::Http1(UpstreamConnection::new(stream, in_flight))),
            Opened::Http2(connection) => {
                drop(in_flight);
                let place = connection.take(|| InFlight::new(self));
                self.add(connection);
                place.map(Connection::Http2).ok_or(Fault::UpstreamBroke)
            }
        }
    }

    /// A new connection that speaks HTTP/1.1, whatever others do. Where none comes about, that counts against
    /// the server.
    pub async fn connect_http1(self: &Rc<Self>) -> Result<Box<UpstreamConnection>, Fault> {
        let in_flight = InFlight::new(self);
        let deadline = Duration::from_millis(self.limits.upstream_connect_milliseconds.into());
        match self.state.target().connect(deadline).await {
            Ok(stream) => Ok(UpstreamConnection::new(stream, in_flight)),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Waits for the one connection that is being opened. A task of its own opens it: the client that asked first may
    /// leave.
    async fn join_opening(self: &Rc<Self>) -> Result<(), Fault> {
        let _waiting = InFlight::new(self);
        let mut opening = self.http2.join_opening(|told| {
            let pool = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let opened = match pool.open().await {
                    Ok(opened) => {
                        pool.keep_opened(opened);
                        Ok(())
                    }
                    Err(fault) => Err(fault),
                };
                // Nobody may wait any more.
                let _ = told.send(Some(opened));
            });
        });
        let outcome = opening.wait_for(Option::is_some).await.map(|outcome| *outcome);
        outcome.ok().flatten().unwrap_or(Err(Fault::UpstreamBroke))
    }

    fn keep_opened(self: &Rc<Self>, opened: Opened) {
        match opened {
            Opened::Http1(stream) => {
                UpstreamConnection::new(stream, InFlight::new(self)).put_aside(Instant::now());
            }
            Opened::Http2(connection) => self.add(connection),
        }
    }

    async fn open(&self) -> Result<Opened, Fault> {
        let deadline = Duration::from_millis(self.limits.upstream_connect_milliseconds.into());
        let due = Instant::now() + deadline;
        let target = self.state.target();
        let opened = match target.connect_http(deadline).await {
            Err(error) => Err(error),
            Ok((stream, HttpVersion::Http1)) => {
                self.http2.note_spoken(HttpVersion::Http1);
                Ok(Opened::Http1(stream))
            }
            Ok((stream, HttpVersion::Http2)) => {
                self.http2.note_spoken(HttpVersion::Http2);
                let opening = Http2Connection::open(stream, target.scheme(), &self.limits);
                let left = due.saturating_duration_since(Instant::now());
                timeout(left, opening).await.unwrap_or(Err(ConnectError::TooLate)).map(Opened::Http2)
            }
        };
        opened.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ConnectError) -> Fault {
        self.servers.note_unreachable(&self.state, error);
        Fault::of_connecting(error)
    }

    fn add(self: &Rc<Self>, connection: Http2Connection) {
        self.http2.add(connection);
        self.sweep_now_and_then();
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
        self.sweep_now_and_then();
    }

    fn sweep_now_and_then(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes connections that the server closed, or that have been idle for too long.
    fn close_outlived(&self) {
        let (idle_limit, now) = (self.idle_limit(), Instant::now());
        self.idle.borrow_mut().retain_mut(|kept| kept.idle_for(now) < idle_limit && kept.is_ready());
        self.http2.close_outlived(idle_limit);
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

/// Runs while there are connections to look after, and ends with the pool.
async fn sweep(pool: Weak<ServerPool>) {
    loop {
        let Some(idle_limit) = pool.upgrade().map(|pool| pool.idle_limit()) else { return };
        sleep(SWEEP_EVERY.min(idle_limit)).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.close_outlived();
        if pool.idle.borrow().is_empty() && pool.http2.is_empty() {
            pool.sweeping.set(false);
            return;
        }
    }
}
