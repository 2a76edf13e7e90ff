//! The body of an HTTP/1.1 answer, taken part by part from received bytes: by length, in chunks, or until the end of
//! the connection. Pure, and copies nothing.
//!
//! Chunks are read strictly, for a second reading would be a second answer (RFC 9112 §7.1): sizes in hexadecimal
//! digits, lines that end with CR LF, everything within bounds. Called by `http1_connection`.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::http1_answer::Framing;

/// The line of a chunk's size may have as many bytes, with whatever extensions it has, and they are ignored.
const SIZE_LINE_BYTES: usize = 1_024;
/// Trailers may have as many bytes.
const TRAILER_BYTES: usize = 16 * 1_024;
/// And as many fields.
const TRAILER_FIELDS: usize = 100;
/// Digits of a chunk's size: more would be more than any body.
const SIZE_DIGITS: usize = 15;

/// How far a body has been read.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// So many bytes are still to come.
    Length(u64),
    /// Before the line of a chunk's size.
    ChunkSize,
    /// In a chunk, of which so many bytes are still to come.
    Chunk(u64),
    /// Before the line's end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// It ends with the connection.
    UntilClose,
}

/// The next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A part of it.
    Data(Bytes),
    /// The fields behind it, and its end.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// More has to come first.
    NeedsMore,
}

/// The bytes are no body in chunks, or end before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body in chunks breaks the grammar, or ends early")]
pub struct BrokenBody;

impl BodyDecoder {
    /// At the beginning of a body.
    pub const fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::ChunkSize,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Is it known that nothing more comes?
    pub const fn has_ended(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Bytes that are still to come, where that is known.
    pub const fn exact_length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// Takes the next part from the front of `received`.
    pub fn decode(&mut self, received: &mut BytesMut) -> Result<Decoded, BrokenBody> {
        loop {
            match self {
                Self::Length(0) => return Ok(Decoded::End),
                _ if received.is_empty() => return Ok(Decoded::NeedsMore),
                Self::Length(left) => return Ok(Decoded::Data(take(received, left))),
                Self::UntilClose => return Ok(Decoded::Data(received.split().freeze())),
                Self::Chunk(left) => {
                    let data = take(received, left);
                    if *left == 0 {
                        *self = Self::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                Self::ChunkEnd => match received.get(..2) {
                    Some(b"\r\n") => {
                        let _ = received.split_to(2);
                        *self = Self::ChunkSize;
                    }
                    None if received.starts_with(b"\r") => return Ok(Decoded::NeedsMore),
                    _ => return Err(BrokenBody),
                },
                Self::ChunkSize => match take_line(received, SIZE_LINE_BYTES)? {
                    None => return Ok(Decoded::NeedsMore),
                    Some(line) => {
                        let size = chunk_size(&line)?;
                        *self = if size == 0 { Self::Trailers } else { Self::Chunk(size) };
                    }
                },
                Self::Trailers => {
                    let Some(trailers) = take_trailers(received)? else { return Ok(Decoded::NeedsMore) };
                    *self = Self::Length(0);
                    return Ok(if trailers.is_empty() { Decoded::End } else { Decoded::Trailers(trailers) });
                }
            }
        }
    }

    /// The connection has ended, and all that came was decoded: is that the end of the body, too?
    pub fn on_close(&mut self) -> Result<(), BrokenBody> {
        match self {
            Self::UntilClose | Self::Length(0) => {
                *self = Self::Length(0);
                Ok(())
            }
            _ => Err(BrokenBody),
        }
    }
}

/// What there is of `left` bytes.
fn take(received: &mut BytesMut, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).map_or(received.len(), |left| left.min(received.len()));
    *left = left.saturating_sub(count as u64);
    received.split_to(count).freeze()
}

/// A line without its CR LF, which must come within `limit` bytes.
fn take_line(received: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, BrokenBody> {
    let within = received.get(..limit).unwrap_or(received);
    match within.iter().position(|byte| *byte == b'\n') {
        None if received.len() >= limit => Err(BrokenBody),
        None => Ok(None),
        Some(end) => {
            let mut line = received.split_to(end + 1);
            if !line.ends_with(b"\r\n") {
                return Err(BrokenBody);
            }
            line.truncate(end - 1);
            Ok(Some(line))
        }
    }
}

/// The size of a chunk from its line: hexadecimal digits, then perhaps blanks and extensions (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, BrokenBody> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(BrokenBody)?;
    let rest = rest.trim_ascii_start();
    let is_extension =
        rest.starts_with(b";") && rest.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if digits.is_empty() || digits.len() > SIZE_DIGITS || !(rest.is_empty() || is_extension) {
        return Err(BrokenBody);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BrokenBody)?;
    u64::from_str_radix(digits, 16).map_err(|_| BrokenBody)
}

/// The fields behind the last chunk, which end with an empty line.
fn take_trailers(received: &mut BytesMut) -> Result<Option<HeaderMap>, BrokenBody> {
    if received.starts_with(b"\r\n") {
        let _ = received.split_to(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut slots = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
    let (length, trailers) = match httparse::parse_headers(received, &mut slots).map_err(|_| BrokenBody)? {
        httparse::Status::Complete((length, fields)) if length <= TRAILER_BYTES => {
            let mut trailers = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BrokenBody)?;
                trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| BrokenBody)?);
            }
            (length, trailers)
        }
        httparse::Status::Partial if received.len() < TRAILER_BYTES => return Ok(None),
        _ => return Err(BrokenBody),
    };
    let _ = received.split_to(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, trailers and what is left, when `bytes` come in parts of these sizes and then nothing more.
    fn decode(
        framing: Framing,
        bytes: &[u8],
        parts: &[usize],
    ) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), BrokenBody> {
        let (mut decoder, mut received, mut rest) = (BodyDecoder::new(framing), BytesMut::new(), bytes);
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut sizes = parts.iter().cycle();
        loop {
            match decoder.decode(&mut received)? {
                Decoded::Data(part) => {
                    assert!(!part.is_empty());
                    data.extend_from_slice(&part);
                }
                Decoded::Trailers(fields) => trailers = fields,
                Decoded::End => {
                    assert!(decoder.has_ended());
                    received.extend_from_slice(rest);
                    return Ok((data, trailers, received.to_vec()));
                }
                Decoded::NeedsMore if rest.is_empty() => {
                    decoder.on_close()?;
                }
                Decoded::NeedsMore => {
                    let (part, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    received.extend_from_slice(part);
                    rest = later;
                }
            }
        }
    }

    fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), BrokenBody> {
        let whole = decode(Framing::Chunked, bytes, &[usize::MAX]);
        for size in 1..=3 {
            assert_eq!(decode(Framing::Chunked, bytes, &[size]), whole, "{}", String::from_utf8_lossy(bytes));
        }
        whole
    }

    #[test]
    fn a_body_by_length_ends_with_it() {
        let read = |bytes: &[u8]| decode(Framing::Length(4), bytes, &[3]);
        assert_eq!(read(b"abcdHTTP"), Ok((b"abcd".to_vec(), HeaderMap::new(), b"HTTP".to_vec())));
        assert_eq!(read(b"abc"), Err(BrokenBody));
        assert_eq!(decode(Framing::Length(0), b"x", &[1]).unwrap().2, b"x");
    }

    #[test]
    fn a_body_until_the_end_takes_all() {
        assert_eq!(decode(Framing::UntilClose, b"abcd\r\n", &[3]).unwrap().0, b"abcd\r\n");
        assert_eq!(decode(Framing::UntilClose, b"", &[3]).unwrap().0, b"");
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_is_left() {
        for (bytes, data) in [
            (&b"0\r\n\r\n"[..], &b""[..]),
            (b"4\r\nabcd\r\n0\r\n\r\n", b"abcd"),
            (b"1\r\na\r\n0003\r\nbcd\r\n00\r\n\r\n", b"abcd"),
            (b"A;x=\"y;z\"\r\n0123456789\r\n0;last\r\n\r\n", b"0123456789"),
            (b"2 \t;a\r\n\r\n\r\n0 \r\n\r\n", b"\r\n"),
        ] {
            let surplus = [bytes, b"HTTP/1.1"].concat();
            assert_eq!(chunked(&surplus), Ok((data.to_vec(), HeaderMap::new(), b"HTTP/1.1".to_vec())));
        }
    }

    #[test]
    fn s69_trailers_are_read_as_trailers() {
        let (data, trailers, left) = chunked(b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\nx").unwrap();
        assert_eq!((data.as_slice(), left.as_slice()), (&b"a"[..], &b"x"[..]));
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn s71_chunks_that_break_the_grammar_are_refused() {
        for bytes in [
            &b"4\nabcd\r\n0\r\n\r\n"[..],
            b"4\r\nabcd\n0\r\n\r\n",
            b"4\r\nabcd0\r\n\r\n",
            b"4\r\nabcde\r\n0\r\n\r\n",
            b"4\r\nabc\r\n0\r\n\r\n",
            b"\r\n4\r\nabcd\r\n0\r\n\r\n",
            b" 4\r\nabcd\r\n0\r\n\r\n",
            b"+4\r\nabcd\r\n0\r\n\r\n",
            b"-1\r\nabcd\r\n0\r\n\r\n",
            b"0x4\r\nabcd\r\n0\r\n\r\n",
            b"4 4\r\nabcd\r\n0\r\n\r\n",
            b"zz\r\nabcd\r\n0\r\n\r\n",
            b"\r\n",
            b";x\r\n",
            b"4;a\0b\r\nabcd\r\n0\r\n\r\n",
            b"4;a\rb\r\nabcd\r\n0\r\n\r\n",
            b"FFFFFFFFFFFFFFFF\r\nabcd",
            b"10000000000000000\r\nabcd",
            b"4\r\nabcd\r\n0\r\nno field\r\n\r\n",
            b"4\r\nabcd\r\n0\r\n: x\r\n\r\n",
            b"4\r\nabcd\r\n0\r\nX: a\0\r\n\r\n",
            b"4\r\nabcd\r\n0\r\nX: a\r\n folded\r\n\r\n",
            // And none of these is a whole body.
            b"",
            b"4\r\nabcd\r\n",
            b"4\r\nabcd\r\n0\r\n",
            b"4\r\nabcd\r\n0\r\nX: 1\r\n",
        ] {
            assert_eq!(chunked(bytes), Err(BrokenBody), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn s71_chunks_have_their_bounds() {
        let extension = "x".repeat(SIZE_LINE_BYTES - "0;\r\n".len());
        assert!(chunked(format!("0;{extension}\r\n\r\n").as_bytes()).is_ok());
        assert_eq!(chunked(format!("0;{extension}x\r\n\r\n").as_bytes()), Err(BrokenBody));
        let value = "x".repeat(TRAILER_BYTES - "X: \r\n\r\n".len());
        assert!(decode(Framing::Chunked, format!("0\r\nX: {value}\r\n\r\n").as_bytes(), &[4_096]).is_ok());
        let longer = format!("0\r\nX: {value}x\r\n\r\n");
        assert_eq!(decode(Framing::Chunked, longer.as_bytes(), &[4_096]), Err(BrokenBody));
        let many = format!("0\r\n{}\r\n", "X: 1\r\n".repeat(TRAILER_FIELDS + 1));
        assert_eq!(decode(Framing::Chunked, many.as_bytes(), &[4_096]), Err(BrokenBody));
    }

    proptest! {
        #[test]
        fn chunks_read_alike_however_they_come(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            sizes in proptest::collection::vec(1_usize..20, 1..6),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\nrest");
            let read = decode(Framing::Chunked, &bytes, &sizes);
            prop_assert_eq!(read, Ok((chunks.concat(), HeaderMap::new(), b"rest".to_vec())));
        }

        #[test]
        fn whatever_comes_has_one_reading(
            bytes in proptest::collection::vec(proptest::sample::select(b"0123afAF\r\n;: x".to_vec()), 0..60),
            sizes in proptest::collection::vec(1_usize..20, 1..6),
        ) {
            let whole = decode(Framing::Chunked, &bytes, &[usize::MAX]);
            prop_assert_eq!(decode(Framing::Chunked, &bytes, &sizes), whole);
        }
    }
}
