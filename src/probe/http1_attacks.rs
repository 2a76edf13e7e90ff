//! The attacks on an API listener over HTTP/1.

use tokio::time::Instant;

use super::door::{Door, Notebook};
use super::finding::Outcome;
use super::http1_cases::{Case, Judged, Material, Needs, cases};
use super::judge::{self, Refusal, Seen};
use super::origins::{Origin, Word, proxy_header};
use super::recorder::Recorder;
use super::rehearsal::Target;
use super::wire::{End, Heard};
use crate::config::PlaintextCredentials;

/// Beside nothing at all, what a client may begin with and not go on.
const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHo";

/// What stands on the upstream's record before an attack came too late for the one that sent it.
pub(super) struct Late(std::cell::RefCell<Vec<String>>);

impl Late {
    pub(super) const fn new() -> Self {
        Self(std::cell::RefCell::new(Vec::new()))
    }

    /// Takes what came since the last attack was judged.
    pub(super) fn collect(&self, recorder: &Recorder) {
        let received = recorder.take();
        if !judge::is_nothing(&received) {
            self.0.borrow_mut().push(judge::received(&received));
        }
    }

    /// The last line of a door.
    pub(super) fn outcome(&self) -> Outcome {
        match self.0.borrow().as_slice() {
            [] => Outcome::passed("nothing more upstream"),
            late => Outcome::failed(late.join("; ")),
        }
    }
}

/// Everything that is one message each.
pub(super) async fn attack_by_messages(door: &Door, targets: &[Target], late: &Late, notes: &Notebook<'_>) {
    for (place, target) in targets.iter().enumerate() {
        let material = material(door, target);
        let right = format!("a right key, to upstream `{}`", target.upstream);
        if let Some(why) = door.lets_nobody_in() {
            notes.note(right, Outcome::NotProbed(why.to_owned()));
        } else {
            let seen = exchange(door, target, late, door.origins.client, &[], &material.request()).await;
            notes.note(right, judge::let_in(&seen, &material.identity(), door.keys.right.text.expose()));
        }
        // What does not depend on the upstream is tried once.
        for case in cases(&material).iter().filter(|case| place == 0 || case.judged == Judged::NotBelieved) {
            let outcome = if let Some(why) = cannot_be_tried(door, case) {
                Outcome::NotProbed(why.to_owned())
            } else {
                let seen = exchange(door, target, late, door.origins.client, &[], &case.bytes).await;
                case.judge(&seen, &material)
            };
            let name = match place {
                0 => case.name.to_owned(),
                _ => format!("{}, to upstream `{}`", case.name, target.upstream),
            };
            notes.note(name, outcome);
        }
    }
}

/// What concerns the listener's addresses, PROXY protocol and TLS.
pub(super) async fn attack_by_origin(door: &Door, target: &Target, late: &Late, notes: &Notebook<'_>) {
    let material = material(door, target);
    let origins = &door.origins;
    if let Some(outsider) = origins.outsider {
        let request = material.request();
        let seen = exchange(door, target, late, outsider, &[], &request).await;
        notes.note("a right key from outside allow_list", judge::refused(&seen, Refusal::Forbidden));
    }
    if origins.client.announced.is_some() {
        let silent = Origin { announced: None, ..origins.client };
        let seen = exchange(door, target, late, silent, &[], &material.request()).await;
        notes.note("a right key without a PROXY header", judge::refused(&seen, Refusal::Close));
        let outcome = match origins.stranger {
            None => Outcome::NotProbed(String::from("every address of this machine is a trusted proxy")),
            Some(stranger) => {
                let seen = exchange(door, target, late, stranger, &[], &material.request()).await;
                judge::refused(&seen, Refusal::Close)
            }
        };
        notes.note("a PROXY header from a stranger", outcome);
    } else {
        let header = proxy_header(origins.claimed);
        let request = material.listed_request("");
        let seen = exchange(door, target, late, origins.client, &header, &request).await;
        notes.note("a PROXY header where none is read", judge::refused(&seen, Refusal::Message));
    }
    let how = match (&door.tls, door.in_clear) {
        (Some(_), _) => Refusal::Close,
        (None, PlaintextCredentials::Refuse) => Refusal::Forbidden,
        (None, PlaintextCredentials::Allow) => return,
    };
    late.collect(&target.recorder);
    let heard = door.exchange_in_clear(origins.client, &material.request()).await;
    let seen = Seen { heard, received: target.recorder.take() };
    notes.note("a right key in clear", clear_outcome(&seen, how));
}

/// TLS listeners answer what is no TLS with an alert, or with 400 where something in front of them can tell.
fn clear_outcome(seen: &Seen, how: Refusal) -> Outcome {
    match (how, seen.heard.status()) {
        (Refusal::Close, Some(400..=499)) => judge::refused(seen, Refusal::Message),
        _ => judge::refused(seen, how),
    }
}

/// Clients that say nothing, or half of something.
pub(super) async fn attack_by_silence(door: &Door) -> Vec<(&'static str, Outcome)> {
    let limits = &door.limits;
    let inside = async |said: &'static [u8]| {
        let begun = Instant::now();
        let wire = door.connect_secured(door.origins.client, &[], door.tls.as_ref()).await;
        // Its time runs from the accept, or from the end of the handshake.
        let begun = if door.tls.is_some() { Instant::now() } else { begun };
        let heard = match wire {
            Some(mut wire) => {
                wire.send(said).await;
                wire.hear_until_closed(judge::silence_max(limits.http_header_seconds)).await
            }
            None => return Outcome::failed("no connection"),
        };
        judge_silence(&heard, begun, limits.http_header_seconds)
    };
    let before_tls = async {
        let begun = Instant::now();
        let heard = match door.connect(door.origins.client).await {
            Some(mut wire) => wire.hear_until_closed(judge::silence_max(limits.tls_handshake_seconds)).await,
            None => return Outcome::failed("no connection"),
        };
        judge_silence(&heard, begun, limits.tls_handshake_seconds)
    };
    let (nothing, half) = (inside(b""), inside(HALF_A_HEAD));
    if door.tls.is_some() {
        let (before, nothing, half) = tokio::join!(before_tls, nothing, half);
        vec![
            ("a silent client, before TLS", before),
            ("a silent client, inside TLS", nothing),
            ("a client that sends half a head", half),
        ]
    } else {
        let (nothing, half) = tokio::join!(nothing, half);
        vec![("a silent client", nothing), ("a client that sends half a head", half)]
    }
}

fn judge_silence(heard: &Heard, begun: Instant, limit_seconds: u32) -> Outcome {
    // A farewell such as 408 is an answer to nobody, and is no fault.
    let end = if heard.status() == Some(200) { End::Open } else { heard.end };
    judge::closed_in_time(end, begun.elapsed(), limit_seconds)
}

/// Why a case says nothing here.
fn cannot_be_tried(door: &Door, case: &Case) -> Option<&'static str> {
    let nobody = door.lets_nobody_in();
    match case.needs {
        Needs::Nothing => None,
        Needs::LettingIn => nobody,
        Needs::Stranger => nobody.or_else(|| {
            (door.origins.client_word == Word::Believed)
                .then_some("every address that the probe could come from is a trusted proxy")
        }),
    }
}

pub(super) fn material<'a>(door: &'a Door, target: &'a Target) -> Material<'a> {
    Material {
        target,
        keys: &door.keys,
        origins: &door.origins,
        header_bytes: usize::try_from(door.limits.http_header_bytes).unwrap_or(usize::MAX),
    }
}

async fn exchange(
    door: &Door,
    target: &Target,
    late: &Late,
    origin: Origin,
    preamble: &[u8],
    bytes: &[u8],
) -> Seen {
    late.collect(&target.recorder);
    let heard = door.exchange(origin, preamble, bytes).await;
    Seen { heard, received: target.recorder.take() }
}
