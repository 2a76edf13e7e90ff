//! What PROTOCOL section 1 has a client answered, told by the lines it sent alone.

use std::collections::{HashMap, HashSet, VecDeque};

use latchkey::config::PlaintextCredentials;
use latchkey::gateway::isproxy::command::{Command, IsArguments, LoginArguments, is_http_method};
use latchkey::gateway::isproxy::line::Behind;
use latchkey::gateway::isproxy::reply::{Answer, MAX_NAME_BYTES, REPLY_BYTES};
use latchkey::gateway::isproxy::session::{Presented, TlsOffer, Verdict};

/// Who was let in.
#[derive(Clone, Copy, PartialEq)]
enum Entered {
    Nobody,
    /// Whoever made a request with its key.
    ForRequests,
    /// Whoever logged in.
    ForGood,
}

/// The answers and replies that are due.
pub struct Expected {
    tls: TlsOffer,
    plaintext: PlaintextCredentials,
    is_in_tls: bool,
    entered: Entered,
    /// A credential waits for its judgement.
    is_judged: bool,
    /// To commands, in their order; either of them will do.
    answers: VecDeque<&'static [Answer]>,
    /// Names that wait for their reply, and how often.
    names: HashMap<Vec<u8>, usize>,
    /// All names that were ever asked for by whom was let in.
    asked: HashSet<Vec<u8>>,
    /// What the client was answered and is no whole line yet.
    said: Vec<u8>,
    /// So much of what it has yet to take was looked at.
    seen: usize,
}

impl Expected {
    /// Nothing is due.
    pub fn new(tls: TlsOffer, plaintext: PlaintextCredentials) -> Self {
        Self {
            tls,
            plaintext,
            is_in_tls: false,
            entered: Entered::Nobody,
            is_judged: false,
            answers: VecDeque::new(),
            names: HashMap::new(),
            asked: HashSet::new(),
            said: Vec::new(),
            seen: 0,
        }
    }

    /// Has a `LOGIN` succeeded?
    pub fn is_logged_in(&self) -> bool {
        self.entered == Entered::ForGood
    }

    /// Was any credential right?
    pub fn was_let_in(&self) -> bool {
        self.entered != Entered::Nobody
    }

    /// The client's next line.
    pub fn asked(&mut self, line: &[u8], behind: Behind) {
        let is_in = self.is_logged_in();
        let answer: &'static [Answer] = match Command::parse(line) {
            Command::Is(IsArguments::Domain(name)) if is_in => return self.ask(name),
            Command::Is(IsArguments::OneShot { .. }) if !is_in => {
                self.is_judged = true;
                return;
            }
            Command::Login(LoginArguments::WrongNumber) => &[Answer::WrongNumberOfArguments],
            Command::Is(_) if is_in => &[Answer::WrongNumberOfArguments],
            Command::Login(_) if is_in => &[Answer::AlreadyAuthenticated],
            Command::Login(_) => {
                self.is_judged = true;
                return;
            }
            Command::Is(_) | Command::Enable(_) if !is_in => &[Answer::NotAuthenticated],
            Command::Enable(Some(_)) => &[Answer::Ok, Answer::UnknownFunction],
            Command::Enable(None) => &[Answer::UnknownFunction],
            Command::StartTls if self.is_in_tls => &[Answer::TlsAlreadyActive],
            // It ends the session unanswered.
            Command::StartTls if behind == Behind::Bytes => return,
            Command::StartTls if is_in => &[Answer::AlreadyAuthenticated],
            Command::StartTls if self.tls == TlsOffer::NotOffered || !self.names.is_empty() => return,
            Command::StartTls => &[Answer::Ok],
            Command::Unknown => &[Answer::UnknownCommand],
            Command::BadBytes => &[Answer::BadRequest],
            Command::Empty | Command::Quit | Command::Http | Command::Is(_) => return,
        };
        self.answers.push_back(answer);
    }

    /// The client's line has no end.
    pub fn asked_too_long(&mut self, beginning: &[u8]) {
        if !is_http_method(beginning) {
            self.answers.push_back(&[Answer::LineTooLong]);
        }
    }

    fn ask(&mut self, name: &[u8]) {
        if name.len() > MAX_NAME_BYTES {
            self.answers.push_back(&[Answer::LineTooLong]);
        } else {
            *self.names.entry(name.into()).or_default() += 1;
            self.asked.insert(name.into());
        }
    }

    /// What was `presented` is judged.
    pub fn judged(&mut self, presented: &Presented, verdict: Verdict) {
        assert!(std::mem::take(&mut self.is_judged), "nothing was presented");
        assert!(self.is_in_tls || self.plaintext == PlaintextCredentials::Allow, "it came in clear");
        match (verdict, &presented.one_shot) {
            (Verdict::Admitted, Some(name)) => {
                self.entered = Entered::ForRequests;
                self.ask(name.as_bytes());
            }
            (Verdict::Admitted, None) => {
                self.entered = Entered::ForGood;
                self.answers.push_back(&[Answer::LoginOk]);
            }
            (Verdict::Refused | Verdict::Busy, _) => self.answers.push_back(&[Answer::LoginFailed]),
        }
    }

    /// What was presented is refused unjudged.
    pub fn exposed(&mut self, _: &Presented) {
        assert!(std::mem::take(&mut self.is_judged), "nothing was presented");
        assert!(!self.is_in_tls && self.plaintext == PlaintextCredentials::Refuse);
        self.answers.push_back(&[Answer::LoginFailed]);
    }

    /// The handshake is done.
    pub fn upgraded(&mut self) {
        assert!(!self.is_in_tls && !self.is_logged_in());
        self.is_in_tls = true;
    }

    /// Looks at what is new in `waiting`, which the client has yet to take: each line is due.
    pub fn answered(&mut self, waiting: &[u8]) {
        self.said.extend_from_slice(&waiting[self.seen..]);
        self.seen = waiting.len();
        let said = std::mem::take(&mut self.said);
        let mut lines = said.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next_if(|line| line.ends_with(b"\n")) {
            self.answered_line(line);
        }
        assert!(lines.next().is_none(), "an answer without its end");
    }

    fn answered_line(&mut self, line: &[u8]) {
        assert!(line.len() < REPLY_BYTES);
        let text = line.strip_suffix(b"\r\n").expect("CR LF at its end");
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)), "{text:?}");
        if let Some(name) = replied(text) {
            let waits = self.names.get_mut(name).expect("a reply that nobody waits for");
            *waits -= 1;
            if *waits == 0 {
                self.names.remove(name);
            }
            return;
        }
        let due = self.answers.pop_front().expect("an answer to nothing");
        assert!(due.iter().any(|answer| answer.line() == line), "{text:?} instead of {due:?}");
    }

    /// The client has taken so much.
    pub const fn taken(&mut self, count: usize) {
        self.seen -= count;
    }

    /// A line that went upstream.
    pub fn relayed(&self, line: &[u8]) {
        let is_known = match line.strip_prefix(b"IS ") {
            Some(name) => self.asked.contains(name),
            None => self.is_logged_in() && [&b"ENABLE reason"[..], b"ENABLE premium"].contains(&line),
        };
        assert!(is_known, "{line:?} was sent upstream");
    }

    /// Nothing is due any more.
    pub fn is_settled(&self) {
        assert!(!self.is_judged && self.answers.is_empty(), "{:?} are due", self.answers);
        assert!(self.names.is_empty(), "{} names wait for a reply", self.names.len());
    }
}

/// The name that a line replies to; `None`: it is an answer to a command.
fn replied(line: &[u8]) -> Option<&[u8]> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let said = &line[blank + 1..];
    let words = [&b"available"[..], b"not available", b"invalid domain", b"error"];
    let detail = words.iter().find_map(|words| said.strip_prefix(*words))?;
    let is_reply = detail.is_empty() || detail.starts_with(b" (") && detail.ends_with(b")");
    is_reply.then(|| &line[..blank])
}
