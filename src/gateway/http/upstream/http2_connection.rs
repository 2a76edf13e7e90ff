//! A connection to an upstream's server that speaks HTTP/2 (RFC 9113): many requests side by side.
//!
//! A task of the door thread drives it, pings it when an answer is awaited for too long, and ends with it. What is
//! exchanged on its streams is `http2_exchange`'s matter; which connection a request goes on, `http2_pool`'s.
//!
//! `h2` is used itself rather than through hyper's client, which shows a reset with `NO_ERROR` as the whole of a body
//! (S71), and keeps a stream alive for a body that nobody waits for any more (S72): `docs/decisions/0015`.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep_until, timeout};

use super::server_pool::{InFlight, ServerPool};
use crate::config::{Limits, Scheme};
use crate::net::upstream::{ConnectError, UpstreamStream};

/// What the server may send of one answer before the client has taken any of it.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The most that HTTP/2 can say (RFC 9113 §6.9.1).
const WINDOW_MAX_BYTES: u32 = (1 << 31) - 1;

/// A connection, with or without requests on it. Dropping it closes it once the last of them has ended.
pub struct Http2Connection {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    streams_max: usize,
    vitals: Rc<Vitals>,
}

/// How a connection does, for all who use it.
#[derive(Debug)]
struct Vitals {
    /// Requests on it.
    streams: Cell<usize>,
    /// It takes no further request: it is closed, draining, or seems dead.
    retired: Cell<bool>,
    /// When a request on it last began or ended.
    used_at: Cell<Instant>,
    /// When a part of an answer last came.
    heard_at: Cell<Instant>,
}

/// The right to one stream.
pub struct Place {
    /// Begins the stream.
    pub sender: SendRequest<Bytes>,
    /// In clear or by TLS, for `:scheme`.
    pub scheme: Scheme,
    /// Counts it.
    pub seat: Seat,
}

/// A stream as it is counted, for as long as it lives.
#[derive(Debug)]
pub struct Seat {
    vitals: Rc<Vitals>,
    in_flight: InFlight,
}

impl std::fmt::Debug for Http2Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Http2Connection").field(&self.vitals).finish()
    }
}

impl Http2Connection {
    /// Speaks HTTP/2 on `stream`. It is there when the server has answered a ping: then it is known to speak HTTP/2,
    /// and how many streams it takes. The caller sets a deadline.
    pub async fn open(stream: UpstreamStream, scheme: Scheme, limits: &Limits) -> Result<Self, ConnectError> {
        let refused = |error: h2::Error| ConnectError::NotHttp2(error.to_string());
        let (sender, mut connection) = builder(limits).handshake(stream).await.map_err(refused)?;
        let mut pings = connection.ping_pong().ok_or(ConnectError::TooLate)?;
        tokio::select! {
            biased;
            pong = pings.ping(Ping::opaque()) => { pong.map_err(refused)?; }
            ended = &mut connection => {
                let why = ended.err().map_or_else(|| "it closed".to_owned(), |error| error.to_string());
                return Err(ConnectError::NotHttp2(why));
            }
        }
        let now = Instant::now();
        let vitals = Rc::new(Vitals {
            streams: Cell::new(0),
            retired: Cell::new(false),
            used_at: Cell::new(now),
            heard_at: Cell::new(now),
        });
        let deadlines = PingDeadlines {
            every: Duration::from_secs(limits.upstream_http2_ping_seconds.into()),
            within: Duration::from_secs(limits.upstream_first_byte_seconds.into()),
        };
        tokio::task::spawn_local(keep_running(connection, pings, Rc::clone(&vitals), deadlines));
        let streams_max = usize::try_from(limits.upstream_http2_streams).unwrap_or(usize::MAX);
        Ok(Self { sender, scheme, streams_max, vitals })
    }

    /// A place for the request that `in_flight` makes and counts; `None`: it is full, or takes none any more.
    pub fn take(&self, in_flight: impl FnOnce() -> InFlight) -> Option<Place> {
        let room = self.streams_max.min(self.sender.current_max_send_streams()).max(1);
        if self.vitals.retired.get() || self.vitals.streams.get() >= room {
            return None;
        }
        self.vitals.streams.set(self.vitals.streams.get() + 1);
        self.vitals.used_at.set(Instant::now());
        let seat = Seat { vitals: Rc::clone(&self.vitals), in_flight: in_flight() };
        Some(Place { sender: self.sender.clone(), scheme: self.scheme, seat })
    }

    /// Is it of use to nobody, after `idle_limit` without a request for example?
    pub fn is_outlived(&self, idle_limit: Duration) -> bool {
        let idle = self.vitals.streams.get() == 0 && self.vitals.used_at.get().elapsed() >= idle_limit;
        idle || self.vitals.retired.get()
    }
}

/// How the connection is set up, which the server is told in SETTINGS.
fn builder(limits: &Limits) -> client::Builder {
    // All streams may fill their windows at once without taking the others' share of the connection's: a client that
    // takes nothing of its answer must not hold up anybody else.
    let window = limits.upstream_http2_streams.saturating_mul(STREAM_WINDOW_BYTES).min(WINDOW_MAX_BYTES);
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(window)
        .max_header_list_size(limits.http_header_bytes);
    builder
}

impl Seat {
    /// Where the request is counted.
    pub const fn pool(&self) -> &Rc<ServerPool> {
        self.in_flight.pool()
    }

    /// Something came from the server.
    pub fn heard(&self) {
        self.vitals.heard_at.set(Instant::now());
    }

    /// The connection takes no further request.
    pub fn retire(&self) {
        self.vitals.retired.set(true);
    }

    /// This request has waited in vain since `since`: a connection on which nobody else got anything either takes no
    /// further request.
    pub fn doubt(&self, since: Instant) {
        if self.vitals.heard_at.get() < since {
            self.retire();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.vitals.streams.set(self.vitals.streams.get().saturating_sub(1));
        self.vitals.used_at.set(Instant::now());
    }
}

/// When to ping, and how long to wait for the answer.
struct PingDeadlines {
    every: Duration,
    within: Duration,
}

/// Drives `connection` to its end, which a ping without an answer brings about: its streams fail then.
async fn keep_running(
    connection: client::Connection<UpstreamStream, Bytes>,
    mut pings: PingPong,
    vitals: Rc<Vitals>,
    deadlines: PingDeadlines,
) {
    let mut connection = pin!(connection);
    let mut ping_at = Instant::now() + deadlines.every;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
                }
                break;
            }
            () = sleep_until(ping_at) => {}
        }
        let now = Instant::now();
        let silent_at = vitals.heard_at.get().max(vitals.used_at.get()) + deadlines.every;
        if silent_at > now {
            ping_at = silent_at;
            continue;
        }
        ping_at = now + deadlines.every;
        if vitals.streams.get() == 0 {
            continue;
        }
        let answered = tokio::select! {
            biased;
            _ = &mut connection => break,
            pong = timeout(deadlines.within, pings.ping(Ping::opaque())) => matches!(pong, Ok(Ok(_))),
        };
        if !answered {
            tracing::debug!("an HTTP/2 connection to an upstream answers no ping, and is closed");
            break;
        }
    }
    vitals.retired.set(true);
}
