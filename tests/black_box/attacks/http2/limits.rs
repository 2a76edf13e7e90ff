//! More than the gateway takes: streams, fields, targets, bodies (S55, S64).

use super::case::{Allowed, Case, Given, Step};
use super::frames::{self, END_HEADERS, END_STREAM, Head, data, frame};

const CATEGORY: &str = "limits";
/// What the gateway is configured to take of a body.
pub const BODY_BYTES: usize = 256 * 1_024;
/// What it takes of a head, and how many streams at once, unless it is told otherwise.
const HEADER_BYTES: u32 = 65_536;
const STREAMS: u32 = 100;
const FRAME_BYTES: usize = 16_384;

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [announced(given), heads(given), bodies(given)].concat()
}

fn announced(given: &Given) -> Vec<Case> {
    let announces = |name: &str, section: &'static str, id: u16, most: u32| {
        Case::new(CATEGORY, name, section, Allowed::passed())
            .step(Step::ExpectSetting(id, most))
            .send(given.get(&format!("/{CATEGORY}/{name}")).whole(1))
    };
    let too_many: Vec<u8> = (0..=STREAMS)
        .flat_map(|number| given.post("/limits/one-stream-too-many").open(2 * number + 1))
        .collect();
    let mut refused = Allowed::stream_error(&[frames::REFUSED_STREAM]);
    refused.begun = STREAMS as usize;
    vec![
        announces("streams-are-announced", "RFC 9113 §5.1.2", frames::MAX_CONCURRENT_STREAMS, STREAMS),
        announces("header-list-is-announced", "RFC 9113 §10.5.1", frames::MAX_HEADER_LIST_SIZE, HEADER_BYTES),
        Case::new(CATEGORY, "one-stream-too-many", "RFC 9113 §5.1.2", refused)
            .on(2 * STREAMS + 1)
            .step(Step::Settle)
            .send(too_many),
    ]
}

/// HEADERS, and as many CONTINUATIONs as it takes.
fn in_frames(head: &Head) -> Vec<u8> {
    let block = head.block();
    let mut parts = block.chunks(FRAME_BYTES).peekable();
    let mut bytes = Vec::new();
    let mut kind = (frames::HEADERS, END_STREAM);
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind.0, kind.1 | end, 1, part));
        kind = (frames::CONTINUATION, 0);
    }
    bytes
}

fn heads(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §10.5.1, RFC 6585 §5";
    let get = |name: &str| given.get(&format!("/{CATEGORY}/{name}"));
    let filled = |name: &str, fields: usize, bytes: usize| {
        let value = "v".repeat(bytes);
        (0..fields).fold(get(name), |head, number| head.with(format!("x-{number}"), &value))
    };
    let too_large = || {
        Allowed::refused(&[431])
            .or(Allowed::stream_error(&[
                frames::PROTOCOL_ERROR,
                frames::REFUSED_STREAM,
                frames::ENHANCE_YOUR_CALM,
            ]))
            .or(Allowed::connection_error(&[frames::COMPRESSION_ERROR]))
    };
    let case =
        |name: &str, head: &Head| Case::new(CATEGORY, name, SECTION, too_large()).send(in_frames(head));
    let target = |name: &str, bytes: usize| get(name).set(":path", format!("/limits/{}", "t".repeat(bytes)));
    vec![
        case("header-list-of-80-kib", &filled("header-list-of-80-kib", 20, 4_096)),
        case("header-list-of-1-mib", &filled("header-list-of-1-mib", 64, FRAME_BYTES)),
        case("one-field-of-70-kib", &filled("one-field-of-70-kib", 1, 70 * 1_024)),
        case("101-fields", &filled("101-fields", 101, 1)),
        case("3000-fields", &filled("3000-fields", 3_000, 1)),
        case(
            "credential-behind-80-kib",
            &filled("-", 20, 4_096).without("authorization").with("authorization", &given.authorization),
        ),
        Case::new(CATEGORY, "header-list-of-40-kib", SECTION, Allowed::passed()).send(in_frames(&filled(
            "header-list-of-40-kib",
            10,
            4_096,
        ))),
        Case::new(CATEGORY, "target-of-9-kib", "RFC 9110 §15.5.15", Allowed::refused(&[414]))
            .send(in_frames(&target("target-of-9-kib", 9 * 1_024))),
        Case::new(
            CATEGORY,
            "target-of-60-kib",
            "RFC 9110 §15.5.15",
            Allowed::refused(&[414]).or(too_large()),
        )
        .send(in_frames(&target("target-of-60-kib", 60 * 1_024))),
        Case::new(CATEGORY, "target-of-7-kib", "RFC 9110 §15.5.15", Allowed::passed())
            .send(in_frames(&target("target-of-7-kib", 7 * 1_024))),
    ]
}

fn bodies(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9110 §15.5.14";
    let post = |name: &str| given.post(&format!("/{CATEGORY}/{name}"));
    let parts = |bytes: usize| data(1, &vec![b'b'; FRAME_BYTES]).repeat(bytes.div_ceil(FRAME_BYTES));
    // The windows that the gateway announces hold once its SETTINGS are acknowledged.
    let case = |name: &str, allowed| Case::new(CATEGORY, name, SECTION, allowed).step(Step::Settle);
    vec![
        case("promised-body-too-long", Allowed::refused(&[413]))
            .send(post("promised-body-too-long").with("content-length", (BODY_BYTES + 1).to_string()).open(1))
            .send(parts(BODY_BYTES)),
        case("body-too-long", Allowed::refused(&[413]).in_the_middle())
            .send([post("body-too-long").open(1), parts(BODY_BYTES + 2 * FRAME_BYTES)].concat()),
        case("body-at-the-limit", Allowed::passed())
            .send([post("body-at-the-limit").open(1), parts(BODY_BYTES)].concat())
            .send(frames::last_data(1, b"")),
    ]
}
