//! What the tests of the console's server share: a console on any free port, and clients that say what they like.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use http::StatusCode;

use super::plain_answer::plain_answer;
use super::{
    BoundConsole, ConsoleClient, ConsoleDoor, ConsoleParts, ConsoleServer, ConsoleSettings, ConsoleState,
    DoorAddresses, ServerParts, console_slots, guarded,
};
use crate::auth::testing::World;
use crate::auth::{Actor, ConsoleAccess, ControlPlane, FailureGroups, SessionTerms};
use crate::config::{Config, ConsoleListener, ListenerProtocol, Policy, PublicUrl};
use crate::net::tls_testing::server_config_of;
use crate::net::{Drain, ListenerId, Queue};
use crate::telemetry::{AccessLog, Metrics};

/// What the console of most tests is called by.
pub(super) const URL: &str = "https://console.example";
/// In a request's head, what makes it the own page's.
pub(super) const OWN: &str = "Host: console.example\r\nSec-Fetch-Site: same-origin\r\n";

/// The smallest configuration with a console at `url` that has the keys `listener`, and `more`.
pub(super) fn config(url: &str, listener: &str, more: &str, folder: &Path) -> Config {
    let text = format!(
        "listeners:\n  - {{ name: console, protocol: console, address: \"127.0.0.1:0\", public_url: \"{url}\"{listener} }}\n{more}"
    );
    let parsed = crate::config::parse(&text, Path::new("f.yaml"), folder, &|_| None);
    parsed.unwrap_or_else(|faults| panic!("{faults}"))
}

fn listener_of(config: &mut Config) -> ConsoleListener {
    match config.listeners.remove(0).protocol {
        ListenerProtocol::Console(console) => console,
        other => panic!("{other:?}"),
    }
}

pub(super) fn public_url(url: &str) -> PublicUrl {
    listener_of(&mut config(url, "", "", Path::new(""))).public_url
}

/// A console that is served.
pub(super) struct Served {
    _world: World,
    pub(super) address: SocketAddr,
    pub(super) state: ConsoleState,
    pub(super) door: Arc<ConsoleDoor>,
    pub(super) stop: Drain,
    pub(super) task: JoinHandle<()>,
    /// Lets `/wait` answer.
    pub(super) go_on: Arc<Notify>,
}

/// Serves the console of `config`, with routes for the tests.
pub(super) async fn serve(mut config: Config, access_log: AccessLog) -> Served {
    let world = World::new(config.limits.clone()).await;
    let listener = listener_of(&mut config);
    let limits = Arc::new(config.limits.clone());
    let state = ConsoleState::new(ConsoleParts {
        access: ConsoleAccess::new(
            ControlPlane {
                store: world.store.clone(),
                key_ring: Arc::clone(&world.key_ring),
                clock: world.clock.clone(),
                policy: Policy::default(),
                actor: Actor::Gateway,
                once: None,
                hashing: crate::auth::HashingLane::default(),
            },
            Arc::clone(&world.authenticator),
            None,
            SessionTerms { idle_seconds: 1_800, absolute_seconds: 43_200 },
            FailureGroups::default(),
        ),
        metrics: Arc::new(Metrics::default()),
        public_url: listener.public_url.clone(),
        limits: Arc::clone(&limits),
        doors: DoorAddresses::default(),
    });
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let files = listener.tls.as_ref().map(|tls| &tls.certificates.files()[0]);
    let tls = files.map(|files| server_config_of(files, &[b"h2", b"http/1.1"]).unwrap());
    let door = ConsoleDoor::new("console", ConsoleSettings { listener, tls });
    let stop = Drain::default();
    let go_on = Arc::new(Notify::new());
    let parts = ServerParts { state: state.clone(), access_log, seed: 7, slots: console_slots(&limits) };
    let router = guarded(routes(&go_on), state.clone());
    let bound = BoundConsole {
        id: ListenerId(0),
        sockets: vec![socket],
        queue: Queue::Ours,
        door: Arc::clone(&door),
    };
    let server = ConsoleServer::with_routes(router, parts);
    server.open(bound, &stop);
    let task = tokio::spawn(async move { server.ended().await });
    Served { _world: world, address, state, door, stop, task, go_on }
}

/// Serves a console at [`URL`] that has the keys `listener`, and `more` beside it.
pub(super) async fn serve_with(listener: &str, more: &str) -> Served {
    serve(config(URL, listener, more, Path::new("")), AccessLog::off()).await
}

fn routes(go_on: &Arc<Notify>) -> Router {
    let wait = Arc::clone(go_on);
    Router::new()
        .route("/length", post(async |body: Bytes| format!("{} bytes", body.len())))
        .route(
            "/client",
            get(async |Extension(client): Extension<ConsoleClient>| client.client_ip.to_string()),
        )
        .route("/panic", get(async || -> String { panic!("a page that is broken") }))
        .route(
            "/wait",
            get(async move || {
                wait.notified().await;
                "done"
            }),
        )
        .route("/welcome/{token}", get(async || "welcome"))
        .route("/assets/app.css", get(async || ([("cache-control", "max-age=31536000, immutable")], "")))
        .fallback(async || plain_answer(StatusCode::NOT_FOUND, "not_found", "There is no such page."))
}

impl Served {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The answer to one request, of which `head` is the head without its last line.
    pub(super) async fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("{head}Connection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: console.example\r\n"), "").await
    }

    /// Stops it, and waits until everything has ended.
    pub(super) async fn end(self) {
        self.stop.begin();
        self.task.await.unwrap();
    }
}

/// What comes until the other side closes.
pub(super) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// How long the other side leaves `stream` open while nothing is sent. Stops the clock.
pub(super) async fn seconds_until_closed(stream: &mut TcpStream) -> u64 {
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    read_all(stream).await;
    let took = began.elapsed();
    tokio::time::resume();
    (took + Duration::from_millis(500)).as_secs()
}
