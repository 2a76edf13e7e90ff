//! Whether a case ended as it may, by its outcome and by every byte that the upstream got of it.

use super::case::{Case, Outcome};
use crate::attacks::Failure;
use crate::harness::RecordedRequest;

/// Who the upstream must be told is calling.
#[derive(Clone, Debug)]
pub struct Identity(pub String);

/// What is wrong with the way that `case` ended; `None`: nothing.
pub fn judge(
    case: &Case,
    outcome: &Outcome,
    seen: &[RecordedRequest],
    identity: &Identity,
) -> Option<Failure> {
    let failed = |what: String| {
        let case_name = format!("{} ({})", case.name, case.section);
        Some(Failure { category: case.category, case: case_name, what })
    };
    if let Some(what) = seen.iter().find_map(|request| fault(request, identity)) {
        return failed(what);
    }
    if !case.allowed.outcomes.contains(outcome) {
        return failed(format!("{outcome:?} instead of one of {:?}", case.allowed.outcomes));
    }
    let whole = seen.iter().filter(|request| is_whole(request)).count();
    let begun = seen.len() - whole;
    let least = usize::from(*outcome == Outcome::Answered(200));
    if whole < least || whole > case.allowed.whole || begun > case.allowed.begun {
        let heads: Vec<&str> = seen.iter().map(|request| request.head.as_str()).collect();
        return failed(format!(
            "{outcome:?}, and {whole} whole and {begun} broken requests upstream: {heads:?}"
        ));
    }
    None
}

/// What no request that the gateway makes may look like; `None`: it is sound.
pub fn fault(request: &RecordedRequest, Identity(user): &Identity) -> Option<String> {
    let head = request.head.as_str();
    let told = |what: &str| Some(format!("{what} in {head:?}"));
    let mut lines = head.strip_suffix("\r\n\r\n").unwrap_or(head).split("\r\n");
    let line = lines.next().unwrap_or_default();
    if !is_request_line(line) {
        return told("a broken request line");
    }
    if line.contains("smuggled") {
        return told("a smuggled request");
    }
    let mut names = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return told("a line without a name") };
        if !is_sound_name(name) || name.contains("smuggled") {
            return told("a broken name");
        }
        if !is_sound_value(value) {
            return told("a broken value");
        }
        names.push((unmarked(name), value));
    }
    let values = |wanted: &str| -> Vec<&str> {
        names.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect()
    };
    if values("x-auth-user") != [user.as_str()] {
        return told("another user, or more than one");
    }
    let framing = values("content-length").len() + values("transfer-encoding").len();
    if framing > 1 {
        return told("more than one framing");
    }
    if values("host") != ["api.example"] && values("host") != ["API.example"] {
        return told("another host, or more than one");
    }
    if values("cookie").len() > 1 {
        return told("more than one cookie field");
    }
    let forbidden = ["authorization", "proxy-authorization", "upgrade", "keep-alive", "http2-settings"];
    if let Some(name) = names.iter().map(|(name, _)| name).find(|name| forbidden.contains(&name.as_str())) {
        return told(&format!("`{name}`"));
    }
    if head.contains("root") || head.contains("192.0.2.1") || head.contains("latchkey-session") {
        return told("a claim of the client's");
    }
    fault_of_trailers(request)
}

fn is_request_line(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return false };
    let is_target = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_uppercase())
        && is_target
        && target.is_ascii()
}

/// A token in lower case (RFC 9110 §5.6.2).
fn is_sound_name(name: &str) -> bool {
    let is_of_token =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_of_token)
}

/// Nothing but what a value may hold, and no blanks around it (RFC 9110 §5.5).
fn is_sound_value(value: &str) -> bool {
    let is_control = |letter: char| letter != '\t' && (letter < ' ' || letter == '\x7f');
    !value.contains(is_control) && value.trim_matches([' ', '\t']) == value
}

/// As servers read it that take any mark for `-`.
fn unmarked(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

fn fault_of_trailers(request: &RecordedRequest) -> Option<String> {
    let body = String::from_utf8_lossy(&request.body);
    let is_chunked = request.head.contains("\r\ntransfer-encoding: chunked\r\n");
    let (_, trailers) = body.rsplit_once("\r\n0\r\n").filter(|_| is_chunked)?;
    let forbidden = ["content-length", "transfer-encoding", "host", "authorization", "connection", "te"];
    let names = trailers.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| unmarked(name));
    let found = names.into_iter().find(|name| {
        forbidden.contains(&name.as_str()) || name.starts_with("x-auth-") || name.starts_with("x-forwarded")
    });
    found.map(|name| format!("`{name}` among the trailers {trailers:?}"))
}

/// Did the request come to the end that its framing promises?
fn is_whole(request: &RecordedRequest) -> bool {
    let mut lines = request.head.lines();
    if let Some(length) = lines.find_map(|line| line.strip_prefix("content-length: ")) {
        return length.parse() == Ok(request.body.len());
    }
    if !request.head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return true;
    }
    let is_empty = request.body.starts_with(b"0\r\n");
    let last = request.body.windows(5).rposition(|window| window == b"\r\n0\r\n");
    (is_empty || last.is_some()) && request.body.ends_with(b"\r\n\r\n")
}

#[test]
fn the_judge_of_http2_sees_what_was_smuggled_and_who_was_made_up() {
    let identity = Identity("admin".to_owned());
    let sound = "host: api.example\r\nx-auth-user: admin\r\n";
    let faulty = |line: &str, fields: &str| {
        let head = format!("{line}\r\n{sound}{fields}\r\n");
        fault(&RecordedRequest { head, body: Vec::new(), connection: 0 }, &identity).is_some()
    };
    let line = "GET / HTTP/1.1";
    assert!(!faulty(line, "x-a: 1\r\nx-empty: \r\n"));
    for fields in [
        "x-auth-user: admin\r\n",
        "x_auth_user: admin\r\n",
        "x-a:  1\r\n",
        "x-a: 1 \r\n",
        "x-a: 1\n2\r\n",
        "X-A: 1\r\n",
        "x a: 1\r\n",
        "smuggled\r\n",
        "host: api.example\r\n",
        "cookie: a=1\r\ncookie: b=2\r\n",
        "content-length: 1\r\ntransfer_encoding: chunked\r\n",
        "authorization: ApiKey x\r\n",
    ] {
        assert!(faulty(line, fields), "{fields:?}");
    }
    for line in
        ["GET /smuggled HTTP/1.1", "GET  HTTP/1.1", "GET / x HTTP/1.1", "GET a HTTP/1.1", "G\0T / HTTP/1.1"]
    {
        assert!(faulty(line, ""), "{line}");
    }
}

#[test]
fn the_judge_of_http2_tells_whole_requests_from_broken_ones() {
    for (framing, body, whole) in [
        ("", "", true),
        ("content-length: 5\r\n", "12345", true),
        ("content-length: 5\r\n", "1234", false),
        ("transfer-encoding: chunked\r\n", "5\r\n12345\r\n", false),
        ("transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n", true),
        ("transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\nx-sum: 1\r\n\r\n", true),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n", true),
    ] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n");
        let request = RecordedRequest { head, body: body.as_bytes().to_vec(), connection: 0 };
        assert_eq!(is_whole(&request), whole, "{framing}{body}");
    }
}
