//! What goes wrong at an upstream, and what a client may see of it (RFC 9112 §6.3 and §8).

use self::After::{Closes, Resets, Stays};
use super::case::{Allowed, BROKEN_OFF, Case, numbered_fields, request};

/// What the upstream does behind its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    Stays,
    Closes,
    Resets,
}

pub struct Fault {
    pub name: &'static str,
    text: String,
    pub after: After,
    allowed: Allowed,
}

impl Fault {
    /// A character is a byte.
    pub fn bytes(&self) -> Vec<u8> {
        self.text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
    }
}

const BAD: Allowed = &[&[502]];
const CUT: Allowed = &[&[502], &[BROKEN_OFF], &[]];
const GOOD: Allowed = &[&[200]];
const EITHER: Allowed = &[&[200], &[502]];

/// The cases; each asks for the fault by its name.
pub fn cases() -> Vec<Case> {
    let case = |fault: Fault| {
        let text = request(&format!("GET /fault/{}", fault.name), "", "");
        Case::new("upstream-fault", fault.name, "RFC 9112 §6.3", text, fault.allowed)
    };
    faults().into_iter().map(case).collect()
}

pub fn faults() -> Vec<Fault> {
    let heads = heads()
        .into_iter()
        .map(|(name, fields, allowed)| (name, format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"), Stays, allowed));
    let all = heads.chain(bodies()).chain(no_answers()).chain(several_answers());
    all.map(|(name, text, after, allowed)| Fault { name, text, after, allowed }).collect()
}

/// Fields of an answer whose body is `ok`.
fn heads() -> Vec<(&'static str, String, Allowed)> {
    let many = numbered_fields(2_000);
    let large = format!("X-A: {}\r\n", "a".repeat(600_000));
    let ok = "Content-Length: 2\r\n";
    [
        ("good", String::new(), GOOD),
        ("length-twice-different", "Content-Length: 1\r\n".to_owned(), BAD),
        ("length-twice-equal", ok.to_owned(), EITHER),
        ("length-and-coding", "Transfer-Encoding: chunked\r\n".to_owned(), BAD),
        ("nul-in-value", "X-A: a\0b\r\n".to_owned(), BAD),
        ("cr-in-value", "X-A: a\rX-Evil: evil\r\n".to_owned(), BAD),
        ("nul-in-name", "X\0A: a\r\n".to_owned(), BAD),
        ("blank-in-name", "X A: a\r\n".to_owned(), BAD),
        ("blank-before-colon", "X-A : a\r\n".to_owned(), EITHER),
        ("no-colon", "X-A\r\n".to_owned(), BAD),
        ("no-name", ": a\r\n".to_owned(), BAD),
        ("folded", "X-A: a\r\n b\r\n".to_owned(), EITHER),
        ("2,000-fields", many, BAD),
        ("600,000-bytes", large, BAD),
        ("named-in-connection", "Connection: X-Hop\r\nX-Hop: evil\r\n".to_owned(), GOOD),
        ("keep-alive", "Keep-Alive: evil\r\nProxy-Connection: evil\r\n".to_owned(), GOOD),
        ("proxy-authenticate", "Proxy-Authenticate: evil\r\n".to_owned(), GOOD),
        ("upgrade", "Upgrade: evil\r\nConnection: upgrade\r\n".to_owned(), GOOD),
        ("alt-svc-of-a-hop", "Connection: Alt-Svc\r\nAlt-Svc: evil\r\n".to_owned(), GOOD),
    ]
    .into_iter()
    .map(|(name, fields, allowed)| (name, format!("{ok}{fields}"), allowed))
    .collect()
}

fn with(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    with("Transfer-Encoding: chunked\r\n", body)
}

type Answer = (&'static str, String, After, Allowed);

/// Where a body ends.
fn bodies() -> Vec<Answer> {
    vec![
        ("length-list", with("Content-Length: 2, 3\r\n", "ok"), Closes, BAD),
        ("length-plus", with("Content-Length: +2\r\n", "ok"), Closes, BAD),
        ("length-negative", with("Content-Length: -2\r\n", "ok"), Closes, BAD),
        ("length-overflows", with("Content-Length: 99999999999999999999\r\n", "ok"), Closes, BAD),
        ("length-empty", with("Content-Length:\r\n", "ok"), Closes, BAD),
        ("length-not-reached", with("Content-Length: 10\r\n", "ok"), Closes, CUT),
        ("length-not-reached-reset", with("Content-Length: 10\r\n", "ok"), Resets, CUT),
        ("coding-unknown", with("Transfer-Encoding: gzip\r\n", "ok"), Closes, BAD),
        (
            "coding-behind-chunked",
            with("Transfer-Encoding: chunked, gzip\r\n", "2\r\nok\r\n0\r\n\r\n"),
            Closes,
            BAD,
        ),
        (
            "coding-twice",
            with("Transfer-Encoding: chunked, chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
            Closes,
            BAD,
        ),
        ("coding-identity", with("Transfer-Encoding: identity\r\n", "ok"), Closes, EITHER),
        (
            "coding-in-http-1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
            Closes,
            EITHER,
        ),
        ("chunk-size-bad", chunked("zz\r\nok\r\n0\r\n\r\n"), Closes, CUT),
        ("chunk-size-0x", chunked("0x2\r\nok\r\n0\r\n\r\n"), Closes, CUT),
        ("chunk-size-overflows", chunked("fffffffffffffffff2\r\nok\r\n0\r\n\r\n"), Closes, CUT),
        ("chunk-longer-than-size", chunked("2\r\nokXX\r\n0\r\n\r\n"), Closes, CUT),
        ("chunk-half", chunked("8\r\nok"), Closes, CUT),
        ("chunks-without-last", chunked("2\r\nok\r\n"), Closes, CUT),
        ("chunks-without-last-reset", chunked("2\r\nok\r\n"), Resets, CUT),
        ("chunk-lone-lf", chunked("2\nok\r\n0\r\n\r\n"), Closes, &[&[502], &[BROKEN_OFF], &[], &[200]]),
        ("chunk-extension-endless", chunked(&format!("2;{}", "e".repeat(300_000))), Closes, CUT),
        (
            "trailer-identity",
            chunked("2\r\nok\r\n0\r\nX-Auth-User: evil\r\nConnection: evil\r\n\r\n"),
            Stays,
            GOOD,
        ),
        ("trailer-malformed", chunked("2\r\nok\r\n0\r\nX A: b\r\n\r\n"), Closes, CUT),
        ("trailer-endless", chunked(&format!("2\r\nok\r\n0\r\nX: {}", "e".repeat(600_000))), Closes, CUT),
    ]
}

/// What is no answer of HTTP/1.1.
fn no_answers() -> Vec<Answer> {
    let line = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\nok");
    vec![
        ("status-of-two-digits", line("HTTP/1.1 20 OK"), Closes, BAD),
        ("status-of-four-digits", line("HTTP/1.1 2000 OK"), Closes, BAD),
        ("status-of-letters", line("HTTP/1.1 abc OK"), Closes, BAD),
        ("status-099", line("HTTP/1.1 099 OK"), Closes, BAD),
        ("status-600", line("HTTP/1.1 600 OK"), Closes, BAD),
        ("status-negative", line("HTTP/1.1 -20 OK"), Closes, BAD),
        ("no-status", line("HTTP/1.1"), Closes, BAD),
        ("version-2", line("HTTP/2.0 200 OK"), Closes, BAD),
        ("version-0.9", line("HTTP/0.9 200 OK"), Closes, BAD),
        ("other-protocol", line("ICY 200 OK"), Closes, BAD),
        ("blank-before", line(" HTTP/1.1 200 OK"), Closes, BAD),
        ("nul-in-reason", line("HTTP/1.1 200 O\0K"), Closes, BAD),
        ("cr-in-reason", line("HTTP/1.1 200 OK\rX-Evil: evil"), Closes, BAD),
        ("body-alone", "ok".to_owned(), Closes, BAD),
        ("garbage", "\u{16}\u{3}\u{1}\0\u{ff}\u{fe}".repeat(50), Closes, BAD),
        ("nothing", String::new(), Closes, BAD),
        ("nothing-reset", String::new(), Resets, BAD),
        ("half-a-head", "HTTP/1.1 200 OK\r\nContent-Le".to_owned(), Closes, BAD),
        ("line-endless", format!("HTTP/1.1 200 {}", "a".repeat(600_000)), Closes, BAD),
    ]
}

/// More than one answer, or one without a body.
fn several_answers() -> Vec<Answer> {
    let good = with("Content-Length: 2\r\n", "ok");
    let hints = "HTTP/1.1 103 Early Hints\r\nX-Evil: evil\r\n\r\n".repeat(3);
    let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000);
    vec![
        (
            "switching-protocols",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\nevil".to_owned(),
            Stays,
            BAD,
        ),
        ("hints-before", format!("{hints}{good}"), Stays, GOOD),
        ("10,000-hints", format!("{flood}{good}"), Closes, EITHER),
        ("surplus", format!("{good}surplus"), Stays, GOOD),
        ("surplus-answer", format!("{good}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), Stays, GOOD),
        (
            "surplus-behind-chunks",
            chunked("2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            Stays,
            GOOD,
        ),
        ("no-content-with-body", "HTTP/1.1 204 No Content\r\n\r\nevil".to_owned(), Stays, &[&[204], &[502]]),
        (
            "no-content-with-length",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil".to_owned(),
            Stays,
            &[&[204], &[502]],
        ),
        (
            "not-modified-with-body",
            "HTTP/1.1 304 Not Modified\r\n\r\nevil".to_owned(),
            Stays,
            &[&[304], &[502]],
        ),
        ("until-the-end", with("", "ok"), Closes, GOOD),
        (
            "old-cookie",
            with("Content-Length: 2\r\nSet-Cookie: __Host-latchkey-session=evil\r\n", "ok"),
            Stays,
            GOOD,
        ),
    ]
}
