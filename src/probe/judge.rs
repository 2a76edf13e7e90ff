//! Whether a listener held, from what the client heard and what the upstream got. Pure.
//!
//! An outcome never repeats an upstream's fields, some of which are the operator's secrets: it names them, and shows
//! request lines and lines of the line protocol, which are the probe's own.

use std::time::Duration;

use super::finding::Outcome;
use super::recorded::RecordedRequest;
use super::recorder::Received;
use super::wire::{End, Heard};
use crate::crypto::KEY_PREFIX;

/// What headers of the probe claim, so that it is found wherever it gets.
pub(super) const FORGED: &str = "forged-by-latchkey-probe";
/// A deadline is kept if the end comes at most so much later: what a busy machine takes.
const GRACE: Duration = Duration::from_secs(2);
/// What of a request line is shown.
const SHOWN_CHARACTERS: usize = 60;

/// What an attack has brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// By the client.
    pub(super) heard: Heard,
    /// By the upstream.
    pub(super) received: Received,
}

/// How a request may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 401, or 429 where there were too many already.
    Credential,
    /// 403.
    Forbidden,
    /// Any status that blames the client, 501, 505, or a close without an answer.
    Message,
    /// Closed without an answer of HTTP.
    Close,
}

/// What the upstream must be told, by the names that the configuration gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity(pub(super) Vec<(String, String)>);

/// A request must be refused in this way, and nothing of it reach the upstream.
pub(super) fn refused(seen: &Seen, how: Refusal) -> Outcome {
    let told = format!("{}, {}", heard(&seen.heard), received(&seen.received));
    let fits = match (how, seen.heard.status()) {
        (Refusal::Credential, Some(401 | 429))
        | (Refusal::Forbidden, Some(403))
        | (Refusal::Message, Some(400..=499 | 501 | 505)) => true,
        (Refusal::Message | Refusal::Close, None) => seen.heard.end == End::Closed,
        _ => false,
    };
    pass_if(fits && is_nothing(&seen.received), told)
}

/// A request must reach the upstream alone, with the true identity and nothing that was forged.
pub(super) fn let_in(seen: &Seen, identity: &Identity, key: &str) -> Outcome {
    if seen.heard.status() != Some(200) {
        return Outcome::failed(format!("{}, {}", heard(&seen.heard), received(&seen.received)));
    }
    match told_truly(&seen.received, identity, key) {
        Ok(()) => Outcome::passed("answered 200, and the upstream is told whose it is"),
        Err(fault) => Outcome::failed(fault),
    }
}

/// Forged fields: either the request is refused, or the upstream is told the truth alone.
pub(super) fn not_believed(seen: &Seen, identity: &Identity, key: &str) -> Outcome {
    if is_nothing(&seen.received) {
        return refused(seen, Refusal::Message);
    }
    match told_truly(&seen.received, identity, key) {
        Ok(()) => Outcome::passed("the upstream is told the truth alone"),
        Err(fault) => Outcome::failed(fault),
    }
}

fn told_truly(received: &Received, identity: &Identity, key: &str) -> Result<(), String> {
    let [request] = received.requests.as_slice() else {
        return Err(format!("not one request: {}", self::received(received)));
    };
    let whole = format!("{}{}", request.head, request.trailers);
    if whole.contains(key) {
        return Err(String::from("the key reached the upstream"));
    }
    let fields = request.fields().chain(lines_of(&request.trailers));
    if let Some((name, _)) = fields.into_iter().find(|(_, value)| value.contains(FORGED)) {
        return Err(format!("the upstream believes what the client forged: `{name}`"));
    }
    for (name, value) in &identity.0 {
        match request.values(name).as_slice() {
            [only] if only == value => {}
            [] => return Err(format!("the upstream is not told `{name}`")),
            [_] => return Err(format!("the upstream is told another `{name}`")),
            _ => return Err(format!("the upstream is told `{name}` more than once")),
        }
    }
    Ok(())
}

fn lines_of(trailers: &str) -> Vec<(String, &str)> {
    let field = |line| str::split_once(line, ':').unwrap_or((line, ""));
    trailers.lines().map(field).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// Ambiguous framing: refused, or one reading of it alone goes upstream, and what was smuggled does not.
pub(super) fn one_framing(seen: &Seen) -> Outcome {
    let requests = &seen.received.requests;
    if is_nothing(&seen.received) {
        return refused(seen, Refusal::Message);
    }
    let both = |request: &RecordedRequest| request.has("content-length") && request.has("transfer-encoding");
    if requests.iter().any(both) {
        return Outcome::failed("both framings reached the upstream");
    }
    if requests.iter().any(|request| request.values("content-length").len() > 1) {
        return Outcome::failed("two Content-Length reached the upstream");
    }
    let told = format!("{}, {}", heard(&seen.heard), received(&seen.received));
    pass_if(requests.len() == 1, format!("{told}, framed one way"))
}

/// A folded line: refused, or not folded any more.
pub(super) fn not_folded(seen: &Seen) -> Outcome {
    if is_nothing(&seen.received) {
        return refused(seen, Refusal::Message);
    }
    if seen.received.requests.iter().any(RecordedRequest::is_folded) {
        return Outcome::failed("the folded line reached the upstream");
    }
    pass_if(seen.received.requests.len() == 1, format!("{}, unfolded", received(&seen.received)))
}

/// A request for another protocol: it stays HTTP/1, and the upstream is not asked for it.
pub(super) fn not_upgraded(seen: &Seen) -> Outcome {
    if seen.heard.status() == Some(101) {
        return Outcome::failed("upgraded with 101");
    }
    let asked = |request: &RecordedRequest| request.has("upgrade") || request.has("http2-settings");
    if seen.received.requests.iter().any(asked) {
        return Outcome::failed("the upstream was asked to upgrade");
    }
    let told = format!("{}, {}, without Upgrade", heard(&seen.heard), received(&seen.received));
    pass_if(seen.heard.status().is_some() && seen.received.requests.len() <= 1, told)
}

/// `X-Forwarded-For` and its like: the upstream is told `client`, and `claimed` nowhere.
pub(super) fn true_address(seen: &Seen, client: &str, claimed: &str) -> Outcome {
    if is_nothing(&seen.received) {
        return refused(seen, Refusal::Message);
    }
    let [request] = seen.received.requests.as_slice() else {
        return Outcome::failed(format!("not one request: {}", received(&seen.received)));
    };
    if let Some((name, _)) = request.fields().find(|(_, value)| value.contains(claimed)) {
        return Outcome::failed(format!("the upstream is told the claimed address in `{name}`"));
    }
    match request.values("x-forwarded-for").as_slice() {
        [told] if *told == client => Outcome::passed("the upstream is told the connection's address"),
        told => Outcome::failed(format!("the upstream is told {} in X-Forwarded-For", told.join(" and "))),
    }
}

/// A silent client: closed in time, and nothing reaches the upstream.
pub(super) fn closed_in_time(end: End, took: Duration, limit_seconds: u32) -> Outcome {
    let limit = Duration::from_secs(limit_seconds.into());
    let seconds = took.as_secs_f32();
    match end {
        End::Closed if took <= limit + GRACE => Outcome::passed(format!("closed after {seconds:.1} s")),
        End::Closed => Outcome::failed(format!("closed after {seconds:.1} s, not {limit_seconds} s")),
        End::Open => Outcome::failed(format!("still open after {seconds:.1} s")),
    }
}

/// How long a silent client is waited for.
pub(super) fn silence_max(limit_seconds: u32) -> Duration {
    Duration::from_secs(limit_seconds.into()) + GRACE
}

/// A session must be closed, answered with `replies` and nothing else, and ask nothing of the upstream.
pub(super) fn answered_and_closed(seen: &Seen, replies: &[&str]) -> Outcome {
    let told = format!("{}, {}", heard_lines(&seen.heard), received(&seen.received));
    let fits = seen.heard.end == End::Closed && seen.heard.lines() == replies;
    pass_if(fits && is_nothing(&seen.received), told)
}

/// Lines must be refused, each of them, and ask nothing of the upstream.
pub(super) fn lines_refused(seen: &Seen) -> Outcome {
    let lines = seen.heard.lines();
    let told = format!("{}, {}", heard_lines(&seen.heard), received(&seen.received));
    let fits = lines.iter().all(|line| line.starts_with("400 "))
        && (!lines.is_empty() || seen.heard.end == End::Closed);
    pass_if(fits && is_nothing(&seen.received), told)
}

pub(super) fn pass_if(fits: bool, told: String) -> Outcome {
    if fits { Outcome::Passed(told) } else { Outcome::Failed(told) }
}

pub(super) fn is_nothing(received: &Received) -> bool {
    received.bytes == 0
}

/// What a client of HTTP heard, in words.
pub(super) fn heard(heard: &Heard) -> String {
    match (heard.status(), heard.end) {
        (Some(status @ 400..), _) => format!("refused with {status}"),
        (Some(status), _) => format!("answered {status}"),
        (None, End::Closed) => String::from("closed unanswered"),
        (None, End::Open) => String::from("neither answered nor closed"),
    }
}

fn heard_lines(heard: &Heard) -> String {
    let lines: Vec<String> = heard.lines().iter().map(|line| format!("`{}`", shown(line))).collect();
    let distinct = lines.iter().collect::<std::collections::BTreeSet<_>>().len();
    let said = match (lines.as_slice(), distinct) {
        ([], _) => String::from("unanswered"),
        ([only], _) => only.clone(),
        ([first, ..], 1) => format!("{} times {first}", lines.len()),
        _ => lines.join(", "),
    };
    match heard.end {
        End::Closed => format!("{said}, closed"),
        End::Open => format!("{said}, open"),
    }
}

/// What an upstream got, in words.
pub(super) fn received(received: &Received) -> String {
    let lines = received.requests.iter().map(RecordedRequest::line);
    let lines: Vec<String> = lines
        .chain(received.lines.iter().map(String::as_str))
        .take(3)
        .map(|line| format!("`{}`", shown(line)))
        .collect();
    let count = received.requests.len() + received.lines.len();
    let further =
        if count > lines.len() { format!(" and {} more", count - lines.len()) } else { String::new() };
    match (received.bytes, lines.is_empty()) {
        (0, _) => String::from("nothing upstream"),
        (bytes, true) => format!("{bytes} bytes upstream"),
        (_, false) => format!("upstream {}{further}", lines.join(", ")),
    }
}

/// Nothing of what came may disturb a terminal, and no key is shown, although the probe's die with it.
fn shown(line: &str) -> String {
    let word = |word| if str::contains(word, KEY_PREFIX) { "[key]" } else { word };
    let line: String = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let text: String = line.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_default).collect();
    if line.chars().count() > SHOWN_CHARACTERS { format!("{text}...") } else { text }
}
