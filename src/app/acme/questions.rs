//! Answers to an authority's requests (HTTP-01, RFC 8555 §8.3), at an address that is open while they are expected.
//!
//! A listener of its own and no door of the gateway: it knows one kind of path, passes nothing on, and takes no credential.
//! It is opened for an order and closed with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where an authority asks, with the token behind it.
const PATH: &str = "/.well-known/acme-challenge/";
/// Authorities ask from several places at once, among whoever else finds the address; others may wait.
const CONNECTIONS_AT_ONCE: usize = 256;
/// A connection on which nothing was asked by then makes room.
const ASKED_WITHIN: Duration = Duration::from_secs(2);
/// From the first byte of a connection to its last.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// What a request's head may hold, which is what hyper needs at least.
const HEAD_MAX_BYTES: usize = 8 * 1024;
/// How long to rest where the system has no room for a connection.
const REST: Duration = Duration::from_millis(200);

/// Answers by token, while it lives.
#[derive(Debug)]
pub(super) struct QuestionListener {
    answers: Arc<Answers>,
    address: SocketAddr,
    _open: DropGuard,
}

type Answers = Mutex<HashMap<String, String>>;

impl QuestionListener {
    /// Opens `address`.
    ///
    /// # Errors
    /// It is taken, or this process may not listen there.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (answers, open) = (Arc::<Answers>::default(), CancellationToken::new());
        let serving = serve(listener, Arc::clone(&answers), open.clone());
        tokio::spawn(open.clone().run_until_cancelled_owned(serving));
        Ok(Self { answers, address, _open: open.drop_guard() })
    }

    /// Answers a question about `token` with `answer` from now on.
    pub(super) fn expect(&self, token: &str, answer: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.to_owned());
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, answers: Arc<Answers>, open: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answering = timeout(ANSWERED_WITHIN, answer_connection(stream, Arc::clone(&answers)));
                let answering = open.clone().run_until_cancelled_owned(answering);
                tokio::spawn(async move {
                    answering.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an authority's connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn answer_connection(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &answers))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKED_WITHIN)
        .keep_alive(false)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an authority's connection broke");
    }
}

fn answer<B>(request: &Request<B>, answers: &Answers) -> Response<Full<Bytes>> {
    let found = request.uri().path().strip_prefix(PATH).filter(|_| *request.method() == Method::GET);
    let found =
        found.and_then(|token| answers.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned());
    let mut response = Response::new(Full::default());
    match found {
        Some(text) => {
            let content_type = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            *response.body_mut() = Full::new(Bytes::from(text));
        }
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_token_that_is_expected_is_answered_and_nothing_else() {
        let listener = QuestionListener::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let path = format!("{PATH}token");
        assert!(ask(address, "GET", &path).await.starts_with("HTTP/1.1 404 "), "nothing is expected");
        listener.expect("token", "token.thumbprint");
        let answer = ask(address, "GET", &path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ntoken.thumbprint"),
            "{answer}"
        );
        for (method, path) in [
            ("GET", "/"),
            ("GET", PATH),
            ("GET", "/.well-known/acme-challenge/token/"),
            ("GET", "/.well-known/acme-challenge/Token"),
            ("GET", "/.well-known/acme-challenge/%74oken"),
            ("POST", path.as_str()),
            ("GET", "/v2/domains"),
        ] {
            let answer = ask(address, method, path).await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("thumbprint"), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_keep_no_authority_waiting() {
        let listener = QuestionListener::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        listener.expect("token", "token.thumbprint");
        let address = listener.address();
        let mut idle = Vec::new();
        for _ in 0..64 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        // Well before any of them is closed.
        let answer = timeout(ASKED_WITHIN / 2, ask(address, "GET", &format!("{PATH}token"))).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
        let mut read = String::new();
        let closed = timeout(ANSWERED_WITHIN / 2, idle[0].read_to_string(&mut read)).await;
        closed.expect("an idle connection makes room").unwrap();
        assert_eq!(read, "");
    }

    #[tokio::test]
    async fn the_address_is_free_again_once_nothing_is_expected() {
        let listener = QuestionListener::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        assert!(QuestionListener::open(address).await.is_err());
        drop(listener);
        // The task that holds the socket ends at its next turn.
        let again = timeout(Duration::from_secs(10), async {
            loop {
                match QuestionListener::open(address).await {
                    Ok(again) => return again,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        assert_eq!(again.await.unwrap().address(), address);
    }
}
