//! Fields that no message may have (RFC 9113 §8.2): by their characters, or because they belong to a connection.

use super::case::{Allowed, Case, Given};

const CHARACTERS: &str = "header-fields";
const CONNECTION: &str = "connection-fields";

/// Case, name, value.
type Row = (&'static str, &'static [u8], &'static [u8]);

const NAMES: &[Row] = &[
    ("upper-case-name", b"X-Upper", b"1"),
    ("one-upper-case-letter", b"x-uppeR", b"1"),
    ("cr-in-name", b"x-a\rb", b"1"),
    ("lf-in-name", b"x-a\nb", b"1"),
    ("nul-in-name", b"x-a\0b", b"1"),
    ("colon-in-name", b"x-a:b", b"1"),
    ("colon-behind-name", b"x-a:", b"1"),
    ("blank-in-name", b"x-a b", b"1"),
    ("blank-before-name", b" x-a", b"1"),
    ("blank-behind-name", b"x-a ", b"1"),
    ("tab-in-name", b"x-a\tb", b"1"),
    ("del-in-name", b"x-a\x7f", b"1"),
    ("non-ascii-name", b"x-\xe9", b"1"),
    ("quote-in-name", b"x-\"a\"", b"1"),
    ("empty-name", b"", b"1"),
];

const VALUES: &[Row] = &[
    ("cr-in-value", b"x-a", b"1\r2"),
    ("lf-in-value", b"x-a", b"1\n2"),
    ("crlf-in-value", b"x-a", b"1\r\nx-b: 2"),
    ("nul-in-value", b"x-a", b"1\x002"),
    ("lf-at-the-end", b"x-a", b"1\n"),
    ("cr-at-the-beginning", b"x-a", b"\r1"),
    ("control-in-value", b"x-a", b"1\x012"),
    ("del-in-value", b"x-a", b"1\x7f2"),
    ("blank-before-value", b"x-a", b" 1"),
    ("blank-behind-value", b"x-a", b"1 "),
    ("tab-before-value", b"x-a", b"\t1"),
    ("tab-behind-value", b"x-a", b"1\t"),
    ("blank-alone", b"x-a", b" "),
    ("blank-behind-cookie", b"cookie", b"a=1 "),
    ("blank-before-host", b"host", b" api.example"),
];

/// Pseudo-header fields, whose value is replaced.
const PSEUDO: &[Row] = &[
    ("crlf-in-path", b":path", b"/header-fields/a\r\nx-b: 2"),
    ("lf-in-path", b":path", b"/header-fields/a\nb"),
    ("nul-in-path", b":path", b"/header-fields/a\0b"),
    ("blank-in-path", b":path", b"/header-fields/a b"),
    ("tab-in-path", b":path", b"/header-fields/a\tb"),
    ("blank-before-path", b":path", b" /header-fields/a"),
    ("blank-behind-path", b":path", b"/header-fields/a "),
    ("blank-behind-query", b":path", b"/header-fields/a?b "),
    ("version-in-path", b":path", b"/header-fields/a HTTP/1.1"),
    ("crlf-in-method", b":method", b"GET\r\nx-b: 2"),
    ("blank-behind-method", b":method", b"GET "),
    ("blank-in-method", b":method", b"GET /smuggled"),
    ("nul-in-method", b":method", b"GET\0"),
    ("crlf-in-authority", b":authority", b"api.example\r\nx-b: 2"),
    ("blank-behind-authority", b":authority", b"api.example "),
    ("blank-before-authority", b":authority", b" api.example"),
    ("blank-behind-scheme", b":scheme", b"http "),
    ("crlf-in-scheme", b":scheme", b"http\r\nx-b: 2"),
];

/// RFC 9113 §8.2.2, with what is left of HTTP/1's own.
const OF_CONNECTIONS: &[Row] = &[
    ("connection-close", b"connection", b"close"),
    ("connection-names-identity", b"connection", b"x-auth-user, x-auth-customer"),
    ("connection-empty", b"connection", b""),
    ("keep-alive", b"keep-alive", b"timeout=5"),
    ("proxy-connection", b"proxy-connection", b"keep-alive"),
    ("transfer-encoding-chunked", b"transfer-encoding", b"chunked"),
    ("transfer-encoding-identity", b"transfer-encoding", b"identity"),
    ("upgrade-h2c", b"upgrade", b"h2c"),
    ("upgrade-websocket", b"upgrade", b"websocket"),
    ("te-gzip", b"te", b"gzip"),
    ("te-chunked", b"te", b"chunked"),
    ("te-trailers-and-gzip", b"te", b"trailers, gzip"),
    ("te-empty", b"te", b""),
];

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    let get = |category: &str, name: &str| given.get(&format!("/{category}/{name}"));
    let added = |category: &'static str, section: &'static str| {
        move |(name, field, value): &Row| {
            let head = get(category, name).with(field, value);
            Case::new(category, name, section, Allowed::malformed()).send(head.whole(1))
        }
    };
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(NAMES.iter().map(added(CHARACTERS, "RFC 9113 §8.2.1")));
    cases.extend(VALUES.iter().map(added(CHARACTERS, "RFC 9113 §8.2.1")));
    cases.extend(PSEUDO.iter().map(|(name, field, value)| {
        let head = get(CHARACTERS, name).set(std::str::from_utf8(field).unwrap(), value);
        Case::new(CHARACTERS, name, "RFC 9113 §8.2.1, §8.3.1", Allowed::malformed()).send(head.whole(1))
    }));
    cases.extend(OF_CONNECTIONS.iter().map(added(CONNECTION, "RFC 9113 §8.2.2")));
    cases.push(
        Case::new(CONNECTION, "transfer-encoding-before-body", "RFC 9113 §8.2.2", Allowed::malformed()).send(
            given
                .post("/connection-fields/transfer-encoding-before-body")
                .with("transfer-encoding", "chunked")
                .and_body(1, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        ),
    );
    // Controls: what is allowed passes.
    for (category, name, section, field, value) in [
        (CONNECTION, "te-trailers", "RFC 9113 §8.2.2", "te", &b"trailers"[..]),
        // Stripped: it belongs to a connection of HTTP/1 (RFC 7540 §3.2.1).
        (CONNECTION, "http2-settings", "RFC 9110 §7.6.1", "http2-settings", b"AAMAAABk"),
        (CHARACTERS, "blank-within-value", "RFC 9113 §8.2.1", "x-a", b"1 \t2"),
        (CHARACTERS, "empty-value", "RFC 9113 §8.2.1", "x-a", b""),
        (CHARACTERS, "bytes-beyond-ascii", "RFC 9110 §5.5", "x-a", b"\xc3\xa9\xff"),
    ] {
        let head = get(category, name).with(field, value);
        cases.push(Case::new(category, name, section, Allowed::passed()).send(head.whole(1)));
    }
    cases
}
