//! What a hostile client does, what it may be answered, and what the upstream may see of it.

/// Shared by all that write transcripts: the credentials that exist.
#[derive(Clone, Debug)]
pub struct Given {
    /// A key that opens the door.
    pub key: String,
    /// One that opens the other door only.
    pub other_door: String,
    /// One that did.
    pub deleted: String,
}

/// One conversation.
pub struct Transcript {
    /// The group that it belongs to.
    pub category: &'static str,
    /// What it tries, unique in its category.
    pub name: String,
    /// Where it takes place.
    pub door: Door,
    /// How it can take place.
    pub carriage: Carriage,
    /// What the client does and is answered.
    pub steps: Vec<Step>,
    /// How it must end.
    pub end: End,
    /// What the upstream may see, but for the probe at its end.
    pub upstream: Upstream,
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `STARTTLS` is offered, credentials in clear are taken.
    Usual,
    /// Credentials in clear are refused.
    Refusing,
    /// TLS cannot be offered.
    WithoutTls,
}

/// In clear, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// It makes sense in clear, and inside TLS.
    Both,
    /// It begins in clear, or not at all.
    ClearOnly,
}

/// What the client does next.
#[derive(Debug)]
pub enum Step {
    /// Sends these bytes in one write. A peer that has closed meanwhile is no fault: what it says is looked at.
    Send(Vec<u8>),
    /// Reads as many lines, which must be these in any order; they end in CRLF.
    Expect(Vec<String>),
    /// Reads this line, if it comes.
    Perhaps(String),
    /// Does the handshake behind `STARTTLS`.
    BeginTls,
    /// Says that nothing more will be sent.
    FinishSending,
    /// Sends this again and again, without reading; the connection must be cut before so many bytes are taken.
    Flood(Vec<u8>, usize),
    /// Breaks the connection off (RST).
    Reset,
}

/// How it must end. No byte more than told may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The session goes on, and is not logged in.
    Out,
    /// The session goes on, and is logged in.
    In,
    /// The connection is closed.
    Closed,
    /// The same, and a TLS alert (RFC 8446 §6) may come before.
    ClosedPerhapsByAlert,
    /// The client has left, or been cut.
    Over,
}

/// Lines that may come upstream.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// All of these, in this order, and nothing else.
    Exactly(Vec<String>),
    /// These or the first of them: the connection was cut on the way.
    Within(Vec<String>),
    /// Requests of a client that floods.
    Requests,
}

impl Transcript {
    /// One that does nothing yet, and must leave the session not logged in.
    pub fn new(category: &'static str, name: impl Into<String>) -> Self {
        Self {
            category,
            name: name.into(),
            door: Door::Usual,
            carriage: Carriage::Both,
            steps: Vec::new(),
            end: End::Out,
            upstream: Upstream::Exactly(Vec::new()),
        }
    }

    /// It takes place there.
    pub fn at(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    /// It begins in clear.
    pub fn in_clear(mut self) -> Self {
        self.carriage = Carriage::ClearOnly;
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends bytes in one write.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends a line.
    pub fn line(self, line: impl AsRef<str>) -> Self {
        self.send(format!("{}\r\n", line.as_ref()))
    }

    /// Must be answered this line.
    pub fn expect(self, line: impl Into<String>) -> Self {
        self.step(Step::Expect(vec![line.into()]))
    }

    /// Must be answered these, in any order.
    pub fn expect_all(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.step(Step::Expect(lines.into_iter().map(Into::into).collect()))
    }

    /// May be answered this line.
    pub fn perhaps(self, line: &str) -> Self {
        self.step(Step::Perhaps(line.to_owned()))
    }

    /// Logs in.
    pub fn login(self, given: &Given) -> Self {
        self.line(format!("LOGIN {}", given.key)).expect("100 Login ok")
    }

    /// Asks for TLS and does the handshake.
    pub fn start_tls(self) -> Self {
        self.line("STARTTLS").expect("100 OK").begin_tls()
    }

    /// Does the handshake.
    pub fn begin_tls(self) -> Self {
        self.step(Step::BeginTls)
    }

    /// Asks for a name that must be found available.
    pub fn ask(self, name: &str) -> Self {
        self.line(format!("IS {name}")).expect(format!("{name} available")).upstream([format!("IS {name}")])
    }

    /// Says that nothing more comes.
    pub fn finish_sending(self) -> Self {
        self.step(Step::FinishSending)
    }

    /// Must be cut before so many bytes are taken.
    pub fn flood(self, part: impl AsRef<[u8]>, most: usize) -> Self {
        self.step(Step::Flood(part.as_ref().to_vec(), most)).over()
    }

    /// Breaks off.
    pub fn reset(self) -> Self {
        self.step(Step::Reset).over()
    }

    /// The upstream must see these lines, too.
    pub fn upstream(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Upstream::Exactly(known) | Upstream::Within(known) = &mut self.upstream {
            known.extend(lines.into_iter().map(Into::into));
        }
        self
    }

    /// The upstream may see the first of these.
    pub fn upstream_perhaps(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.upstream = Upstream::Within(lines.into_iter().map(Into::into).collect());
        self
    }

    /// The upstream may see any number of requests.
    pub fn upstream_flooded(mut self) -> Self {
        self.upstream = Upstream::Requests;
        self
    }

    fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Must leave the session logged in.
    pub fn stays_in(self) -> Self {
        self.ending(End::In)
    }

    /// Must be closed.
    pub fn closes(self) -> Self {
        self.ending(End::Closed)
    }

    /// Must be closed, perhaps with an alert.
    pub fn closes_perhaps_by_alert(self) -> Self {
        self.ending(End::ClosedPerhapsByAlert)
    }

    fn over(self) -> Self {
        self.ending(End::Over)
    }
}
