//! Frames of a wrong size, on a wrong stream, with wrong values or padding (RFC 9113 §4, §6), and what must be ignored.

use super::case::{Allowed, Case, Given, Step};
use super::frames::{self, ACK, END_HEADERS, END_STREAM, PADDED, WHOLE, frame, settings};
use super::frames::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR};

const CATEGORY: &str = "frames";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [sizes(given), values(), padding(given), ignored(given), prefaces(given)].concat()
}

/// The parser below ends the connection for all of them, and says `PROTOCOL_ERROR` for some; what counts is the end.
fn wrong_size(name: &str, section: &'static str, bytes: Vec<u8>) -> Case {
    let allowed = Allowed::connection_error(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
    Case::new(CATEGORY, name, section, allowed).on_connection().send(bytes)
}

fn sizes(given: &Given) -> Vec<Case> {
    let too_large = vec![0; 16_385];
    let open = |name: &str| given.post(&format!("/{CATEGORY}/{name}")).open(1);
    let of_stream = |name: &str, section: &'static str, bytes: Vec<u8>| {
        let allowed = Allowed::stream_error(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]).in_the_middle();
        Case::new(CATEGORY, name, section, allowed).send([open(name), bytes].concat())
    };
    vec![
        of_stream("data-beyond-the-limit", "RFC 9113 §4.2", frames::data(1, &too_large)),
        wrong_size("headers-beyond-the-limit", "RFC 9113 §4.2", frame(frames::HEADERS, WHOLE, 1, &too_large)),
        wrong_size("unknown-beyond-the-limit", "RFC 9113 §4.2", frame(0xf0, 0, 0, &too_large)),
        wrong_size("ping-of-7", "RFC 9113 §6.7", frame(frames::PING, 0, 0, &[0; 7])),
        wrong_size("ping-of-9", "RFC 9113 §6.7", frame(frames::PING, 0, 0, &[0; 9])),
        wrong_size("settings-of-5", "RFC 9113 §6.5", frame(frames::SETTINGS, 0, 0, &[0; 5])),
        wrong_size("settings-ack-with-payload", "RFC 9113 §6.5", frame(frames::SETTINGS, ACK, 0, &[0; 6])),
        wrong_size("window-update-of-3", "RFC 9113 §6.9", frame(frames::WINDOW_UPDATE, 0, 0, &[1; 3])),
        wrong_size("goaway-of-7", "RFC 9113 §6.8", frame(frames::GOAWAY, 0, 0, &[0; 7])),
        of_stream("reset-of-3", "RFC 9113 §6.4", frame(frames::RST_STREAM, 0, 1, &[0; 3])),
        of_stream("reset-of-5", "RFC 9113 §6.4", frame(frames::RST_STREAM, 0, 1, &[0; 5])),
        of_stream("priority-of-4", "RFC 9113 §6.3", frame(frames::PRIORITY, 0, 1, &[0; 4])),
        of_stream("window-update-of-5", "RFC 9113 §6.9", frame(frames::WINDOW_UPDATE, 0, 1, &[1; 5])),
        wrong_size(
            "headers-too-short-for-priority",
            "RFC 9113 §6.2",
            frame(frames::HEADERS, WHOLE | frames::PRIORITISED, 1, &[0; 4]),
        ),
    ]
}

fn values() -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §6.5.2";
    let fatal = |name: &str, section: &'static str, codes: &[u32], bytes: Vec<u8>| {
        Case::new(CATEGORY, name, section, Allowed::connection_error(codes)).on_connection().send(bytes)
    };
    let of_setting = |name: &str, codes: &[u32], id: u16, value: u32| {
        fatal(name, SECTION, codes, settings(&[(id, value)]))
    };
    vec![
        of_setting("push-of-2", &[PROTOCOL_ERROR], frames::ENABLE_PUSH, 2),
        of_setting(
            "window-of-2-31",
            &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR],
            frames::INITIAL_WINDOW_SIZE,
            1 << 31,
        ),
        of_setting("frame-size-of-16383", &[PROTOCOL_ERROR], frames::MAX_FRAME_SIZE, 16_383),
        of_setting("frame-size-of-2-24", &[PROTOCOL_ERROR], frames::MAX_FRAME_SIZE, 1 << 24),
        fatal("settings-on-a-stream", "RFC 9113 §6.5", &[PROTOCOL_ERROR], frame(frames::SETTINGS, 0, 1, &[])),
        fatal("ping-on-a-stream", "RFC 9113 §6.7", &[PROTOCOL_ERROR], frame(frames::PING, 0, 1, &[0; 8])),
    ]
}

fn padding(given: &Given) -> Vec<Case> {
    let open = |name: &str| given.post(&format!("/{CATEGORY}/{name}")).open(1);
    let get = |name: &str| given.get(&format!("/{CATEGORY}/{name}")).block();
    let fatal = |name: &str, section: &'static str, bytes: Vec<u8>| {
        let allowed = Allowed::connection_error(&[PROTOCOL_ERROR]).in_the_middle();
        Case::new(CATEGORY, name, section, allowed).on_connection().send(bytes)
    };
    let padded = |before: u8, block: &[u8], behind: usize| {
        let payload = [&[before][..], block, &vec![0; behind]].concat();
        frame(frames::HEADERS, WHOLE | PADDED, 1, &payload)
    };
    let padded_data = |payload: &[u8]| frame(frames::DATA, END_STREAM | PADDED, 1, payload);
    vec![
        fatal(
            "more-padding-than-data",
            "RFC 9113 §6.1",
            [open("more-padding-than-data"), padded_data(&[5, b'a', 0, 0])].concat(),
        ),
        fatal(
            "padding-length-missing",
            "RFC 9113 §6.1",
            [open("padding-length-missing"), padded_data(&[])].concat(),
        ),
        fatal("more-padding-than-headers", "RFC 9113 §6.2", padded(255, &[0x82, 0x86], 0)),
        Case::new(CATEGORY, "padded-headers", "RFC 9113 §6.2", Allowed::passed()).send(padded(
            9,
            &get("padded-headers"),
            9,
        )),
        Case::new(CATEGORY, "padded-data", "RFC 9113 §6.1", Allowed::passed())
            .send([open("padded-data"), padded_data(&[3, b'a', b'b', 0, 0, 0])].concat()),
        Case::new(CATEGORY, "nothing-but-padding", "RFC 9113 §6.1", Allowed::passed())
            .send([open("nothing-but-padding"), padded_data(&[&[255][..], &[0; 255]].concat())].concat()),
    ]
}

/// What a receiver must not mind (RFC 9113 §4.1, §5.5).
fn ignored(given: &Given) -> Vec<Case> {
    let passes = |name: &str, section: &'static str, before: Vec<u8>, flags: u8, stream: u32| {
        let block = given.get(&format!("/{CATEGORY}/{name}")).block();
        Case::new(CATEGORY, name, section, Allowed::passed())
            .send([before, frame(frames::HEADERS, flags, stream, &block)].concat())
    };
    let none = Vec::new;
    vec![
        passes("unknown-type", "RFC 9113 §5.5", frame(0xf0, 0xff, 0, b"unknown"), WHOLE, 1),
        passes("unknown-type-on-an-idle-stream", "RFC 9113 §5.5", frame(0xf0, 0xff, 9, b"unknown"), WHOLE, 1),
        passes("unknown-setting", "RFC 9113 §6.5.2", settings(&[(0xf0f0, 1)]), WHOLE, 1),
        passes("unknown-flags", "RFC 9113 §4.1", none(), WHOLE | 0xc0 | 0x12, 1),
        passes("reserved-bit", "RFC 9113 §4.1", none(), WHOLE, 0x8000_0001),
        passes("pong-that-nobody-asked-for", "RFC 9113 §6.7", frame(frames::PING, ACK, 0, &[9; 8]), WHOLE, 1),
        passes("settings-many-times", "RFC 9113 §6.5.3", settings(&[]).repeat(10), WHOLE, 1),
        Case::new(CATEGORY, "empty-data", "RFC 9113 §6.1", Allowed::passed()).send(
            [
                given.post("/frames/empty-data").frame(1, END_HEADERS),
                frames::data(1, b""),
                frames::data(1, b"1"),
                frames::last_data(1, b""),
            ]
            .concat(),
        ),
    ]
}

fn prefaces(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §3.4";
    let own = |name: &str, bytes: Vec<u8>| {
        let allowed = Allowed::connection_error(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]);
        Case::new(CATEGORY, name, SECTION, allowed)
            .on_connection()
            .without_opening()
            .send(bytes)
            .step(Step::Settle)
    };
    let request = given.get("/smuggled").whole(1);
    // Not so the parser below: it serves a client whose SETTINGS are still to come by what holds without them.
    let late = |name: &str, before: Vec<u8>| {
        let allowed = Allowed::connection_error(&[PROTOCOL_ERROR]).or(Allowed::passed());
        let request = given.get(&format!("/{CATEGORY}/{name}")).whole(1);
        let bytes = [frames::PREFACE, &before, &request].concat();
        Case::new(CATEGORY, name, SECTION, allowed).without_opening().send(bytes)
    };
    vec![
        own(
            "preface-with-another-ending",
            [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], &settings(&[]), &request].concat(),
        ),
        own(
            "preface-of-http-3",
            [&b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"[..], &settings(&[]), &request].concat(),
        ),
        own("no-preface", [settings(&[]), request.clone()].concat()),
        own("preface-twice", [frames::PREFACE, frames::PREFACE, &request].concat()),
        late("request-before-settings", Vec::new()),
        late("ping-before-settings", frame(frames::PING, 0, 0, &[0; 8])),
    ]
}
