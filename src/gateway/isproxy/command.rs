//! What a line of a client asks for, borrowed from the line. Pure; whether it may be asked now is the session's.

use crate::gateway::swar::is_visible;

/// One line, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing but blanks: ignored.
    Empty,
    /// `STARTTLS`. Arguments are ignored: a `400` would make real clients go on in clear.
    StartTls,
    /// `LOGIN …`.
    Login(LoginArguments<'a>),
    /// `IS …`.
    Is(IsArguments<'a>),
    /// `ENABLE …`; `None`: a function that does not exist, or none named.
    Enable(Option<Function>),
    /// `QUIT` or `CLOSE`, with whatever behind.
    Quit,
    /// No command of the protocol.
    Unknown,
    /// An HTTP request line: somebody talks another protocol to us (S47).
    Http,
    /// A NUL, another control byte or a byte beyond ASCII (S19).
    BadBytes,
}

/// What stands behind `LOGIN`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LoginArguments<'a> {
    /// `LOGIN <apikey>`.
    Key(&'a str),
    /// `LOGIN <customer/user> <password>`.
    Password {
        /// `customer/user` as it was sent.
        user: &'a str,
        /// The password as it was sent.
        password: &'a str,
    },
    /// Nothing, or more than two.
    WrongNumber,
}

/// What stands behind `IS`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum IsArguments<'a> {
    /// `IS <domain>`: visible ASCII.
    Domain(&'a [u8]),
    /// `IS <apikey> <domain>`.
    OneShot {
        /// The key as it was sent.
        key: &'a str,
        /// The name asked for.
        domain: &'a str,
    },
    /// Nothing, or more than two.
    WrongNumber,
}

/// What `ENABLE` switches on (PROTOCOL: `ENABLE reason` / `ENABLE premium`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Replies say why a name is not available.
    Reason,
    /// Replies say what a premium name costs.
    Premium,
}

// Written by hand: a derived one would print keys and passwords.
impl std::fmt::Debug for LoginArguments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Password { .. } => "Password(…)",
            Self::WrongNumber => "WrongNumber",
        })
    }
}

impl std::fmt::Debug for IsArguments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "Domain({})", domain.escape_ascii()),
            Self::OneShot { domain, .. } => write!(f, "OneShot(…, {domain})"),
            Self::WrongNumber => f.write_str("WrongNumber"),
        }
    }
}

impl Function {
    /// Both, in the order in which they are replayed.
    pub const ALL: [Self; 2] = [Self::Reason, Self::Premium];

    /// The line that switches it on.
    pub const fn line(self) -> &'static [u8] {
        match self {
            Self::Reason => b"ENABLE reason\r\n",
            Self::Premium => b"ENABLE premium\r\n",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("reason") {
            Some(Self::Reason)
        } else if name.eq_ignore_ascii_case("premium") {
            Some(Self::Premium)
        } else {
            None
        }
    }
}

impl<'a> Command<'a> {
    /// Reads one line without its end. Words are divided by blanks, verbs matched in any case.
    pub fn parse(line: &'a [u8]) -> Self {
        if let Some(domain) = only_asked(line) {
            return Self::Is(IsArguments::Domain(domain));
        }
        let Some(text) = plain_text(line) else {
            return if is_http(line) { Self::Http } else { Self::BadBytes };
        };
        // Blanks are all of its white space.
        let mut words = text.split_ascii_whitespace();
        let Some(verb) = words.next() else { return Self::Empty };
        if verb.eq_ignore_ascii_case("IS") {
            return Self::Is(match (words.next(), words.next(), words.next()) {
                (Some(domain), None, _) => IsArguments::Domain(domain.as_bytes()),
                (Some(key), Some(domain), None) => IsArguments::OneShot { key, domain },
                _ => IsArguments::WrongNumber,
            });
        }
        if verb.eq_ignore_ascii_case("LOGIN") {
            return Self::Login(match (words.next(), words.next(), words.next()) {
                (Some(key), None, _) => LoginArguments::Key(key),
                (Some(user), Some(password), None) => LoginArguments::Password { user, password },
                _ => LoginArguments::WrongNumber,
            });
        }
        if verb.eq_ignore_ascii_case("ENABLE") {
            return Self::Enable(match (words.next(), words.next()) {
                (Some(name), None) => Function::parse(name),
                _ => None,
            });
        }
        if verb.eq_ignore_ascii_case("STARTTLS") {
            return Self::StartTls;
        }
        if verb.eq_ignore_ascii_case("QUIT") || verb.eq_ignore_ascii_case("CLOSE") {
            return Self::Quit;
        }
        if is_http(line) { Self::Http } else { Self::Unknown }
    }
}

/// The domain, if the line is `IS`, one blank and a domain: nearly all are.
fn only_asked(line: &[u8]) -> Option<&[u8]> {
    let [b'I' | b'i', b'S' | b's', b' ', domain @ ..] = line else { return None };
    (!domain.is_empty() && is_visible(domain)).then_some(domain)
}

/// The line as text, if it is visible ASCII and blanks only (S19).
fn plain_text(line: &[u8]) -> Option<&str> {
    // Without an early end, so that it is done many bytes at a time.
    let plain = line.iter().fold(true, |plain, byte| plain & (b' '..=b'~').contains(byte));
    if plain { std::str::from_utf8(line).ok() } else { None }
}

/// Does the line look like HTTP: a method first, or a version last?
fn is_http(line: &[u8]) -> bool {
    let last = line.split(|byte| *byte == b' ').rfind(|word| !word.is_empty());
    is_http_method(line)
        || last.and_then(|word| word.get(..5)).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"))
}

/// Does the line, or the beginning of one, start with an HTTP method (RFC 9110 §9.3, RFC 5789, RFC 9113 §3.4)?
pub fn is_http_method(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] =
        [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI"];
    let first = line.split(|byte| *byte == b' ').find(|word| !word.is_empty());
    first.is_some_and(|word| METHODS.iter().any(|method| word.eq_ignore_ascii_case(method)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_command_is_read() {
        let key = "lk1_key";
        for (line, command) in [
            ("", Command::Empty),
            ("   ", Command::Empty),
            ("STARTTLS", Command::StartTls),
            ("starttls now", Command::StartTls),
            ("LOGIN", Command::Login(LoginArguments::WrongNumber)),
            ("LOGIN lk1_key", Command::Login(LoginArguments::Key(key))),
            ("login  lk1_key ", Command::Login(LoginArguments::Key(key))),
            (
                "LOGIN acme/alex secret",
                Command::Login(LoginArguments::Password { user: "acme/alex", password: "secret" }),
            ),
            ("LOGIN a b c", Command::Login(LoginArguments::WrongNumber)),
            ("IS", Command::Is(IsArguments::WrongNumber)),
            ("Is Example.COM", Command::Is(IsArguments::Domain(b"Example.COM"))),
            ("IS name.com.centralnic", Command::Is(IsArguments::Domain(b"name.com.centralnic"))),
            ("  is   a.com  ", Command::Is(IsArguments::Domain(b"a.com"))),
            ("IS a.com ", Command::Is(IsArguments::Domain(b"a.com"))),
            ("IS lk1_key a.com", Command::Is(IsArguments::OneShot { key, domain: "a.com" })),
            ("IS a b c", Command::Is(IsArguments::WrongNumber)),
            ("ENABLE reason", Command::Enable(Some(Function::Reason))),
            ("enable PREMIUM", Command::Enable(Some(Function::Premium))),
            ("ENABLE", Command::Enable(None)),
            ("ENABLE price", Command::Enable(None)),
            ("ENABLE reason premium", Command::Enable(None)),
            ("QUIT", Command::Quit),
            ("close", Command::Quit),
            ("HELP", Command::Unknown),
            ("ISexample.com", Command::Unknown),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), command, "{line:?}");
        }
    }

    #[test]
    fn s47_http_is_noticed_by_method_or_version() {
        for line in [
            "GET / HTTP/1.1",
            "POST /",
            "PRI * HTTP/2.0",
            "get /",
            "BREW /pot HTTP/1.0",
            "OPTIONS",
            "GET /\u{e4} x",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Command::Http, "{line}");
        }
        assert_eq!(
            Command::parse(b"LOGIN a/b HTTP/password"),
            Command::Login(LoginArguments::Password { user: "a/b", password: "HTTP/password" })
        );
    }

    #[test]
    fn s19_control_bytes_and_bytes_beyond_ascii_are_refused_whatever_the_verb() {
        for byte in (0..b' ').chain(127..=255) {
            for line in [
                [b"IS a".as_slice(), &[byte], b"b"].concat(),
                [b"LOGIN ".as_slice(), &[byte]].concat(),
                [b"x".as_slice(), &[byte]].concat(),
            ] {
                assert_eq!(Command::parse(&line), Command::BadBytes, "{byte}");
            }
        }
    }

    #[test]
    fn debug_shows_no_credential() {
        for line in ["LOGIN hunter2", "LOGIN a/b hunter2", "IS hunter2 a.com"] {
            assert!(!format!("{:?}", Command::parse(line.as_bytes())).contains("hunter2"), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_no_bad_byte_passes(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let bad = line.iter().any(|byte| !(b' '..=b'~').contains(byte));
            let command = Command::parse(&line);
            prop_assert_eq!(bad && command != Command::Http, command == Command::BadBytes);
        }
    }
}
