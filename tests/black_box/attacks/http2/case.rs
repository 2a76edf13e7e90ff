//! What a case is: what it sends, how it may end, and what of it may reach the upstream.

use super::frames::{self, Head};

/// What the cases of one target have in common.
pub struct Given {
    /// A credential that opens the door.
    pub authorization: String,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl Given {
    /// A request that nothing is wrong with.
    pub fn get(&self, path: &str) -> Head {
        self.request("GET", path)
    }

    /// A request with a body that nothing is wrong with.
    pub fn post(&self, path: &str) -> Head {
        self.request("POST", path)
    }

    fn request(&self, method: &str, path: &str) -> Head {
        Head::empty()
            .with(":method", method)
            .with(":scheme", self.scheme)
            .with(":authority", "api.example")
            .with(":path", path)
            .with("authorization", &self.authorization)
    }
}

/// One hostile (or, as a control, a harmless) conversation on a connection of its own.
#[derive(Clone, Debug)]
pub struct Case {
    /// The group that it belongs to.
    pub category: &'static str,
    /// Its name, which its path ends in.
    pub name: String,
    /// Where it stands what is due.
    pub section: &'static str,
    /// What is said before the steps.
    pub opening: Opening,
    /// What happens.
    pub steps: Vec<Step>,
    /// The stream that is looked at; 0: the connection.
    pub stream: u32,
    /// How it may end.
    pub allowed: Allowed,
}

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The preface with its SETTINGS.
    Usual,
    /// Nothing: the steps say all.
    Own,
}

/// A step of a conversation.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits until all that was sent has been read: a ping is answered.
    Settle,
    /// Waits until this stream has ended.
    AwaitEnd(u32),
    /// The peer must have announced this setting, with at most that value.
    ExpectSetting(u16, u32),
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stream was answered, with this status.
    Answered(u16),
    /// The stream was reset, with this code.
    Reset(u32),
    /// The connection was ended, with this code.
    GoAway(u32),
    /// The connection was closed without a word.
    Closed,
    /// The connection goes on: a ping behind everything is answered.
    Unharmed,
    /// Nothing came.
    Silence,
    /// The setting that was not announced, or is too large.
    Setting(u16),
}

/// How a case may end.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// One of these.
    pub outcomes: Vec<Outcome>,
    /// So many whole requests may reach the upstream. Where the outcome is 200, at least one must.
    pub whole: usize,
    /// So many requests may have begun there, and never come to their end.
    pub begun: usize,
}

impl Allowed {
    fn only(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes, whole: 0, begun: 0 }
    }

    /// The request is malformed: a stream error (RFC 9113 §8.1.1), which may be answered before, or be taken for one
    /// of the connection (§5.4.2).
    pub fn malformed() -> Self {
        let mut allowed = Self::stream_error(&[frames::PROTOCOL_ERROR]);
        allowed.outcomes.push(Outcome::Answered(400));
        allowed
    }

    /// A stream error, or for that of the connection, of one of these codes.
    pub fn stream_error(codes: &[u32]) -> Self {
        let mut allowed = Self::connection_error(codes);
        allowed.outcomes.extend(codes.iter().copied().map(Outcome::Reset));
        allowed
    }

    /// A connection error of one of these codes. Where the peer closes before it has read everything, its GOAWAY may
    /// be lost.
    pub fn connection_error(codes: &[u32]) -> Self {
        let mut outcomes: Vec<Outcome> = codes.iter().copied().map(Outcome::GoAway).collect();
        outcomes.push(Outcome::Closed);
        Self::only(outcomes)
    }

    /// An answer with one of these statuses, and nothing goes upstream.
    pub fn refused(statuses: &[u16]) -> Self {
        Self::only(statuses.iter().copied().map(Outcome::Answered).collect())
    }

    /// The request passes, once.
    pub fn passed() -> Self {
        Self { whole: 1, ..Self::refused(&[200]) }
    }

    /// What came is ignored.
    pub fn ignored() -> Self {
        Self::only(vec![Outcome::Unharmed])
    }

    /// Or it ends like `other`.
    pub fn or(mut self, other: Self) -> Self {
        self.outcomes.extend(other.outcomes);
        self.whole = self.whole.max(other.whole);
        self.begun = self.begun.max(other.begun);
        self
    }

    /// So many requests that nothing is wrong with may have gone upstream before.
    pub const fn after(mut self, whole: usize) -> Self {
        self.whole = whole;
        self
    }

    /// A request may have begun upstream, and break off there.
    pub const fn in_the_middle(mut self) -> Self {
        self.begun = 1;
        self
    }
}

impl Case {
    /// A case without steps, of stream 1.
    pub fn new(category: &'static str, name: &str, section: &'static str, allowed: Allowed) -> Self {
        let (opening, steps) = (Opening::Usual, Vec::new());
        Self { category, name: name.to_owned(), section, opening, steps, stream: 1, allowed }
    }

    /// Looks at another stream.
    pub const fn on(mut self, stream: u32) -> Self {
        self.stream = stream;
        self
    }

    /// Looks at the connection.
    pub const fn on_connection(self) -> Self {
        self.on(0)
    }

    /// Says nothing but its steps.
    pub const fn without_opening(mut self) -> Self {
        self.opening = Opening::Own;
        self
    }

    /// Sends `bytes`.
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    /// Goes one step further.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
