//! Whatever a client and an upstream do, in whatever order: each request gets its one reply, and nobody gets what is not
//! meant for them.
//!
//! The input is a script of deeds, one a line: the first byte says which, the rest what with.
//!
//! - `>` the client sends a line; `)` it sends these bytes, without an end
//! - `<` the upstream sends a line; `(` it sends these bytes, without an end
//! - `+` the connection to the upstream stands; `-` it cannot be made, or breaks
//! - `c` the client takes so many bytes, or all; `u` the upstream takes so many, or all
//! - `t` so many milliseconds pass, or those up to the next deadline
//! - `e` the client sends nothing more; `d` the gateway drains; `r` the credential is revoked
//! - `#` in the first line: the listener's rules, of `no-tls`, `no-plaintext` and `limited`
//!
//! The authenticator lets `good` and `acme/alex pass` in, and has no time for `busy`.

#[path = "isproxy_session/expected.rs"]
mod expected;

use std::collections::VecDeque;
use std::sync::Arc;

use expected::Expected;
use latchkey::config::{Limits, PlaintextCredentials};
use latchkey::gateway::isproxy::line::{Behind, LineReader, MAX_LINE_BYTES, NextLine};
use latchkey::gateway::isproxy::reply::REPLY_BYTES;
use latchkey::gateway::isproxy::session::{
    LineFault, Presented, PresentedCredential, Rules, Session, Step, TlsOffer, Verdict, WRITE_BUFFER_BYTES,
};
use tokio::time::{Duration, Instant};

const PENDING_REQUESTS: u32 = 8;
const UPSTREAM_BUFFER_BYTES: usize = 128 * 1_024;
/// A session that is left alone is over long before so many deadlines.
const MOST_DEADLINES: usize = 20_000;

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let rules = input.split(|byte| *byte == b'\n').next().filter(|line| line.starts_with(b"#"));
    let mut play = Play::new(rules.unwrap_or_default());
    for line in input.split(|byte| *byte == b'\n') {
        if play.has_ended {
            return;
        }
        if let Some((deed, with)) = line.split_first() {
            play.act(*deed, with);
        }
    }
    play.finish();
}

/// A peer's way to the gateway: what it sent and was not read yet, a read after the other.
#[derive(Default)]
struct Sent {
    parts: VecDeque<Vec<u8>>,
    reader: LineReader,
}

#[derive(Clone, Copy, PartialEq)]
enum Link {
    Absent,
    Connecting,
    Open,
}

struct Play {
    session: Session,
    expected: Expected,
    client: Sent,
    client_has_ended: bool,
    upstream: Sent,
    link: Link,
    /// What the upstream got over this connection and is no whole line yet.
    told: Vec<u8>,
    now: Instant,
    next_turn: Instant,
    has_ended: bool,
}

impl Sent {
    /// Reads once; `false`: there is nothing.
    fn read(&mut self) -> bool {
        let Some(mut part) = self.parts.pop_front() else { return false };
        let room = self.reader.room();
        let count = part.len().min(room.len());
        room[..count].copy_from_slice(&part[..count]);
        self.reader.filled(count);
        if count < part.len() {
            self.parts.push_front(part.split_off(count));
        }
        true
    }
}

impl Play {
    fn new(rules: &[u8]) -> Self {
        let says = |word: &[u8]| rules.windows(word.len()).any(|part| part == word);
        let limits = Limits {
            isproxy_pending_requests: PENDING_REQUESTS,
            requests_per_second_per_key: u32::from(says(b"limited")),
            ..Limits::default()
        };
        let tls = if says(b"no-tls") { TlsOffer::NotOffered } else { TlsOffer::Offered };
        let plaintext_credentials =
            if says(b"no-plaintext") { PlaintextCredentials::Refuse } else { PlaintextCredentials::Allow };
        let now = Instant::now();
        Self {
            session: Session::new(Rules { tls, plaintext_credentials, limits: Arc::new(limits) }, now),
            expected: Expected::new(tls, plaintext_credentials),
            client: Sent::default(),
            client_has_ended: false,
            upstream: Sent::default(),
            link: Link::Absent,
            told: Vec::new(),
            now,
            next_turn: now,
            has_ended: false,
        }
    }

    fn act(&mut self, deed: u8, with: &[u8]) {
        let line = || [with, b"\r\n"].concat();
        let number = || std::str::from_utf8(with).ok().and_then(|text| text.trim().parse::<u32>().ok());
        match deed {
            b'>' if !self.client_has_ended => self.client.parts.push_back(line()),
            b')' if !self.client_has_ended && !with.is_empty() => self.client.parts.push_back(with.to_vec()),
            b'<' if self.link == Link::Open => self.upstream.parts.push_back(line()),
            b'(' if self.link == Link::Open && !with.is_empty() => {
                self.upstream.parts.push_back(with.to_vec());
            }
            b'+' if self.link == Link::Connecting => {
                self.link = Link::Open;
                self.session.on_upstream_connected(self.now);
            }
            b'-' if self.link != Link::Absent => self.lose_upstream(),
            b'c' => self.client_takes(number().map_or(usize::MAX, |count| count as usize)),
            b'u' => self.upstream_takes(number().map_or(usize::MAX, |count| count as usize)),
            b't' => self.pass(number()),
            b'e' => self.client_has_ended = true,
            b'd' => self.session.on_drain(),
            b'r' if self.session.is_logged_in() => self.session.on_revoked(),
            _ => {}
        }
        self.settle();
    }

    /// Left alone, with a client that takes what it is answered and an upstream that is gone, it comes to its end.
    fn finish(&mut self) {
        self.client_has_ended = true;
        for _ in 0..MOST_DEADLINES {
            self.settle();
            while !self.has_ended && !self.session.to_client().is_empty() {
                self.client_takes(usize::MAX);
                self.settle();
            }
            if self.has_ended {
                return;
            }
            if self.link == Link::Absent {
                self.pass(None);
            } else {
                self.lose_upstream();
            }
        }
        panic!("the session never ends");
    }

    fn client_takes(&mut self, count: usize) {
        let count = count.min(self.session.to_client().len());
        if count > 0 {
            self.session.on_written(count, self.now);
            self.expected.taken(count);
        }
    }

    /// It gets whole lines, of names that somebody was let in to ask for, and of functions.
    fn upstream_takes(&mut self, count: usize) {
        if self.link != Link::Open {
            return;
        }
        let waiting = self.session.to_upstream();
        let count = count.min(waiting.len());
        self.told.extend_from_slice(&waiting[..count]);
        self.session.on_written_upstream(count);
        while let Some(end) = self.told.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.told.drain(..end + 2).collect();
            self.expected.relayed(&line[..end]);
        }
    }

    fn lose_upstream(&mut self) {
        self.disconnect();
        self.session.on_upstream_lost(self.now);
    }

    fn disconnect(&mut self) {
        self.link = Link::Absent;
        self.upstream = Sent::default();
        self.told.clear();
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, milliseconds: Option<u32>) {
        let next = self.session.deadline();
        let until = match milliseconds {
            Some(count) => self.now + Duration::from_millis(count.into()),
            None => next.expect("a session that waits for ever").max(self.now),
        };
        for _ in 0..MOST_DEADLINES {
            let due = self.session.deadline().filter(|at| *at <= until && !self.has_ended);
            let Some(at) = due else {
                self.now = until;
                return;
            };
            self.now = at.max(self.now);
            self.session.on_deadline(self.now);
            self.settle();
        }
        panic!("a deadline never passes");
    }

    /// Does what is to be done and hands in what can be, as `connection` does.
    fn settle(&mut self) {
        while !self.has_ended {
            self.observe();
            if let Some(step) = self.session.next_step() {
                self.perform(step);
            } else if !(self.take_upstream_line()
                || self.take_client_line()
                || self.session.reads_upstream() && self.upstream.read()
                || self.session.reads_client() && self.client.read())
            {
                return;
            }
        }
    }

    fn observe(&mut self) {
        self.expected.answered(self.session.to_client());
        assert_eq!(self.session.is_logged_in(), self.expected.is_logged_in());
        // What is pending may be answered all at once.
        let most = WRITE_BUFFER_BYTES + (PENDING_REQUESTS as usize + 2) * REPLY_BYTES;
        assert!(self.session.to_client().len() <= most);
        assert!(self.session.to_upstream().len() <= UPSTREAM_BUFFER_BYTES + 2 * MAX_LINE_BYTES);
        assert!(self.expected.was_let_in() || self.session.to_upstream().is_empty(), "sent without a login");
    }

    fn take_upstream_line(&mut self) -> bool {
        match self.upstream.reader.next_line() {
            NextLine::Complete(line, _) => {
                self.session.on_upstream_line(line, self.now);
                let tally = self.session.take_tally();
                let waited: u32 = tally.waits.each().map(|(_, requests)| requests).sum();
                assert!(waited <= tally.succeeded, "it waited, and was not answered");
            }
            NextLine::TooLong(_) | NextLine::TlsHello => self.session.on_upstream_fault(self.now),
            NextLine::Incomplete => return false,
        }
        true
    }

    fn take_client_line(&mut self) -> bool {
        if !self.session.reads_client() {
            return false;
        }
        match self.client.reader.next_line() {
            NextLine::Complete(line, behind) => {
                self.expected.asked(line, behind);
                self.session.on_line(line, behind, self.now);
            }
            NextLine::TooLong(beginning) => {
                self.expected.asked_too_long(beginning);
                self.session.on_line_fault(LineFault::TooLong(beginning), self.now);
            }
            NextLine::TlsHello => self.session.on_line_fault(LineFault::TlsHello, self.now),
            NextLine::Incomplete if self.client_has_ended && self.client.parts.is_empty() => {
                self.session.on_end_of_input();
            }
            NextLine::Incomplete => return false,
        }
        true
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Authenticate(presented) => {
                let verdict = judge(&presented);
                self.expected.judged(&presented, verdict);
                self.session.on_decision(verdict, self.now);
            }
            Step::RefuseExposed(presented) => {
                self.expected.exposed(&presented);
                self.session.on_decision(Verdict::Refused, self.now);
            }
            Step::TakeTurn => {
                let due = self.next_turn.max(self.now);
                self.next_turn = due + Duration::from_secs(1);
                self.session.on_turn(due, self.now);
            }
            Step::ConnectUpstream => {
                assert!(self.link == Link::Absent && self.expected.was_let_in());
                self.link = Link::Connecting;
            }
            Step::UpgradeTls => self.upgrade(),
            Step::DropUpstream(_) => self.disconnect(),
            Step::Close(_) => {
                assert!(self.session.to_client().is_empty());
                self.expected.is_settled();
                self.has_ended = true;
            }
            Step::CloseAtOnce(_) => self.has_ended = true,
        }
    }

    /// Nothing that came in clear is read inside TLS.
    fn upgrade(&mut self) {
        assert!(self.session.to_client().is_empty());
        self.client.reader.room()[0] = b'\n';
        self.client.reader.filled(1);
        assert_eq!(self.client.reader.next_line(), NextLine::Complete(b"", Behind::Nothing));
        if self.client.parts.is_empty() {
            self.client.reader.clear();
            self.expected.upgraded();
            self.session.on_tls_established(self.now);
        } else {
            // What it sent in clear meanwhile is no handshake.
            self.has_ended = true;
        }
    }
}

fn judge(presented: &Presented) -> Verdict {
    match &presented.credential {
        PresentedCredential::Key(key) if key.expose() == "good" => Verdict::Admitted,
        PresentedCredential::Key(key) if key.expose() == "busy" => Verdict::Busy,
        PresentedCredential::Password { user, password }
            if user == "acme/alex" && password.expose() == "pass" =>
        {
            Verdict::Admitted
        }
        _ => Verdict::Refused,
    }
}
