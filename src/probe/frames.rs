//! As much of HTTP/2 as its attacks need: frames and header blocks written by hand (RFC 9113 §4.1, RFC 7541 §6). Pure.

/// What a client says first, with empty SETTINGS behind it (RFC 9113 §3.4).
pub(super) const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The longest frame that every peer takes (RFC 9113 §4.2).
pub(super) const FRAME_MAX_BYTES: usize = 16_384;
/// Type, flags, stream and length.
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const CANCEL: u32 = 0x8;
/// `:status: 200` of the static table (RFC 7541, appendix A); whoever writes it otherwise is taken to say no.
const STATUS_200: u8 = 0x88;

/// A request without a body.
pub(super) struct FramedRequest<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) authorization: Option<&'a str>,
}

/// What the frames that came say about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200.
    Ok,
    /// Another status, or a reset.
    Refused,
    /// The connection ends.
    GoAway,
    /// Nothing.
    None,
}

impl FramedRequest<'_> {
    /// Its fields, none of them remembered by the peer.
    pub(super) fn block(&self) -> Vec<u8> {
        // Indexed `:method: GET` and `:scheme: http`.
        let mut block = vec![0x82, 0x86];
        push_field(&mut block, ":path", self.path);
        push_field(&mut block, ":authority", self.host);
        if let Some(authorization) = self.authorization {
            push_field(&mut block, "authorization", authorization);
        }
        block
    }

    /// The request on `stream`.
    pub(super) fn on(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &self.block())
    }

    /// The same with a field of so many bytes more, in as many frames as that takes.
    pub(super) fn with_filler(&self, stream: u32, bytes: usize) -> Vec<u8> {
        let mut block = self.block();
        push_field(&mut block, "x-filler", &"x".repeat(bytes));
        let count = block.len().div_ceil(FRAME_MAX_BYTES);
        let mut frames = Vec::new();
        for (place, part) in block.chunks(FRAME_MAX_BYTES).enumerate() {
            let last = if place + 1 == count { END_HEADERS } else { 0 };
            let (kind, flags) = if place == 0 { (HEADERS, END_STREAM | last) } else { (CONTINUATION, last) };
            frames.extend(frame(kind, flags, stream, part));
        }
        frames
    }
}

/// Ends `stream` before its time.
pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // At most FRAME_MAX_BYTES.
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field with a literal name, neither indexed nor Huffman-coded (RFC 7541 §6.2.2).
fn push_field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        push_length(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of 7 bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let low = |value: usize| u8::try_from(value & 0x7f).unwrap_or(0);
    if length < 127 {
        return block.push(low(length));
    }
    block.push(127);
    let mut left = length - 127;
    while left > 127 {
        block.push(0x80 | low(left));
        left >>= 7;
    }
    block.push(low(left));
}

/// What `bytes` of a server say about `stream`; the first word counts.
pub(super) fn answer_on(mut bytes: &[u8], stream: u32) -> Answer {
    while let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD_BYTES) {
        let &[a, b, c, kind, _, s1, s2, s3, s4] = head else { break };
        let number = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        bytes = rest;
        match kind {
            HEADERS if number == stream && payload.first() == Some(&STATUS_200) => return Answer::Ok,
            HEADERS | RST_STREAM if number == stream => return Answer::Refused,
            GOAWAY => return Answer::GoAway,
            _ => {}
        }
    }
    Answer::None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_rfc_7541_section_5_1_does() {
        for (length, written) in
            [(0, &[0][..]), (126, &[126]), (127, &[127, 0]), (128, &[127, 1]), (1_464, &[127, 0xb9, 0x0a])]
        {
            let mut block = Vec::new();
            push_length(&mut block, length);
            assert_eq!(block, written, "{length}");
        }
    }

    #[test]
    fn a_long_block_is_continued_and_ended_once() {
        let request = FramedRequest { host: "h", path: "/", authorization: None };
        let frames = request.with_filler(1, 2 * FRAME_MAX_BYTES);
        let mut kinds = Vec::new();
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            kinds.push((rest[3], rest[4]));
            rest = &rest[9 + length..];
        }
        assert_eq!(kinds, [(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]);
    }

    #[test]
    fn the_first_word_about_a_stream_counts() {
        let ok = frame(HEADERS, END_HEADERS, 1, &[STATUS_200]);
        let other = frame(HEADERS, END_HEADERS, 1, &[0x8d]);
        let settings = frame(0x4, 0, 0, &[]);
        let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
        for (bytes, stream, answer) in [
            (vec![], 1, Answer::None),
            ([&settings[..], &ok].concat(), 1, Answer::Ok),
            (ok.clone(), 3, Answer::None),
            (other, 1, Answer::Refused),
            (reset(1), 1, Answer::Refused),
            ([goaway, ok].concat(), 1, Answer::GoAway),
            (b"HTTP/1.1 400 Bad Request".to_vec(), 1, Answer::None),
        ] {
            assert_eq!(answer_on(&bytes, stream), answer, "{bytes:?}");
        }
    }
}
