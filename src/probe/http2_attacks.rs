//! The attacks on an API listener over HTTP/2: by ALPN where it has TLS, else with prior knowledge (RFC 9113 §3.3).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::door::{Door, Notebook};
use super::finding::Outcome;
use super::frames::{Answer, BEGINNING, FramedRequest, answer_on, reset};
use super::http1_attacks::{Late, material};
use super::judge;
use super::recorder::Received;
use super::rehearsal::Target;
use super::wire::{End, Heard, PATIENCE, QUIET, Wire};

/// Streams of the flood, each reset at once.
const FLOOD_STREAMS: u32 = 3_000;
/// Of them, requests that may reach the upstream (SECURITY S52).
const FLOOD_FORWARDED_MAX: usize = 200;
/// Requests of others while the flood runs.
const OTHERS: usize = 10;
/// Bytes beyond the limit that a header list goes.
const BEYOND_BYTES: usize = 32 * 1024;

/// What a flood of resets has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood {
    /// The connection of the flood.
    pub(super) end: End,
    /// Of its requests, those that reached the upstream.
    pub(super) forwarded: usize,
    /// Of the requests of others, those that were answered 200.
    pub(super) served: usize,
    /// The slowest of these.
    pub(super) slowest: Duration,
}

/// All of them.
pub(super) async fn attack_by_streams(door: &Door, target: &Target, late: &Late, notes: &Notebook<'_>) {
    const NAMES: [&str; 4] = [
        "HTTP/2: a right key",
        "HTTP/2: no credential",
        "HTTP/2: a header list beyond limits.http_header_bytes",
        "HTTP/2: 3,000 streams, each reset at once",
    ];
    let [right, none, long, flood] = NAMES;
    if let Some(why) = door.lets_nobody_in() {
        for name in NAMES {
            notes.note(name, Outcome::NotProbed(why.to_owned()));
        }
        return;
    }
    let authorization = format!("ApiKey {}", door.keys.right.text.expose());
    let request = |path, authorization| FramedRequest { host: &target.host, path, authorization };
    let with_key = request(target.path.as_str(), Some(authorization.as_str()));

    let (heard, received) = exchange(door, target, late, &with_key.on(1)).await;
    let identity = material(door, target).identity();
    notes.note(right, let_in(&heard, received, &identity, door.keys.right.text.expose()));

    let (heard, received) = exchange(door, target, late, &request(&target.path, None).on(1)).await;
    notes.note(none, refused(&heard, &received));

    let limit = usize::try_from(door.limits.http_header_bytes).unwrap_or(usize::MAX);
    let long_list = with_key.with_filler(1, limit.saturating_add(BEYOND_BYTES));
    let (heard, received) = exchange(door, target, late, &long_list).await;
    notes.note(long, refused(&heard, &received));

    late.collect(&target.recorder);
    let path = format!("{}/flood", target.path);
    let flooding = request(&path, Some(&authorization));
    let (end, (served, slowest)) = tokio::join!(send_flood(door, &flooding), ask_beside(door, target));
    // What is still on its way to the upstream.
    tokio::time::sleep(QUIET).await;
    let got = target.recorder.take();
    let forwarded = got.requests.iter().filter(|request| request.line().contains("/flood ")).count();
    notes.note(flood, judge_flood(Flood { end, forwarded, served, slowest }));
}

/// A request must come to the upstream as it does by HTTP/1.
fn let_in(heard: &Heard, received: Received, identity: &judge::Identity, key: &str) -> Outcome {
    match answer_on(&heard.bytes, 1) {
        Answer::Ok => {
            let heard = Heard { bytes: b"HTTP/1.1 200 ".to_vec(), end: heard.end };
            judge::let_in(&judge::Seen { heard, received }, identity, key)
        }
        answer => Outcome::failed(format!("{}, {}", told(answer, heard), judge::received(&received))),
    }
}

/// A request must be answered with no 200 or the connection end, and nothing reach the upstream.
pub(super) fn refused(heard: &Heard, received: &Received) -> Outcome {
    let answer = answer_on(&heard.bytes, 1);
    let fits = match answer {
        Answer::Ok => false,
        Answer::Refused | Answer::GoAway => true,
        Answer::None => heard.end == End::Closed,
    };
    let told = format!("{}, {}", told(answer, heard), judge::received(received));
    judge::pass_if(fits && judge::is_nothing(received), told)
}

fn told(answer: Answer, heard: &Heard) -> String {
    String::from(match answer {
        Answer::Ok => "answered 200",
        Answer::Refused => "refused",
        Answer::GoAway => "the connection ended by GOAWAY",
        Answer::None if heard.end == End::Closed => "closed unanswered",
        Answer::None => "neither answered nor closed",
    })
}

/// SECURITY S52: few of its requests reach the upstream, and others are served meanwhile.
pub(super) fn judge_flood(flood: Flood) -> Outcome {
    let Flood { end, forwarded, served, slowest } = flood;
    let ended = match end {
        End::Closed => "the connection ended",
        End::Open => "the connection stayed",
    };
    let told = format!(
        "{ended}, {forwarded} of {FLOOD_STREAMS} requests upstream, {served} of {OTHERS} of others served, \
         within {} ms",
        slowest.as_millis()
    );
    judge::pass_if(forwarded <= FLOOD_FORWARDED_MAX && served == OTHERS, told)
}

/// What is heard of `frames` on a connection of their own, and what the upstream got.
async fn exchange(door: &Door, target: &Target, late: &Late, frames: &[u8]) -> (Heard, Received) {
    late.collect(&target.recorder);
    let heard = match begin(door).await {
        Some(mut wire) => {
            wire.send(frames).await;
            hear_answer(&mut wire).await
        }
        None => Heard::closed(),
    };
    (heard, target.recorder.take())
}

/// Settings come at once, and say nothing about a request.
async fn hear_answer(wire: &mut Wire) -> Heard {
    let due = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    loop {
        let heard = wire.hear().await;
        bytes.extend_from_slice(&heard.bytes);
        let is_over = heard.end == End::Closed || Instant::now() >= due;
        if is_over || answer_on(&bytes, 1) != Answer::None {
            return Heard { bytes, end: heard.end };
        }
    }
}

async fn begin(door: &Door) -> Option<Wire> {
    let mut wire = door.connect_secured(door.origins.client, &[], door.tls_of_http2.as_ref()).await?;
    wire.send(BEGINNING).await;
    Some(wire)
}

/// Opens and resets streams until all are sent or the connection ends.
async fn send_flood(door: &Door, request: &FramedRequest<'_>) -> End {
    let Some(wire) = begin(door).await else { return End::Closed };
    let (mut reading, mut writing) = tokio::io::split(wire.io);
    let sending = async {
        for stream in (0..FLOOD_STREAMS).map(|number| 2 * number + 1) {
            let frames = [request.on(stream), reset(stream)].concat();
            if writing.write_all(&frames).await.is_err() || writing.flush().await.is_err() {
                return End::Closed;
            }
        }
        // What the server makes of it may come a moment later.
        tokio::time::sleep(QUIET * 5).await;
        End::Open
    };
    let ending = async {
        let mut part = vec![0; 16 * 1024];
        while let Ok(count) = reading.read(&mut part).await {
            if count == 0 {
                return;
            }
        }
    };
    let flooding = async {
        tokio::select! {
            end = sending => end,
            () = ending => End::Closed,
        }
    };
    timeout(PATIENCE, flooding).await.unwrap_or(End::Open)
}

/// Requests of somebody else: how many were answered 200, and how long the slowest took.
async fn ask_beside(door: &Door, target: &Target) -> (usize, Duration) {
    let request = material(door, target).request();
    let (mut served, mut slowest) = (0, Duration::ZERO);
    for _ in 0..OTHERS {
        let asked = Instant::now();
        if let Some(mut wire) = door.connect_secured(door.origins.client, &[], door.tls.as_ref()).await {
            wire.send(&request).await;
            let status = wire.hear_first().await.status();
            served += usize::from(status == Some(200));
        }
        slowest = slowest.max(asked.elapsed());
    }
    (served, slowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s52_a_flood_that_gets_through_or_starves_others_fails() {
        let held = Flood { end: End::Closed, forwarded: 200, served: OTHERS, slowest: Duration::ZERO };
        assert!(matches!(judge_flood(held), Outcome::Passed(_)));
        assert!(matches!(judge_flood(Flood { end: End::Open, ..held }), Outcome::Passed(_)));
        for broken in [
            Flood { forwarded: 201, ..held },
            Flood { end: End::Open, forwarded: 3_000, ..held },
            Flood { served: OTHERS - 1, ..held },
        ] {
            assert!(matches!(judge_flood(broken), Outcome::Failed(_)), "{broken:?}");
        }
    }

    #[test]
    fn a_request_that_is_answered_or_forwarded_is_not_refused() {
        let heard = |bytes: &[u8], end| Heard { bytes: bytes.to_vec(), end };
        let ok = heard(b"\0\0\x01\x01\x04\0\0\0\x01\x88", End::Open);
        let other = heard(b"\0\0\x01\x01\x04\0\0\0\x01\x8d", End::Open);
        let nothing = Received::default();
        let something = Received { bytes: 1, ..Received::default() };
        assert!(matches!(refused(&other, &nothing), Outcome::Passed(_)));
        assert!(matches!(refused(&heard(b"", End::Closed), &nothing), Outcome::Passed(_)));
        for (heard, received) in [(&ok, &nothing), (&other, &something), (&heard(b"", End::Open), &nothing)] {
            assert!(matches!(refused(heard, received), Outcome::Failed(_)), "{heard:?}");
        }
    }
}
