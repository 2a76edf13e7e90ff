//! A sample upstream for `latchkey demo`: a registry's API, small enough to read.
//!
//! It trusts whoever reaches it, as an upstream behind the gateway does, and keeps nothing: every answer follows from
//! the request. HTTP/1.1 and WebSocket, no TLS. Called by `demo` and by tests.

mod answers;
mod socket;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::answers::Route;
use self::socket::NextProtocol;

/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 4_096;
/// A connection without a request; longer than a gateway keeps one, so that the gateway is the one that closes it.
const IDLE_DEADLINE: Duration = Duration::from_mins(5);
/// Between two events of `/v2/stream`.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// Answers on `listener` until `stop`, which cuts what is open, endless streams among it.
pub async fn serve_registry_api(listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sample registry cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn serve_connection(stream: TcpStream) {
    // Heads and bodies go out in separate writes; without this a small answer may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let next = NextProtocol::default();
    let service = service_fn(|request| {
        let next = next.clone();
        async move { Ok::<_, Infallible>(handle_request(request, &next).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the sample registry broke off");
    }
    next.serve().await;
}

async fn handle_request(mut request: Request<Incoming>, next: &NextProtocol) -> Response<Body> {
    let is_for_socket = Route::parse(request.method(), request.uri().path()) == Route::Socket;
    if is_for_socket && let Some(response) = socket::answer(&mut request, next) {
        return response;
    }
    let (head, body) = request.into_parts();
    // Read to its end, so that the connection can be kept, and never held.
    let body_bytes = count_bytes(body).await;
    match Route::parse(&head.method, head.uri.path()) {
        Route::Hello => json(StatusCode::OK, &answers::hello()),
        Route::Check { domain } => json(StatusCode::OK, &answers::check(domain)),
        Route::Domains => match answers::domains(head.uri.query()) {
            Ok(page) => json(StatusCode::OK, &page),
            Err(fault) => json(StatusCode::BAD_REQUEST, &answers::error("InvalidMessage", &fault)),
        },
        Route::Register { domain } => json(StatusCode::CREATED, &answers::domain(domain)),
        Route::Credit => json(StatusCode::OK, &answers::credit()),
        Route::Echo => json(StatusCode::OK, &answers::echo(&head, body_bytes)),
        Route::Stream => event_stream(),
        Route::Socket => {
            let text = "here a WebSocket of version 13 is spoken";
            let mut response = json(StatusCode::UPGRADE_REQUIRED, &answers::error("UpgradeRequired", text));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response
        }
        Route::Unknown => {
            json(StatusCode::NOT_FOUND, &answers::error("ObjectDoesNotExist", "there is nothing here"))
        }
    }
}

/// The length of a body; of one that breaks off, as far as it came.
async fn count_bytes(mut body: Incoming) -> u64 {
    let mut total: u64 = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        total = total.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
    total
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One event at once, then one a second, without end.
fn event_stream() -> Response<Body> {
    let ticks = tokio::time::interval(EVENT_INTERVAL);
    let events = stream::unfold((ticks, 1_u64), |(mut ticks, number)| async move {
        ticks.tick().await;
        let event = Bytes::from(format!("data: {{\"event\":{number}}}\n\n"));
        Some((Ok(Frame::data(event)), (ticks, number.saturating_add(1))))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

    use super::*;

    async fn serve() -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve_registry_api(listener, stop.clone()));
        (address, stop)
    }

    /// Status and body of one exchange.
    async fn ask(request_line: &str, rest: &str) -> (u16, Value) {
        let (address, _stop) = serve().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request_line} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{rest}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{head}");
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    #[tokio::test]
    async fn a_free_name_is_available_and_a_taken_one_is_not() {
        let (status, body) = ask("GET /v2/domains/example.com/check", "\r\n").await;
        assert_eq!((status, &body["available"]), (200, &Value::Bool(true)));
        let (_, body) = ask("GET /v2/domains/Taken-name.com/check", "\r\n").await;
        assert_eq!(body["available"], false);
    }

    #[tokio::test]
    async fn domains_are_listed_by_pages_with_and_without_the_slash() {
        for path in ["/v2/domains?limit=2&offset=3", "/v2/domains/?limit=2&offset=3"] {
            let (status, body) = ask(&format!("GET {path}"), "\r\n").await;
            assert_eq!(status, 200);
            assert_eq!(body["entities"].as_array().unwrap().len(), 2);
            assert_eq!(body["pagination"]["offset"], 3);
        }
        let (status, body) = ask("GET /v2/domains?limit=many", "\r\n").await;
        assert_eq!((status, &body["type"]), (400, &Value::from("InvalidMessage")));
    }

    #[tokio::test]
    async fn a_registration_answers_with_the_domain() {
        let rest = "Content-Length: 15\r\n\r\n{\"period\": 1}\r\n";
        let (status, body) = ask("POST /v2/domains/new.example", rest).await;
        assert_eq!((status, &body["name"]), (201, &Value::from("new.example")));
    }

    #[tokio::test]
    async fn the_echo_shows_what_arrived() {
        let rest = "X-Twice: 1\r\nX-Twice: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        let (status, body) = ask("PATCH /v2/echo?a=1&a=2", rest).await;
        assert_eq!(status, 200);
        assert_eq!(body["method"], "PATCH");
        assert_eq!(body["target"], "/v2/echo?a=1&a=2");
        assert_eq!(body["body_bytes"], 4);
        let headers = body["headers"].as_array().unwrap();
        let twice: Vec<&Value> = headers.iter().filter(|pair| pair[0] == "x-twice").collect();
        assert_eq!(twice, [&serde_json::json!(["x-twice", "1"]), &serde_json::json!(["x-twice", "2"])]);
    }

    #[tokio::test]
    async fn credit_hello_and_what_is_not_there() {
        let (status, body) = ask("GET /v2/customers/acme/credit", "\r\n").await;
        assert_eq!((status, &body["accounts"][0]["currency"]), (200, &Value::from("EUR")));
        assert_eq!(ask("GET /v2/hello", "\r\n").await.0, 200);
        let (status, body) = ask("DELETE /v2/hello", "\r\n").await;
        assert_eq!(status, 404);
        assert!(body["type"].is_string() && body["message"].is_string());
        assert_eq!(ask("GET /v2/socket", "\r\n").await.0, 426);
    }

    #[tokio::test]
    async fn the_socket_sends_messages_back_until_it_is_closed_or_stopped() {
        use futures_util::{SinkExt, StreamExt};
        use tokio_tungstenite::WebSocketStream;
        use tokio_tungstenite::tungstenite::{Message, protocol::Role};

        let (address, stop) = serve().await;
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let handshake = "GET /v2/socket HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(handshake.as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(
                head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                "{head}"
            );
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
            for message in [Message::text("hello"), Message::binary(vec![0; 70_000])] {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            sockets.push(socket);
        }
        sockets[0].close(None).await.unwrap();
        assert!(matches!(sockets[0].next().await, Some(Ok(Message::Close(_)))));
        stop.cancel();
        assert!(sockets[1].next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_connection_is_kept_after_a_body() {
        let (address, _stop) = serve().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = "x".repeat(100_000);
        let post =
            format!("POST /v2/domains/a.b HTTP/1.1\r\nHost: r\r\nContent-Length: 100000\r\n\r\n{body}");
        stream.write_all(post.as_bytes()).await.unwrap();
        let get = "GET /v2/hello HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 201").count(), 1);
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_sends_an_event_at_once_and_one_a_second_until_the_stop() {
        let (address, stop) = serve().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v2/stream HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
        let started = tokio::time::Instant::now();
        let mut lines = BufReader::new(stream).lines();
        let mut events = Vec::new();
        while events.len() < 3 {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with("data: ") {
                events.push((line, started.elapsed().as_secs()));
            }
        }
        let expected = |number: u64| (format!("data: {{\"event\":{number}}}"), number - 1);
        assert_eq!(events, [expected(1), expected(2), expected(3)]);
        stop.cancel();
        while let Ok(Some(line)) = lines.next_line().await {
            assert!(!line.starts_with("data: "), "{line}");
        }
    }
}
