//! Request lines, hosts and fields (RFC 9112 §2 to §5, RFC 9110 §5).

use super::case::{Allowed, Case, EITHER, PASSED, REFUSED, get, request};

const NOT_ALLOWED: Allowed = &[&[405], &[400], &[501], &[]];
const OTHER_VERSION: Allowed = &[&[505], &[400], &[]];

pub fn cases() -> Vec<Case> {
    [request_lines(), targets(), methods(), hosts(), fields()].concat()
}

/// A request with a valid key whose first line is `line`, end included.
fn with_line(line: &str) -> String {
    format!("{line}Host: api.example\r\nAuthorization: ApiKey {{key}}\r\n\r\n")
}

fn request_lines() -> Vec<Case> {
    let cases = [
        ("plain", "GET /t HTTP/1.1\r\n", PASSED),
        ("lone-lf", "GET /t HTTP/1.1\n", EITHER),
        ("lone-cr", "GET /t HTTP/1.1\r", REFUSED),
        ("two-blanks-first", "GET  /t HTTP/1.1\r\n", REFUSED),
        ("two-blanks-second", "GET /t  HTTP/1.1\r\n", REFUSED),
        ("tabs", "GET\t/t\tHTTP/1.1\r\n", REFUSED),
        ("vertical-tab", "GET\u{b}/t HTTP/1.1\r\n", REFUSED),
        ("form-feed", "GET /t\u{c}HTTP/1.1\r\n", REFUSED),
        ("no-break-space", "GET\u{a0}/t HTTP/1.1\r\n", REFUSED),
        ("blank-behind", "GET /t HTTP/1.1 \r\n", REFUSED),
        ("blank-before", " GET /t HTTP/1.1\r\n", REFUSED),
        ("word-behind", "GET /t HTTP/1.1 x\r\n", REFUSED),
        ("empty-line-before", "\r\nGET /t HTTP/1.1\r\n", EITHER),
        ("fragment-behind-empty-lines", "\r\n\n\r\nGET /t#smuggled HTTP/1.1\r\n", REFUSED),
        ("nul-before", "\0GET /t HTTP/1.1\r\n", REFUSED),
        ("byte-order-mark", "\u{ef}\u{bb}\u{bf}GET /t HTTP/1.1\r\n", REFUSED),
        ("no-version", "GET /t\r\n", REFUSED),
        ("version-0.9", "GET /t HTTP/0.9\r\n", OTHER_VERSION),
        ("version-1.2", "GET /t HTTP/1.2\r\n", &[&[200], &[505], &[400], &[]]),
        ("version-2.0", "GET /t HTTP/2.0\r\n", OTHER_VERSION),
        ("version-1.10", "GET /t HTTP/1.10\r\n", OTHER_VERSION),
        ("version-01.1", "GET /t HTTP/01.1\r\n", OTHER_VERSION),
        ("version-1.1x", "GET /t HTTP/1.1x\r\n", OTHER_VERSION),
        ("version-with-comma", "GET /t HTTP/1,1\r\n", OTHER_VERSION),
        ("version-with-blank", "GET /t HTTP/ 1.1\r\n", OTHER_VERSION),
        ("version-of-letters", "GET /t http/1.1\r\n", OTHER_VERSION),
        ("version-of-another-protocol", "GET /t ICY/1.1\r\n", OTHER_VERSION),
        ("no-method", " /t HTTP/1.1\r\n", REFUSED),
        ("no-target", "GET HTTP/1.1\r\n", REFUSED),
        ("empty-target", "GET  HTTP/1.1\r\n", REFUSED),
        ("an-answer", "HTTP/1.1 200 OK\r\n", REFUSED),
        ("preface-of-http2", "PRI * HTTP/2.0\r\n", OTHER_VERSION),
        ("folded", "GET /t\r\n HTTP/1.1\r\n", REFUSED),
    ];
    let case =
        |(name, line, allowed)| Case::new("request-line", name, "RFC 9112 §3", with_line(line), allowed);
    cases.into_iter().map(case).collect()
}

fn targets() -> Vec<Case> {
    let cases = [
        ("query", "/t?a=1&a=2&b", PASSED),
        ("double-slash", "//t//x", PASSED),
        ("dots", "/../t/./%2e%2e/x", PASSED),
        ("encoded-slash", "/t%2fx", PASSED),
        ("encoded-nul", "/t%00", EITHER),
        ("encoded-line", "/t%0d%0aX-Auth-User:%20root", EITHER),
        ("half-encoded", "/t%", EITHER),
        ("semicolon", "/t;a=b", PASSED),
        ("backslash", "/t\\x", EITHER),
        ("odd-marks", "/t<>\"{}|^`", EITHER),
        ("absolute", "http://api.example/t", PASSED),
        ("absolute-https", "https://api.example/t", PASSED),
        ("absolute-other-host", "http://other.example/t", PASSED),
        ("absolute-without-host", "http:///t", REFUSED),
        ("absolute-with-user", "http://user@api.example/t", REFUSED),
        ("absolute-with-bad-port", "http://api.example:x/t", REFUSED),
        ("absolute-file", "file:///t", REFUSED),
        ("absolute-ftp", "ftp://api.example/t", REFUSED),
        ("absolute-script", "javascript:alert(1)", REFUSED),
        ("without-slash", "t", REFUSED),
        ("at", "@smuggled/t", REFUSED),
        ("at-and-port", ":80@smuggled/t", REFUSED),
        ("asterisk", "*", REFUSED),
        ("fragment", "/t#smuggled", REFUSED),
        ("fragment-in-absolute", "http://api.example/t#smuggled", REFUSED),
        ("nul", "/t\0", REFUSED),
        ("delete", "/t\u{7f}", REFUSED),
        ("escape", "/t\u{1b}[0m", REFUSED),
        ("tab", "/t\tx", REFUSED),
        ("blank", "/t x", REFUSED),
        ("lone-cr", "/t\rx", REFUSED),
        ("beyond-ascii", "/t\u{ff}", REFUSED),
        ("utf-8", "/t\u{c3}\u{a4}", REFUSED),
        ("question-mark-alone", "?t", REFUSED),
        ("authority", "api.example:80", REFUSED),
    ];
    let case = |(name, target, allowed)| {
        Case::new("target", name, "RFC 9112 §3.2", with_line(&format!("GET {target} HTTP/1.1\r\n")), allowed)
    };
    cases.into_iter().map(case).collect()
}

fn methods() -> Vec<Case> {
    let long = "M".repeat(9_000);
    let cases = [
        ("lower-case", "get /t", EITHER),
        ("unknown", "BREW /t", EITHER),
        ("with-dash", "M-SEARCH /t", EITHER),
        ("with-colon", "GET: /t", REFUSED),
        ("with-slash", "GE/T /t", REFUSED),
        ("with-brace", "GET{ /t", REFUSED),
        ("with-nul", "GE\0T /t", REFUSED),
        ("with-cr", "GE\rT /t", REFUSED),
        ("beyond-ascii", "G\u{cb}T /t", REFUSED),
        ("too-long", &format!("{long} /t"), &[&[400], &[405], &[414], &[431], &[501], &[200], &[]]),
        ("trace", "TRACE /t", NOT_ALLOWED),
        ("connect-authority", "CONNECT api.example:443", NOT_ALLOWED),
        ("connect-path", "CONNECT /t", NOT_ALLOWED),
        ("connect-own", "CONNECT 127.0.0.1:80", NOT_ALLOWED),
    ];
    let mut all: Vec<Case> = cases
        .into_iter()
        .map(|(name, line, allowed)| Case::new("method", name, "RFC 9110 §9", request(line, "", ""), allowed))
        .collect();
    let mirrored = request("TRACE /t", "Max-Forwards: 5\r\n", "");
    all.push(Case::new("method", "trace-with-max-forwards", "RFC 9110 §9.3.8", mirrored, NOT_ALLOWED));
    all
}

fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, hosts, allowed) in [
        ("with-port", "Host: api.example:8443\r\n", PASSED),
        ("empty-port", "Host: api.example:\r\n", EITHER),
        ("address", "Host: 127.0.0.1\r\n", PASSED),
        ("address-of-ipv6", "Host: [::1]:80\r\n", PASSED),
        ("underscore", "Host: my_api.example\r\n", EITHER),
        ("dot-behind", "Host: api.example.\r\n", EITHER),
        ("missing", "", REFUSED),
        ("empty", "Host:\r\n", REFUSED),
        ("blank", "Host: \t\r\n", REFUSED),
        ("twice", "Host: api.example\r\nHost: api.example\r\n", REFUSED),
        ("twice-different", "Host: api.example\r\nHost: evil\r\n", REFUSED),
        ("twice-capitals", "Host: api.example\r\nHOST: evil\r\n", REFUSED),
        ("list", "Host: api.example, evil\r\n", REFUSED),
        ("two-words", "Host: api.example evil\r\n", REFUSED),
        ("user", "Host: evil@api.example\r\n", REFUSED),
        ("path", "Host: api.example/evil\r\n", REFUSED),
        ("query", "Host: api.example?evil\r\n", REFUSED),
        ("scheme", "Host: http://api.example\r\n", REFUSED),
        ("port-of-letters", "Host: api.example:evil\r\n", REFUSED),
        ("port-of-six-digits", "Host: api.example:123456\r\n", REFUSED),
        ("port-twice", "Host: api.example:80:80\r\n", REFUSED),
        ("bracket-alone", "Host: [::1\r\n", REFUSED),
        ("brackets-around-a-name", "Host: [api.example]\r\n", REFUSED),
        ("nul", "Host: api.example\0\r\n", REFUSED),
        ("tab-within", "Host: api\t.example\r\n", REFUSED),
        ("markup", "Host: <b>\r\n", REFUSED),
        ("beyond-ascii", "Host: \u{e4}pi.example\r\n", REFUSED),
        ("blank-before-colon", "Host : api.example\r\n", REFUSED),
        ("folded", "Host:\r\n api.example\r\n", REFUSED),
        ("behind-a-blank", " Host: api.example\r\n", REFUSED),
        ("named-in-connection", "Host: api.example\r\nConnection: host\r\n", EITHER),
    ] {
        let text = format!("GET /t HTTP/1.1\r\n{hosts}Authorization: ApiKey {{key}}\r\n\r\n");
        cases.push(Case::new("host", name, "RFC 9112 §3.2", text, allowed));
    }
    let old = "GET /t HTTP/1.0\r\nAuthorization: ApiKey {key}\r\n\r\n";
    cases.push(Case::new("host", "missing-in-http-1.0", "RFC 9112 §3.2", old, EITHER));
    cases
}

fn fields() -> Vec<Case> {
    let many_lines = "\r\n".repeat(20_000);
    let cases = [
        ("plain", "X-A: b\r\n", PASSED),
        ("empty-value", "X-A:\r\n", PASSED),
        ("no-blank", "X-A:b\r\n", PASSED),
        ("any-mark", "!#$%&'*+-.^_`|~9: b\r\n", PASSED),
        ("lone-lf", "X-A: b\n", EITHER),
        ("beyond-ascii", "X-A: \u{e4}\u{ff}\r\n", EITHER),
        ("tab-within", "X-A: b\tc\r\n", PASSED),
        ("blank-before-colon", "X-A : b\r\n", REFUSED),
        ("tab-before-colon", "X-A\t: b\r\n", REFUSED),
        ("no-colon", "X-A\r\n", REFUSED),
        ("no-name", ": b\r\n", REFUSED),
        ("blank-in-name", "X A: b\r\n", REFUSED),
        ("parenthesis-in-name", "X(A): b\r\n", REFUSED),
        ("slash-in-name", "X/A: b\r\n", REFUSED),
        ("quote-in-name", "\"X-A\": b\r\n", REFUSED),
        ("at-in-name", "X@A: b\r\n", REFUSED),
        ("nul-in-name", "X\0A: b\r\n", REFUSED),
        ("cr-in-name", "X\rA: b\r\n", REFUSED),
        ("beyond-ascii-in-name", "X-\u{e4}: b\r\n", REFUSED),
        ("folded", "X-A: b\r\n c\r\n", REFUSED),
        ("folded-by-tab", "X-A: b\r\n\tc\r\n", REFUSED),
        ("blank-line", "X-A: b\r\n \r\n", REFUSED),
        ("nul-in-value", "X-A: b\0c\r\n", REFUSED),
        ("cr-in-value", "X-A: b\rc\r\n", REFUSED),
        ("cr-cr-lf", "X-A: b\r\r\n", REFUSED),
        ("escape-in-value", "X-A: \u{1b}[31m\r\n", REFUSED),
        ("bell-in-value", "X-A: b\u{7}\r\n", REFUSED),
        ("delete-in-value", "X-A: b\u{7f}\r\n", REFUSED),
        ("cr-then-forged", "X-A: b\rX-Auth-User: evil\r\n", REFUSED),
    ];
    let mut all: Vec<Case> = cases
        .into_iter()
        .map(|(name, fields, allowed)| Case::new("field", name, "RFC 9112 §5", get(fields), allowed))
        .collect();
    let late = "GET /t HTTP/1.1\r\n X-A: b\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";
    all.push(Case::new("field", "first-behind-a-blank", "RFC 9112 §2.2", late, REFUSED));
    let flood = format!("{many_lines}{}", get(""));
    all.push(Case::new(
        "field",
        "20,000-empty-lines-before",
        "RFC 9112 §2.2",
        flood,
        &[&[200], &[400], &[431], &[]],
    ));
    all
}
