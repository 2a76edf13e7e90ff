//! The console's server: connections, TLS, HTTP/1.1 and HTTP/2, deadlines, draining.
//!
//! Runs on the control runtime, so that nothing that people do in the console takes time from the doors, and has limits
//! of its own, so that a flood at the doors does not keep administrators out (SECURITY S94). hyper reads and writes the
//! protocol; what becomes of a request stands in `answering`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::answering::{Answering, Connection};
use super::client::Transport;
use super::idle::{ConnectionWatch, WatchedIo};
use super::request_log::RequestLog;
use super::{ConsoleState, router};
use crate::config::{ConsoleListener, Limits};
use crate::model::AccessPoint;
use crate::net::proxy_protocol::read_source;
use crate::net::{
    AcceptedAt, ConnectionLimits, ConnectionSlots, Drain, ListenerId, Queue, accept_connections, shake_hands,
};
use crate::telemetry::AccessLog;

/// How often buffered access log lines are handed on.
const FLUSH_ACCESS_LOG_EVERY: Duration = Duration::from_millis(200);
/// How long a connection may take to say that it ends because it waited for too long.
const FAREWELL: Duration = Duration::from_secs(1);
/// hyper refuses a smaller buffer.
const SMALLEST_BUFFER_BYTES: usize = 8_192;
/// Requests at once on one HTTP/2 connection; browsers ask for a page and its two files.
const HTTP2_STREAMS: u32 = 16;
/// What a client may send on one HTTP/2 connection before it is read.
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// A listener of the console that is bound.
#[derive(Debug)]
pub struct BoundConsole {
    /// Which it is.
    pub id: ListenerId,
    /// Where it accepts.
    pub sockets: Vec<TcpListener>,
    /// Who has what queues there when the process is stopped.
    pub queue: Queue,
    /// How it serves.
    pub door: Arc<ConsoleDoor>,
}

/// A listener of the console, with settings that a reload replaces.
#[derive(Debug)]
pub struct ConsoleDoor {
    pub(super) name: Arc<str>,
    present: ArcSwap<ConsoleSettings>,
}

/// What a reload can change about a listener.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// As configured; its public URL is the state's matter.
    pub listener: ConsoleListener,
    /// Its certificate; `None`: it serves in clear.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// What the server is made of, besides its listeners.
#[derive(Debug)]
pub struct ServerParts {
    /// What the pages work with.
    pub state: ConsoleState,
    /// Where requests are written down.
    pub access_log: AccessLog,
    /// Where request ids start; random.
    pub seed: u64,
    /// Counts connections; made by [`console_slots`].
    pub slots: Arc<ConnectionSlots>,
}

impl ConsoleDoor {
    /// The listener `name`.
    pub fn new(name: &str, settings: ConsoleSettings) -> Arc<Self> {
        Arc::new(Self { name: name.into(), present: ArcSwap::from_pointee(settings) })
    }

    /// Connections and requests that begin from now on go by `settings`.
    pub fn replace(&self, settings: ConsoleSettings) {
        self.present.store(Arc::new(settings));
    }

    /// The settings in force.
    pub(super) fn present(&self) -> Arc<ConsoleSettings> {
        self.present.load_full()
    }
}

/// Room for the connections of all listeners of the console, within `limits`.
pub fn console_slots(limits: &Limits) -> Arc<ConnectionSlots> {
    ConnectionSlots::new(console_connection_limits(limits), Vec::new())
}

/// What `limits` say about how many connections of the console may be open.
pub const fn console_connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        total: limits.console_connections,
        per_address: limits.console_connections_per_address,
    }
}

/// Serves the console on whatever listeners it is given.
#[derive(Debug)]
pub struct ConsoleServer {
    answering: Arc<Answering>,
    slots: Arc<ConnectionSlots>,
    accepting: TaskTracker,
    connections: TaskTracker,
    flushing: JoinHandle<()>,
}

impl ConsoleServer {
    /// A server on the present runtime, without a listener yet.
    pub fn start(parts: ServerParts) -> Self {
        let router = router(parts.state.clone());
        Self::with_routes(router, parts)
    }

    /// Like [`ConsoleServer::start`], with these routes.
    pub(super) fn with_routes(router: Router, parts: ServerParts) -> Self {
        let ServerParts { state, access_log, seed, slots } = parts;
        let metrics = state.metrics().door(AccessPoint::Console);
        let log = RequestLog::new(&access_log, metrics, state.clock().clone(), seed);
        let answering = Arc::new(Answering { state, router, log });
        let flushing = tokio::spawn(flush_regularly(Arc::clone(&answering.log)));
        let (accepting, connections) = (TaskTracker::new(), TaskTracker::new());
        Self { answering, slots, accepting, connections, flushing }
    }

    /// Serves `listener` until `drain`; then what is open ends after what it is at, and is cut after
    /// `limits.drain_seconds`.
    pub fn open(&self, listener: BoundConsole, drain: &Drain) {
        let BoundConsole { id, sockets, queue, door } = listener;
        for socket in sockets {
            let (answering, connections) = (Arc::clone(&self.answering), self.connections.clone());
            let (door, draining) = (Arc::clone(&door), drain.clone());
            let serve = move |stream, peer, slot| {
                let serving = serve_connection(
                    Arc::clone(&answering),
                    Arc::clone(&door),
                    stream,
                    peer,
                    draining.clone(),
                );
                connections.spawn(async move {
                    serving.await;
                    drop(slot);
                });
            };
            let at = AcceptedAt { listener: id, thread: 0 };
            let slots = Arc::clone(&self.slots);
            let accepting = accept_connections(socket, queue, slots, at, drain.clone(), serve);
            self.accepting.spawn(accepting);
        }
    }

    /// Completes when every listener has been told to drain, and what was open there has ended.
    pub async fn ended(&self) {
        self.accepting.close();
        self.accepting.wait().await;
        self.connections.close();
        // Each connection cuts itself when the drain is over.
        self.connections.wait().await;
        self.flushing.abort();
        self.answering.log.flush();
    }
}

async fn flush_regularly(log: Arc<RequestLog>) {
    let mut ticks = interval(FLUSH_ACCESS_LOG_EVERY);
    loop {
        ticks.tick().await;
        log.flush();
    }
}

/// Serves one connection until it ends, waits for too long, or is drained.
async fn serve_connection(
    answering: Arc<Answering>,
    door: Arc<ConsoleDoor>,
    mut stream: TcpStream,
    peer: SocketAddr,
    drain: Drain,
) {
    let (settings, limits) = (door.present(), answering.state.limits());
    let metrics = answering.log.metrics().clone();
    metrics.connection_opened();
    let within = Duration::from_secs(limits.proxy_protocol_header_seconds.into());
    let handshake = Duration::from_secs(limits.tls_handshake_seconds.into());
    let handshakes = async {
        let rules = &settings.listener.client_address;
        let source = match read_source(&mut stream, peer, rules, within).await {
            Ok(source) => source.ip(),
            Err(error) => {
                tracing::debug!(listener = %door.name, %peer, %error, "a connection is closed");
                return None;
            }
        };
        let Some(tls) = settings.tls.clone() else { return Some((source, Stream::Plaintext(stream))) };
        let secured = timeout(handshake, shake_hands(tls, stream)).await.ok()?.ok()?;
        Some((source, Stream::Tls(Box::new(secured))))
    };
    let ready = tokio::select! {
        biased;
        ready = handshakes => ready,
        () = drain.idle_ended() => None,
    };
    if let Some((source, stream)) = ready {
        let watch = ConnectionWatch::new(&limits);
        let of = |transport| Arc::new(Connection { door, source, transport, watch });
        match stream {
            Stream::Plaintext(stream) => {
                serve_http(answering, of(Transport::Plaintext), stream, &drain).await;
            }
            Stream::Tls(stream) => serve_http(answering, of(Transport::Tls), stream, &drain).await,
        }
    }
    metrics.connection_closed();
}

enum Stream {
    Plaintext(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

async fn serve_http<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    answering: Arc<Answering>,
    connection: Arc<Connection>,
    stream: S,
    drain: &Drain,
) {
    let watch = Arc::clone(&connection.watch);
    let limits = answering.state.limits();
    let io = TokioIo::new(WatchedIo::new(stream, Arc::clone(&watch)));
    let builder = http_builder(&limits);
    let service = service_fn(|request| {
        let (answering, connection) = (Arc::clone(&answering), Arc::clone(&connection));
        let drain = drain.clone();
        async move {
            let version = request.version();
            let mut answer = answering.answer(&connection, request).await;
            // HTTP/2 says so by GOAWAY.
            if drain.has_begun() && version < Version::HTTP_2 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut drained = pin!(drain.begun());
    let mut timer = pin!(sleep_until(watch.due()));
    let mut ending = Ending::NotYet;
    std::future::poll_fn(|cx| {
        if matches!(ending, Ending::NotYet) && drained.as_mut().poll(cx).is_ready() {
            let end = Instant::now() + Duration::from_secs(limits.drain_seconds.into());
            ending = match drain.idle_until() {
                Some(until) if watch.speaks_http1() => Ending::LastRequest { until, end },
                _ => Ending::Drained(end),
            };
            if matches!(ending, Ending::Drained(_)) {
                serving.as_mut().graceful_shutdown();
            }
        }
        loop {
            if serving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let due = match ending {
                Ending::NotYet => watch.due(),
                Ending::LastRequest { until, end } => until.min(end).min(watch.due()),
                Ending::Drained(end) => end.min(watch.due()),
                Ending::Farewell(end) => end,
            };
            timer.as_mut().reset(due);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match ending {
                Ending::LastRequest { until, end } if until <= Instant::now() => {
                    ending = Ending::Drained(end);
                    serving.as_mut().graceful_shutdown();
                }
                Ending::NotYet => {
                    ending = Ending::Farewell(Instant::now() + FAREWELL);
                    serving.as_mut().graceful_shutdown();
                }
                Ending::LastRequest { .. } | Ending::Drained(_) | Ending::Farewell(_) => {
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}

/// How far a connection's end has come.
enum Ending {
    NotYet,
    /// It may ask once more until the one moment, and finishes until the other at most.
    LastRequest {
        until: Instant,
        end: Instant,
    },
    /// It finishes what it is at, until then at most.
    Drained(Instant),
    /// It has waited for too long, and may say so until then.
    Farewell(Instant),
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let head_bytes =
        usize::try_from(limits.http_header_bytes).unwrap_or(usize::MAX).max(SMALLEST_BUFFER_BYTES);
    let fields = usize::try_from(limits.http_header_fields).unwrap_or(usize::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Deadlines are `idle`'s matter.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(head_bytes)
        .max_headers(fields);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_header_list_size(limits.http_header_bytes);
    builder
}
