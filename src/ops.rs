//! What machines ask the gateway about itself, `/livez`, `/readyz`, `/metrics`, and the live page for people at `/`.
//!
//! Runs on the control runtime, beside the doors. Judges no credential and shows no secret: the operator chooses an
//! address that only the monitoring reaches. Called by `app`.

mod answer;
mod live;

use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answer::TooSlow;
pub use self::live::Live;
use crate::net::take_queued;
use crate::telemetry::{AccessLog, Metrics};

/// Connections at once; further ones wait in the system's queue until one ends.
const CONNECTIONS: usize = 64;
/// From accept to the end of a request's head.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// From accept to the end of the answer; events of the live page go on for as long as they are taken.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// What a probe's head may take, in bytes.
const HEADER_MAX_BYTES: usize = 16 * 1024;
/// The pause after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What open connections may still take when the listener stops.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// May traffic be sent here?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: the index is being loaded.
    Starting,
    /// Yes.
    Ready,
    /// Yes, although something is amiss, as the text tells: for example that the store is away.
    Degraded {
        /// What it goes on without.
        reason: String,
        /// Since when.
        since: Instant,
    },
    /// No, for the reason that the text tells: nobody is let in, as the store has been away for too long.
    Unready(String),
    /// Not any more: what is open ends.
    Draining,
}

/// What the answers are made from.
#[derive(Clone, Debug)]
pub struct OpsState {
    /// The present readiness; whoever changes it holds the sender.
    pub readiness: watch::Receiver<Readiness>,
    /// Since when the configuration on disk is another one than that in force, because it was refused.
    pub config_refused: watch::Receiver<Option<Instant>>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Whose dropped lines `/metrics` shows.
    pub access_log: AccessLog,
    /// What `/` shows.
    pub live: Arc<Live>,
}

impl Readiness {
    /// The state's name in `/readyz` and in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded { .. } => "degraded",
            Self::Unready(_) => "unready",
            Self::Draining => "draining",
        }
    }
}

/// Answers on `listener` until `stop`; then gives open connections, and those that queue, a second to end.
///
/// Each connection carries one request and has ten seconds, so that no client can hold a place; those who listen to the
/// live page's events, sixteen at most, have theirs for as long as they take them.
pub async fn serve_ops(listener: TcpListener, state: OpsState, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, state.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
    take_queued(listener, |stream, _| {
        if connections.len() < CONNECTIONS {
            connections.spawn(serve_connection(stream, state.clone()));
        }
    });
    // What is still open after the deadline is cut with the set.
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
        tracing::debug!("ops connections were cut at the end");
    }
}

async fn serve_connection(stream: TcpStream, state: OpsState) {
    let listens = OnceLock::new();
    let service = service_fn(|request| {
        let mut response = answer::answer(&request, &state);
        if let Some(TooSlow(token)) = response.extensions_mut().remove() {
            // A connection carries one request, so that it is set once.
            let _ = listens.set(token);
        }
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(HEADER_MAX_BYTES)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = match tokio::time::timeout(CONNECTION_DEADLINE, connection.as_mut()).await {
        Ok(served) => Some(served),
        Err(_) => match listens.get() {
            Some(too_slow) => too_slow.run_until_cancelled(connection).await,
            None => None,
        },
    };
    match served {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "an ops connection broke off"),
        None => tracing::debug!("an ops connection took too long"),
    }
}

/// A connection that was reset while it queued is no reason to pause; anything else would come again at once.
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "the ops listener cannot accept");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::model::Service;

    struct Served {
        address: SocketAddr,
        readiness: watch::Sender<Readiness>,
        refused: watch::Sender<Option<Instant>>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn serve() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, readiness) = watch::channel(Readiness::Starting);
        let metrics = Arc::new(Metrics::new(&["unknown_key"]));
        let (refused, config_refused) = watch::channel(None);
        let live = Live::new(&metrics, readiness.clone());
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&live).take_samples(stop.clone()));
        let state = OpsState {
            readiness,
            config_refused,
            metrics: Arc::clone(&metrics),
            access_log: AccessLog::off(),
            live,
        };
        let task = tokio::spawn(serve_ops(listener, state, stop.clone()));
        Served { address, readiness: sender, refused, metrics, stop, task }
    }

    /// Sends `request` and reads to the end.
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn ask(served: &Served, method: &str, path: &str) -> String {
        exchange(served.address, &format!("{method} {path} HTTP/1.1\r\nHost: ops\r\n\r\n")).await
    }

    #[tokio::test]
    async fn a_gateway_is_ready_from_the_end_of_its_start_to_its_draining() {
        let served = serve().await;
        for (readiness, status, text) in [
            (Readiness::Starting, "503", "starting\n"),
            (Readiness::Ready, "200", "ready\n"),
            (
                Readiness::Degraded { reason: "the store is away".to_owned(), since: Instant::now() },
                "200",
                "degraded: the store is away for 0 s\n",
            ),
            (Readiness::Unready("the store is away".to_owned()), "503", "unready: the store is away\n"),
            (Readiness::Draining, "503", "draining\n"),
        ] {
            served.readiness.send(readiness).unwrap();
            let answer = ask(&served, "GET", "/readyz").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{answer}");
            assert!(ask(&served, "GET", "/livez").await.ends_with("\r\n\r\nok\n"));
        }
    }

    #[tokio::test]
    async fn a_refused_configuration_is_told_and_changes_no_readiness() {
        let served = serve().await;
        let refused_at = Instant::now().checked_sub(Duration::from_secs(7)).unwrap();
        served.refused.send(Some(refused_at)).unwrap();
        let degraded = Readiness::Degraded { reason: "the store is away".to_owned(), since: refused_at };
        for (readiness, told) in [
            (Readiness::Ready, "ready; the configuration on disk is refused since 7 s\n"),
            (
                degraded,
                "degraded: the store is away for 7 s; the configuration on disk is refused since 7 s\n",
            ),
        ] {
            served.readiness.send(readiness).unwrap();
            let answer = ask(&served, "GET", "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(told), "{answer}");
        }
        served.refused.send(None).unwrap();
        served.readiness.send(Readiness::Ready).unwrap();
        assert!(ask(&served, "GET", "/readyz").await.ends_with("\r\n\r\nready\n"));
    }

    #[tokio::test]
    async fn a_request_that_queues_when_the_listener_stops_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(address).await.unwrap();
        queued.write_all(b"GET /livez HTTP/1.1\r\nHost: ops\r\n\r\n").await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let readiness = watch::channel(Readiness::Ready).1;
        let metrics = Arc::new(Metrics::default());
        let live = Live::new(&metrics, readiness.clone());
        let config_refused = watch::channel(None).1;
        let state = OpsState { readiness, config_refused, metrics, access_log: AccessLog::off(), live };
        serve_ops(listener, state, stop).await;
        let mut answer = String::new();
        queued.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_come_as_openmetrics() {
        let served = serve().await;
        served.metrics.door(Service::Api).answered(200);
        let answer = ask(&served, "GET", "/metrics").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        assert!(body.contains("latchkey_answers_total{door=\"api\",status=\"2xx\"} 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_head_request_gets_the_head_of_the_answer() {
        let served = serve().await;
        let answer = ask(&served, "HEAD", "/livez").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("content-length: 3\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_carries_one_request() {
        let served = serve().await;
        let request = "GET /livez HTTP/1.1\r\nHost: ops\r\n\r\n";
        let answer = exchange(served.address, &request.repeat(2)).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_say_nothing_do_not_keep_others_out() {
        let served = serve().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS + 5 {
            silent.push(TcpStream::connect(served.address).await.unwrap());
        }
        assert!(ask(&served, "GET", "/livez").await.starts_with("HTTP/1.1 200 "));
    }

    const LISTEN: &str = "GET /live/events HTTP/1.1\r\nHost: ops\r\n\r\n";

    /// Reads until `count` events have begun.
    async fn read_events(stream: &mut TcpStream, count: usize) -> String {
        let mut read = Vec::new();
        while String::from_utf8_lossy(&read).matches("\ndata: {").count() < count {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn events_go_on_beyond_the_deadline_of_a_connection_and_end_when_it_drains() {
        let served = serve().await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(LISTEN.as_bytes()).await.unwrap();
        let began = Instant::now();
        let head = read_events(&mut stream, 1).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        read_events(&mut stream, 10).await;
        assert!(began.elapsed() > CONNECTION_DEADLINE, "{:?}", began.elapsed());
        served.readiness.send_replace(Readiness::Draining);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
        assert!(ask(&served, "GET", "/live/events").await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn a_listener_more_than_there_are_places_is_refused_and_the_probes_answer() {
        let served = serve().await;
        let mut listening = Vec::new();
        for _ in 0..16 {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream.write_all(LISTEN.as_bytes()).await.unwrap();
            read_events(&mut stream, 1).await;
            listening.push(stream);
        }
        let answer = ask(&served, "GET", "/live/events").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("16 pages listen already"),
            "{answer}"
        );
        for path in ["/livez", "/metrics", "/"] {
            assert!(ask(&served, "GET", path).await.starts_with("HTTP/1.1 200 "), "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_listener_and_what_is_open() {
        let served = serve().await;
        let _silent = TcpStream::connect(served.address).await.unwrap();
        served.stop.cancel();
        served.task.await.unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());
    }
}
