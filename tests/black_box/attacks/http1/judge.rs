//! One case against one target, and what is wrong with what came of it.

use std::time::Duration;

use super::answers::{Asked, Seen, read_answers};
use super::case::{BROKEN_OFF, Case, Then, Upstream};
use super::models::{End, Message, Model, models};
use super::recorder::Recorder;
use crate::harness::Wire;

/// How long nothing more may come behind the last answer that may come.
const QUIET: Duration = Duration::from_millis(20);

/// What is attacked.
pub struct Target<'t> {
    pub connect: Box<dyn Fn() -> Wire + Send + Sync + 't>,
    pub recorder: &'t Recorder,
    pub key: String,
    /// Whom the upstream is told of.
    pub user: &'static str,
    /// How long something may take to come; far more than it takes.
    pub patience: Duration,
}

/// Runs `case`; answers what is wrong.
pub fn judge(target: &Target<'_>, case: &Case, number: usize) -> Vec<String> {
    let (bytes, silence) = attack(target, case);
    let mut wrong: Vec<String> = silence.into_iter().collect();
    let canary = ask_canary(target, number);
    // The canary has made sure that nothing of the case is still under way.
    let arrived = target.recorder.take();
    if let Err(what) = canary {
        wrong.push(what);
    }
    let answers = match read_answers(&bytes, case.asked()) {
        Ok(answers) => answers,
        Err(what) => {
            wrong.push(format!("the client got {what}"));
            Vec::new()
        }
    };
    let statuses: Vec<u16> =
        answers.iter().map(|answer| if answer.is_whole { answer.status } else { BROKEN_OFF }).collect();
    if !case.allowed.contains(&statuses.as_slice()) {
        wrong.push(format!("answered {statuses:?}, allowed by {} are {:?}", case.rule, case.allowed));
    }
    if has_evil(&bytes) {
        wrong.push("the client got what the upstream may not say".to_owned());
    }
    wrong.extend(answers.iter().filter_map(wrong_refusal));
    let upstreams = match case.category {
        "upstream-fault" => 1,
        _ => statuses.iter().filter(|status| **status == 200).count(),
    };
    wrong.extend(judge_upstream(target, case, &arrived, upstreams));
    wrong
}

/// Everything that the target says to the case; and what is wrong if it neither says enough nor closes.
fn attack(target: &Target<'_>, case: &Case) -> (Vec<u8>, Option<String>) {
    let mut wire = (target.connect)();
    // A target that has heard enough may close before everything is sent.
    let _ = wire.try_send(case.bytes(&target.key));
    if case.then == Then::Ends {
        wire.finish_sending();
    }
    let most = case.allowed.iter().map(|statuses| statuses.len()).max().unwrap_or_default();
    let least = case.allowed.iter().map(|statuses| statuses.len()).filter(|count| *count > 0).min();
    let mut bytes = Vec::new();
    loop {
        let whole = read_answers(&bytes, case.asked())
            .map_or(usize::MAX, |answers| answers.iter().filter(|answer| answer.is_whole).count());
        let patience = if whole >= most { QUIET } else { target.patience };
        match wire.read_next(patience) {
            Some(part) if !part.is_empty() => bytes.extend_from_slice(&part),
            Some(_) => return (bytes, None),
            None => {
                let too_little = least.is_some_and(|least| whole < least);
                return (bytes, too_little.then(|| "it says too little, and stays open".to_owned()));
            }
        }
    }
}

/// A good request on a connection of its own must get its own answer.
fn ask_canary(target: &Target<'_>, number: usize) -> Result<(), String> {
    let mut wire = (target.connect)();
    let path = format!("/canary/{number}");
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {}\r\n\r\n", target.key);
    let sent = wire.try_send(text);
    let mut bytes = Vec::new();
    while !bytes.ends_with(format!("seen {path}").as_bytes()) {
        match wire.read_next(target.patience) {
            Some(part) if !part.is_empty() => bytes.extend_from_slice(&part),
            _ => break,
        }
    }
    match read_answers(&bytes, Asked::Other).as_deref() {
        Ok([only]) if only.status == 200 && only.body == format!("seen {path}").as_bytes() => Ok(()),
        other => Err(format!("afterwards a good request got {other:?} ({sent:?})")),
    }
}

/// The gateway's own refusals are JSON, but those of heads that cannot be read.
fn wrong_refusal(answer: &Seen) -> Option<String> {
    let is_own = matches!(answer.status, 401 | 403 | 404 | 405 | 413 | 417 | 502 | 504);
    let body: Result<serde_json::Value, _> = serde_json::from_slice(&answer.body);
    let is_told = answer.field("content-type") == Some("application/json")
        && body.is_ok_and(|body| body["type"].is_string() && body["message"].is_string());
    (is_own && !is_told).then(|| format!("{} without type and message", answer.status))
}

fn judge_upstream(target: &Target<'_>, case: &Case, arrived: &[Vec<u8>], upstreams: usize) -> Vec<String> {
    let models = models();
    let (mut wrong, mut own, mut began) = (Vec::new(), Vec::new(), 0);
    for bytes in arrived {
        let (messages, end) = models[0].read_all(bytes);
        match end {
            End::Clean => {}
            End::Incomplete(_) => began += 1,
            End::Malformed => wrong.push(format!("malformed upstream: {:?}", String::from_utf8_lossy(bytes))),
        }
        wrong.extend(read_otherwise(&models, bytes, &messages));
        own.extend(messages.into_iter().filter(|message| !message.target.starts_with(b"/canary/")));
    }
    let expected = if case.upstream == Upstream::NotAsked { 0 } else { upstreams };
    if own.len() != expected {
        let targets: Vec<_> = own.iter().map(|message| String::from_utf8_lossy(&message.target)).collect();
        wrong.push(format!("{expected} requests should have gone upstream, and these did: {targets:?}"));
    }
    if began > 0 && case.upstream != Upstream::MayBegin {
        wrong.push("a part of a request went upstream".to_owned());
    }
    wrong.extend(own.iter().flat_map(|message| judge_message(target, case, message)));
    wrong
}

/// A lenient server must read what the strict one reads.
fn read_otherwise(models: &[Model], bytes: &[u8], strictly: &[Message]) -> Vec<String> {
    let essence = |messages: &[Message]| -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let parts = messages.iter();
        parts.map(|one| (one.method.clone(), one.target.clone(), one.body.clone())).collect()
    };
    let expected = essence(strictly);
    let others = models.iter().filter(|model| essence(&model.read_all(bytes).0) != expected);
    others
        .map(|model| format!("ambiguous upstream: {}: {:?}", model.name, String::from_utf8_lossy(bytes)))
        .collect()
}

/// What every request that goes upstream must be.
fn judge_message(target: &Target<'_>, case: &Case, message: &Message) -> Vec<String> {
    let mut wrong = Vec::new();
    let as_dashes = |name: &str| name.replace(|mark: char| !mark.is_ascii_alphanumeric(), "-");
    let users: Vec<&[u8]> = message
        .fields
        .iter()
        .filter(|(name, _)| as_dashes(name) == "x-auth-user")
        .map(|(_, value)| value.as_slice())
        .collect();
    if users != [target.user.as_bytes()] {
        wrong.push(format!("the user was told as {users:?}"));
    }
    let hosts = message.values("host").len();
    if hosts != 1 {
        wrong.push(format!("{hosts} Host fields went upstream"));
    }
    for name in [
        "authorization",
        "proxy-authorization",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
    ] {
        if !message.values(name).is_empty() {
            wrong.push(format!("{name} went upstream"));
        }
    }
    if !message.values("authorization").is_empty() {
        wrong.push("the credential went upstream".to_owned());
    }
    let twins = message.fields.iter().filter(|(name, _)| {
        let dashed = as_dashes(name);
        dashed != *name
            && matches!(dashed.as_str(), "content-length" | "transfer-encoding" | "host" | "connection")
    });
    wrong.extend(twins.map(|(name, _)| format!("{name}, which some read as framing, went upstream")));
    let fields = message.fields.iter().any(|(name, value)| has_evil(name.as_bytes()) || has_evil(value));
    if fields {
        wrong.push("what only a forger says went upstream".to_owned());
    }
    if message.target.starts_with(b"/smuggled") {
        wrong.push("a smuggled request went upstream".to_owned());
    }
    let paths = case.path().filter(|_| !matches!(case.category, "mixed" | "credential" | "refused-body"));
    if paths.is_some_and(|path| path != message.target) {
        wrong.push(format!("the path became {:?}", String::from_utf8_lossy(&message.target)));
    }
    wrong
}

fn has_evil(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == b"evil")
}
