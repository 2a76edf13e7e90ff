//! Header blocks that cannot be decoded, and such as only a careful decoder reads right (RFC 7541).

use super::case::{Allowed, Case, Given, Step};
use super::frames::{
    self, COMPRESSION_ERROR, Head, PROTOCOL_ERROR, WHOLE, frame, indexed, literal, table_size,
};

const CATEGORY: &str = "hpack";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [undecodable(given), tables(given)].concat()
}

/// Bytes of a block behind a request that nothing is wrong with, and where it stands that they are none.
const BEHIND: &[(&str, &str, &[u8])] = &[
    ("index-0", "RFC 7541 §6.1", &[0x80]),
    ("index-62-of-an-empty-table", "RFC 7541 §2.3.3", &[0xbe]),
    ("index-16384", "RFC 7541 §2.3.3", &[0xff, 0x81, 0x7f]),
    ("name-index-beyond-the-table", "RFC 7541 §2.3.3", &[0x7e, 1, b'1']),
    ("size-update-behind-a-field", "RFC 7541 §4.2", &[0x20]),
    ("size-update-beyond-the-limit", "RFC 7541 §6.3", &[0x3f, 0xe2, 0x1f]),
    ("integer-cut", "RFC 7541 §5.1", &[0xff]),
    ("integer-cut-within", "RFC 7541 §5.1", &[0xff, 0xff, 0xff]),
    (
        "integer-of-many-bytes",
        "RFC 7541 §5.1",
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ),
    (
        "integer-of-many-zeros",
        "RFC 7541 §5.1",
        &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    ),
    (
        "length-of-many-bytes",
        "RFC 7541 §5.1",
        &[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'a'],
    ),
    ("string-cut", "RFC 7541 §5.2", &[0x00, 0x03, b'x', b'-', b'a', 0x05, b'1']),
    ("name-cut", "RFC 7541 §5.2", &[0x00, 0x10, b'x']),
    ("value-missing", "RFC 7541 §6.2", &[0x00, 0x03, b'x', b'-', b'a']),
    ("huffman-padded-with-zeros", "RFC 7541 §5.2", &[0x00, 0x03, b'x', b'-', b'a', 0x81, 0x18]),
    ("huffman-padded-with-a-byte", "RFC 7541 §5.2", &[0x00, 0x03, b'x', b'-', b'a', 0x82, 0x1f, 0xff]),
    ("huffman-eos", "RFC 7541 §5.2", &[0x00, 0x03, b'x', b'-', b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
    (
        "huffman-eos-between",
        "RFC 7541 §5.2",
        &[0x00, 0x03, b'x', b'-', b'a', 0x85, 0x1f, 0xff, 0xff, 0xff, 0xff],
    ),
    // `1`, CR, LF, and `1`: what is refused in clear is refused in Huffman code.
    (
        "huffman-crlf",
        "RFC 9113 §8.2.1",
        &[0x00, 0x03, b'x', b'-', b'a', 0x89, 0x0f, 0xff, 0xff, 0xff, 0xbf, 0xff, 0xff, 0xfe, 0x07],
    ),
];

/// RFC 9113 §4.3 wants `COMPRESSION_ERROR`. The parser below says `PROTOCOL_ERROR` for some; the connection ends alike.
fn undecodable(given: &Given) -> Vec<Case> {
    let fatal = || Allowed::connection_error(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
    let block = |name: &str| given.get(&format!("/{CATEGORY}/{name}")).block();
    let mut cases: Vec<Case> = BEHIND
        .iter()
        .map(|(name, section, bytes)| {
            let block = [&block(name)[..], bytes].concat();
            Case::new(CATEGORY, name, section, fatal()).send(frame(frames::HEADERS, WHOLE, 1, &block))
        })
        .collect();
    let too_large = [&table_size(4_097)[..], &block("size-update-first")].concat();
    cases.push(Case::new(CATEGORY, "size-update-first", "RFC 7541 §6.3", fatal()).send(frame(
        frames::HEADERS,
        WHOLE,
        1,
        &too_large,
    )));
    let forgotten = [table_size(0), block("forgotten-entry"), indexed(62)].concat();
    cases.push(
        Case::new(CATEGORY, "forgotten-entry", "RFC 7541 §4.4", fatal().after(1))
            .on(3)
            .send(frame(frames::HEADERS, WHOLE, 1, &given.get("/hpack/forgotten-entry").indexing_block()))
            .step(Step::AwaitEnd(1))
            .send(frame(frames::HEADERS, WHOLE, 3, &forgotten)),
    );
    cases
}

/// The dynamic table is the connection's, whatever becomes of a stream.
fn tables(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 7541 §2.3.2, RFC 9113 §4.3";
    let get = |name: &str| given.get(&format!("/{CATEGORY}/{name}"));
    // Five fields were put in; the last one stands first: authorization, path, authority, scheme, method.
    let again: Vec<u8> = [66, 65, 64, 63, 62].into_iter().flat_map(indexed).collect();
    let sizes = [table_size(0), table_size(100), table_size(4_096), get("size-updates").block()].concat();
    let refused = Head::empty().with("connection", "close").indexing_block();
    let refused = [get("-").indexing_block(), refused].concat();
    let behind_refused: Vec<u8> = [67, 66, 65].into_iter().flat_map(indexed).collect();
    let behind_refused =
        [behind_refused, literal(b":path", b"/hpack/behind-a-refused-block"), indexed(63)].concat();
    let never = |name: &str| {
        let fields = get(name).block();
        let mut fields = fields;
        fields.extend(frames::literal_as(0x10, b"x-secret", b"1"));
        fields
    };
    vec![
        Case::new(CATEGORY, "entries-of-the-table", SECTION, Allowed::passed().after(2))
            .on(3)
            .send(frame(frames::HEADERS, WHOLE, 1, &get("entries-of-the-table").indexing_block()))
            .send(frame(frames::HEADERS, WHOLE, 3, &again)),
        Case::new(CATEGORY, "size-updates", "RFC 7541 §4.2", Allowed::passed()).send(frame(
            frames::HEADERS,
            WHOLE,
            1,
            &sizes,
        )),
        Case::new(CATEGORY, "never-indexed", "RFC 7541 §6.2.3", Allowed::passed()).send(frame(
            frames::HEADERS,
            WHOLE,
            1,
            &never("never-indexed"),
        )),
        // A block is decoded to its end although its stream is refused: the next one builds on it.
        Case::new(CATEGORY, "behind-a-refused-block", SECTION, Allowed::passed())
            .on(3)
            .send(frame(frames::HEADERS, WHOLE, 1, &refused))
            .send(frame(frames::HEADERS, WHOLE, 3, &behind_refused)),
    ]
}
