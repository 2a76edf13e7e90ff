//! A door on a loopback port, raw clients, and an upstream of which a test decides every byte.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::testing::World;
use crate::clock::Clock;
use crate::config::{
    ClientAddressRules, Http2Use, HttpServer, IdentityHeaders, Limits, PlaintextCredentials, Route, Scheme,
    SetHeaders, Upgrade, UpstreamTls,
};
use crate::gateway::http::{
    Entrance, HttpDoor, HttpDoorParts, HttpDoorway, HttpUpstream, OpenBodies, Purpose, Routes,
};
use crate::model::{AllowList, Service};
use crate::net::upstream::UpstreamServers;
use crate::net::{
    AcceptedAt, ConnectionLimits, ConnectionSlots, Drain, ListenerId, Queue, accept_connections,
};
use crate::telemetry::{AccessLog, Metrics, RefusalRecorder, RequestIds, UnkeptRefusals};

/// Runs a test as a door thread runs.
pub fn on_door_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(test);
}

/// What a test may change about a door.
pub struct Setting {
    pub limits: Limits,
    pub listener: Entrance,
    /// Is the door asked by proxies, and in which headers are they told?
    pub answers_in: Option<IdentityHeaders>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub http2: Http2Use,
    pub upgrades: Vec<Upgrade>,
}

pub struct TestDoor {
    pub address: SocketAddr,
    pub world: World,
    /// A key of scope `api`.
    pub api_key: String,
    pub upstream: Rc<HttpUpstream>,
    pub metrics: Metrics,
    pub drain: Drain,
    log: Option<(AccessLog, Rc<crate::telemetry::AccessLogWriter>)>,
    folder: tempfile::TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

impl TestDoor {
    pub async fn before(upstream: &RawUpstream) -> Self {
        Self::with(upstream.address, |_| {}).await
    }

    pub async fn with(upstream: SocketAddr, change: impl FnOnce(&mut Setting)) -> Self {
        Self::before_several(&[upstream], change).await
    }

    /// A door before an upstream with these servers.
    pub async fn before_several(upstreams: &[SocketAddr], change: impl FnOnce(&mut Setting)) -> Self {
        let listener = Entrance {
            plaintext_credentials: PlaintextCredentials::Allow,
            client_address: ClientAddressRules::default(),
            allow_list: AllowList::default(),
        };
        let mut setting = Setting {
            limits: Limits::default(),
            listener,
            answers_in: None,
            tls: None,
            http2: Http2Use::Auto,
            upgrades: Vec::new(),
        };
        change(&mut setting);
        let limits = Arc::new(setting.limits);
        let world = World::new(Limits::clone(&limits)).await;
        let (api_key, _) = world.add_key("api").await;
        let server = |address: &SocketAddr| HttpServer {
            scheme: Scheme::Http,
            host: address.ip().to_string(),
            port: address.port(),
        };
        let config = crate::config::HttpUpstream {
            servers: upstreams.iter().map(server).collect(),
            identity_headers: IdentityHeaders::default(),
            set_headers: SetHeaders::default(),
            health_check: None,
            tls: UpstreamTls::default(),
            http2: setting.http2,
        };
        let metrics = Metrics::new(&[]);
        let servers = UpstreamServers::for_http("registry", &config, &limits, &metrics).unwrap();
        let upstream = HttpUpstream::new(&servers, &config, Arc::clone(&limits), 1);
        let route = Route {
            hosts: Vec::new(),
            path: "/v2".into(),
            upstream: "registry".into(),
            upgrades: setting.upgrades,
        };
        let purpose = match setting.answers_in {
            Some(names) => Purpose::Answer(names),
            None => Purpose::Forward(Routes::new([(route, Rc::clone(&upstream))])),
        };
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::open(&folder.path().join("access.jsonl")).unwrap();
        let writer = Rc::new(log.writer());
        let doorway = HttpDoorway::new(HttpDoor::new(HttpDoorParts {
            name: "api".into(),
            entrance: setting.listener,
            limits,
            tls: setting.tls,
            authenticator: Arc::clone(&world.authenticator),
            purpose,
            open_bodies: OpenBodies::new(Arc::clone(&world.authenticator)),
            metrics: metrics.door(Service::Api),
            access_log: Rc::clone(&writer),
            tracer: None,
            refusals: RefusalRecorder::new(Clock::system(), UnkeptRefusals::default()).0,
            request_ids: Rc::new(RequestIds::new(1)),
            clock: Clock::system(),
        }));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let drain = Drain::default();
        let draining = drain.clone();
        let accepting = tokio::task::spawn_local(accept_connections(
            socket,
            Queue::Ours,
            ConnectionSlots::new(ConnectionLimits { total: 100, per_address: 0 }, Vec::new()),
            AcceptedAt { listener: ListenerId(0), thread: 0 },
            Drain::default(),
            move |stream, peer, slot| {
                let serving = Rc::clone(&doorway).serve_connection(stream, peer, draining.clone());
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(slot);
                });
            },
        ));
        Self {
            address,
            world,
            api_key,
            upstream,
            metrics,
            drain,
            log: Some((log, writer)),
            folder,
            accepting,
        }
    }

    pub async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client { stream, key: self.api_key.clone(), buffer: Vec::new() }
    }

    /// One request with the right key on a connection of its own, and its answer.
    pub async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// The access log so far, once nothing is open any more.
    pub async fn access_log(mut self, lines: usize) -> Vec<serde_json::Value> {
        let (log, writer) = self.log.take().unwrap();
        let path = self.folder.path().join("access.jsonl");
        for _ in 0..2_000 {
            writer.flush();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() >= lines {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.accepting.abort();
        drop((log, writer));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A client that says what it is told, `{key}` replaced by the right key.
pub struct Client {
    pub stream: TcpStream,
    key: String,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        let text = text.replace("{key}", &self.key);
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer to a request that may have a body.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = read_body(&mut self.stream, &mut self.buffer, &head, Ends::AtClose).await;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("no status: {head:?}")), head, body }
    }

    /// The next head alone: of a 1xx, or of an answer to HEAD.
    pub async fn head(&mut self) -> String {
        read_head(&mut self.stream, &mut self.buffer).await.unwrap_or_default()
    }

    /// The next chunk's data; empty: the last one, or the end of the connection.
    pub async fn chunk(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            let whole = text.split_once("\r\n").and_then(|(size, rest)| {
                let size = usize::from_str_radix(size, 16).ok()?;
                Some((text.len() - rest.len() + size + 2, rest.get(..size)?.to_owned()))
            });
            match whole {
                Some((end, data)) if end <= self.buffer.len() => {
                    self.buffer.drain(..end);
                    return data;
                }
                _ => {}
            }
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return String::new();
            }
        }
    }

    /// So many bytes of what comes next.
    pub async fn fill(&mut self, bytes: &mut [u8]) {
        while self.buffer.len() < bytes.len() {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection has ended");
        }
        let rest = self.buffer.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.buffer, rest));
    }

    /// Whatever comes until the connection ends.
    pub async fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.buffer);
        // A reset is an end like another.
        let _ = self.stream.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// What one connection of the gateway brought.
type SeenBytes = Rc<RefCell<Vec<u8>>>;

/// An upstream whose behaviour a test writes; it keeps every byte that it got, by connection.
pub struct RawUpstream {
    pub address: SocketAddr,
    seen: Rc<RefCell<Vec<SeenBytes>>>,
}

/// One connection of the gateway to a [`RawUpstream`].
pub struct Session {
    pub stream: TcpStream,
    seen: SeenBytes,
    buffer: Vec<u8>,
}

impl RawUpstream {
    pub async fn start(behaviour: impl AsyncFn(Session) + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen: Rc<RefCell<Vec<SeenBytes>>> = Rc::default();
        let (noted, behaviour) = (Rc::clone(&seen), Rc::new(behaviour));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let seen = SeenBytes::default();
                noted.borrow_mut().push(Rc::clone(&seen));
                let behaviour = Rc::clone(&behaviour);
                tokio::task::spawn_local(async move {
                    behaviour(Session { stream, seen, buffer: Vec::new() }).await;
                });
            }
        });
        Self { address, seen }
    }

    /// Answers everything with `200` and `ok`.
    pub async fn friendly() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    /// Answers everything with `answer`.
    pub async fn answering(answer: &'static str) -> Self {
        Self::start(async move |mut session: Session| {
            while session.request().await.is_some() {
                session.say(answer).await;
            }
        })
        .await
    }

    /// What each connection got.
    pub fn seen(&self) -> Vec<String> {
        let text = |bytes: &SeenBytes| String::from_utf8_lossy(&bytes.borrow()).into_owned();
        self.seen.borrow().iter().map(text).collect()
    }
}

impl Session {
    /// The next request, head and body; `None`: the gateway closed.
    pub async fn request(&mut self) -> Option<String> {
        let head = self.request_head().await?;
        let body = read_body(&mut self.stream, &mut self.buffer, &head, Ends::Empty).await;
        self.seen.borrow_mut().extend_from_slice(body.as_bytes());
        Some(head + &body)
    }

    pub async fn request_head(&mut self) -> Option<String> {
        let head = read_head(&mut self.stream, &mut self.buffer).await?;
        self.seen.borrow_mut().extend_from_slice(head.as_bytes());
        Some(head)
    }

    pub async fn say(&mut self, text: &str) {
        // A gateway that went away is seen by the next read.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Waits until the gateway closes.
    pub async fn closed(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new()).await;
    }
}

/// How a message ends that says neither length nor chunks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Empty,
    AtClose,
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// The body as it stands on the wire, chunks and trailers included.
async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, head: &str, ends: Ends) -> String {
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let chunked = lower.contains("transfer-encoding: chunked");
    let mut body = Vec::new();
    loop {
        body.append(buffer);
        let end = if chunked {
            let text = String::from_utf8_lossy(&body).into_owned();
            let last =
                if text.starts_with("0\r\n") { Some(1) } else { text.find("\r\n0\r\n").map(|at| at + 3) };
            last.and_then(|last| text[last..].find("\r\n\r\n").map(|at| last + at + 4))
        } else {
            match (length, ends) {
                (Some(length), _) => (body.len() >= length).then_some(length),
                (None, Ends::Empty) => Some(0),
                (None, Ends::AtClose) => None,
            }
        };
        if let Some(end) = end {
            *buffer = body.split_off(end);
            break;
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}
