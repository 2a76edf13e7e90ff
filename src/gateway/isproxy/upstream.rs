//! An `IsProxy` upstream as one door thread sees it: which of its servers a session is connected to.
//!
//! How a connection gets ready is `opening`'s, what goes over it `link`'s, and what is known of the servers' health is
//! shared between the threads and with HTTP by `net::upstream`. Called by `link`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::line::LineReader;
use super::opening::{OpenError, open};
use crate::config::Limits;
use crate::model::Secret;
use crate::net::upstream::{Draws, ServerState, UpstreamServers, UpstreamStream};
use crate::telemetry::UpstreamTimer;

/// One upstream, for one thread.
#[derive(Debug)]
pub struct IsProxyUpstream {
    servers: Arc<UpstreamServers>,
    /// What Latchkey itself logs in with.
    login_key: Option<Secret<String>>,
    connect_within: Duration,
    /// Sessions of this thread at each server, in the order of `servers`.
    sessions: Box<[Cell<u32>]>,
    draws: Draws,
    timer: UpstreamTimer,
}

/// A connection for one session, ready for its lines.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// The socket.
    pub stream: UpstreamStream,
    /// What was read from it already.
    pub reader: LineReader,
    /// Where it goes.
    pub seat: Seat,
}

/// A session's place at a server; counted for as long as it lives.
#[derive(Debug)]
pub struct Seat {
    upstream: Rc<IsProxyUpstream>,
    server: Arc<ServerState>,
}

/// Why a session has no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The health check finds every server unhealthy.
    #[error("the health check finds no server well")]
    NobodyWell,
    /// None of those that were tried got ready.
    #[error("{0}")]
    Open(#[from] OpenError),
}

impl IsProxyUpstream {
    /// The upstream whose servers are `servers`. Threads need different seeds.
    pub fn new(
        servers: &Arc<UpstreamServers>,
        config: &crate::config::IsProxyUpstream,
        limits: &Limits,
        seed: u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            servers: Arc::clone(servers),
            login_key: config.login_key.clone(),
            connect_within: Duration::from_millis(limits.upstream_connect_milliseconds.into()),
            sessions: servers.all().iter().map(|_| Cell::new(0)).collect(),
            draws: Draws::new(seed),
            timer: servers.timer(),
        })
    }

    /// Its name in the configuration and the logs.
    pub fn name(&self) -> &str {
        self.servers.name()
    }

    /// It let a request wait for so long.
    pub fn count_times(&self, waited: Duration, requests: u32) {
        self.timer.count_times(waited, requests);
    }

    /// A connection to one of the servers; where that does not get ready, to another one, once. Each has
    /// `limits.upstream_connect_milliseconds`.
    pub async fn connect(self: Rc<Self>) -> Result<UpstreamConnection, ConnectFailure> {
        let first = self.servers.choose(&self.draws, |place| self.sessions_at(place));
        let seat = first.and_then(|place| self.take_seat(place)).ok_or(ConnectFailure::NobodyWell)?;
        let tried = Arc::clone(&seat.server);
        let error = match self.open(seat).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let second = self.servers.choose_beside(&tried, &self.draws, |place| self.sessions_at(place));
        match second.and_then(|place| self.take_seat(place)) {
            Some(seat) => Ok(self.open(seat).await?),
            None => Err(error.into()),
        }
    }

    async fn open(&self, seat: Seat) -> Result<UpstreamConnection, OpenError> {
        match open(seat.server.target(), self.login_key.as_ref(), self.connect_within).await {
            Ok((stream, reader)) => Ok(UpstreamConnection { stream, reader, seat }),
            Err(error) => {
                self.servers.note_unreachable(&seat.server, &error);
                Err(error)
            }
        }
    }

    fn take_seat(self: &Rc<Self>, place: usize) -> Option<Seat> {
        let server = Arc::clone(self.servers.all().get(place)?);
        let sessions = self.sessions.get(place)?;
        sessions.set(sessions.get().saturating_add(1));
        Some(Seat { upstream: Rc::clone(self), server })
    }

    fn sessions_at(&self, place: usize) -> u32 {
        self.sessions.get(place).map_or(u32::MAX, Cell::get)
    }
}

impl Seat {
    /// The server answered: whatever was held against it is over.
    pub fn note_answer(&self) {
        self.upstream.servers.note_head(&self.server);
        self.server.note_end();
    }

    /// The server broke off while it owed replies, sent what is no line, or was late.
    pub fn note_failure(&self, why: &dyn std::error::Error) {
        self.upstream.servers.note_broken(&self.server, why);
    }

    /// The server refused what it was asked.
    pub fn note_refusal(&self, why: &dyn std::error::Error) {
        self.upstream.servers.note_refusal(&self.server, why);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(sessions) = self.upstream.sessions.get(self.server.place()) {
            sessions.set(sessions.get().saturating_sub(1));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{IsProxyServer, IsProxyUpstream as Config};
    use crate::gateway::isproxy::session::GivenUp;
    use crate::telemetry::Metrics;

    /// An upstream in clear whose servers are at `ports` of this machine.
    pub(in crate::gateway::isproxy) fn upstream_at(ports: &[u16]) -> Rc<IsProxyUpstream> {
        let server = |port: &u16| IsProxyServer { host: String::from("127.0.0.1"), port: *port };
        let config = Config {
            servers: ports.iter().map(server).collect(),
            tls: None,
            login_key: None,
            health_check: None,
        };
        let limits = Limits::default();
        let servers = UpstreamServers::for_isproxy("names", &config, &limits, &Metrics::default()).unwrap();
        IsProxyUpstream::new(&servers, &config, &limits, 7)
    }

    async fn listening() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn counts(upstream: &IsProxyUpstream) -> Vec<u32> {
        upstream.sessions.iter().map(Cell::get).collect()
    }

    #[tokio::test]
    async fn sessions_spread_over_the_servers_and_are_counted_while_they_last() {
        let servers = [listening().await, listening().await];
        let upstream = upstream_at(&servers.each_ref().map(|(_, port)| *port));
        let mut connections = Vec::new();
        for _ in 0..10 {
            connections.push(Rc::clone(&upstream).connect().await.unwrap());
        }
        assert_eq!(counts(&upstream), [5, 5], "of two servers the one with fewer sessions is taken");
        connections.retain(|connection| connection.seat.server.place() == 1);
        assert_eq!(counts(&upstream), [0, 5]);
        drop(connections);
        assert_eq!(counts(&upstream), [0, 0]);
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_reached_is_passed_over_for_one_other() {
        let (live, port) = listening().await;
        let (gone, free) = listening().await;
        drop(gone);
        let upstream = upstream_at(&[free, port]);
        let mut connections = Vec::new();
        for _ in 0..20 {
            connections.push(Rc::clone(&upstream).connect().await.unwrap());
        }
        assert_eq!(counts(&upstream), [0, 20]);
        drop(live);
        let failed = Rc::clone(&upstream).connect().await.map(|_| ()).unwrap_err();
        assert!(matches!(failed, ConnectFailure::Open(OpenError::Connect(_))), "{failed}");
    }

    #[test]
    fn failures_eject_a_server_and_refusals_that_clients_can_bring_about_do_not() {
        let upstream = upstream_at(&[1, 2]);
        let seat = upstream.take_seat(0).unwrap();
        let asked = || upstream.servers.choose(&upstream.draws, |place| u32::try_from(place).unwrap());
        (0..20).for_each(|_| seat.note_refusal(&GivenUp::Refused));
        (0..4).for_each(|_| seat.note_failure(&GivenUp::Late));
        assert_eq!(asked(), Some(0));
        seat.note_answer();
        (0..4).for_each(|_| seat.note_failure(&GivenUp::Late));
        assert_eq!(asked(), Some(0), "not in a row");
        seat.note_failure(&GivenUp::Garbled);
        assert_eq!(asked(), Some(1));
        seat.note_answer();
        assert_eq!(asked(), Some(0));
    }

    #[tokio::test]
    async fn where_the_health_check_finds_nobody_well_nobody_is_asked() {
        let (live, port) = listening().await;
        let upstream = upstream_at(&[port]);
        upstream.servers.note_unhealthy(&upstream.servers.all()[0], &OpenError::Closed);
        let failed = Rc::clone(&upstream).connect().await.map(|_| ()).unwrap_err();
        assert!(matches!(failed, ConnectFailure::NobodyWell), "{failed}");
        upstream.servers.note_healthy(&upstream.servers.all()[0]);
        let (connected, accepted) = tokio::join!(upstream.connect(), live.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }
}
