//! What the door answers, literally, and what an upstream's lines say. Pure.

use super::outbox::Outbox;

/// Every reply, its end included, stays below this (PROTOCOL: clients read 1,024 bytes at a time).
pub const REPLY_BYTES: usize = 1_000;

/// The longest name that can be answered: ` invalid domain` and the line's end must fit behind it.
pub const MAX_NAME_BYTES: usize = REPLY_BYTES - 1 - " invalid domain\r\n".len();

/// An answer to a command, byte for byte as PROTOCOL section 1 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `STARTTLS` and `ENABLE`.
    Ok,
    /// To a right `LOGIN`.
    LoginOk,
    /// To a refused `LOGIN` or one-shot `IS`, whatever the reason.
    LoginFailed,
    /// `STARTTLS` inside TLS.
    TlsAlreadyActive,
    /// `LOGIN` or `STARTTLS` after a login.
    AlreadyAuthenticated,
    /// `IS` or `ENABLE` before a login.
    NotAuthenticated,
    /// `LOGIN` or `IS` with too few or too many arguments.
    WrongNumberOfArguments,
    /// `ENABLE` of something else.
    UnknownFunction,
    /// No command.
    UnknownCommand,
    /// A line, or the name in it, is too long.
    LineTooLong,
    /// A byte that no line may hold.
    BadRequest,
}

impl Answer {
    /// The line, its end included.
    pub const fn line(self) -> &'static [u8] {
        match self {
            Self::Ok => b"100 OK\r\n",
            Self::LoginOk => b"100 Login ok\r\n",
            Self::LoginFailed => b"400 Login failed\r\n",
            Self::TlsAlreadyActive => b"400 TLS already active\r\n",
            Self::AlreadyAuthenticated => b"400 Already authenticated\r\n",
            Self::NotAuthenticated => b"400 not authenticated\r\n",
            Self::WrongNumberOfArguments => b"400 Wrong number of arguments\r\n",
            Self::UnknownFunction => b"400 Unknown function\r\n",
            Self::UnknownCommand => b"400 Unknown command\r\n",
            Self::LineTooLong => b"400 Line too long\r\n",
            Self::BadRequest => b"400 Bad request\r\n",
        }
    }

    /// Is it one of the 100s?
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::LoginOk)
    }
}

/// What is said about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can be registered.
    Available,
    /// It cannot.
    NotAvailable,
    /// It is no name.
    InvalidDomain,
    /// Nobody could say.
    Error,
}

impl Availability {
    const ALL: [Self; 4] = [Self::Available, Self::NotAvailable, Self::InvalidDomain, Self::Error];

    /// With the blank before them.
    const fn words(self) -> &'static [u8] {
        match self {
            Self::Available => b" available",
            Self::NotAvailable => b" not available",
            Self::InvalidDomain => b" invalid domain",
            Self::Error => b" error",
        }
    }
}

/// Writes the one reply to a request for `name`. A `detail` (` (…)`) that would make it too long is left out.
pub fn write_reply(to: &mut Outbox, name: &[u8], availability: Availability, detail: &[u8]) {
    let words = availability.words();
    if detail.is_empty() || name.len() + words.len() + detail.len() + 2 >= REPLY_BYTES {
        to.push(&[name, words, b"\r\n"]);
    } else {
        to.push(&[name, words, detail, b"\r\n"]);
    }
}

/// A line of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamLine<'a> {
    /// `<domain> <availability>[ (…)]`.
    Reply {
        /// The name as the upstream wrote it.
        name: &'a [u8],
        /// What it says.
        availability: Availability,
        /// ` (…)` with its blank, or nothing; visible ASCII.
        detail: &'a [u8],
    },
    /// `100 …`: the answer to an `ENABLE`.
    Done,
    /// `400 …`: it refuses what was sent.
    Refused,
    /// Anything else; nothing can be told from it.
    Garbled,
}

impl<'a> UpstreamLine<'a> {
    /// Reads one line without its end. A name may be `100` or `400`, so replies are looked for first.
    pub fn parse(line: &'a [u8]) -> Self {
        memchr::memchr(b' ', line).map_or(Self::Garbled, |blank| Self::parse_of(blank, line))
    }

    /// The same, where it is known that a name of so many bytes stands before the first blank.
    pub fn parse_of(name_bytes: usize, line: &'a [u8]) -> Self {
        let Some((name, said)) = line.split_at_checked(name_bytes) else { return Self::Garbled };
        for availability in Availability::ALL {
            let Some(detail) = said.strip_prefix(availability.words()) else { continue };
            return match trimmed(detail) {
                _ if name.is_empty() => Self::Garbled,
                b"" => Self::Reply { name, availability, detail: b"" },
                detail if !detail.starts_with(b" (") || !detail.ends_with(b")") => Self::Garbled,
                // The answer stands; a text that clients cannot take is left out.
                detail if !detail.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                    Self::Reply { name, availability, detail: b"" }
                }
                detail => Self::Reply { name, availability, detail },
            };
        }
        match name {
            b"100" => Self::Done,
            b"400" => Self::Refused,
            _ => Self::Garbled,
        }
    }
}

fn trimmed(detail: &[u8]) -> &[u8] {
    let end = detail.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    detail.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply<'a>(name: &'a str, availability: Availability, detail: &'a str) -> UpstreamLine<'a> {
        UpstreamLine::Reply { name: name.as_bytes(), availability, detail: detail.as_bytes() }
    }

    #[test]
    fn the_lines_of_an_upstream_are_read() {
        for (line, read) in [
            ("a.com available", reply("a.com", Availability::Available, "")),
            ("a.com not available", reply("a.com", Availability::NotAvailable, "")),
            ("a.com invalid domain", reply("a.com", Availability::InvalidDomain, "")),
            ("a.com error ", reply("a.com", Availability::Error, "")),
            (
                r"a.com not available (reason=in use \(since 2001\)\, sorry)",
                reply("a.com", Availability::NotAvailable, r" (reason=in use \(since 2001\)\, sorry)"),
            ),
            ("100 available", reply("100", Availability::Available, "")),
            ("100 OK", UpstreamLine::Done),
            ("100 Ok", UpstreamLine::Done),
            ("400 Unknown function", UpstreamLine::Refused),
            ("a.com", UpstreamLine::Garbled),
            ("", UpstreamLine::Garbled),
            (" available", UpstreamLine::Garbled),
            ("a.com  available", UpstreamLine::Garbled),
            ("a.com availableness", UpstreamLine::Garbled),
            ("a.com available (reason", UpstreamLine::Garbled),
            ("a.com perhaps", UpstreamLine::Garbled),
            ("220 ready", UpstreamLine::Garbled),
        ] {
            assert_eq!(UpstreamLine::parse(line.as_bytes()), read, "{line}");
        }
    }

    #[test]
    fn a_detail_that_clients_cannot_take_is_left_out() {
        for line in ["a.com available (reason=\u{e4})", "a.com available (reason=\0)"] {
            assert_eq!(UpstreamLine::parse(line.as_bytes()), reply("a.com", Availability::Available, ""));
        }
    }

    #[test]
    fn every_reply_stays_under_1_000_bytes() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for availability in Availability::ALL {
            for detail in [String::new(), format!(" (reason={})", "y".repeat(980))] {
                let mut outbox = Outbox::default();
                write_reply(&mut outbox, longest.as_bytes(), availability, detail.as_bytes());
                assert!(outbox.len() < REPLY_BYTES);
                assert!(outbox.unwritten().starts_with(longest.as_bytes()));
                assert!(outbox.unwritten().ends_with(b"\r\n"));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in "[a-zA-Z0-9.-]{1,60}", which in 0usize..4, reason in "[ -~]{0,40}") {
            let availability = Availability::ALL[which];
            let detail = format!(" (reason={reason})");
            let mut outbox = Outbox::default();
            write_reply(&mut outbox, name.as_bytes(), availability, detail.as_bytes());
            let line = outbox.unwritten().strip_suffix(b"\r\n").unwrap();
            prop_assert_eq!(UpstreamLine::parse(line), reply(&name, availability, &detail));
        }

        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let garbled = UpstreamLine::parse(&line) == UpstreamLine::Garbled;
            prop_assert!(garbled || line.contains(&b' '));
        }
    }
}
