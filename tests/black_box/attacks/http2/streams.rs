//! Frames that a stream's state or the connection's does not allow (RFC 9113 §5, §6).

use super::case::{Allowed, Case, Given, Step};
use super::frames::{self, END_HEADERS, END_STREAM, Head, WHOLE, data, frame, last_data};
use super::frames::{FLOW_CONTROL_ERROR, PROTOCOL_ERROR, STREAM_CLOSED};

const CATEGORY: &str = "stream-states";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [idle(), ended(given), numbered(given), windows(given), blocks(given)].concat()
}

/// A connection error of `PROTOCOL_ERROR`, by frames alone.
fn fatal(name: &str, section: &'static str, bytes: Vec<u8>) -> Case {
    Case::new(CATEGORY, name, section, Allowed::connection_error(&[PROTOCOL_ERROR]))
        .on_connection()
        .send(bytes)
}

fn idle() -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §5.1";
    vec![
        fatal("data-on-idle", SECTION, last_data(1, b"1")),
        fatal("reset-on-idle", "RFC 9113 §6.4", frames::reset(1, frames::CANCEL)),
        fatal("window-update-on-idle", SECTION, frames::window_update(1, 1)),
        fatal("continuation-on-idle", "RFC 9113 §6.10", frame(frames::CONTINUATION, END_HEADERS, 1, &[0x82])),
        fatal("data-on-0", "RFC 9113 §6.1", data(0, b"1")),
        fatal("headers-on-0", "RFC 9113 §6.2", Head::empty().with(":method", "GET").whole(0)),
        fatal("reset-on-0", "RFC 9113 §6.4", frames::reset(0, frames::CANCEL)),
        fatal("priority-on-0", "RFC 9113 §6.3", frames::priority(0, 1)),
        fatal("continuation-on-0", "RFC 9113 §6.10", frame(frames::CONTINUATION, END_HEADERS, 0, &[0x82])),
        fatal(
            "push-promise",
            "RFC 9113 §8.4",
            frame(frames::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        ),
        // Priority may be given to what is not there yet.
        Case::new(CATEGORY, "priority-on-idle", "RFC 9113 §6.3", Allowed::ignored())
            .on_connection()
            .send(frames::priority(7, 3)),
    ]
}

/// What follows an end of the client's half, or of the whole stream.
fn ended(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §5.1";
    // The parser below says PROTOCOL_ERROR, and ends the connection; what counts is that nothing comes of it.
    let closed = || Allowed::stream_error(&[STREAM_CLOSED, PROTOCOL_ERROR]).after(1);
    let whole = |name: &str| given.get(&format!("/{CATEGORY}/{name}")).whole(1);
    // The client's half is closed; the answer may come before the gateway sees what follows.
    let half = |name: &str, bytes: Vec<u8>| {
        Case::new(CATEGORY, name, SECTION, closed()).send([whole(name), bytes].concat())
    };
    let after_answer = |name: &str, allowed: Allowed, bytes: Vec<u8>| {
        let case = Case::new(CATEGORY, name, SECTION, allowed).on_connection();
        case.send(whole(name)).step(Step::AwaitEnd(1)).send(bytes)
    };
    // A frame for a stream that the gateway has forgotten may cost the connection, or be ignored for a while.
    let fatal_or_ignored =
        || Allowed::connection_error(&[STREAM_CLOSED, PROTOCOL_ERROR]).or(Allowed::ignored()).after(1);
    let fatal = || Allowed::connection_error(&[STREAM_CLOSED, PROTOCOL_ERROR]).after(1);
    let reset = |name: &str, bytes: Vec<u8>| {
        let case = Case::new(CATEGORY, name, SECTION, fatal_or_ignored().in_the_middle()).on_connection();
        case.send(
            [given.post(&format!("/{CATEGORY}/{name}")).open(1), frames::reset(1, frames::CANCEL)].concat(),
        )
        .step(Step::Settle)
        .send(bytes)
    };
    vec![
        half("data-behind-the-end", last_data(1, b"GET /smuggled HTTP/1.1\r\n\r\n")),
        half("headers-behind-the-end", Head::empty().with("x-sum", "1").whole(1)),
        half("a-request-behind-the-end", given.get("/smuggled").whole(1)),
        after_answer(
            "data-behind-the-answer",
            fatal_or_ignored(),
            last_data(1, b"GET /smuggled HTTP/1.1\r\n\r\n"),
        ),
        after_answer("headers-behind-the-answer", fatal(), given.get("/smuggled").whole(1)),
        after_answer(
            "reset-behind-the-answer",
            Allowed::ignored().after(1),
            frames::reset(1, frames::CANCEL),
        ),
        after_answer(
            "window-update-behind-the-answer",
            Allowed::ignored().after(1),
            frames::window_update(1, 1),
        ),
        after_answer("priority-behind-the-answer", Allowed::ignored().after(1), frames::priority(1, 3)),
        reset("data-behind-a-reset", last_data(1, b"GET /smuggled HTTP/1.1\r\n\r\n")),
        reset("headers-behind-a-reset", given.get("/smuggled").whole(1)),
    ]
}

fn numbered(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §5.1.1";
    let get = |name: &str| given.get(&format!("/{CATEGORY}/{name}"));
    let goaway = |stream: u32| frame(frames::GOAWAY, 0, stream, &[0, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        fatal("even-stream", SECTION, get("even-stream").whole(2)),
        Case::new(
            CATEGORY,
            "lower-stream",
            SECTION,
            Allowed::connection_error(&[PROTOCOL_ERROR, STREAM_CLOSED]).after(1),
        )
        .on_connection()
        .send(get("lower-stream").whole(5))
        .step(Step::AwaitEnd(5))
        .send(given.get("/smuggled").whole(3)),
        Case::new(CATEGORY, "last-stream", SECTION, Allowed::passed())
            .on(0x7fff_ffff)
            .send(get("last-stream").whole(0x7fff_ffff)),
        fatal("goaway-on-a-stream", "RFC 9113 §6.8", goaway(1)),
        // The client will begin no further stream that was not on its way; those that are there end as usual.
        Case::new(CATEGORY, "request-before-goaway", "RFC 9113 §6.8", Allowed::passed())
            .send([get("request-before-goaway").whole(1), goaway(0)].concat()),
    ]
}

fn windows(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §6.9, §6.9.1";
    const MOST: u32 = 0x7fff_ffff;
    // Open: the stream is there for what follows.
    let open = |name: &str, code: u32, bytes: Vec<u8>| {
        let allowed = Allowed::stream_error(&[code]).in_the_middle();
        let head = given.post(&format!("/{CATEGORY}/{name}")).open(1);
        Case::new(CATEGORY, name, SECTION, allowed).send([head, bytes].concat())
    };
    let fatal_flow = |name: &str, bytes: Vec<u8>| {
        let allowed = Allowed::connection_error(&[FLOW_CONTROL_ERROR]).in_the_middle();
        let head = given.post(&format!("/{CATEGORY}/{name}")).open(1);
        Case::new(CATEGORY, name, SECTION, allowed).on_connection().send([head, bytes].concat())
    };
    let dependent = [&1_u32.to_be_bytes()[..], &[15], &given.get("/smuggled").block()].concat();
    vec![
        open("window-update-of-0", PROTOCOL_ERROR, frames::window_update(1, 0)),
        fatal("window-update-of-0-on-the-connection", SECTION, frames::window_update(0, 0)),
        open("window-overflow", FLOW_CONTROL_ERROR, frames::window_update(1, MOST)),
        fatal_flow("window-overflow-of-the-connection", frames::window_update(0, MOST)),
        fatal_flow(
            "window-overflow-by-settings",
            [
                frames::window_update(1, MOST - 65_535),
                frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 65_536)]),
            ]
            .concat(),
        ),
        open("priority-on-itself", PROTOCOL_ERROR, frames::priority(1, 1)),
        Case::new(CATEGORY, "headers-that-depend-on-themselves", "RFC 7540 §5.3.1", Allowed::malformed())
            .send(frame(frames::HEADERS, WHOLE | frames::PRIORITISED, 1, &dependent)),
    ]
}

/// Between HEADERS and the last CONTINUATION nothing else may stand (RFC 9113 §6.10).
fn blocks(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §6.10, §4.3";
    let between = |name: &str, bytes: Vec<u8>| {
        let block = given.get(&format!("/{CATEGORY}/{name}")).block();
        let (first, rest) = block.split_at(20);
        let parts = [
            frame(frames::HEADERS, END_STREAM, 1, first),
            bytes,
            frame(frames::CONTINUATION, END_HEADERS, 1, rest),
        ];
        fatal(name, SECTION, parts.concat())
    };
    let in_parts = given.get(&format!("/{CATEGORY}/block-in-parts")).block();
    let parts: Vec<Vec<u8>> =
        in_parts.chunks(60).map(|part| frame(frames::CONTINUATION, 0, 1, part)).collect();
    vec![
        between("data-within-a-block", data(1, b"1")),
        between("ping-within-a-block", frame(frames::PING, 0, 0, &[0; 8])),
        between("settings-within-a-block", frames::settings(&[])),
        between("priority-within-a-block", frames::priority(3, 1)),
        between("unknown-within-a-block", frame(0xf0, 0, 0, b"1")),
        between("another-request-within-a-block", given.get("/smuggled").whole(3)),
        between("headers-within-a-block", given.get("/smuggled").whole(1)),
        between("continuation-of-another-stream", frame(frames::CONTINUATION, END_HEADERS, 3, &[])),
        Case::new(CATEGORY, "block-in-parts", SECTION, Allowed::passed())
            .send(frame(frames::HEADERS, END_STREAM, 1, &[]))
            .send([parts.concat(), frame(frames::CONTINUATION, END_HEADERS, 1, &[])].concat()),
        Case::new(
            CATEGORY,
            "continuation-behind-a-block",
            SECTION,
            Allowed::connection_error(&[PROTOCOL_ERROR]).after(1),
        )
        .on_connection()
        .send(given.get("/stream-states/continuation-behind-a-block").whole(1))
        .send(frame(frames::CONTINUATION, END_HEADERS, 1, &given.get("/smuggled").block())),
    ]
}
