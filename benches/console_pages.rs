//! How long the console takes for each page, with 1,000 users, 10,000 keys and their usage of 30 days in one account.
//!
//! `cargo bench --bench console_pages` makes such an installation, serves it, signs in as its administrator, and asks
//! for each page one after the other on one connection, so that all pages share whatever else the machine does. It
//! prints milliseconds from the request to the last byte of the answer. Argon2 runs in none of them.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench reports on stdout, ends at the first fault and has a clock of its own"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use latchkey::config::StoreLocation;
use latchkey::model::{AccessPoint, ClientIp, CustomerId, Recognised, Service, Timestamp};
use latchkey::store::{
    ListedKey, SeenAddress, Store, USAGE_ROWS_PER_COMMIT, UsageCount, UsageHour, UsageSubject,
};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};

const USERS: usize = 1_000;
const KEYS_OF_A_USER: usize = 10;
/// Usage is kept by the hour for two days, and by the day for 30.
const HOURS: i64 = 48;
const DAYS: i64 = 30;
const ROUNDS: usize = 500;
const PASSWORD: &str = "correct-horse-battery-staple";

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let console = free_port();
    configure(folder.path(), console);
    let key = fill(folder.path()).await;
    let _serving = serve(folder.path());
    let browser = Browser::signed_in(console).await;
    let user = "/account/users/user500";
    let pages = [
        "/account/users".to_owned(),
        "/account/users?page=40".to_owned(),
        "/account/users?search=user99".to_owned(),
        "/account/users/new".to_owned(),
        user.to_owned(),
        format!("{user}/edit"),
        format!("{user}/api-keys"),
        format!("{user}/api-keys/{key}/delete"),
        format!("{user}/api-keys/{key}/usage"),
        format!("{user}/deactivate"),
        format!("{user}/mfa"),
        format!("{user}/ip-whitelist"),
        "/account/ip-whitelist".to_owned(),
        "/account/usage".to_owned(),
        "/account/activity".to_owned(),
        "/account/activity?user=user500".to_owned(),
        "/connect".to_owned(),
        "/api-reference".to_owned(),
        "/profile".to_owned(),
        "/profile/api-keys".to_owned(),
        "/profile/mfa".to_owned(),
        "/profile/sessions".to_owned(),
        "/profile/password".to_owned(),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS); pages.len()];
    for round in 0..=ROUNDS {
        for (page, times) in pages.iter().zip(&mut times) {
            let time = browser.time(page).await;
            // The first round fills caches.
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("{:>8} {:>8} {:>8}  page, {ROUNDS} times each", "p50 ms", "p99 ms", "max ms");
    for (page, times) in pages.iter().zip(&mut times) {
        times.sort_unstable();
        let of = |share: usize| times[(ROUNDS * share / 100).min(ROUNDS - 1)].as_secs_f64() * 1e3;
        println!("{:>8.2} {:>8.2} {:>8.2}  {page}", of(50), of(99), of(100));
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn configure(folder: &Path, console: u16) {
    let api = free_port();
    let config = serde_json::json!({
        "store": { "url": "sqlite:latchkey.db" },
        "master_key_file": "master.key",
        "listeners": [
            { "name": "console", "protocol": "console", "address": format!("127.0.0.1:{console}"),
              "public_url": format!("http://localhost:{console}") },
            { "name": "api", "protocol": "http", "address": format!("127.0.0.1:{api}"),
              "plaintext_credentials": "allow", "routes": [{ "path": "/", "upstream": "registry" }] },
        ],
        "upstreams": [{ "name": "registry", "protocol": "http", "servers": ["http://127.0.0.1:9"] }],
    });
    std::fs::write(folder.join("latchkey.yaml"), config.to_string()).unwrap();
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
    command.args(arguments).arg("--config").arg(folder.join("latchkey.yaml"));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str], input: &str) {
    let mut child = command(folder, arguments).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{arguments:?}");
}

/// Makes users, keys and as much usage as is kept; answers the id of a key of `user500`.
async fn fill(folder: &Path) -> String {
    let customer = ["customer", "create", "acme", "--mfa", "optional", "--password-file", "-"];
    run(folder, &customer, PASSWORD);
    let mut keys = String::new();
    for user in 0..USERS {
        for key in 0..KEYS_OF_A_USER {
            writeln!(keys, "imported-for-the-bench-{user:05}-{key:05} acme/user{user}").unwrap();
        }
    }
    let import = ["key", "import", "--scope", "api,isproxy", "--create-users", "--yes", "-"];
    run(folder, &import, &keys);

    let store = Store::open_or_create(&StoreLocation::Sqlite(folder.join("latchkey.db"))).await.unwrap();
    let keys = store.list_keys(None).await.unwrap();
    assert_eq!(keys.len(), USERS * KEYS_OF_A_USER);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = Timestamp::from_unix_milliseconds(i64::try_from(now).unwrap());
    let user = store.user(&"acme/user500".parse().unwrap()).await.unwrap().unwrap();
    let counts: Vec<_> = keys.iter().flat_map(|key| counts_of(key, user.customer, now)).collect();
    for counts in counts.chunks(USAGE_ROWS_PER_COMMIT) {
        store.add_usage(counts).await.unwrap();
    }
    let seen: Vec<_> = keys.iter().flat_map(|key| addresses_of(key, now)).collect();
    for seen in seen.chunks(USAGE_ROWS_PER_COMMIT) {
        store.note_addresses(seen).await.unwrap();
    }
    let key = store.list_keys(Some(user.id)).await.unwrap()[0].key.id.to_string();
    store.close().await;
    key
}

fn counts_of(
    key: &ListedKey,
    customer: CustomerId,
    now: Timestamp,
) -> impl Iterator<Item = UsageCount> + use<> {
    let subjects = [
        UsageSubject::Credential(Recognised::Key(key.key.id)),
        UsageSubject::User(key.key.user),
        UsageSubject::Customer(customer),
    ];
    let hours_ago = (0..HOURS).chain((HOURS / 24..DAYS).map(|day| day * 24));
    hours_ago.flat_map(move |hours_ago| {
        subjects.map(|whose| UsageCount {
            whose,
            service: Service::Api,
            hour: UsageHour::of(now).plus(-hours_ago),
            requests: 1_000,
            refusals: 3,
        })
    })
}

fn addresses_of(key: &ListedKey, now: Timestamp) -> impl Iterator<Item = SeenAddress> + use<> {
    let whose = Recognised::Key(key.key.id);
    (1..=5).map(move |last| SeenAddress {
        whose,
        entrance: AccessPoint::Api,
        address: ClientIp::new(Ipv4Addr::new(192, 0, 2, last).into()),
        at: now.plus_seconds(-i64::from(last) * 60),
    })
}

/// Ended when it is dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn serve(folder: &Path) -> Serving {
    Serving(command(folder, &["serve"]).stderr(Stdio::null()).spawn().unwrap())
}

struct Browser {
    client: reqwest::Client,
    console: String,
    cookies: String,
}

impl Browser {
    /// The administrator's, once the console answers.
    async fn signed_in(port: u16) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let console = format!("http://localhost:{port}");
        let began = Instant::now();
        while client.get(format!("{console}/sign-in")).send().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the console does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let form = format!("account=acme&user=admin&password={PASSWORD}");
        let sent = client
            .post(format!("{console}/sign-in"))
            .header("Sec-Fetch-Site", "same-origin")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 303, "{:?}", answer.headers().get(LOCATION));
        let fields = answer.headers().get_all(SET_COOKIE).iter().map(|field| field.to_str().unwrap());
        let cookies: Vec<_> = fields.map(|field| field.split(';').next().unwrap()).collect();
        Self { client, console, cookies: cookies.join("; ") }
    }

    /// How long a page takes that must be there.
    async fn time(&self, path: &str) -> Duration {
        let began = Instant::now();
        let sent = self.client.get(format!("{}{path}", self.console)).header(COOKIE, &self.cookies).send();
        let answer = sent.await.unwrap();
        let status = answer.status();
        let leads = answer.headers().get(LOCATION).cloned();
        let size = answer.bytes().await.unwrap().len();
        let time = began.elapsed();
        assert!(status == 200 && size > 1_000, "{path}: {status}, {size} bytes, leads to {leads:?}");
        time
    }
}
