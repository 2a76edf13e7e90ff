//! The `IsProxy` door on real sockets, with a real authenticator and the sample upstream; the rules themselves are
//! tested without sockets beside `gateway::isproxy::session`.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where it fails; outside of #[test] functions the lints do not know that"
)]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use latchkey::auth::{Authenticator, AuthenticatorParts, DenialReason, SessionKeeper, SessionKeeperParts};
use latchkey::cli::isproxy_client::{AskError, AskOptions, Security, ask, load_ca_file};
use latchkey::clock::Clock;
use latchkey::config::{
    ClientAddressRules, IsProxyListener, IsProxyServer, Limits, PlaintextCredentials, Policy, StoreLocation,
};
use latchkey::crypto::{KeyRing, KeyText};
use latchkey::demo::isproxy_upstream::serve_isproxy_upstream;
use latchkey::gateway::isproxy::{DoorParts, IsProxyDoor, IsProxyUpstream};
use latchkey::model::{
    AccessPoints, AllowList, ApiKeyRecord, KeyId, MfaRequirement, Permissions, Secret, Service, Timestamp,
};
use latchkey::net::Drain;
use latchkey::net::upstream::UpstreamServers;
use latchkey::store::{Index, NewCustomer, NewUser, Store};
use latchkey::telemetry::{AccessLog, Metrics, RefusalRecorder, RequestIds};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Empty};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

/// A door in this thread, before the sample upstream.
struct Door {
    folder: tempfile::TempDir,
    address: SocketAddr,
    key: String,
    authenticator: Arc<Authenticator>,
    clock: Clock,
    metrics: Arc<Metrics>,
    drain: Drain,
}

/// What differs between the tests.
struct Given {
    plaintext_credentials: PlaintextCredentials,
    allow_list: &'static str,
    upstream: Option<u16>,
    limits: Limits,
    access_log: AccessLog,
}

impl Default for Given {
    fn default() -> Self {
        let plaintext_credentials = PlaintextCredentials::Allow;
        Self {
            plaintext_credentials,
            allow_list: "",
            upstream: None,
            limits: Limits::default(),
            access_log: AccessLog::off(),
        }
    }
}

impl Door {
    async fn open(given: Given) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_ring = Arc::new(
            KeyRing::fill(|purpose| Ok::<_, std::convert::Infallible>([purpose as u8 + 1; 32])).unwrap(),
        );
        let key = KeyText::draw(&key_ring.tag).unwrap().expose().to_owned();
        let store =
            Store::open_or_create(&StoreLocation::Sqlite(folder.path().join("latchkey.db"))).await.unwrap();
        insert_key(&store, &key_ring, &key).await;
        let clock = Clock::given(NOW);
        let limits = Arc::new(given.limits);
        let index = Arc::new(Index::load(&store).await.unwrap());
        let (_, session_orders) = SessionKeeper::new(SessionKeeperParts {
            store,
            index: Arc::clone(&index),
            key_ring: Arc::clone(&key_ring),
            clock: clock.clone(),
            limits: Arc::clone(&limits),
        });
        let authenticator = Authenticator::new(AuthenticatorParts {
            index,
            session_orders,
            shared_failures: None,
            key_ring,
            policy: Policy::default(),
            limits: Arc::clone(&limits),
            clock: clock.clone(),
            key_uses: tokio::sync::mpsc::channel(10).0,
            password_threads: 1,
        });
        let authenticator = Arc::new(authenticator.unwrap());
        let metrics = Arc::new(Metrics::new(&DenialReason::ALL.map(DenialReason::as_str)));
        let drain = Drain::default();
        let upstream = match given.upstream {
            Some(port) => port,
            None => spawn_sample_upstream().await,
        };
        let door = IsProxyDoor::new(DoorParts {
            listener_name: "isproxy".into(),
            listener: IsProxyListener {
                tls: None,
                plaintext_credentials: given.plaintext_credentials,
                client_address: ClientAddressRules::default(),
                allow_list: given.allow_list.parse().unwrap(),
                upstream: "availability".into(),
            },
            upstream: upstream_at(upstream, &limits, &metrics),
            limits,
            tls: Some(server_tls(&folder)),
            authenticator: Arc::clone(&authenticator),
            metrics: metrics.door(Service::IsProxy),
            access_log: Rc::new(given.access_log.writer()),
            tracer: None,
            refusals: RefusalRecorder::new(clock.clone(), metrics.unkept_refusals()).0,
            request_ids: Rc::new(RequestIds::new(7)),
            clock: clock.clone(),
        });
        let address = accept_for(Rc::new(door), drain.clone()).await;
        Self { folder, address, key, authenticator, clock, metrics, drain }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A session in clear that is logged in.
    async fn login(&self) -> BufReader<TcpStream> {
        let mut client = BufReader::new(self.connect().await);
        client.write_all(format!("LOGIN {}\r\n", self.key).as_bytes()).await.unwrap();
        assert_eq!(line(&mut client).await, "100 Login ok");
        client
    }

    /// Sends `text` and gives all that is answered until the door closes.
    async fn says(&self, text: &str) -> String {
        let mut client = self.connect().await;
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answers = String::new();
        // A reset where nothing was answered is as good an end as any.
        let _ = client.read_to_string(&mut answers).await;
        answers
    }

    fn options(&self, host: &str, key: &str, domains: &[&str]) -> AskOptions {
        AskOptions {
            address: format!("{host}:{}", self.address.port()),
            security: Security::StartTls(load_ca_file(&self.folder.path().join("ca.pem")).unwrap()),
            key: Secret::new(key.to_owned()),
            domains: domains.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The one server at `port` of this machine, in clear.
fn upstream_at(port: u16, limits: &Limits, metrics: &Metrics) -> Rc<IsProxyUpstream> {
    let config = latchkey::config::IsProxyUpstream {
        servers: vec![IsProxyServer { host: "127.0.0.1".into(), port }],
        tls: None,
        login_key: None,
        health_check: None,
    };
    let servers = UpstreamServers::for_isproxy("availability", &config, limits, metrics).unwrap();
    IsProxyUpstream::new(&servers, &config, limits, 7)
}

/// The customer `acme`, its user `alex`, and a key of both scopes that is good for an hour.
async fn insert_key(store: &Store, key_ring: &KeyRing, key: &str) {
    let mut change = store.mutate().await.unwrap();
    let new = NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
    let customer = change.insert_customer(&new).await.unwrap();
    let new = NewUser {
        customer,
        login: "alex".parse().unwrap(),
        full_name: String::new(),
        email: String::new(),
        language: String::from("en"),
        administrator: false,
        permissions: Permissions::default(),
        access_points: AccessPoints::ALL,
        password_hash: None,
        password_ends_at: None,
        mfa: MfaRequirement::Optional,
        created_at: NOW,
    };
    let user = change.insert_user(&new).await.unwrap();
    let record = ApiKeyRecord {
        id: KeyId::from_random(7),
        user,
        digest: key_ring.digest.digest(key.as_bytes()),
        last_characters: key[40..].into(),
        description: "test".into(),
        scope: "api,isproxy".parse().unwrap(),
        enabled: true,
        expires_at: Some(NOW.plus_seconds(3_600)),
        allow_list: AllowList::default(),
        created_at: NOW,
    };
    change.insert_key(&record, "").await.unwrap();
    change.commit().await.unwrap();
}

/// A certificate for `localhost` and `127.0.0.1`, to be found in `ca.pem`.
fn server_tls(folder: &tempfile::TempDir) -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

async fn spawn_sample_upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn_local(serve_isproxy_upstream(listener, CancellationToken::new()));
    port
}

async fn accept_for(door: Rc<IsProxyDoor>, drain: Drain) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            spawn_local(Rc::clone(&door).serve_connection(stream, peer, drain.clone()));
        }
    });
    address
}

async fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line.trim_end_matches("\r\n").to_owned()
}

async fn asked(options: &AskOptions) -> (Result<u64, AskError>, Vec<String>) {
    let mut output = Vec::new();
    let result = ask(options, None::<BufReader<Empty>>, &mut output).await;
    let mut replies: Vec<String> = String::from_utf8(output).unwrap().lines().map(String::from).collect();
    replies.sort();
    (result.map(|asked| asked.names), replies)
}

#[tokio::test]
async fn a_key_asks_through_starttls() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            for host in ["localhost", "127.0.0.1"] {
                let options = door.options(host, &door.key, &["Free.com", "taken.com", "bad_x", "error.com"]);
                let (result, replies) = asked(&options).await;
                assert_eq!(result.unwrap(), 4);
                let expected = [
                    "Free.com available",
                    "bad_x invalid domain",
                    "error.com error",
                    "taken.com not available",
                ];
                assert_eq!(replies, expected);
            }
            let (result, _) = asked(&door.options("localhost", "0123456789abcdef", &["a.com"])).await;
            assert!(matches!(result, Err(AskError::Login(said)) if said == "400 Login failed"));
        })
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_know_the_certificate_sends_no_key() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let mut options = door.options("localhost", &door.key, &["a.com"]);
            options.security = Security::StartTls(Arc::new(rustls::RootCertStore::empty()));
            assert!(matches!(asked(&options).await.0, Err(AskError::Tls(_))));
            assert_eq!(door.authenticator.open_sessions(), 0);
        })
        .await;
}

#[tokio::test]
async fn s16_bytes_behind_starttls_drop_the_connection() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            assert_eq!(door.says(&format!("STARTTLS\r\nLOGIN {}\r\nIS a.com\r\n", door.key)).await, "");
            // Bytes that follow in another segment are taken for TLS, and end the handshake.
            let mut client = BufReader::new(door.connect().await);
            client.write_all(b"STARTTLS\r\n").await.unwrap();
            assert_eq!(line(&mut client).await, "100 OK");
            client.write_all(format!("LOGIN {}\r\nIS a.com\r\n", door.key).as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            assert!(!rest.windows(3).any(|window| window == b"100"), "{rest:?}");
            assert_eq!(door.authenticator.open_sessions(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_credential_in_clear_is_refused_where_the_listener_says_so() {
    LocalSet::new()
        .run_until(async {
            let plaintext_credentials = PlaintextCredentials::Refuse;
            let door = Door::open(Given { plaintext_credentials, ..Given::default() }).await;
            let said = door.says(&format!("LOGIN {}\r\nIS a.com\r\nQUIT\r\n", door.key)).await;
            assert_eq!(said, "400 Login failed\r\n400 not authenticated\r\n");
            assert_eq!(asked(&door.options("localhost", &door.key, &["a.com"])).await.0.unwrap(), 1);
        })
        .await;
}

#[tokio::test]
async fn a_client_outside_the_listeners_list_is_closed_unanswered() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given { allow_list: "192.0.2.0/24", ..Given::default() }).await;
            assert_eq!(door.says("HELP\r\n").await, "");
            let counted =
                r#"latchkey_denials_total{door="isproxy",reason="address_outside_listener_list"} 1"#;
            assert!(door.metrics.render().contains(counted), "{}", door.metrics.render());
        })
        .await;
}

#[tokio::test]
async fn an_overlong_line_is_answered_although_the_client_goes_on_sending() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let mut client = door.connect().await;
            client.write_all("x".repeat(60_000).as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "400 Line too long\r\n");
        })
        .await;
}

#[tokio::test]
async fn s20_a_session_ends_at_once_with_its_key() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let mut client = door.login().await;
            client.write_all(b"IS a.com\r\n").await.unwrap();
            assert_eq!(line(&mut client).await, "a.com available");
            assert_eq!(door.authenticator.open_sessions(), 1);
            door.clock.set(NOW.plus_seconds(3_601));
            assert_eq!(door.authenticator.end_expired_sessions(), 1);
            assert_eq!(line(&mut client).await, "");
            while door.authenticator.open_sessions() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(door.says(&format!("LOGIN {}\r\nQUIT\r\n", door.key)).await, "400 Login failed\r\n");
        })
        .await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_gives_error() {
    LocalSet::new()
        .run_until(async {
            let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = unused.local_addr().unwrap().port();
            drop(unused);
            let door = Door::open(Given { upstream: Some(port), ..Given::default() }).await;
            let mut client = door.login().await;
            for _ in 0..2 {
                client.write_all(b"IS a.com\r\n").await.unwrap();
                assert_eq!(line(&mut client).await, "a.com error");
            }
        })
        .await;
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_replaced_and_told_the_functions_again() {
    LocalSet::new()
        .run_until(async {
            let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = upstream.local_addr().unwrap().port();
            let door = Door::open(Given { upstream: Some(port), ..Given::default() }).await;
            let mut client = door.login().await;
            client.write_all(b"ENABLE reason\r\nIS a.com\r\nIS b.com\r\n").await.unwrap();
            let mut first = BufReader::new(upstream.accept().await.unwrap().0);
            assert_eq!(line(&mut first).await, "ENABLE reason");
            first.write_all(b"100 OK\r\n").await.unwrap();
            assert_eq!(
                (line(&mut first).await, line(&mut first).await),
                ("IS a.com".into(), "IS b.com".into())
            );
            first.write_all(b"b.com available\r\na.com avai").await.unwrap();
            assert_eq!(line(&mut client).await, "100 OK");
            assert_eq!(line(&mut client).await, "b.com available");
            drop(first);
            assert_eq!(line(&mut client).await, "a.com error");
            client.write_all(b"IS c.com\r\n").await.unwrap();
            let mut second = BufReader::new(upstream.accept().await.unwrap().0);
            assert_eq!(
                (line(&mut second).await, line(&mut second).await),
                ("ENABLE reason".into(), "IS c.com".into())
            );
            second.write_all(b"100 OK\r\nc.com available\r\n").await.unwrap();
            assert_eq!(line(&mut client).await, "c.com available");
        })
        .await;
}

#[tokio::test]
async fn every_wait_on_a_peer_ends() {
    LocalSet::new()
        .run_until(async {
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let limits = Limits {
                isproxy_login_seconds: 1,
                isproxy_reply_seconds: 1,
                tls_handshake_seconds: 1,
                ..Limits::default()
            };
            let upstream = Some(silent.local_addr().unwrap().port());
            let door = Door::open(Given { upstream, limits, ..Given::default() }).await;
            let idle = async { assert_eq!(door.says("").await, "") };
            let handshake = async { assert_eq!(door.says("STARTTLS\r\n").await, "100 OK\r\n") };
            let late = async {
                let said = door.says(&format!("LOGIN {}\r\nIS a.com\r\nQUIT\r\n", door.key)).await;
                assert_eq!(said, "100 Login ok\r\na.com error\r\n");
            };
            let all = async { tokio::join!(idle, handshake, late) };
            tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn draining_answers_what_is_pending_and_closes() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let mut client = door.login().await;
            client.write_all(b"IS a.com\r\nIS b.com\r\n").await.unwrap();
            let first = line(&mut client).await;
            door.drain.begin();
            let mut both = [first, line(&mut client).await];
            both.sort();
            assert_eq!(both, ["a.com available", "b.com available"]);
            assert_eq!(line(&mut client).await, "");
        })
        .await;
}

#[tokio::test]
async fn a_gentle_drain_ends_a_session_behind_its_next_reply_and_an_idle_one_when_its_time_is_over() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let (mut asking, mut idle) = (door.login().await, door.login().await);
            let began = tokio::time::Instant::now();
            door.drain.begin_gently(began + Duration::from_millis(300));
            // What is no request does not count: the client is about to ask.
            asking.write_all(b"\r\nIS a.com\r\n").await.unwrap();
            assert_eq!(line(&mut asking).await, "a.com available");
            assert_eq!(line(&mut asking).await, "");
            assert_eq!(line(&mut idle).await, "");
            assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        })
        .await;
}

#[tokio::test]
async fn a_one_shot_is_asks_once() {
    LocalSet::new()
        .run_until(async {
            let door = Door::open(Given::default()).await;
            let said = door.says(&format!("IS {} taken.com\r\nIS a.com\r\nQUIT\r\n", door.key)).await;
            assert_eq!(said, "400 not authenticated\r\ntaken.com not available\r\n");
            assert_eq!(door.authenticator.open_sessions(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_and_ends() {
    LocalSet::new()
        .run_until(async {
            let limits = Limits { isproxy_write_seconds: 1, ..Limits::default() };
            let door = Door::open(Given { limits, ..Given::default() }).await;
            let mut client = door.login().await;
            // Far more than the sockets and the door hold; it must get stuck, and then break.
            let flood = async {
                let lines = "HELP\r\n".repeat(10_000);
                for round in 0..2_000_u32 {
                    if client.write_all(lines.as_bytes()).await.is_err() {
                        return round;
                    }
                }
                2_000
            };
            let rounds = tokio::time::timeout(Duration::from_mins(1), flood).await.unwrap();
            assert!(rounds < 2_000, "the door took 120 MB from a client that reads nothing");
        })
        .await;
}

#[tokio::test]
async fn pipelined_requests_of_many_sessions_get_exactly_one_right_reply_each() {
    const SESSIONS: usize = 64;
    const NAMES: usize = 1_000;
    LocalSet::new()
        .run_until(async {
            let door = Rc::new(Door::open(Given::default()).await);
            let sessions: Vec<_> = (0..SESSIONS)
                .map(|session| {
                    let door = Rc::clone(&door);
                    spawn_local(async move {
                        let name = |number: usize| match number % 4 {
                            0 => format!("taken{session}-{number}.com not available"),
                            1 => format!("bad_{session}-{number}.com invalid domain"),
                            _ => format!("free{session}-{}.com available", number / 8),
                        };
                        let mut expected: Vec<String> = (0..NAMES).map(name).collect();
                        let asks: Vec<String> = expected
                            .iter()
                            .map(|reply| format!("IS {}\r\n", reply.split(' ').next().unwrap()))
                            .collect();
                        let text = format!("LOGIN {}\r\n{}QUIT\r\n", door.key, asks.concat());
                        let said = door.says(&text).await;
                        let mut replies: Vec<&str> = said.lines().collect();
                        assert_eq!(replies.remove(0), "100 Login ok");
                        replies.sort_unstable();
                        expected.sort();
                        assert_eq!(replies, expected);
                    })
                })
                .collect();
            for session in sessions {
                session.await.unwrap();
            }
        })
        .await;
}

#[tokio::test]
async fn s40_logins_refusals_and_the_end_of_a_session_are_logged_without_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let access_log = AccessLog::open(&path).unwrap();
    let local = LocalSet::new();
    let key = local
        .run_until(async {
            let door = Door::open(Given { access_log, ..Given::default() }).await;
            let text = format!(
                "IS secret.com\r\nLOGIN 0123456789abcdef\r\nLOGIN {}\r\nIS secret.com\r\nQUIT\r\n",
                door.key
            );
            door.says(&text).await;
            let counted = r#"latchkey_answers_total{door="isproxy",status="1xx"} 2"#;
            assert!(door.metrics.render().contains(counted), "{}", door.metrics.render());
            while door.authenticator.open_sessions() > 0 {
                tokio::task::yield_now().await;
            }
            door.key.clone()
        })
        .await;
    // The last writer is dropped with the tasks, and waits until its lines are in the file.
    drop(local);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&key) && !text.contains("0123456789abcdef") && !text.contains("secret.com"));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["method"].as_str().unwrap(), line["status"].as_u64().unwrap(), line["reason"].as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("IS", 400, Some("no_credential")),
            ("LOGIN", 400, Some("unknown_key")),
            ("LOGIN", 100, None),
            ("SESSION", 100, Some("quit")),
        ]
    );
    let session = lines.last().unwrap();
    assert_eq!((session["customer"].as_str(), session["user"].as_str()), (Some("acme"), Some("alex")));
    assert_eq!(session["upstream"].as_str(), Some("availability"));
}
