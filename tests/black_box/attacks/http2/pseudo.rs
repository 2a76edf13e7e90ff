//! Pseudo-header fields that are missing, doubled, unknown, late, or mean nothing here (RFC 9113 §8.3, §8.5).

use super::case::{Allowed, Case, Given};
use super::frames::Head;

const CATEGORY: &str = "pseudo-headers";
const SECTION: &str = "RFC 9113 §8.3.1";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [incomplete(given), of_targets(given), of_authorities(given), of_methods(given)].concat()
}

fn get(given: &Given, name: &str) -> Head {
    given.get(&format!("/{CATEGORY}/{name}"))
}

fn malformed(name: &str, head: &Head) -> Case {
    Case::new(CATEGORY, name, SECTION, Allowed::malformed()).send(head.whole(1))
}

fn incomplete(given: &Given) -> Vec<Case> {
    let get = |name: &str| get(given, name);
    let path = |name: &str| format!("/{CATEGORY}/{name}");
    let mut cases: Vec<Case> = [":method", ":scheme", ":path"]
        .into_iter()
        .map(|field| {
            let name = format!("missing-{}", &field[1..]);
            malformed(&name, &get(&name).without(field))
        })
        .collect();
    cases.extend([
        malformed(
            "missing-path-with-host",
            &get("-").without(":path").without(":authority").with("host", "api.example"),
        ),
        malformed("missing-authority-and-host", &get("missing-authority-and-host").without(":authority")),
        malformed(
            "only-a-method",
            &Head::empty().with(":method", "GET").with("authorization", &given.authorization),
        ),
        malformed("no-field-at-all", &Head::empty()),
        malformed("doubled-method", &get("doubled-method").first(":method", "GET")),
        malformed("doubled-scheme", &get("doubled-scheme").first(":scheme", given.scheme)),
        malformed("doubled-path", &get("doubled-path").first(":path", path("doubled-path"))),
        malformed("another-path-first", &get("another-path-first").first(":path", "/smuggled")),
        malformed("doubled-authority", &get("doubled-authority").first(":authority", "api.example")),
        malformed("unknown", &get("unknown").first(":unknown", "1")),
        malformed("only-a-colon", &get("only-a-colon").first(":", "1")),
        malformed("upper-case", &get("upper-case").first(":Path", "/smuggled")),
        malformed("status-in-request", &get("status-in-request").first(":status", "200")),
        malformed("late-path", &get("late-path").without(":path").with(":path", path("late-path"))),
        malformed("late-and-doubled-path", &get("late-and-doubled-path").with(":path", "/smuggled")),
        malformed("late-method", &get("late-method").without(":method").with(":method", "GET")),
        malformed("protocol-of-a-get", &get("protocol-of-a-get").first(":protocol", "websocket")),
    ]);
    cases
}

fn of_targets(given: &Given) -> Vec<Case> {
    let either = || Allowed::passed().or(Allowed::malformed());
    let of_path = |name: &str, path: &[u8]| malformed(name, &get(given, name).set(":path", path));
    let answered =
        |name: &str, head: &Head, allowed| Case::new(CATEGORY, name, SECTION, allowed).send(head.whole(1));
    vec![
        of_path("empty-path", b""),
        of_path("asterisk-of-a-get", b"*"),
        of_path("path-without-slash", b"pseudo-headers/path-without-slash"),
        of_path("at-sign-for-path", b"@smuggled.example/"),
        of_path("absolute-path", b"http://smuggled.example/pseudo-headers/absolute-path"),
        of_path("file-scheme-path", b"file:///etc/passwd"),
        of_path("query-alone", b"?query"),
        of_path("path-beyond-ascii", b"/pseudo-headers/\xc3\xa9"),
        of_path("path-beyond-utf-8", b"/pseudo-headers/\xff"),
        // A fragment is no part of a path; the parser drops it, so that nobody behind it is shown one.
        answered("fragment", &get(given, "-").set(":path", "/pseudo-headers/fragment#smuggled"), either()),
        answered("fragment-alone", &get(given, "-").set(":path", "#smuggled"), either()),
        answered(
            "asterisk-of-options",
            &get(given, "-").set(":path", "*").set(":method", "OPTIONS"),
            Allowed::passed(),
        ),
        // A path like any other.
        answered(
            "two-slashes",
            &get(given, "-").set(":path", "//pseudo-headers.example/two-slashes"),
            Allowed::passed(),
        ),
        malformed("empty-scheme", &get(given, "empty-scheme").set(":scheme", "")),
        malformed("blank-in-scheme", &get(given, "blank-in-scheme").set(":scheme", "ht tp")),
        malformed("digit-first-in-scheme", &get(given, "digit-first-in-scheme").set(":scheme", "1")),
        malformed("scheme-ftp", &get(given, "scheme-ftp").set(":scheme", "ftp")),
        malformed(
            "scheme-is-a-url",
            &get(given, "scheme-is-a-url").set(":scheme", "http://smuggled.example/?"),
        ),
    ]
}

fn of_authorities(given: &Given) -> Vec<Case> {
    let of_authority =
        |name: &str, authority: &str| malformed(name, &get(given, name).set(":authority", authority));
    let of_host = |name: &str, host: &str| malformed(name, &get(given, name).with("host", host));
    vec![
        of_authority("empty-authority", ""),
        of_authority("user-in-authority", "alex@api.example"),
        of_authority("user-and-password-in-authority", "alex:secret@api.example"),
        of_authority("path-in-authority", "api.example/smuggled"),
        of_authority("list-in-authority", "api.example, smuggled.example"),
        of_authority("port-without-host", ":443"),
        of_authority("port-of-letters", "api.example:http"),
        of_authority("broken-brackets", "[::1"),
        of_host("host-in-conflict", "other.example"),
        of_host("host-with-another-port", "api.example:8443"),
        of_host("empty-host", ""),
        malformed(
            "doubled-host",
            &get(given, "doubled-host")
                .without(":authority")
                .with("host", "api.example")
                .with("host", "api.example"),
        ),
        Case::new(CATEGORY, "host-that-agrees", SECTION, Allowed::passed())
            .send(get(given, "host-that-agrees").with("host", "API.example").whole(1)),
        Case::new(CATEGORY, "host-alone", SECTION, Allowed::passed())
            .send(get(given, "host-alone").without(":authority").with("host", "api.example").whole(1)),
    ]
}

fn of_methods(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §8.5, RFC 9110 §9.3.6";
    let connect = Head::empty()
        .with(":method", "CONNECT")
        .with(":authority", "smuggled.example:25")
        .with("authorization", &given.authorization);
    let refused = || Allowed::malformed().or(Allowed::refused(&[405, 501]));
    let case = |name: &str, head: &Head| Case::new(CATEGORY, name, SECTION, refused()).send(head.whole(1));
    vec![
        case("connect", &connect),
        case("connect-with-path", &connect.clone().first(":path", "/").first(":scheme", given.scheme)),
        case("connect-with-scheme", &connect.clone().first(":scheme", given.scheme)),
        case("connect-without-authority", &connect.clone().without(":authority")),
        case(
            "extended-connect-that-nobody-offered",
            &get(given, "-").set(":method", "CONNECT").first(":protocol", "websocket"),
        ),
        Case::new(CATEGORY, "connect-and-a-tunnel", SECTION, refused())
            .send(connect.open(1))
            .send(super::frames::last_data(1, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
        case("trace", &get(given, "trace").set(":method", "TRACE")),
        case("empty-method", &get(given, "empty-method").set(":method", "")),
        case("method-beyond-ascii", &get(given, "method-beyond-ascii").set(":method", b"GET\xc3\xa9")),
    ]
}
