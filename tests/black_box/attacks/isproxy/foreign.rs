//! S47: other protocols. HTTP and TLS end the connection unanswered (ALPACA, browsers led here by a page); what the
//! rest says is no command, and leads to nothing.

use super::starttls::TLS_HELLO;
use super::transcript::{Given, Transcript};

const UNKNOWN: &str = "400 Unknown command";
const BAD: &str = "400 Bad request";

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("cross-protocol", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = http(given);
    cases.extend(tls(given));
    cases.extend(answered_lines());
    cases.extend(bad_bytes());
    cases
}

fn http(given: &Given) -> Vec<Transcript> {
    let lines = [
        ("get", "GET / HTTP/1.1"),
        ("get-0.9", "GET /"),
        ("lower-case", "get / http/1.0"),
        ("head", "HEAD / HTTP/1.1"),
        ("post", "POST /IS HTTP/1.1"),
        ("put", "PUT / HTTP/1.0"),
        ("patch", "PATCH / HTTP/1.1"),
        ("delete", "DELETE / HTTP/1.1"),
        ("options", "OPTIONS * HTTP/1.1"),
        ("trace", "TRACE / HTTP/1.1"),
        ("connect", "CONNECT a.example:443 HTTP/1.1"),
        ("absolute", "GET http://localhost:2001/ HTTP/1.1"),
        ("http2-preface", "PRI * HTTP/2.0"),
        ("webdav", "PROPFIND / HTTP/1.1"),
        ("unknown-method", "BREW /pot HTTP/1.1"),
        ("blanks-before", "   GET / HTTP/1.1"),
        ("tab", "GET\t/ HTTP/1.1"),
        ("utf-8", "GET /\u{e4} HTTP/1.1"),
        ("rtsp", "OPTIONS rtsp://localhost/ RTSP/1.0"),
        ("method-alone", "POST"),
    ];
    // A body that a page chose.
    let behind = format!("Host: a\r\n\r\nLOGIN {}\r\nIS injected.example\r\n", given.key);
    let mut cases: Vec<Transcript> = lines
        .into_iter()
        .map(|(name, line)| case(format!("http-{name}")).send(format!("{line}\r\n{behind}")).closes())
        .collect();
    cases.extend([
        case("http-behind-an-empty-line").send(format!("\r\nGET / HTTP/1.1\r\n{behind}")).closes(),
        case("http-after-a-login").login(given).send(format!("GET / HTTP/1.1\r\n{behind}")).closes(),
        case("http-bare-lf").send("POST / HTTP/1.1\nHost: a\n\nIS injected.example\n").closes(),
        case("http-in-pieces").send("GE").send("T / HT").send(format!("TP/1.1\r\n{behind}")).closes(),
        case("websocket").send(format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n{behind}")).closes(),
        case("http2-preface-with-settings")
            .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            .closes(),
    ]);
    cases
}

fn tls(given: &Given) -> Vec<Transcript> {
    vec![
        case("tls-hello").send(TLS_HELLO).closes(),
        case("tls-first-byte").send(b"\x16").closes(),
        case("tls-hello-with-a-line-within")
            .send([TLS_HELLO, b"\r\nIS injected.example\r\n"].concat())
            .closes(),
        case("tls-hello-behind-an-empty-line").send([b"\r\n", TLS_HELLO].concat()).closes(),
        case("tls-hello-after-a-login").login(given).send(TLS_HELLO).closes(),
    ]
}

/// Lines that are no commands: nothing tells them from a mistake.
fn answered_lines() -> Vec<Transcript> {
    let lines = [
        ("ssh", "SSH-2.0-OpenSSH_9.9"),
        ("smtp", "EHLO mail.example"),
        ("smtp-mail", "MAIL FROM:<a@a.example>"),
        ("ftp", "USER anonymous"),
        ("imap", "a1 LOGIN user password"),
        ("pop3", "APOP user digest"),
        ("sip", "INVITE sip:a@a.example SIP/2.0"),
        ("proxy-v1", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2001"),
        ("redis", "SET a b"),
        ("memcached", "get a"),
        ("http-answer", "HTTP/1.1 200 OK"),
        ("whois", "a.example"),
    ];
    // `get` is what HTTP says, too.
    let answered = |(name, line): (&str, &str)| match name {
        "memcached" => case(name).line(line).closes(),
        _ => case(name).line(line).expect(UNKNOWN),
    };
    let mut cases: Vec<Transcript> = lines.into_iter().map(answered).collect();
    cases.push(case("redis-arrays").send("*1\r\n$4\r\nPING\r\n").expect_all([UNKNOWN; 3]));
    cases
}

fn bad_bytes() -> Vec<Transcript> {
    let proxy_v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\x07\xd1";
    vec![
        case("proxy-v2").send(proxy_v2).expect(BAD).closes(),
        case("ssl-2-hello").send(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\n").expect(BAD).closes(),
        case("tls-alert").send(b"\x15\x03\x01\x00\x02\x02\x0a").expect(BAD).closes(),
        case("dns")
            .send(b"\0\x1d\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01\n")
            .expect(BAD)
            .closes(),
    ]
}
