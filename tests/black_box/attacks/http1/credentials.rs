//! Who calls: credentials, identity fields, what belongs to one connection, and what follows a refusal.

use super::case::{
    Allowed, Case, EITHER, PASSED, REFUSED, Then, Upstream, get, numbered_fields, post, request,
};

const DENIED: Allowed = &[&[401]];
const DENIED_OR_MALFORMED: Allowed = &[&[401], &[400], &[]];

pub fn cases() -> Vec<Case> {
    [credentials(), mixed(), identity(), connection(), tunnels(), refused_bodies(), expectations(), limits()]
        .concat()
}

fn bare(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n")
}

fn credentials() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, fields, allowed) in [
        ("right", "Authorization: ApiKey {key}\r\n", PASSED),
        ("scheme-in-capitals", "Authorization: APIKEY {key}\r\n", PASSED),
        ("two-blanks", "Authorization: ApiKey  {key}\r\n", &[&[200], &[401]]),
        ("none", "", DENIED),
        ("empty", "Authorization:\r\n", DENIED),
        ("scheme-alone", "Authorization: ApiKey\r\n", DENIED),
        ("key-alone", "Authorization: {key}\r\n", DENIED),
        ("other-scheme", "Authorization: Bearer {key}\r\n", DENIED),
        ("basic-of-a-key", "Authorization: Basic {key}\r\n", DENIED),
        ("tab-between", "Authorization: ApiKey\t{key}\r\n", DENIED),
        ("quoted", "Authorization: ApiKey \"{key}\"\r\n", DENIED),
        ("as-parameter", "Authorization: ApiKey key={key}\r\n", DENIED),
        ("text-behind", "Authorization: ApiKey {key} x\r\n", DENIED),
        ("letter-behind", "Authorization: ApiKey {key}x\r\n", DENIED),
        ("comma-behind", "Authorization: ApiKey {key},\r\n", DENIED),
        ("list", "Authorization: ApiKey {key}, ApiKey {key}\r\n", DENIED),
        ("twice", "Authorization: ApiKey {key}\r\nAuthorization: ApiKey {key}\r\n", DENIED_OR_MALFORMED),
        (
            "wrong-then-right",
            "Authorization: ApiKey x\r\nAuthorization: ApiKey {key}\r\n",
            DENIED_OR_MALFORMED,
        ),
        (
            "right-then-wrong",
            "Authorization: ApiKey {key}\r\nAuthorization: ApiKey x\r\n",
            DENIED_OR_MALFORMED,
        ),
        ("right-then-empty", "Authorization: ApiKey {key}\r\nAuthorization:\r\n", DENIED_OR_MALFORMED),
        ("nul-behind", "Authorization: ApiKey {key}\0\r\n", DENIED_OR_MALFORMED),
        ("beyond-ascii-behind", "Authorization: ApiKey {key}\u{ff}\r\n", DENIED_OR_MALFORMED),
        ("folded", "Authorization: ApiKey\r\n {key}\r\n", DENIED_OR_MALFORMED),
        ("blank-before-colon", "Authorization : ApiKey {key}\r\n", REFUSED),
        ("twin", "Author_ization: ApiKey {key}\r\n", DENIED),
        ("of-a-proxy", "Proxy-Authorization: ApiKey {key}\r\n", DENIED),
        ("in-another-field", "X-API-Key: {key}\r\n", DENIED),
        ("in-a-cookie", "Cookie: key={key}; Authorization=ApiKey {key}\r\n", DENIED),
        (
            "named-in-connection",
            "Authorization: ApiKey {key}\r\nConnection: authorization\r\n",
            &[&[200], &[401]],
        ),
        ("half-a-name", "Authorizatio: ApiKey {key}\r\n", DENIED),
        ("wrong-tag", "Authorization: ApiKey lk1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", DENIED),
    ] {
        cases.push(Case::new("credential", name, "RFC 9110 §11.6.2", bare("GET /t", fields), allowed));
    }
    for (name, line) in [
        ("in-the-query", "GET /t?apikey={key}&Authorization=ApiKey%20{key}"),
        ("in-the-path", "GET /ApiKey%20{key}/t"),
    ] {
        cases.push(Case::new("credential", name, "PROTOCOL 2", bare(line, ""), DENIED));
    }
    let user = bare("GET http://ApiKey:{key}@api.example/t", "");
    cases.push(Case::new("credential", "in-the-authority", "RFC 9110 §4.2.4", user, DENIED_OR_MALFORMED));
    let long = bare("GET /t", &format!("Authorization: ApiKey {{key}}{}\r\n", "x".repeat(30_000)));
    cases.push(Case::new("credential", "30,000-letters", "RFC 9110 §11.4", long, &[&[401], &[431]]));
    let body = "Authorization: ApiKey {key}\r\n\r\n";
    let chunks =
        format!("POST /t HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{body}");
    cases.push(Case::new("credential", "in-a-trailer", "RFC 9110 §6.5.1", chunks, DENIED));
    let form = "POST /t HTTP/1.1\r\nHost: api.example\r\nContent-Length: 11\r\n\r\nkey={key}xx";
    let form = Case::new("credential", "in-the-body", "PROTOCOL 2", form, &[&[401], &[401, 400]]);
    cases.push(form);
    cases
}

/// Each request of a connection is judged by itself (S10).
fn mixed() -> Vec<Case> {
    let (with, without) = (get(""), bare("GET /smuggled", ""));
    let wrong = bare("GET /smuggled", "Authorization: ApiKey wrong\r\n");
    let chunked = post("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n");
    let cases: [(&str, String, Allowed); 6] = [
        ("with-then-without", format!("{with}{without}"), &[&[200, 401]]),
        ("without-then-with", format!("{without}{with}"), &[&[401, 200], &[401]]),
        ("with-without-with", format!("{with}{without}{with}"), &[&[200, 401, 200], &[200, 401]]),
        ("with-then-wrong", format!("{with}{wrong}"), &[&[200, 401]]),
        ("chunks-then-without", format!("{chunked}{without}"), &[&[200, 401]]),
        ("three-with", format!("{with}{chunked}{with}"), &[&[200, 200, 200]]),
    ];
    cases
        .into_iter()
        .map(|(name, text, allowed)| Case::new("mixed", name, "RFC 9112 §9.3", text, allowed))
        .collect()
}

/// All pass, and nothing of `evil` reaches the upstream.
fn identity() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in [
        "X-Auth-User: evil",
        "x-auth-user: evil",
        "X-AUTH-USER: evil",
        "X-Auth-User:evil",
        "X_Auth_User: evil",
        "X-Auth_User: evil",
        "x_auth-user: evil",
        "X.Auth.User: evil",
        "X-Auth-User: evil\r\nX-Auth-User: evil",
        "X-Auth-Customer: evil",
        "X-Auth-Key-Id: evil",
        "X-Auth-Key_Id: evil",
        "X-Auth-Method: evil",
        "X-Auth-Role: evil",
        "X-Forwarded-For: 6.6.6.6, evil",
        "X_Forwarded_For: evil",
        "X-Forwarded-Proto: evil",
        "X-Forwarded-Host: evil",
        "X-Forwarded-User: evil",
        "Forwarded: for=evil",
        "X-Real-IP: evil",
        "X_Real_IP: evil",
        "X-Client-IP: evil",
        "True-Client-IP: evil",
        "X-Request-Id: evil",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
        "Connection: X-Auth-User\r\nX-Auth-User: evil",
        "Connection: X-Auth-User, X-Forwarded-For, Via, X-Request-Id",
        "Connection: x_auth_user\r\nX_Auth_User: evil",
    ] {
        let name = field.replace("\r\n", " + ");
        cases.push(Case::new("identity", name, "SECURITY S12", get(&format!("{field}\r\n")), PASSED));
    }
    for trailer in ["X-Auth-User: evil", "X_Auth_User: evil", "X-Forwarded-For: evil", "Authorization: evil"]
    {
        let text = post("Transfer-Encoding: chunked\r\n", &format!("4\r\nabcd\r\n0\r\n{trailer}\r\n\r\n"));
        cases.push(Case::new("identity", format!("trailer {trailer}"), "RFC 9110 §6.5.1", text, PASSED));
    }
    cases
}

fn connection() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, fields) in [
        ("named", "Connection: X-Hop\r\nX-Hop: evil\r\n"),
        ("named-in-capitals", "Connection: X-HOP\r\nx-hop: evil\r\n"),
        ("named-in-a-list", "Connection: close, X-Hop\r\nX-Hop: evil\r\n"),
        ("named-in-a-second-field", "Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: evil\r\n"),
        ("named-among-nothing", "Connection: ,, X-Hop ,\r\nX-Hop: evil\r\n"),
        ("keep-alive", "Keep-Alive: timeout=5, max=evil\r\n"),
        ("proxy-connection", "Proxy-Connection: evil\r\n"),
        ("proxy-authorization", "Proxy-Authorization: Basic evil\r\n"),
        ("proxy-authenticate", "Proxy-Authenticate: evil\r\n"),
        ("te", "TE: trailers, evil;q=0.5\r\nConnection: TE\r\n"),
        ("te-alone", "TE: evil\r\n"),
        ("upgrade", "Connection: Upgrade\r\nUpgrade: evil\r\n"),
        ("upgrade-unnamed", "Upgrade: evil/1\r\n"),
        ("http2-settings", "Connection: HTTP2-Settings\r\nHTTP2-Settings: evil\r\n"),
        ("cookie-named", "Connection: cookie\r\nCookie: a=evil\r\n"),
        ("twin-of-a-named-one", "Connection: X-Hop\r\nX-Hop: evil\r\nX-Hop: evil\r\n"),
    ] {
        cases.push(Case::new("hop-by-hop", name, "RFC 9110 §7.6.1", get(fields), PASSED));
    }
    cases
}

fn tunnels() -> Vec<Case> {
    let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let h2c = format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}");
    let unnamed = format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{settings}");
    let mixed =
        format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Version: 13\r\n{settings}");
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n";
    let mut cases: Vec<Case> = [
        ("h2c", h2c.as_str()),
        ("h2c-without-settings-named", &unnamed),
        ("websocket-and-h2c", &mixed),
        ("websocket-where-none-is-allowed", socket),
        ("tls", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
    ]
    .into_iter()
    .map(|(name, fields)| Case::new("tunnel", name, "RFC 9110 §7.8", get(fields), EITHER))
    .collect();
    for (name, target) in [("options", "/t"), ("options-of-the-server", "*")] {
        let text = request(&format!("OPTIONS {target}"), "Max-Forwards: 0\r\n", "");
        let case = Case::new("tunnel", format!("{name}-of-the-last-hop"), "RFC 9110 §7.6.2", text, PASSED);
        cases.push(Case { upstream: Upstream::NotAsked, ..case });
    }
    cases
}

/// What stands in a refused request's body is nobody's request (S09); it holds a valid key.
fn refused_bodies() -> Vec<Case> {
    let hidden = bare("GET /smuggled", "Authorization: ApiKey {key}\r\n");
    // `{key}` becomes 44 characters.
    let length = hidden.len() + 44 - "{key}".len();
    let wrong = |fields: &str, body: &str| {
        format!("POST /t HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey wrong\r\n{fields}\r\n{body}")
    };
    let by_length = format!("Content-Length: {length}\r\n");
    let by_chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let large = format!("Content-Length: {}\r\n", length * 4_000);
    let next = get("");
    let expecting = format!("Expect: 100-continue\r\n{by_length}");
    let cases: [(&str, String, Allowed); 9] = [
        ("length", wrong(&by_length, &hidden), &[&[401]]),
        ("chunk", wrong(chunked, &by_chunk), &[&[401]]),
        ("length-then-good", wrong(&by_length, &hidden) + &next, &[&[401, 200], &[401]]),
        ("chunk-then-good", wrong(chunked, &by_chunk) + &next, &[&[401, 200], &[401]]),
        ("expected", wrong(&expecting, &hidden), &[&[401]]),
        ("large", wrong(&large, &hidden.repeat(4_000)), &[&[401]]),
        ("bad-chunk", wrong(chunked, &format!("zz\r\n{hidden}")), &[&[401], &[401, 400]]),
        ("no-host", format!("POST /t HTTP/1.1\r\n{by_length}\r\n{hidden}"), &[&[400]]),
        (
            "trace",
            format!("TRACE /t HTTP/1.1\r\nHost: api.example\r\n{by_length}\r\n{hidden}"),
            &[&[405], &[400]],
        ),
    ];
    cases
        .into_iter()
        .map(|(name, text, allowed)| Case::new("refused-body", name, "RFC 9112 §9.3", text, allowed))
        .collect()
}

fn expectations() -> Vec<Case> {
    let expect = "Expect: 100-continue\r\n";
    let mut cases: Vec<Case> = [
        ("continue", post(&format!("{expect}Content-Length: 4\r\n"), "abcd"), PASSED),
        ("continue-without-body", get(expect), PASSED),
        ("continue-in-capitals", post("Expect: 100-CONTINUE\r\nContent-Length: 4\r\n", "abcd"), PASSED),
        ("unknown", post("Expect: 200-ok\r\nContent-Length: 4\r\n", "abcd"), &[&[417], &[417, 400]]),
        ("list", post("Expect: 100-continue, x\r\nContent-Length: 4\r\n", "abcd"), &[&[417], &[417, 400]]),
    ]
    .into_iter()
    .map(|(name, text, allowed)| Case::new("expectation", name, "RFC 9110 §10.1.1", text, allowed))
    .collect();
    let half = post(&format!("{expect}Content-Length: 40\r\n"), "abcd");
    cases.push(Case::never_whole("expectation", "half-a-body", "RFC 9110 §10.1.1", half));
    cases
}

/// The door of these cases takes 100 fields, 64 KiB of head, targets of 8 KiB and bodies of 100,000 bytes.
fn limits() -> Vec<Case> {
    let many = numbered_fields(120);
    let enough = numbered_fields(95);
    let long = "a".repeat(70_000);
    let one = "a".repeat(30_000);
    let chunks = format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000)).repeat(2) + "0\r\n\r\n";
    let target = request(&format!("GET /{}", "a".repeat(9_000)), "", "");
    let query = request(&format!("GET /t?{}", "a".repeat(9_000)), "", "");
    let too_large: Allowed = &[&[431], &[400], &[]];
    let mut cases: Vec<Case> = [
        ("95-fields", get(&enough), PASSED),
        ("120-fields", get(&many), too_large),
        ("field-of-30,000", get(&format!("X-A: {one}\r\n")), PASSED),
        ("field-of-70,000", get(&format!("X-A: {long}\r\n")), too_large),
        ("name-of-70,000", get(&format!("{long}: 1\r\n")), too_large),
        ("target-of-9,000", target, &[&[414], &[400], &[]]),
        ("query-of-9,000", query, &[&[414], &[400], &[]]),
        ("length-of-100,001", post("Content-Length: 100001\r\n", ""), &[&[413]]),
        ("body-of-100,000", post("Content-Length: 100000\r\n", &"a".repeat(100_000)), PASSED),
    ]
    .into_iter()
    .map(|(name, text, allowed)| Case::new("limit", name, "RFC 9110 §15.5", text, allowed))
    .collect();
    let chunked = Case::new(
        "limit",
        "chunks-of-120,000",
        "RFC 9110 §15.5.14",
        post("Transfer-Encoding: chunked\r\n", &chunks),
        &[&[413], &[400], &[]],
    );
    cases.push(Case { upstream: Upstream::MayBegin, ..chunked });
    let endless = format!("GET /t HTTP/1.1\r\nX: {}", "a".repeat(200_000));
    cases.push(Case::new("limit", "head-without-end", "RFC 9112 §3", endless, too_large));
    let no_line = "a".repeat(200_000);
    cases.push(Case {
        then: Then::Ends,
        ..Case::new("limit", "line-without-end", "RFC 9112 §3", no_line, &[&[414], &[431], &[400], &[]])
    });
    cases
}
