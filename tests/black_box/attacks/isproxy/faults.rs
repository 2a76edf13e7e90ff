//! What an upstream may do instead of replying.

/// The name that a fault is the answer to.
pub const ASKED: &str = "asked.example";
/// One that is asked together with it, and answered well if it still can be.
pub const OTHER: &str = "other.example";
/// One that is asked behind both.
pub const AFTER: &str = "after.example";

/// One fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The group that it belongs to.
    pub category: &'static str,
    /// What it is, unique in its category.
    pub name: &'static str,
    /// When it happens.
    pub stage: Stage,
    /// What happens, one after the other; behind the last one the server goes on.
    pub deeds: Vec<Deed>,
}

/// What a fault is the answer to, in the order in which a server gets to it from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing: it comes as soon as the connection stands.
    Connect,
    /// `IS` for [`ASKED`].
    Is,
    /// `ENABLE`.
    Enable,
    /// The gateway's own `LOGIN`.
    Login,
    /// `STARTTLS`, before that login.
    StartTls,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Says this in one write.
    Say(Vec<u8>),
    /// Says this again and again, until it cannot any more.
    Flood(Vec<u8>),
    /// Says nothing and hears nothing until the peer leaves.
    Silence,
    /// Closes.
    Close,
    /// Breaks off (RST).
    Reset,
}

impl Stage {
    /// What a relay says upstream before it gets there.
    pub const fn greeting(self) -> &'static [&'static str] {
        match self {
            Self::Connect | Self::Is | Self::Enable => &[],
            Self::Login => &["LOGIN key-of-the-gateway-itself\r\n"],
            Self::StartTls => &["STARTTLS\r\n", "LOGIN key-of-the-gateway-itself\r\n"],
        }
    }
}

/// Says this, and goes on.
fn say(category: &'static str, stage: Stage, name: &'static str, bytes: impl AsRef<[u8]>) -> Fault {
    Fault { category, name, stage, deeds: vec![Deed::Say(bytes.as_ref().to_vec())] }
}

impl Fault {
    fn then(mut self, deed: Deed) -> Self {
        self.deeds.push(deed);
        self
    }
}

/// Every fault.
pub fn all() -> Vec<Fault> {
    [bytes(), lengths(), unasked(), foreign(), breaks(), enabling(), opening()]
        .into_iter()
        .flatten()
        .collect()
}

/// Bytes that no client may get to see.
fn bytes() -> Vec<Fault> {
    let within = |name, bytes: &[u8]| {
        let line = [b"asked.example not available (reason=a", bytes, b"b)\r\n"].concat();
        say("bytes", Stage::Is, name, line)
    };
    let whole = |name, line: &[u8]| say("bytes", Stage::Is, name, line);
    vec![
        within("nul", b"\0"),
        within("escape", b"\x1b[2J"),
        within("tab", b"\t"),
        within("bell", b"\x07"),
        within("delete", b"\x7f"),
        within("beyond-ascii", b"\xff"),
        within("utf-8", "\u{e9}".as_bytes()),
        within("line-separator", "\u{2028}".as_bytes()),
        within("cr", b"\rother.example available"),
        whole("nul-in-the-name", b"asked\0.example available\r\n"),
        whole("escape-before-the-name", b"\x1b[31masked.example available\r\n"),
        whole("escape-behind", b"asked.example available\x1b[0m\r\n"),
        whole("tab-for-a-blank", b"asked.example\tavailable\r\n"),
        whole("cr-for-an-end", b"asked.example available\rother.example error\r"),
        whole("cr-cr-lf", b"asked.example available\r\r\n"),
        whole("bare-lf", b"asked.example available\n"),
        whole("lf-cr", b"asked.example available\n\r"),
        whole("two-blanks", b"asked.example  available\r\n"),
    ]
}

fn lengths() -> Vec<Fault> {
    let long = |count: usize| format!("{ASKED} not available (reason={})\r\n", "r".repeat(count));
    let mebibyte = vec![b'a'; 1_024 * 1_024];
    let front = format!("{ASKED} not available (reason=").into_bytes();
    vec![
        say("lengths", Stage::Is, "just-1000", long(1_000 - long(0).len())),
        say("lengths", Stage::Is, "1200-bytes", long(1_200)),
        say("lengths", Stage::Is, "1-mib-without-end", [front.as_slice(), &mebibyte].concat()),
        say("lengths", Stage::Is, "1-mib-of-name-without-end", &mebibyte),
        say(
            "lengths",
            Stage::Is,
            "1-mib-and-then-a-reply",
            [&mebibyte[..], b"\r\nasked.example available\r\n"].concat(),
        ),
        say("lengths", Stage::Is, "40000-empty-lines", "\r\n".repeat(40_000)),
        say("lengths", Stage::Is, "line-without-end-for-ever", b"").then(Deed::Flood(mebibyte)),
    ]
}

/// Replies to what was not asked.
fn unasked() -> Vec<Fault> {
    let is = |name, line: &str| say("unasked", Stage::Is, name, line);
    let first = |name, line: &str| say("unasked", Stage::Connect, name, line);
    let lines = |line: &str| Deed::Flood(line.repeat(500).into_bytes());
    vec![
        is("another-name", "stranger.example available\r\nasked.example available\r\n"),
        is("another-name-only", "stranger.example available\r\n"),
        is("doubled", "asked.example available\r\nasked.example available\r\n"),
        is("doubled-and-contradicted", "asked.example available\r\nasked.example not available\r\n"),
        is("other-case", "ASKED.Example available\r\n"),
        is("a-second-reply-injected", "asked.example available\r\nafter.example available\r\n"),
        is("a-reply-within-a-reason", "asked.example available (reason=x\r\nother.example available)\r\n"),
        is("ok", "100 OK\r\nasked.example available\r\n"),
        is("login-ok", "100 Login ok\r\n100 OK\r\nasked.example available\r\n"),
        is("refusal", "400 not authenticated\r\n"),
        is("refusal-and-reply", "400 Unknown command\r\nasked.example available\r\n"),
        is("two-refusals", "400 Bad request\r\n400 Bad request\r\n"),
        is("empty-lines", "\r\n\r\n\n\r\nasked.example available\r\n"),
        is("commands", "LOGIN a\r\nIS a.example\r\nQUIT\r\nasked.example available\r\n"),
        is("words-behind", "asked.example available for you\r\n"),
        is("no-such-result", "asked.example perhaps\r\n"),
        is("upper-case-result", "asked.example AVAILABLE\r\n"),
        is("strangers-for-ever", "").then(lines("stranger.example available\r\n")),
        is("empty-lines-for-ever", "").then(lines("\r\n")),
        is("ok-for-ever", "").then(lines("100 OK\r\n")),
        is("doubled-for-ever", "").then(lines("asked.example available\r\n")),
        first("greeting", "220 welcome\r\n"),
        first("ok-as-a-greeting", "100 OK\r\n"),
        first("reply-before-the-request", "asked.example not available\r\nafter.example error\r\n"),
        first("refusal-before-the-request", "400 Too many connections\r\n"),
    ]
}

/// Other protocols.
fn foreign() -> Vec<Fault> {
    let http = "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone";
    let is = |name, bytes: &[u8]| say("foreign", Stage::Is, name, bytes);
    vec![
        is("http", http.as_bytes()),
        is("http-and-close", http.as_bytes()).then(Deed::Close),
        is("tls-alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        is("tls-alert-with-lf", b"\x15\x03\x03\x00\x02\x02\x0a"),
        is("tls-hello", b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00"),
        is("ssh", b"SSH-2.0-OpenSSH_9.9\r\n"),
        say("foreign", Stage::Connect, "smtp", "554 5.7.1 no\r\n").then(Deed::Close),
    ]
}

/// The end, or nothing.
fn breaks() -> Vec<Fault> {
    let none = |name, stage| Fault { category: "breaks", name, stage, deeds: Vec::new() };
    let half = |name, deed| say("breaks", Stage::Is, name, "asked.example avail").then(deed);
    vec![
        half("half-a-line-and-close", Deed::Close),
        half("half-a-line-and-reset", Deed::Reset),
        half("half-a-line-and-silence", Deed::Silence),
        say("breaks", Stage::Is, "a-line-without-its-end-and-close", "asked.example available")
            .then(Deed::Close),
        none("closes-with-requests-pending", Stage::Is).then(Deed::Close),
        none("resets-with-requests-pending", Stage::Is).then(Deed::Reset),
        none("hears-no-more", Stage::Is).then(Deed::Silence),
        none("closes-at-once", Stage::Connect).then(Deed::Close),
        none("resets-at-once", Stage::Connect).then(Deed::Reset),
        none("accepts-and-is-silent", Stage::Connect).then(Deed::Silence),
    ]
}

/// Instead of `100 OK` to `ENABLE`.
fn enabling() -> Vec<Fault> {
    let enable = |name, line: &str| say("enabling", Stage::Enable, name, line);
    vec![
        enable("refused", "400 Unknown function\r\n"),
        enable("refused-with-bytes", "400 \x1b[2J\0\r\n"),
        enable("other-text", "100 \x1b[2JFine\r\n"),
        enable("answered-twice", "100 OK\r\n100 OK\r\n"),
        enable("answered-with-a-reply", "reason available\r\n"),
        enable("not-answered", ""),
        enable("closed", "").then(Deed::Close),
    ]
}

/// Instead of a connection that takes lines.
fn opening() -> Vec<Fault> {
    let login = |name, line: &str| say("opening", Stage::Login, name, line);
    let tls = |name, line: &str| say("opening", Stage::StartTls, name, line);
    vec![
        login("login-refused", "400 Login failed\r\n"),
        login("login-refused-by-another-text", "400 key-of-the-gateway-itself is wrong\r\n"),
        login("login-closed", "").then(Deed::Close),
        login("login-not-answered", "").then(Deed::Silence),
        login("login-answered-by-a-reply", "asked.example available\r\n"),
        login("login-answered-for-ever", "").then(Deed::Flood(vec![b'a'; 64 * 1_024])),
        tls("starttls-refused", "400 Unknown command\r\n"),
        tls("starttls-closed", "").then(Deed::Close),
        tls("starttls-not-answered", "").then(Deed::Silence),
        tls("starttls-with-a-login-behind", "100 OK\r\n100 Login ok\r\n"),
        tls("starttls-with-a-reply-behind", "100 OK\r\nasked.example available\r\n"),
        tls("starttls-with-an-empty-line-behind", "100 OK\r\n\r\n"),
        tls("starttls-and-no-handshake", "100 OK\r\n").then(Deed::Silence),
        tls("starttls-and-clear-text-for-a-handshake", "100 OK\r\n")
            .then(Deed::Flood(b"100 Login ok\r\n".to_vec())),
        tls("starttls-behind-a-greeting", "100 Welcome\r\n100 OK\r\n"),
    ]
}
