//! How a change reaches very many readers of a shared database: how soon the last one has it, and what that costs.
//!
//! `cargo bench --bench feed_readers -- [READERS...] [--changes=N]` (10, 100 and 1,000 readers, 100 changes unless told
//! otherwise) makes a database on the server that `LATCHKEY_TEST_DATABASES` names, or on one that `tests/postgres` starts for
//! the time. Each reader listens on a connection of its own and, at each notice, reads the feed until there is nothing more,
//! as `store::Follower` does. It does not look up what became of what was changed, acknowledges nothing and notes no presence:
//! what a gateway asks of the database is more than what is measured here. A key is made, then deleted, and so on; a change
//! comes 50 ms after the one before, or once all readers have that one, whichever is later, and none later than 8 s after the
//! first. Readers, writer and server share the machine, so that all of them are in each figure of time.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench reports on stdout and ends at the first fault"
)]

#[path = "feed_readers/changes.rs"]
mod changes;
#[path = "feed_readers/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use changes::{add_user, change};
use latchkey::config::StoreLocation;
use latchkey::store::Store;
use server::{Counted, Database, Server, cpu_times, options};
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

const CHANGE_EVERY: Duration = Duration::from_millis(50);
/// No change is begun later than this.
const CHANGES_FOR: Duration = Duration::from_secs(8);
/// A reader that has not connected, or has not got a change, by then ends the bench.
const PATIENCE: Duration = Duration::from_secs(30);
/// Readers that connect at the same time.
const CONNECTING: usize = 8;
/// The statement of `store::feed::after`, which is the store's own and not to be reached from here.
const AFTER: &str = "SELECT h.revision AS head, c.revision, c.kind, c.subject, c.mark FROM feed_head h \
                     LEFT JOIN changes c ON c.revision >= $1 ORDER BY c.revision LIMIT $2";
/// Rows that it reads at once, and the one before them.
const BATCH: i64 = 1_001;

/// A reader has everything up to that revision.
type Arrival = (i64, Instant);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if arguments.iter().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let changes = arguments.iter().find_map(|argument| argument.strip_prefix("--changes="));
    let changes: usize = changes.map_or(100, |number| number.parse().unwrap());
    let mut readers: Vec<usize> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .map(|number| number.parse().unwrap())
        .collect();
    if readers.is_empty() {
        readers = vec![10, 100, 1_000];
    }
    server::allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = Server::find_or_start(readers.iter().max().copied().unwrap());
    println!(
        "{:>8} {:>8} {:>10} {:>10} {:>9} {:>9} {:>9} {:>11} {:>11} {:>12}",
        "", "", "commit", "", "last has", "it after", "", "server CPU", "statements", "bytes"
    );
    println!(
        "{:>8} {:>8} {:>10} {:>10} {:>9} {:>9} {:>9} {:>11} {:>11} {:>12}",
        "readers",
        "changes",
        "p50 ms",
        "max ms",
        "p50 ms",
        "p99 ms",
        "max ms",
        "ms/change",
        "a change",
        "a reader"
    );
    for readers in readers {
        runtime.block_on(measure(server.url(), readers, changes));
    }
}

async fn measure(server: &str, readers: usize, changes: usize) {
    let database = Database::make(server).await;
    let store = Store::open_or_create(&StoreLocation::Postgres(database.url.parse().unwrap())).await.unwrap();
    let user = add_user(&store).await;
    let (told, mut arrivals) = mpsc::unbounded_channel();
    let statements = Arc::new(AtomicU64::new(0));
    let counted = Counted::before(&database.url).await;
    let mut tasks = JoinSet::new();
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    for number in 0..readers {
        // What the first one receives is counted on its way.
        let options = if number == 0 { counted.options(&database.url) } else { options(&database.url) };
        let (told, statements, connecting) = (told.clone(), Arc::clone(&statements), Arc::clone(&connecting));
        tasks.spawn(read(options, connecting, statements, told));
    }
    // Each tells where it begins.
    for _ in 0..readers {
        timeout(PATIENCE, arrivals.recv()).await.unwrap().unwrap();
    }

    let mut figures = Figures::default();
    let (statements_before, bytes_before) = (statements.load(Ordering::Relaxed), counted.bytes());
    let cpu_before = cpu_times(&database.url).await;
    let began = Instant::now();
    for number in 0..changes {
        let change_began = Instant::now();
        if change_began - began > CHANGES_FOR {
            break;
        }
        let revision = change(&store, user, number).await;
        let committed = Instant::now();
        figures.commits.push(committed - change_began);
        let mut last = committed;
        let mut missing = readers;
        while missing > 0 {
            let (has, at): Arrival = timeout(PATIENCE, arrivals.recv()).await.unwrap().unwrap();
            if has >= revision {
                missing -= 1;
                last = last.max(at);
            }
        }
        figures.spreads.push(last - committed);
        tokio::time::sleep(CHANGE_EVERY.saturating_sub(change_began.elapsed())).await;
    }
    let cpu = cpu_before.until(&cpu_times(&database.url).await);
    let statements = statements.load(Ordering::Relaxed) - statements_before;
    figures.print(readers, cpu, statements, counted.bytes() - bytes_before);
    tasks.shutdown().await;
    store.close().await;
    database.drop().await;
}

/// A gateway, as far as the feed goes.
async fn read(
    options: PgConnectOptions,
    connecting: Arc<Semaphore>,
    statements: Arc<AtomicU64>,
    told: mpsc::UnboundedSender<Arrival>,
) {
    let permit = connecting.acquire().await.unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
        .unwrap();
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("latchkey").await.unwrap();
    drop(permit);
    let mut applied = 0;
    loop {
        loop {
            statements.fetch_add(1, Ordering::Relaxed);
            let rows = sqlx::query(AFTER).bind(applied).bind(BATCH).fetch_all(&mut listener).await.unwrap();
            let last: i64 = rows.last().unwrap().get("revision");
            let is_new = last > applied;
            if !is_new {
                break;
            }
            applied = last;
            if told.send((applied, Instant::now())).is_err() {
                return;
            }
        }
        listener.recv().await.unwrap();
    }
}

#[derive(Default)]
struct Figures {
    commits: Vec<Duration>,
    spreads: Vec<Duration>,
}

impl Figures {
    fn print(&mut self, readers: usize, cpu: Option<Duration>, statements: u64, bytes: u64) {
        let changes = self.spreads.len();
        for times in [&mut self.commits, &mut self.spreads] {
            times.sort_unstable();
        }
        let at = |times: &[Duration], percent: usize| {
            times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3
        };
        let cpu = cpu.map_or("-".into(), |cpu| format!("{:.2}", cpu.as_secs_f64() * 1e3 / changes as f64));
        println!(
            "{readers:>8} {changes:>8} {:>10.2} {:>10.2} {:>9.2} {:>9.2} {:>9.2} {cpu:>11} {:>11.1} {:>12.0}",
            at(&self.commits, 50),
            at(&self.commits, 100),
            at(&self.spreads, 50),
            at(&self.spreads, 99),
            at(&self.spreads, 100),
            statements as f64 / changes as f64,
            bytes as f64 / changes as f64
        );
    }
}
