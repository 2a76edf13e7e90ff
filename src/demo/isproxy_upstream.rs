//! A sample upstream for `latchkey demo`: an `IsProxy` that knows names by how they begin.
//!
//! It trusts whoever reaches it, wants no login and speaks no TLS. Replies are delayed at random, so that they come
//! out of order as a registry's do. Called by `demo` and by tests.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::crypto::random;
use crate::gateway::isproxy::command::{Command, Function, IsArguments};
use crate::gateway::isproxy::line::{LineReader, NextLine};

/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 4_096;
/// The longest delay of a reply, in microseconds.
const DELAY_MICROSECONDS: u64 = 20_000;
/// Replies that one connection may be owed; beyond, it is not read.
const OWED_REPLIES: usize = 8_192;
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `stop`, which cuts what is open.
pub async fn serve_isproxy_upstream(listener: TcpListener, stop: CancellationToken) {
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
                    tracing::warn!(%error, "the sample IsProxy cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn serve_connection(mut stream: TcpStream) {
    let mut reader = LineReader::new();
    let mut desk = Desk::new(random::bits().unwrap_or(0));
    if stream.set_nodelay(true).is_err() {
        return;
    }
    loop {
        let reads = desk.mood == Mood::Serving && desk.owed.len() < OWED_REPLIES;
        if desk.mood == Mood::Leaving && desk.owed.is_empty() && desk.ready.is_empty() {
            return;
        }
        let due = desk.owed.first_key_value().map(|((due, _), _)| *due);
        let done = tokio::select! {
            read = stream.read(reader.room()), if reads => match read {
                Ok(0) | Err(_) => Err(()),
                Ok(count) => {
                    reader.filled(count);
                    desk.take_lines(&mut reader, Instant::now());
                    Ok(())
                }
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Ok(()),
        };
        if done.is_err() {
            desk.mood = Mood::Leaving;
        }
        desk.collect_due(Instant::now());
        if stream.write_all(&desk.ready).await.is_err() {
            return;
        }
        desk.ready.clear();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Serving,
    /// Nothing more is read; what is owed is still answered.
    Leaving,
}

/// One connection's replies: those on their way, and those that may go out.
struct Desk {
    random: u64,
    replies: u64,
    enabled: Vec<Function>,
    owed: BTreeMap<(Instant, u64), String>,
    ready: Vec<u8>,
    mood: Mood,
}

impl Desk {
    const fn new(seed: u64) -> Self {
        Self {
            random: seed,
            replies: 0,
            enabled: Vec::new(),
            owed: BTreeMap::new(),
            ready: Vec::new(),
            mood: Mood::Serving,
        }
    }

    fn take_lines(&mut self, reader: &mut LineReader, now: Instant) {
        while self.mood == Mood::Serving {
            match reader.next_line() {
                NextLine::Complete(line, _) => self.take_line(line, now),
                NextLine::Incomplete => return,
                NextLine::TooLong(_) | NextLine::TlsHello => self.mood = Mood::Leaving,
            }
        }
    }

    fn take_line(&mut self, line: &[u8], now: Instant) {
        match Command::parse(line) {
            Command::Is(IsArguments::Domain(domain)) => {
                let domain = String::from_utf8_lossy(domain);
                let due = now + self.draw_delay();
                self.replies += 1;
                let reply = format!("{domain} {}\r\n", said_of(&domain, &self.enabled));
                self.owed.insert((due, self.replies), reply);
            }
            Command::Enable(Some(function)) => {
                if !self.enabled.contains(&function) {
                    self.enabled.push(function);
                }
                self.say("100 OK");
            }
            Command::Enable(None) => self.say("400 Unknown function"),
            Command::Is(_) => self.say("400 Wrong number of arguments"),
            Command::Quit | Command::Http | Command::BadBytes => self.mood = Mood::Leaving,
            Command::Empty => {}
            Command::Login(_) | Command::StartTls | Command::Unknown => self.say("400 Unknown command"),
        }
    }

    fn say(&mut self, line: &str) {
        self.ready.extend_from_slice(line.as_bytes());
        self.ready.extend_from_slice(b"\r\n");
    }

    fn collect_due(&mut self, now: Instant) {
        while let Some(first) = self.owed.first_entry().filter(|first| first.key().0 <= now) {
            self.ready.extend_from_slice(first.remove().as_bytes());
        }
    }

    /// The next of a sequence that looks random enough for a sample (splitmix64), up to the longest delay.
    const fn draw_delay(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Duration::from_micros((mixed ^ (mixed >> 27)) % DELAY_MICROSECONDS)
    }
}

/// What the sample says of a name: it is told by its beginning, in any case.
fn said_of(domain: &str, enabled: &[Function]) -> String {
    let name = domain.to_ascii_lowercase();
    let detail = |function, text: &'static str| if enabled.contains(&function) { text } else { "" };
    if name.starts_with("taken") {
        let why = detail(Function::Reason, r" (reason=In use \(sample\)\, try another)");
        return format!("not available{why}");
    }
    if name.starts_with("bad_") {
        return format!("invalid domain{}", detail(Function::Reason, " (reason=Underscore in the name)"));
    }
    if name.starts_with("error") {
        return "error".to_owned();
    }
    if name.starts_with("premium") {
        return format!(
            "available{}",
            detail(Function::Premium, " (type=premium,price=995000,currency=EUR)")
        );
    }
    "available".to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_told_by_how_they_begin() {
        let all = Function::ALL;
        for (domain, plain, detailed) in [
            ("free.com", "available", "available"),
            ("taken.com", "not available", r"not available (reason=In use \(sample\)\, try another)"),
            ("Taken-too.com", "not available", r"not available (reason=In use \(sample\)\, try another)"),
            ("bad_name.com", "invalid domain", "invalid domain (reason=Underscore in the name)"),
            ("error.com", "error", "error"),
            ("premium.com", "available", "available (type=premium,price=995000,currency=EUR)"),
        ] {
            assert_eq!(said_of(domain, &[]), plain);
            assert_eq!(said_of(domain, &all), detailed);
        }
    }

    #[test]
    fn delays_differ_and_stay_below_their_bound() {
        let mut desk = Desk::new(1);
        let delays: BTreeSet<Duration> = (0..100).map(|_| desk.draw_delay()).collect();
        assert!(delays.len() > 90);
        assert!(delays.iter().all(|delay| *delay < Duration::from_millis(20)));
    }

    #[tokio::test]
    async fn it_answers_every_line_once_and_leaves_when_it_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_isproxy_upstream(listener, stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut asked = String::from("ENABLE reason\r\nENABLE nothing\r\nHELP\r\nIS a b\r\n");
        let mut expected: Vec<String> =
            ["100 OK", "400 Unknown function", "400 Unknown command", "400 Wrong number of arguments"]
                .map(String::from)
                .to_vec();
        for number in 0..200 {
            asked.extend(["IS n", &number.to_string(), ".com\r\n"]);
            expected.push(format!("n{number}.com available"));
        }
        client.write_all((asked + "QUIT\r\n").as_bytes()).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        let mut answers: Vec<&str> = answers.lines().collect();
        assert_ne!(answers, expected, "replies come out of order");
        answers.sort_unstable();
        expected.sort_unstable();
        assert_eq!(answers, expected);
        stop.cancel();
        server.await.unwrap();
    }
}
