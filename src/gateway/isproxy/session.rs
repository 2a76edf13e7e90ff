//! One client's session: every rule of PROTOCOL section 1, and no socket, clock or credential check.
//!
//! Events go in (`on_…`), bytes for both peers gather in two outboxes, and what else is to be done comes out as a
//! [`Step`]. `server` does the steps; it holds the permit, without which it sends nothing of the second outbox.
//! The protocol's promise is kept here: exactly one reply a request, whatever the upstream does.

mod deadlines;
mod relay;
mod step;

use tokio::time::{Duration, Instant};

use super::command::{Command, Function, IsArguments, LoginArguments};
use super::line::Behind;
use super::outbox::Outbox;
use super::pending::Pending;
use super::reply::Answer;
use super::tally::Tally;
use crate::auth::DenialReason;
use crate::config::PlaintextCredentials;
use crate::model::Secret;

pub use step::{EndReason, LineFault, Presented, PresentedCredential, Rules, Step, TlsOffer, Verdict};

/// Unwritten replies above which neither peer is read any more.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1_024;
/// Bytes of waiting names above which the client is not read any more.
const PENDING_NAME_BYTES: usize = 256 * 1_024;

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
    tally: Tally,
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
        !self.pending.is_empty() || matches!(self.waiting, Waiting::Enable { .. })
    }

    /// Takes out what was answered since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
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
        if command != Command::Empty {
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

    /// The handshake is done. Nothing that came before it counts any more but the failed logins (S17).
    pub fn on_tls_established(&mut self, now: Instant) {
        self.transport = Transport::Tls;
        self.waiting = Waiting::Nothing;
        self.active_at = now;
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

    /// The authenticator has judged what [`Step::Authenticate`] carried.
    pub fn on_decision(&mut self, verdict: Verdict, now: Instant) {
        let Waiting::Decision { one_shot } = std::mem::replace(&mut self.waiting, Waiting::Nothing) else {
            return;
        };
        self.active_at = now;
        match (verdict, one_shot) {
            (Verdict::Refused, _) => self.on_failed_login(now),
            (Verdict::Admitted, Some(domain)) => self.ask_upstream(&domain, now),
            (Verdict::Admitted, None) => {
                self.login = Login::In;
                self.answer(Answer::LoginOk, now);
            }
        }
    }

    fn on_is(&mut self, arguments: IsArguments<'_>, now: Instant) {
        match (self.login, arguments) {
            (Login::In, IsArguments::Domain(domain)) => self.ask_upstream(domain, now),
            (Login::In, _) => {
                self.refuse_command("IS", "wrong_number_of_arguments", Answer::WrongNumberOfArguments, now);
            }
            (Login::Out, IsArguments::OneShot { key, domain }) => {
                let credential = PresentedCredential::Key(Secret::new(key.to_owned()));
                self.present(Presented { credential, one_shot: Some(domain.to_owned()) }, now);
            }
            (Login::Out, _) => self.refuse_unauthenticated("IS", now),
        }
    }

    fn on_login(&mut self, arguments: LoginArguments<'_>, now: Instant) {
        let credential = match arguments {
            LoginArguments::WrongNumber => {
                let answer = Answer::WrongNumberOfArguments;
                return self.refuse_command("LOGIN", "wrong_number_of_arguments", answer, now);
            }
            _ if self.login == Login::In => {
                let answer = Answer::AlreadyAuthenticated;
                return self.refuse_command("LOGIN", "already_authenticated", answer, now);
            }
            LoginArguments::Key(key) => PresentedCredential::Key(Secret::new(key.to_owned())),
            LoginArguments::Password { user, password } => PresentedCredential::Password {
                user: user.to_owned(),
                password: Secret::new(password.to_owned()),
            },
        };
        self.present(Presented { credential, one_shot: None }, now);
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

    /// S16, S17: nothing but a lone `STARTTLS` of a session that has done nothing yet is upgraded, and where it
    /// cannot be, the client must not go on in clear.
    fn on_start_tls(&mut self, behind: Behind, now: Instant) {
        match (self.transport, behind, self.login, self.rules.tls) {
            (Transport::Tls, ..) => {
                self.refuse_command("STARTTLS", "tls_already_active", Answer::TlsAlreadyActive, now);
            }
            (_, Behind::Bytes, ..) => self.close_at_once(EndReason::BytesBehindStartTls),
            (_, _, Login::In, _) => {
                self.refuse_command("STARTTLS", "already_authenticated", Answer::AlreadyAuthenticated, now);
            }
            (_, _, _, TlsOffer::NotOffered) => self.close(EndReason::TlsUnavailable),
            // Its replies would stand in clear behind `100 OK`.
            _ if !self.pending.is_empty() => self.close(EndReason::TlsUnavailable),
            _ => {
                self.answer(Answer::Ok, now);
                self.waiting = Waiting::Tls;
            }
        }
    }

    /// Has a credential judged, unless it came in clear where that is refused.
    fn present(&mut self, presented: Presented, now: Instant) {
        let refused = self.rules.plaintext_credentials == PlaintextCredentials::Refuse;
        if self.transport == Transport::Plain && refused {
            let verb = if presented.one_shot.is_some() { "IS" } else { "LOGIN" };
            self.tally.deny(verb, DenialReason::PlaintextCredential);
            return self.on_failed_login(now);
        }
        self.waiting = Waiting::Decision { one_shot: presented.one_shot.clone() };
        self.step = Some(Step::Authenticate(presented));
    }

    /// The first failure is answered at once, the others late.
    fn on_failed_login(&mut self, now: Instant) {
        self.failed_logins = self.failed_logins.saturating_add(1);
        let delay = self.rules.limits.isproxy_failed_login_delay_milliseconds;
        if self.failed_logins > 1 && delay > 0 {
            self.waiting = Waiting::HeldRefusal { until: now + Duration::from_millis(delay.into()) };
        } else {
            self.answer_failed_login(now);
        }
    }

    fn answer_failed_login(&mut self, now: Instant) {
        self.waiting = Waiting::Nothing;
        self.answer(Answer::LoginFailed, now);
        if self.failed_logins >= self.rules.limits.isproxy_failed_logins {
            self.close(EndReason::FailedLogins);
        }
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
