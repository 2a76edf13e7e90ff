//! The HTTP/2 connections to one server of an upstream, for one thread: one, or a few where one cannot hold all.
//!
//! Requests that find no place wait together for one new connection instead of opening one each. Called by
//! `server_pool`.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::watch;

use super::http2_connection::{Http2Connection, Place};
use super::server_pool::InFlight;
use crate::gateway::http::denial::Fault;
use crate::net::upstream::HttpVersion;

/// The connections, and what is known of what the server speaks.
#[derive(Debug)]
pub struct Http2Pool {
    connections: RefCell<Vec<Http2Connection>>,
    /// What the server chose last; `None`: nobody has asked it yet.
    spoken: Cell<Option<HttpVersion>>,
    opening: RefCell<Option<watch::Receiver<Opening>>>,
}

/// How the opening of a connection stands: under way, or how it went.
pub type Opening = Option<Result<(), Fault>>;

impl Http2Pool {
    /// No connection yet; `spoken` is what the server will speak, where that is settled.
    pub fn new(spoken: Option<HttpVersion>) -> Self {
        Self { connections: RefCell::default(), spoken: Cell::new(spoken), opening: RefCell::default() }
    }

    /// May one new connection serve several requests?
    pub fn is_shared(&self) -> bool {
        self.spoken.get() != Some(HttpVersion::Http1)
    }

    /// The server chose `version`.
    pub fn note_spoken(&self, version: HttpVersion) {
        self.spoken.set(Some(version));
    }

    /// A place on a connection that has one.
    pub fn take(&self, in_flight: impl Fn() -> InFlight) -> Option<Place> {
        self.connections.borrow().iter().find_map(|connection| connection.take(&in_flight))
    }

    /// Adds a connection.
    pub fn add(&self, connection: Http2Connection) {
        self.connections.borrow_mut().push(connection);
    }

    /// Lets go of connections that are retired, or without a request for `idle_limit`.
    pub fn close_outlived(&self, idle_limit: Duration) {
        self.connections.borrow_mut().retain(|connection| !connection.is_outlived(idle_limit));
    }

    /// Is there no connection?
    pub fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }

    /// The opening that is under way, begun by `begin` if there is none; `begin` gets where to tell how it went.
    pub fn join_opening(&self, begin: impl FnOnce(watch::Sender<Opening>)) -> watch::Receiver<Opening> {
        let mut opening = self.opening.borrow_mut();
        if let Some(under_way) =
            opening.as_ref().filter(|opening| opening.borrow().is_none() && opening.has_changed().is_ok())
        {
            return under_way.clone();
        }
        let (told, watched) = watch::channel(None);
        *opening = Some(watched.clone());
        begin(told);
        watched
    }
}
