//! One client's session: every rule of PROTOCOL section 1, and no socket, clock or credential check.
//!
//! Events go in (`on_…`), bytes for both peers gather in two outboxes, and what else is to be done comes out as a
//! [`Step`]. `connection` does the steps; it holds the permit, without which it sends nothing of the second outbox.
//! The protocol's promise is kept here: exactly one reply a request, whatever the upstream does.

mod deadlines;
mod entering;
mod relay;
mod step;

use tokio::time::Instant;

use super::command::{Command, Function, IsArguments};
use super::line::Behind;
use super::outbox::Outbox;
use super::pending::Pending;
use super::reply::Answer;
use super::tally::Tally;
use crate::auth::{DenialReason, QuotasInForce};
use crate::model::Secret;

pub use step::{
    EndReason, GivenUp, LineFault, Presented, PresentedCredential, Rules, Step, TlsOffer, Verdict,
};

/// Unwritten replies above which neither peer is read any more.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1_024;
/// Bytes of waiting names above which the client is not read any more.
const PENDING_NAME_BYTES: usize = 64 * 1_024;
/// Lines that the upstream has not taken above which the client is not read any more: what is pending does not bound
/// them where an upstream replies to what it has not read.
const UPSTREAM_BUFFER_BYTES: usize = 128 * 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    Out,
    In,
}

/// What the lines behind wait for.
#[derive(Debug)]
enum Waiting {
    Nothing,
    /// `100 OK` to be written, then the handshake.
    Tls,
    /// The authenticator; the name of a one-shot `IS`.
    Decision {
        one_shot: Option<String>,
    },
    /// The turn of a request that is counted; until it is known when that is, `None`.
    Turn {
        domain: Box<[u8]>,
        due: Option<Instant>,
    },
    /// A failed login's answer is held back.
    HeldRefusal {
        until: Instant,
    },
    /// The upstream's answer to `ENABLE`.
    Enable {
        function: Function,
        since: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    Absent,
    Connecting,
    Open,
}

/// The state of one session.
#[derive(Debug)]
pub struct Session {
    rules: Rules,
    transport: Transport,
    login: Login,
    waiting: Waiting,
    failed_logins: u32,
    enabled: Vec<Function>,
    pending: Pending,
    upstream: Upstream,
    /// Answers to replayed `ENABLE` lines that the client must not see.
    replays_unanswered: usize,
    to_client: Outbox,
    to_upstream: Outbox,
    step: Option<Step>,
    closing: Option<EndReason>,
    /// The last line or the last reply written.
    active_at: Instant,
    /// When something was last written, or began to wait for it.
    write_progress_at: Instant,
    /// Since when the upstream is read without a break: replies that we do not fetch are not late.
    upstream_read_since: Instant,
    upstream_heard_at: Instant,
    quotas: QuotasInForce,
    /// Was the last request of this credential refused by a quota? Then others need no line of the log each.
    last_request: LastRequest,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastRequest {
    Taken,
    Refused(DenialReason),
}

impl Session {
    /// A session at its beginning: in clear, nobody logged in, nothing to say (no greeting).
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            transport: Transport::Plain,
            login: Login::Out,
            waiting: Waiting::Nothing,
            failed_logins: 0,
            enabled: Vec::new(),
            pending: Pending::default(),
            upstream: Upstream::Absent,
            replays_unanswered: 0,
            to_client: Outbox::default(),
            to_upstream: Outbox::default(),
            step: None,
            closing: None,
            active_at: now,
            write_progress_at: now,
            upstream_read_since: now,
            upstream_heard_at: now,
            quotas: QuotasInForce::None,
            last_request: LastRequest::Taken,
            tally: Tally::default(),
        }
    }

    /// May another line of the client be handed in? While not, the client must not be read.
    pub fn reads_client(&self) -> bool {
        self.closing.is_none()
            && self.step.is_none()
            && matches!(self.waiting, Waiting::Nothing)
            && self.reads_upstream()
            && self.pending.name_bytes() < PENDING_NAME_BYTES
            && self.to_upstream.len() < UPSTREAM_BUFFER_BYTES
            && u32::try_from(self.pending.len())
                .is_ok_and(|waiting| waiting < self.rules.limits.isproxy_pending_requests.max(1))
    }

    /// May the upstream be read? Not while the client does not take its replies.
    pub const fn reads_upstream(&self) -> bool {
        self.to_client.len() < WRITE_BUFFER_BYTES
    }

    /// What waits to be written to the client.
    pub fn to_client(&self) -> &[u8] {
        self.to_client.unwritten()
    }

    /// What waits to be written to the upstream.
    pub fn to_upstream(&self) -> &[u8] {
        self.to_upstream.unwritten()
    }

    /// Has a login succeeded?
    pub fn is_logged_in(&self) -> bool {
        self.login == Login::In
    }

    /// Is there something that only the upstream can answer?
    pub fn awaits_upstream(&self) -> bool {
        !self.pending.is_empty() || matches!(self.waiting, Waiting::Enable { .. } | Waiting::Turn { .. })
    }

    /// Whether requests have to be taken from quotas from now on: at the least, whenever a credential was let in and before
    /// lines are handed in.
    pub const fn on_quotas(&mut self, quotas: QuotasInForce) {
        self.quotas = quotas;
    }

    /// Was anything asked or answered since it was last taken out?
    pub fn has_tally(&self) -> bool {
        !self.tally.is_empty()
    }

    /// Takes out what was answered since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Is something to be done before another line is handed in?
    pub const fn has_step(&self) -> bool {
        self.step.is_some()
    }

    /// What is to be done now; call it until it gives nothing.
    pub fn next_step(&mut self) -> Option<Step> {
        if self.step.is_some() {
            return self.step.take();
        }
        if !self.to_client.is_empty() {
            return None;
        }
        match (&self.waiting, self.closing) {
            (Waiting::Tls, None) => Some(Step::UpgradeTls),
            (Waiting::Nothing | Waiting::Tls, Some(reason)) if self.pending.is_empty() => {
                Some(Step::Close(reason))
            }
            _ => None,
        }
    }

    /// A line of the client, without its end.
    pub fn on_line(&mut self, line: &[u8], behind: Behind, now: Instant) {
        let command = Command::parse(line);
        if !matches!(command, Command::Empty) {
            self.active_at = now;
        }
        match command {
            Command::Empty => {}
            Command::Is(arguments) => self.on_is(arguments, now),
            Command::Login(arguments) => self.on_login(arguments, now),
            Command::Enable(function) => self.on_enable(function, now),
            Command::StartTls => self.on_start_tls(behind, now),
            Command::Quit => self.close(EndReason::Quit),
            Command::Unknown => self.refuse_command("?", "unknown_command", Answer::UnknownCommand, now),
            Command::Http => self.close_at_once(EndReason::ForeignProtocol),
            Command::BadBytes => {
                self.refuse_command("?", "bad_byte", Answer::BadRequest, now);
                self.close(EndReason::BadLine);
            }
        }
    }

    /// The client sent what is no line. HTTP and TLS get no answer, however long they are (S47).
    pub fn on_line_fault(&mut self, fault: LineFault<'_>, now: Instant) {
        match fault {
            LineFault::TooLong(beginning) if !super::command::is_http_method(beginning) => {
                self.refuse_too_long(now);
            }
            LineFault::TooLong(_) | LineFault::TlsHello => self.close_at_once(EndReason::ForeignProtocol),
        }
    }

    /// The client sends nothing more; what is pending is answered first.
    pub fn on_end_of_input(&mut self) {
        self.close(EndReason::EndOfInput);
    }

    /// The gateway drains: what is pending is answered, nothing more is read.
    pub fn on_drain(&mut self) {
        self.close(EndReason::Draining);
    }

    /// The credential that let the session in no longer does.
    pub fn on_revoked(&mut self) {
        self.close_at_once(EndReason::Revoked);
    }

    /// `count` bytes for the client are written.
    pub fn on_written(&mut self, count: usize, now: Instant) {
        let stalled = !self.reads_upstream();
        self.to_client.advance(count);
        self.write_progress_at = now;
        self.active_at = now;
        if stalled && self.reads_upstream() {
            self.upstream_read_since = now;
        }
    }

    /// `count` bytes for the upstream are written.
    pub fn on_written_upstream(&mut self, count: usize) {
        self.to_upstream.advance(count);
    }

    fn on_is(&mut self, arguments: IsArguments<'_>, now: Instant) {
        match (self.login, arguments) {
            (Login::In, IsArguments::Domain(domain)) => self.request(domain, now),
            (Login::In, _) => {
                self.refuse_command("IS", "wrong_number_of_arguments", Answer::WrongNumberOfArguments, now);
            }
            (Login::Out, IsArguments::OneShot { key, domain }) => {
                let credential = PresentedCredential::Key(Secret::new(key.to_owned()));
                self.present(Presented { credential, one_shot: Some(domain.to_owned()) });
            }
            (Login::Out, _) => self.refuse_unauthenticated("IS", now),
        }
    }

    fn on_enable(&mut self, function: Option<Function>, now: Instant) {
        if self.login == Login::Out {
            return self.refuse_unauthenticated("ENABLE", now);
        }
        let Some(function) = function else {
            return self.refuse_command("ENABLE", "unknown_function", Answer::UnknownFunction, now);
        };
        self.waiting = Waiting::Enable { function, since: now };
        self.relay(&[function.line()]);
    }

    fn refuse_unauthenticated(&mut self, verb: &'static str, now: Instant) {
        self.tally.deny(verb, DenialReason::NoCredential);
        self.answer(Answer::NotAuthenticated, now);
    }

    fn refuse_command(&mut self, verb: &'static str, reason: &'static str, answer: Answer, now: Instant) {
        self.tally.reject(verb, reason);
        self.answer(answer, now);
    }

    fn refuse_too_long(&mut self, now: Instant) {
        self.refuse_command("?", "line_too_long", Answer::LineTooLong, now);
        self.close(EndReason::BadLine);
    }

    fn answer(&mut self, answer: Answer, now: Instant) {
        self.note_write(now);
        self.tally.count(answer);
        self.to_client.push(&[answer.line()]);
    }

    /// Called before something is added for the client: the wait for progress begins with the first byte.
    fn note_write(&mut self, now: Instant) {
        if self.to_client.is_empty() {
            self.write_progress_at = now;
        }
    }

    fn close(&mut self, reason: EndReason) {
        self.closing.get_or_insert(reason);
    }

    fn close_at_once(&mut self, reason: EndReason) {
        self.closing = Some(reason);
        self.step = Some(Step::CloseAtOnce(reason));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::time::Duration;

    use super::*;
    use crate::auth::ExhaustedQuota;
    use crate::config::{Limits, PlaintextCredentials};
    use crate::gateway::isproxy::line::{LineReader, MAX_LINE_BYTES, NextLine};
    use crate::gateway::isproxy::reply::{MAX_NAME_BYTES, REPLY_BYTES};

    /// A session with its client, its upstream and an authenticator that knows the key `good` and `acme/alex pass`;
    /// time stands still until it is moved.
    struct Dialogue {
        session: Session,
        reader: LineReader,
        now: Instant,
        /// When the key may make its next request, and how far one is from the next.
        next_turn: Instant,
        interval: Duration,
        /// Requests that its quota leaves it; `None`: it has none.
        quota_left: Option<u32>,
        connects: usize,
        given_up: Vec<GivenUp>,
        judged: usize,
        exposed: usize,
        upgrades: usize,
        closed: Option<Step>,
    }

    impl Dialogue {
        fn with(tls: TlsOffer, plaintext_credentials: PlaintextCredentials) -> Self {
            Self::under(tls, plaintext_credentials, Limits::default())
        }

        fn under(tls: TlsOffer, plaintext_credentials: PlaintextCredentials, mut limits: Limits) -> Self {
            limits.isproxy_pending_requests = 8;
            let limits = Arc::new(limits);
            let now = Instant::now();
            Self {
                session: Session::new(Rules { tls, plaintext_credentials, limits }, now),
                reader: LineReader::new(),
                now,
                next_turn: now,
                interval: Duration::from_secs(1),
                quota_left: None,
                connects: 0,
                given_up: Vec::new(),
                judged: 0,
                exposed: 0,
                upgrades: 0,
                closed: None,
            }
        }

        /// In clear, before a login, with both TLS and plaintext credentials.
        fn plain() -> Self {
            Self::with(TlsOffer::Offered, PlaintextCredentials::Allow)
        }

        /// In clear, before a login, where a key may make one request a second.
        fn limited() -> Self {
            let limits = Limits { requests_per_second_per_key: 1, ..Limits::default() };
            Self::under(TlsOffer::Offered, PlaintextCredentials::Allow, limits)
        }

        fn logged_in() -> Self {
            let mut dialogue = Self::plain();
            assert_eq!(dialogue.client("LOGIN good\r\n"), "100 Login ok\r\n");
            dialogue
        }

        /// Logged in, with an upstream that has connected.
        fn connected() -> Self {
            let mut dialogue = Self::logged_in();
            dialogue.client("IS first.com\r\n");
            dialogue.connect();
            assert_eq!(dialogue.sent(), "IS first.com\r\n");
            assert_eq!(dialogue.upstream("first.com available\r\n"), "first.com available\r\n");
            dialogue
        }

        /// Hands bytes in and gives what the client is answered, if it reads at once.
        fn client(&mut self, bytes: &str) -> String {
            self.client_bytes(bytes.as_bytes());
            self.answers()
        }

        fn client_bytes(&mut self, bytes: &[u8]) {
            for part in bytes.chunks(1_024) {
                let room = self.reader.room();
                room[..part.len()].copy_from_slice(part);
                self.reader.filled(part.len());
                self.settle();
            }
        }

        fn settle(&mut self) {
            loop {
                while let Some(step) = self.session.next_step() {
                    match step {
                        Step::Authenticate(presented) => {
                            self.judged += 1;
                            if matches!(&presented.credential, PresentedCredential::Key(key) if key.expose() == "busy")
                            {
                                self.session.on_decision(Verdict::Busy, self.now);
                                continue;
                            }
                            let right = match &presented.credential {
                                PresentedCredential::Key(key) => key.expose() == "good",
                                PresentedCredential::Password { user, password } => {
                                    user == "acme/alex" && password.expose() == "pass"
                                }
                            };
                            let verdict = if right { Verdict::Admitted } else { Verdict::Refused };
                            self.session.on_decision(verdict, self.now);
                        }
                        Step::RefuseExposed(_) => {
                            self.exposed += 1;
                            self.session.on_decision(Verdict::Refused, self.now);
                        }
                        Step::TakeTurn if self.quota_left == Some(0) => {
                            let reason = DenialReason::QuotaExhausted(ExhaustedQuota::KeyDay);
                            self.session.on_request_refused(reason, self.now);
                        }
                        Step::TakeTurn => {
                            self.quota_left = self.quota_left.map(|left| left - 1);
                            let due = self.next_turn.max(self.now);
                            self.next_turn = due + self.interval;
                            self.session.on_turn(due, self.now);
                        }
                        Step::ConnectUpstream => self.connects += 1,
                        Step::UpgradeTls => {
                            self.upgrades += 1;
                            self.session.on_tls_established(self.now);
                        }
                        Step::DropUpstream(why) => self.given_up.push(why),
                        Step::Close(_) | Step::CloseAtOnce(_) => {
                            self.closed.get_or_insert(step);
                            return;
                        }
                    }
                }
                if self.closed.is_some() || !self.session.reads_client() {
                    return;
                }
                match self.reader.next_line() {
                    NextLine::Complete(line, behind) => self.session.on_line(line, behind, self.now),
                    NextLine::TooLong(start) => {
                        self.session.on_line_fault(LineFault::TooLong(start), self.now);
                    }
                    NextLine::TlsHello => self.session.on_line_fault(LineFault::TlsHello, self.now),
                    NextLine::Incomplete => return,
                }
            }
        }

        /// The client reads all there is.
        fn answers(&mut self) -> String {
            let mut all = String::new();
            while !self.session.to_client().is_empty() {
                let count = self.session.to_client().len();
                all.push_str(std::str::from_utf8(self.session.to_client()).unwrap());
                self.session.on_written(count, self.now);
                self.settle();
            }
            all
        }

        fn connect(&mut self) {
            self.session.on_upstream_connected(self.now);
            self.settle();
        }

        /// The upstream reads all there is.
        fn sent(&mut self) -> String {
            let sent = String::from_utf8(self.session.to_upstream().to_vec()).unwrap();
            self.session.on_written_upstream(sent.len());
            sent
        }

        fn upstream(&mut self, lines: &str) -> String {
            for line in lines.lines() {
                self.session.on_upstream_line(line.as_bytes(), self.now);
                self.settle();
            }
            self.answers()
        }

        fn lose_upstream(&mut self) -> String {
            self.session.on_upstream_lost(self.now);
            self.settle();
            self.answers()
        }

        /// Time passes, deadline by deadline; what is answered meanwhile is read.
        fn pass(&mut self, milliseconds: u64) -> String {
            let until = self.now + Duration::from_millis(milliseconds);
            let mut all = self.answers();
            while let Some(at) = self.session.deadline().filter(|at| *at <= until && self.closed.is_none()) {
                self.now = at;
                self.session.on_deadline(at);
                self.settle();
                all.push_str(&self.answers());
            }
            self.now = until;
            all
        }

        fn closed(&self) -> Option<EndReason> {
            match self.closed {
                Some(Step::Close(reason) | Step::CloseAtOnce(reason)) => Some(reason),
                _ => None,
            }
        }
    }

    #[test]
    fn a_connection_is_not_greeted() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.answers(), "");
        assert_eq!(dialogue.session.next_step(), None);
    }

    #[test]
    fn starttls_is_answered_in_clear_and_then_upgrades() {
        let mut dialogue = Dialogue::plain();
        dialogue.client_bytes(b"STARTTLS\r\n");
        assert_eq!((dialogue.session.to_client(), dialogue.upgrades), (b"100 OK\r\n".as_slice(), 0));
        assert_eq!(dialogue.answers(), "100 OK\r\n");
        assert_eq!(dialogue.upgrades, 1);
        assert_eq!(dialogue.client("LOGIN good\r\n"), "100 Login ok\r\n");
    }

    #[test]
    fn s16_bytes_behind_starttls_drop_the_connection_and_are_never_executed() {
        for behind in ["LOGIN good\r\n", "x", "\r\n"] {
            for mut dialogue in [Dialogue::plain(), Dialogue::logged_in()] {
                let judged = dialogue.judged;
                assert_eq!(dialogue.client(&format!("STARTTLS\r\n{behind}")), "");
                assert_eq!(dialogue.closed, Some(Step::CloseAtOnce(EndReason::BytesBehindStartTls)));
                assert_eq!((dialogue.judged, dialogue.upgrades, dialogue.connects), (judged, 0, 0));
            }
        }
    }

    #[test]
    fn starttls_without_tls_closes_unanswered() {
        let mut dialogue = Dialogue::with(TlsOffer::NotOffered, PlaintextCredentials::Allow);
        assert_eq!(dialogue.client("STARTTLS\r\n"), "");
        assert_eq!(dialogue.closed(), Some(EndReason::TlsUnavailable));
    }

    #[test]
    fn s17_starttls_twice_or_after_a_login_is_refused() {
        let mut dialogue = Dialogue::plain();
        dialogue.client("STARTTLS\r\n");
        assert_eq!(dialogue.client("STARTTLS\r\n"), "400 TLS already active\r\n");
        let mut dialogue = Dialogue::logged_in();
        assert_eq!(dialogue.client("STARTTLS\r\n"), "400 Already authenticated\r\n");
        assert_eq!(dialogue.upgrades, 0);
    }

    #[test]
    fn s17_a_reply_never_stands_in_clear_behind_the_answer_to_starttls() {
        let mut dialogue = Dialogue::plain();
        dialogue.client("IS good a.com\r\n");
        dialogue.connect();
        assert_eq!(dialogue.client("STARTTLS\r\n"), "");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!((dialogue.closed(), dialogue.upgrades), (Some(EndReason::TlsUnavailable), 0));
    }

    #[test]
    fn failed_logins_are_counted_across_starttls() {
        let mut dialogue = Dialogue::plain();
        dialogue.client("LOGIN bad\r\n");
        dialogue.client("STARTTLS\r\n");
        dialogue.client("LOGIN bad\r\nLOGIN bad\r\n");
        assert_eq!(dialogue.pass(2_000), "400 Login failed\r\n400 Login failed\r\n");
        assert_eq!(dialogue.closed(), Some(EndReason::FailedLogins));
    }

    #[test]
    fn both_forms_of_login_are_answered_alike() {
        for (line, answer) in [
            ("LOGIN good", "100 Login ok\r\n"),
            ("login acme/alex pass", "100 Login ok\r\n"),
            ("LOGIN bad", "400 Login failed\r\n"),
            ("LOGIN acme/alex wrong", "400 Login failed\r\n"),
            ("LOGIN", "400 Wrong number of arguments\r\n"),
            ("LOGIN a b c", "400 Wrong number of arguments\r\n"),
        ] {
            assert_eq!(Dialogue::plain().client(&format!("{line}\r\n")), answer, "{line}");
        }
    }

    #[test]
    fn a_second_login_is_refused_unless_its_arguments_are_wrong() {
        let mut dialogue = Dialogue::logged_in();
        assert_eq!(dialogue.client("LOGIN good\r\n"), "400 Already authenticated\r\n");
        assert_eq!(dialogue.client("LOGIN bad bad\r\n"), "400 Already authenticated\r\n");
        assert_eq!(dialogue.client("LOGIN\r\n"), "400 Wrong number of arguments\r\n");
        assert_eq!(dialogue.judged, 1);
    }

    #[test]
    fn a_plaintext_credential_is_not_even_judged_where_it_is_refused() {
        let mut dialogue = Dialogue::with(TlsOffer::Offered, PlaintextCredentials::Refuse);
        assert_eq!(dialogue.client("LOGIN good\r\n"), "400 Login failed\r\n");
        dialogue.client("IS good a.com\r\n");
        assert_eq!(dialogue.pass(1_000), "400 Login failed\r\n");
        assert_eq!((dialogue.judged, dialogue.exposed, dialogue.connects), (0, 2, 0));
        dialogue.client("STARTTLS\r\n");
        assert_eq!(dialogue.client("LOGIN good\r\n"), "100 Login ok\r\n");
    }

    #[test]
    fn s18_nothing_goes_upstream_before_a_login() {
        let mut dialogue = Dialogue::plain();
        for line in ["IS a.com", "IS", "IS a b c", "ENABLE reason", "ENABLE", "ENABLE x"] {
            assert_eq!(dialogue.client(&format!("{line}\r\n")), "400 not authenticated\r\n", "{line}");
        }
        assert_eq!(
            dialogue.client("LOGIN bad\r\nIS a.com\r\n"),
            "400 Login failed\r\n400 not authenticated\r\n"
        );
        assert_eq!((dialogue.connects, dialogue.sent().as_str()), (0, ""));
    }

    #[test]
    fn is_is_relayed_and_answered_with_the_name_as_it_was_asked() {
        let mut dialogue = Dialogue::connected();
        for (asked, said, answered) in [
            ("a.com", "a.com available", "a.com available"),
            ("a.com", "a.com not available", "a.com not available"),
            ("b_d", "b_d invalid domain", "b_d invalid domain"),
            ("a.com", "a.com error", "a.com error"),
            ("ExAmple.COM", "example.com available", "ExAmple.COM available"),
            ("name.com.centralnic", "name.com.centralnic available", "name.com.centralnic available"),
            (
                "p.com",
                "p.com available (type=premium,price=995,currency=EUR)",
                "p.com available (type=premium,price=995,currency=EUR)",
            ),
            ("%00;drop", "%00;drop invalid domain", "%00;drop invalid domain"),
        ] {
            assert_eq!(dialogue.client(&format!("IS {asked}\r\n")), "");
            assert_eq!(dialogue.sent(), format!("IS {asked}\r\n"));
            assert_eq!(dialogue.upstream(said), format!("{answered}\r\n"));
        }
        assert_eq!(dialogue.connects, 1);
    }

    #[test]
    fn a_login_and_what_is_pipelined_behind_it_work() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.client("LOGIN good\r\nIS a.com\nIS b.com\r\nQUIT\r\n"), "100 Login ok\r\n");
        assert_eq!(dialogue.sent(), "");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "IS a.com\r\nIS b.com\r\n");
        assert_eq!(dialogue.upstream("b.com available\r\n"), "b.com available\r\n");
        assert_eq!(dialogue.closed(), None);
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!(dialogue.closed(), Some(EndReason::Quit));
    }

    #[test]
    fn the_same_name_twice_gets_two_replies() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\nIS a.com\r\n");
        assert_eq!(dialogue.sent(), "IS a.com\r\nIS a.com\r\n");
        let thrice = "a.com available\r\na.com available\r\na.com available\r\n";
        assert_eq!(dialogue.upstream(thrice), "a.com available\r\na.com available\r\n");
    }

    #[test]
    fn is_with_a_wrong_number_of_arguments_is_refused() {
        let mut dialogue = Dialogue::logged_in();
        for line in ["IS", "IS good a.com", "IS a b c"] {
            assert_eq!(
                dialogue.client(&format!("{line}\r\n")),
                "400 Wrong number of arguments\r\n",
                "{line}"
            );
        }
        assert_eq!(dialogue.connects, 0);
    }

    #[test]
    fn a_one_shot_is_answers_that_one_request_and_logs_nobody_in() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.client("IS good a.com\r\n"), "");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "IS a.com\r\n");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!(dialogue.client("IS b.com\r\n"), "400 not authenticated\r\n");
        assert!(!dialogue.session.is_logged_in());
    }

    #[test]
    fn a_one_shot_with_a_bad_key_is_a_failed_login() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.client("IS bad a.com\r\n"), "400 Login failed\r\n");
        dialogue.client("IS bad a.com\r\nLOGIN bad\r\n");
        assert_eq!(dialogue.pass(2_000), "400 Login failed\r\n400 Login failed\r\n");
        assert_eq!((dialogue.closed(), dialogue.connects), (Some(EndReason::FailedLogins), 0));
    }

    #[test]
    fn over_a_quota_each_request_gets_error_nothing_is_asked_and_the_session_goes_on() {
        let mut dialogue = Dialogue::connected();
        dialogue.session.on_quotas(QuotasInForce::Some);
        dialogue.interval = Duration::ZERO;
        dialogue.quota_left = Some(1);
        assert_eq!(dialogue.client("IS a.com\r\nIS b.com\r\nIS c.com\r\n"), "b.com error\r\nc.com error\r\n");
        assert_eq!(dialogue.sent(), "IS a.com\r\n");
        let tally = dialogue.session.take_tally();
        let reasons: Vec<&str> = tally.refusals.iter().map(|refused| refused.fault.as_str()).collect();
        assert_eq!((tally.asked, reasons), (2, vec!["quota_exhausted_key_day"]), "one line for both");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!(dialogue.client("ENABLE nonsense\r\n"), "400 Unknown function\r\n");
        dialogue.quota_left = Some(1);
        dialogue.client("IS d.com\r\n");
        assert_eq!((dialogue.sent().as_str(), dialogue.closed()), ("IS d.com\r\n", None));
        assert_eq!(dialogue.client("IS e.com\r\n"), "e.com error\r\n");
        let tally = dialogue.session.take_tally();
        let reasons: Vec<&str> = tally.refusals.iter().map(|refused| refused.fault.as_str()).collect();
        assert_eq!(
            reasons,
            ["unknown_function", "quota_exhausted_key_day"],
            "told anew behind one that was sent"
        );
    }

    #[test]
    fn each_credential_of_one_shot_requests_that_a_quota_refuses_is_told() {
        let mut dialogue = Dialogue::plain();
        dialogue.session.on_quotas(QuotasInForce::Some);
        dialogue.quota_left = Some(0);
        for name in ["a.com", "b.com"] {
            assert_eq!(dialogue.client(&format!("IS good {name}\r\n")), format!("{name} error\r\n"));
            assert_eq!(dialogue.session.take_tally().refusals.len(), 1, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_takes_nothing_of_a_quota() {
        let mut dialogue = Dialogue::logged_in();
        dialogue.session.on_quotas(QuotasInForce::Some);
        dialogue.quota_left = Some(1);
        let name = "x".repeat(MAX_NAME_BYTES + 1);
        assert_eq!(dialogue.client(&format!("IS {name}\r\n")), "400 Line too long\r\n");
        assert_eq!((dialogue.quota_left, dialogue.closed()), (Some(1), Some(EndReason::BadLine)));
    }

    #[test]
    fn beyond_a_keys_limit_each_request_waits_for_its_turn_and_gets_its_one_reply() {
        let mut dialogue = Dialogue::limited();
        dialogue.client("LOGIN good\r\nIS a.com\r\nIS b.com\r\nENABLE reason\r\nIS c.com\r\nQUIT\r\n");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "IS a.com\r\n");
        assert!(!dialogue.session.reads_client());
        // What the upstream says meanwhile is passed on.
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        dialogue.pass(999);
        assert_eq!(dialogue.sent(), "");
        dialogue.pass(1);
        assert_eq!(dialogue.sent(), "IS b.com\r\nENABLE reason\r\n", "ENABLE is not limited");
        assert_eq!(dialogue.upstream("b.com available\r\n100 OK\r\n"), "b.com available\r\n100 OK\r\n");
        dialogue.pass(1_000);
        assert_eq!(dialogue.sent(), "IS c.com\r\n");
        assert_eq!(dialogue.closed(), None);
        assert_eq!(dialogue.upstream("c.com available\r\n"), "c.com available\r\n");
        assert_eq!(dialogue.closed(), Some(EndReason::Quit));
    }

    #[test]
    fn one_shot_requests_wait_for_their_turn_too() {
        let mut dialogue = Dialogue::limited();
        dialogue.client("IS good a.com\r\nIS good b.com\r\n");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "IS a.com\r\n");
        assert!(dialogue.session.awaits_upstream(), "its permit is still needed");
        dialogue.pass(1_000);
        assert_eq!(dialogue.sent(), "IS b.com\r\n");
    }

    #[test]
    fn a_request_whose_turn_has_not_come_is_answered_while_the_gateway_drains_and_when_the_upstream_breaks() {
        let mut dialogue = Dialogue::limited();
        dialogue.client("LOGIN good\r\nIS a.com\r\nIS b.com\r\nIS c.com\r\n");
        dialogue.session.on_drain();
        assert_eq!(dialogue.lose_upstream(), "a.com error\r\n");
        assert_eq!(dialogue.closed(), None);
        dialogue.pass(1_000);
        assert_eq!((dialogue.connects, dialogue.lose_upstream().as_str()), (2, "b.com error\r\n"));
        assert_eq!(dialogue.closed(), Some(EndReason::Draining));
    }

    #[test]
    fn a_session_that_waits_for_its_turn_is_not_idle() {
        let mut dialogue = Dialogue::limited();
        dialogue.interval = Duration::from_secs(1_000);
        dialogue.client("LOGIN good\r\nIS a.com\r\nIS b.com\r\n");
        dialogue.connect();
        dialogue.upstream("a.com available\r\n");
        dialogue.pass(999_999);
        assert_eq!((dialogue.closed(), dialogue.sent().as_str()), (None, "IS a.com\r\n"));
        dialogue.pass(1);
        assert_eq!((dialogue.closed(), dialogue.sent().as_str()), (None, "IS b.com\r\n"));
    }

    #[test]
    fn s46_failed_logins_are_delayed_from_the_second_on_and_the_third_closes() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.client("LOGIN bad\r\n"), "400 Login failed\r\n");
        assert_eq!(dialogue.client("LOGIN bad\r\nLOGIN bad\r\nLOGIN good\r\n"), "");
        assert_eq!(dialogue.pass(999), "");
        assert_eq!(dialogue.pass(1), "400 Login failed\r\n");
        assert_eq!(dialogue.pass(999), "");
        assert_eq!(dialogue.closed(), None);
        assert_eq!(dialogue.pass(1), "400 Login failed\r\n");
        assert_eq!((dialogue.closed(), dialogue.judged), (Some(EndReason::FailedLogins), 3));
    }

    #[test]
    fn a_credential_that_could_not_be_judged_is_no_failed_login() {
        let mut dialogue = Dialogue::plain();
        assert_eq!(dialogue.client("LOGIN busy\r\nIS busy a.com\r\n"), "400 Login failed\r\n".repeat(2));
        assert_eq!(dialogue.client("LOGIN busy\r\nLOGIN busy\r\n"), "400 Login failed\r\n".repeat(2));
        assert_eq!(dialogue.client("LOGIN good\r\n"), "100 Login ok\r\n");
    }

    #[test]
    fn enable_is_relayed_and_holds_back_the_lines_behind_it() {
        let mut dialogue = Dialogue::connected();
        assert_eq!(dialogue.client("IS a.com\r\nENABLE Reason\r\nIS b.com\r\nQUIT\r\n"), "");
        assert_eq!(dialogue.sent(), "IS a.com\r\nENABLE reason\r\n");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!(dialogue.upstream("100 OK\r\n"), "100 OK\r\n");
        assert_eq!(dialogue.sent(), "IS b.com\r\n");
        let reply = "b.com not available (reason=in use \\(since 2001\\)\\, sorry)\r\n";
        assert_eq!(dialogue.upstream(reply), reply);
        assert_eq!(dialogue.closed(), Some(EndReason::Quit));
    }

    #[test]
    fn enable_of_something_else_is_refused() {
        let mut dialogue = Dialogue::connected();
        for line in ["ENABLE", "ENABLE price", "ENABLE reason premium"] {
            assert_eq!(dialogue.client(&format!("{line}\r\n")), "400 Unknown function\r\n", "{line}");
        }
        dialogue.client("ENABLE premium\r\n");
        assert_eq!(dialogue.upstream("400 Unknown function\r\n"), "400 Unknown function\r\n");
    }

    #[test]
    fn enable_is_replayed_before_the_names_when_the_upstream_comes_back() {
        let mut dialogue = Dialogue::logged_in();
        dialogue.client("ENABLE reason\r\n");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "ENABLE reason\r\n");
        assert_eq!(dialogue.upstream("100 OK\r\n"), "100 OK\r\n");
        assert_eq!(dialogue.lose_upstream(), "");
        dialogue.client("IS a.com\r\nENABLE premium\r\n");
        assert_eq!((dialogue.connects, dialogue.sent().as_str()), (2, ""));
        dialogue.connect();
        assert_eq!(dialogue.sent(), "ENABLE reason\r\nIS a.com\r\nENABLE premium\r\n");
        assert_eq!(
            dialogue.upstream("100 OK\r\na.com available\r\n100 OK\r\n"),
            "a.com available\r\n100 OK\r\n"
        );
        dialogue.lose_upstream();
        dialogue.client("IS b.com\r\n");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "ENABLE reason\r\nENABLE premium\r\nIS b.com\r\n");
    }

    #[test]
    fn enable_without_an_upstream_is_kept_for_the_next_connection() {
        let mut dialogue = Dialogue::logged_in();
        dialogue.client("ENABLE reason\r\n");
        assert_eq!(dialogue.lose_upstream(), "100 OK\r\n");
        dialogue.client("IS a.com\r\n");
        dialogue.connect();
        assert_eq!(dialogue.sent(), "ENABLE reason\r\nIS a.com\r\n");
    }

    #[test]
    fn quit_close_and_the_end_of_input_answer_what_is_pending_first() {
        for (line, reason) in
            [("QUIT\r\n", EndReason::Quit), ("close\r\n", EndReason::Quit), ("", EndReason::EndOfInput)]
        {
            let mut dialogue = Dialogue::connected();
            dialogue.client(&format!("IS a.com\r\nIS b.com\r\n{line}"));
            if line.is_empty() {
                dialogue.session.on_end_of_input();
            }
            dialogue.client("IS never.com\r\n");
            assert_eq!(dialogue.upstream("b.com error\r\n"), "b.com error\r\n");
            assert_eq!(dialogue.closed(), None);
            assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
            assert_eq!(dialogue.closed(), Some(reason));
            assert_eq!(dialogue.sent(), "IS a.com\r\nIS b.com\r\n");
        }
    }

    #[test]
    fn draining_answers_what_is_pending_and_reads_no_more() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\n");
        dialogue.session.on_drain();
        assert_eq!(dialogue.client("IS b.com\r\n"), "");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
        assert_eq!(dialogue.closed(), Some(EndReason::Draining));
    }

    #[test]
    fn s20_a_session_whose_credential_goes_away_closes_at_once() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\n");
        dialogue.session.on_revoked();
        dialogue.settle();
        assert_eq!(dialogue.closed, Some(Step::CloseAtOnce(EndReason::Revoked)));
    }

    #[test]
    fn anything_else_is_unknown_and_an_empty_line_is_ignored() {
        for mut dialogue in [Dialogue::plain(), Dialogue::logged_in()] {
            assert_eq!(dialogue.client("HELP\r\n\r\n  \r\nEHLO x\n"), "400 Unknown command\r\n".repeat(2));
            assert_eq!(dialogue.closed(), None);
        }
    }

    #[test]
    fn s47_http_and_tls_close_unanswered() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2_000));
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /\n",
            "\u{16}\u{3}\u{1}",
            "BREW /x HTTP/1.1\r\n",
            &long,
        ] {
            for mut dialogue in [Dialogue::plain(), Dialogue::logged_in()] {
                assert_eq!(dialogue.client(text), "", "{text}");
                assert_eq!(dialogue.closed, Some(Step::CloseAtOnce(EndReason::ForeignProtocol)));
            }
        }
    }

    #[test]
    fn s19_bad_bytes_and_long_lines_are_answered_and_close() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let name = format!("IS {}\r\n", "x".repeat(MAX_NAME_BYTES + 1));
        for (bytes, answer) in [
            (b"IS a\0b\r\n".as_slice(), "400 Bad request\r\n"),
            (b"IS a\tb\r\n", "400 Bad request\r\n"),
            (b"IS a\rQUIT\r\n", "400 Bad request\r\n"),
            (b"IS \xc3\xa4.com\r\n", "400 Bad request\r\n"),
            (long.as_bytes(), "400 Line too long\r\n"),
            (name.as_bytes(), "400 Line too long\r\n"),
        ] {
            let mut dialogue = Dialogue::logged_in();
            dialogue.client_bytes(bytes);
            assert_eq!(dialogue.answers(), answer);
            assert_eq!((dialogue.closed(), dialogue.connects), (Some(EndReason::BadLine), 0));
        }
    }

    #[test]
    fn idle_sessions_close_after_30_seconds_before_a_login_and_300_after() {
        let mut dialogue = Dialogue::plain();
        dialogue.pass(20_000);
        dialogue.client("HELP\r\n");
        dialogue.client("\r\n");
        dialogue.pass(29_999);
        assert_eq!(dialogue.closed(), None);
        dialogue.pass(1);
        assert_eq!(dialogue.closed(), Some(EndReason::Idle));

        let mut dialogue = Dialogue::connected();
        dialogue.pass(299_999);
        assert_eq!(dialogue.closed(), None);
        dialogue.pass(1);
        assert_eq!(dialogue.closed(), Some(EndReason::Idle));
    }

    #[test]
    fn an_upstream_that_breaks_off_or_cannot_be_reached_gives_error_for_what_is_pending() {
        let mut dialogue = Dialogue::logged_in();
        dialogue.client("IS a.com\r\nIS B.com\r\n");
        assert_eq!(dialogue.lose_upstream(), "a.com error\r\nB.com error\r\n");
        dialogue.client("IS c.com\r\n");
        assert_eq!(dialogue.connects, 2);
        dialogue.connect();
        dialogue.client("IS d.com\r\n");
        assert_eq!(dialogue.upstream("d.com available\r\n"), "d.com available\r\n");
        assert_eq!(dialogue.lose_upstream(), "c.com error\r\n");
    }

    #[test]
    fn a_late_reply_is_an_error_and_dropped_when_it_comes() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS slow.com\r\n");
        dialogue.pass(20_000);
        dialogue.client("IS next.com\r\n");
        assert_eq!(dialogue.upstream("other.com available\r\n"), "");
        assert_eq!(dialogue.pass(9_999), "");
        assert_eq!(dialogue.pass(1), "slow.com error\r\n");
        assert_eq!(
            dialogue.upstream("slow.com available\r\nnext.com available\r\n"),
            "next.com available\r\n"
        );
        assert_eq!(dialogue.connects, 1);
    }

    #[test]
    fn an_upstream_that_says_nothing_is_given_up() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\n");
        dialogue.pass(10_000);
        dialogue.client("IS b.com\r\nENABLE reason\r\n");
        assert_eq!(dialogue.pass(20_000), "a.com error\r\nb.com error\r\n100 OK\r\n");
        assert_eq!(dialogue.given_up, [GivenUp::Late]);
        dialogue.client("IS c.com\r\n");
        assert_eq!(dialogue.connects, 2);
    }

    #[test]
    fn how_long_each_request_waited_is_told_once() {
        let mut dialogue = Dialogue::connected();
        dialogue.session.take_tally();
        let told = |dialogue: &mut Dialogue| {
            let waits = dialogue.session.take_tally().waits;
            waits.each().map(|(waited, requests)| (waited.as_secs(), requests)).collect::<Vec<_>>()
        };
        // Too late, while others are answered.
        dialogue.client("IS slow.com\r\n");
        dialogue.pass(20_000);
        dialogue.client("IS next.com\r\nIS quick.com\r\n");
        dialogue.upstream("quick.com available\r\n");
        dialogue.pass(10_000);
        assert_eq!(told(&mut dialogue), [(0, 1), (30, 1)]);
        dialogue.upstream("slow.com available\r\n");
        // Lost.
        dialogue.pass(5_000);
        dialogue.client("IS last.com\r\n");
        dialogue.lose_upstream();
        assert_eq!(told(&mut dialogue), [(15, 1), (0, 1)]);
        // Never said anything.
        dialogue.client("IS a.com\r\n");
        dialogue.connect();
        dialogue.pass(10_000);
        dialogue.client("IS b.com\r\n");
        dialogue.pass(20_000);
        assert_eq!(
            (told(&mut dialogue), &*dialogue.given_up),
            (vec![(30, 1), (20, 1)], &[GivenUp::Late][..])
        );
        assert!(told(&mut dialogue).is_empty());
    }

    #[test]
    fn unsolicited_and_garbled_lines_of_the_upstream_are_dropped() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\n");
        let noise = "220 welcome\nb.com available\na.com perhaps\na.com\n\n100 OK\na.comx available\n";
        assert_eq!(dialogue.upstream(noise), "");
        assert_eq!(dialogue.upstream("a.com available\r\n"), "a.com available\r\n");
    }

    #[test]
    fn a_refusal_of_the_upstream_or_an_endless_line_answers_all_at_once() {
        let mut dialogue = Dialogue::connected();
        dialogue.client("IS a.com\r\nIS b.com\r\n");
        assert_eq!(dialogue.upstream("400 not authenticated\r\n"), "a.com error\r\nb.com error\r\n");
        assert_eq!(dialogue.given_up, [GivenUp::Refused]);
        dialogue.client("IS c.com\r\n");
        dialogue.connect();
        dialogue.session.on_upstream_fault(dialogue.now);
        assert_eq!(dialogue.session.next_step(), Some(Step::DropUpstream(GivenUp::Garbled)));
        assert_eq!(dialogue.answers(), "c.com error\r\n");
    }

    #[test]
    fn beyond_the_bound_of_pending_requests_the_client_is_not_read() {
        let mut dialogue = Dialogue::connected();
        let lines: Vec<String> = (0..12).map(|n| format!("IS n{n}.com\r\n")).collect();
        dialogue.client(&lines.concat());
        assert_eq!(dialogue.sent().lines().count(), 8);
        assert!(!dialogue.session.reads_client());
        assert_eq!(dialogue.upstream("n3.com available\r\n"), "n3.com available\r\n");
        assert_eq!(dialogue.sent(), "IS n8.com\r\n");
    }

    #[test]
    fn a_client_that_does_not_read_stops_both_sides_and_then_ends() {
        let mut dialogue = Dialogue::connected();
        let mut asked = 0;
        while dialogue.session.reads_client() {
            asked += 1;
            dialogue.client_bytes(format!("IS {}.com\r\n", "x".repeat(900)).as_bytes());
            let reply = format!("{}.com available", "x".repeat(900));
            dialogue.session.on_upstream_line(reply.as_bytes(), dialogue.now);
        }
        assert!(asked < 20 && !dialogue.session.reads_upstream());
        assert!(dialogue.session.to_client().len() < WRITE_BUFFER_BYTES + REPLY_BYTES);
        dialogue.now += Duration::from_secs(29);
        dialogue.session.on_written(1, dialogue.now);
        dialogue.now += Duration::from_secs(29);
        dialogue.session.on_deadline(dialogue.now);
        assert_eq!(dialogue.session.next_step(), None);
        dialogue.now += Duration::from_secs(1);
        dialogue.session.on_deadline(dialogue.now);
        assert_eq!(dialogue.session.next_step(), Some(Step::CloseAtOnce(EndReason::WriteStalled)));
    }

    #[test]
    fn an_upstream_that_replies_without_reading_fills_no_more_than_its_buffer() {
        let mut dialogue = Dialogue::connected();
        let name = "x".repeat(900);
        let mut asked = 0;
        while dialogue.session.reads_client() {
            asked += 1;
            dialogue.client_bytes(format!("IS {name}\r\n").as_bytes());
            assert_eq!(dialogue.upstream(&format!("{name} available\n")), format!("{name} available\r\n"));
            assert!(asked < 1_000, "it is read for ever");
        }
        assert!(dialogue.session.to_upstream().len() < UPSTREAM_BUFFER_BYTES + MAX_LINE_BYTES);
        assert_eq!(dialogue.sent().lines().count(), asked);
        assert!(dialogue.session.reads_client());
    }

    #[test]
    fn replies_that_were_not_fetched_are_not_late() {
        let mut dialogue = Dialogue::connected();
        dialogue.client_bytes(b"IS waits.com\r\n");
        dialogue.client_bytes("HELP\r\n".repeat(1_000).as_bytes());
        assert!(!dialogue.session.reads_upstream());
        for _ in 0..4 {
            dialogue.now += Duration::from_secs(10);
            dialogue.session.on_written(1, dialogue.now);
            dialogue.session.on_deadline(dialogue.now);
        }
        dialogue.answers();
        dialogue.session.on_deadline(dialogue.now);
        assert_eq!(dialogue.upstream("waits.com available\r\n"), "waits.com available\r\n");
    }

    #[test]
    fn what_is_answered_is_counted_and_refusals_keep_their_reason() {
        let mut dialogue = Dialogue::plain();
        dialogue.client("IS a.com\r\nHELP\r\nLOGIN good\r\nIS a.com\r\n");
        dialogue.lose_upstream();
        let tally = dialogue.session.take_tally();
        assert_eq!((tally.succeeded, tally.refused), (2, 2));
        let refusals: Vec<_> =
            tally.refusals.iter().map(|refused| (refused.verb, refused.fault.as_str())).collect();
        assert_eq!(refusals, [("IS", "no_credential"), ("?", "unknown_command")]);
        assert_eq!(dialogue.session.take_tally(), Tally::default());
    }

    /// Lines that a client may send, with every kind of them.
    fn any_line() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "IS [a-cA-C]{1,2}",
            1 => Just("LOGIN good".to_owned()),
            1 => Just("LOGIN bad".to_owned()),
            1 => Just("IS good one.shot".to_owned()),
            1 => Just("ENABLE reason".to_owned()),
            1 => Just("IS".to_owned()),
            1 => Just(String::new()),
            1 => Just("HELP".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn how_a_client_splits_its_bytes_changes_nothing(
            lines in proptest::collection::vec(any_line(), 0..30),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let text = lines.join("\r\n") + "\r\nQUIT\r\n";
            let outcome = |cuts: &[usize]| {
                let mut dialogue = Dialogue::logged_in();
                let mut from = 0;
                let mut said = String::new();
                for cut in cuts.iter().copied().chain([text.len()]) {
                    said.push_str(&dialogue.client(&text[from..cut]));
                    from = cut;
                }
                dialogue.connect();
                let mut sent = String::new();
                while dialogue.closed.is_none() {
                    let lines = dialogue.sent();
                    sent.push_str(&lines);
                    let replies: String = lines.lines().map(|line| match line.strip_prefix("IS ") {
                        Some(name) => format!("{name} available\n"),
                        None => "100 OK\n".to_owned(),
                    }).collect();
                    said.push_str(&dialogue.upstream(&replies));
                }
                (said, sent, dialogue.closed())
            };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(outcome(&cuts), outcome(&[]));
        }

        #[test]
        fn every_request_gets_exactly_one_reply_whatever_the_upstream_does(
            names in proptest::collection::vec("[a-dA-D]{1,2}", 1..40),
            deeds in proptest::collection::vec((0u8..8, any::<prop::sample::Index>()), 0..80),
        ) {
            let mut dialogue = Dialogue::logged_in();
            let text: Vec<String> = names.iter().map(|name| format!("IS {name}\r\n")).collect();
            let mut answered = dialogue.client(&text.concat());
            let mut owed: Vec<String> = Vec::new();
            let mut open = false;
            for (deed, which) in deeds {
                owed.extend(dialogue.sent().lines().map(|line| line[3..].to_owned()));
                match deed {
                    0 => {
                        owed.clear();
                        open = false;
                        answered.push_str(&dialogue.lose_upstream());
                    }
                    1 => answered.push_str(&dialogue.pass(31_000)),
                    2 => answered.push_str(&dialogue.upstream("zz available\nnoise\n100 OK\n")),
                    3 | 4 if !open => {
                        open = true;
                        dialogue.connect();
                    }
                    _ if !owed.is_empty() => {
                        let name = owed.swap_remove(which.index(owed.len()));
                        let name = if deed == 5 { name.to_lowercase() } else { name };
                        answered.push_str(&dialogue.upstream(&format!("{name} available\n")));
                    }
                    _ => {}
                }
            }
            while answered.lines().count() < names.len() {
                answered.push_str(&dialogue.lose_upstream());
            }
            answered.push_str(&dialogue.upstream(&"a available\n".repeat(3)));
            let mut replied: Vec<&str> =
                answered.lines().map(|line| line.split(' ').next().unwrap()).collect();
            replied.sort_unstable();
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_unstable();
            prop_assert_eq!(replied, names);
        }
    }
}
