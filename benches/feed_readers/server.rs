//! The server that the bench is run on: found or started, its databases, its CPU time, and what it sends to one reader.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Connections besides the readers': the store's, and those of the bench itself.
const FURTHER_CONNECTIONS: usize = 50;

/// A server on which databases may be made.
pub struct Server {
    url: String,
    /// Of one that was started for this bench, and goes with it.
    folder: Option<PathBuf>,
}

impl Server {
    pub fn find_or_start(readers: usize) -> Self {
        if let Ok(url) = std::env::var("LATCHKEY_TEST_DATABASES") {
            return Self { url, folder: None };
        }
        let folder = std::env::temp_dir().join(format!("latchkey-feed-readers-{}", std::process::id()));
        let options = format!("-c max_connections={}", readers + FURTHER_CONNECTIONS);
        let started = script().arg("start").arg(&folder).arg(options).output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        Self { url: String::from_utf8(started.stdout).unwrap().trim().into(), folder: Some(folder) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            drop(script().arg("remove").arg(folder).output());
        }
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres"))
}

/// A database for one measurement.
pub struct Database {
    server: String,
    name: String,
    pub url: String,
}

impl Database {
    pub async fn make(server: &str) -> Self {
        let name = format!("readers_{}", std::process::id());
        execute(server, format!("CREATE DATABASE {name}")).await;
        let mut url: url::Url = server.parse().unwrap();
        url.set_path(&format!("/{name}"));
        Self { server: server.into(), name, url: url.into() }
    }

    pub async fn drop(self) {
        execute(&self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn execute(server: &str, statement: String) {
    let mut connection = connect(server).await;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn connect(url: &str) -> PgConnection {
    options(url).connect().await.unwrap()
}

/// As the store connects.
pub fn options(url: &str) -> PgConnectOptions {
    let options: PgConnectOptions = url.parse().unwrap();
    options.options([("search_path", "latchkey")]).disable_statement_logging()
}

/// A way to the server on which bytes are counted.
pub struct Counted {
    port: u16,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Takes one connection and passes it on to the server.
    pub async fn before(url: &str) -> Self {
        let to = options(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        tokio::spawn(async move {
            let (mut reader, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect((to.get_host(), to.get_port())).await.unwrap();
            server.set_nodelay(true).unwrap();
            reader.set_nodelay(true).unwrap();
            let (mut from_server, mut to_server) = server.split();
            let (mut from_reader, mut to_reader) = reader.split();
            let answers = async {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    counted.fetch_add(u64::try_from(read).unwrap(), Ordering::Relaxed);
                    if to_reader.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = answers => {}
                _ = tokio::io::copy(&mut from_reader, &mut to_server) => {}
            }
        });
        Self { port, bytes }
    }

    pub fn options(&self, url: &str) -> PgConnectOptions {
        options(url).host("127.0.0.1").port(self.port)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// CPU time of each process of the server so far; of none where it is on another machine.
pub struct CpuTimes(HashMap<u32, Duration>);

/// Reads them from `/proc`.
pub async fn cpu_times(url: &str) -> CpuTimes {
    let mut connection = connect(url).await;
    let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let own = u32::try_from(own).unwrap();
    // Where no process of that number is its server, it is elsewhere.
    let postmaster = status(own).filter(|(name, _)| name.starts_with("postgres")).map(|(_, parent)| parent);
    let mut times = HashMap::new();
    for process in std::fs::read_dir("/proc").unwrap() {
        let name = process.unwrap().file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_of_server = Some(process) == postmaster
            || status(process).is_some_and(|(_, parent)| Some(parent) == postmaster);
        if is_of_server && process != own {
            times.extend(cpu_time(process).map(|time| (process, time)));
        }
    }
    connection.close().await.unwrap();
    CpuTimes(times)
}

impl CpuTimes {
    /// What was used meanwhile.
    pub fn until(&self, later: &Self) -> Option<Duration> {
        let used = |(process, time): (&u32, &Duration)| {
            time.saturating_sub(self.0.get(process).copied().unwrap_or_default())
        };
        (!later.0.is_empty()).then(|| later.0.iter().map(used).sum())
    }
}

/// Name and parent of a process.
fn status(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    Some((name.into(), rest.split_whitespace().nth(1)?.parse().ok()?))
}

/// In nanoseconds, where `stat` counts hundredths of a second (Linux, `Documentation/scheduler/sched-stats`).
fn cpu_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// A reader takes a descriptor.
pub fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
