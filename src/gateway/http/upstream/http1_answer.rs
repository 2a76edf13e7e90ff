//! The head of an upstream's HTTP/1.1 answer, read from bytes; and how its body is framed. Pure.
//!
//! What two readers could take for two lengths is refused (RFC 9112 §6.3), and so is every coding but chunks: there is
//! one reading of an answer, or none (S71). Called by `http1_connection`.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, response};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

/// An answer's head may have as many bytes.
pub const HEAD_BYTES: usize = 128 * 1024;
/// And as many fields.
const HEAD_FIELDS: usize = 100;
/// As many are added on the way to the client; and hyper asks for room for one even where it adds none.
const ADDED_FIELDS: usize = 3;

/// A head that was read.
#[derive(Debug)]
pub struct AnswerHead {
    /// Status and fields as they came.
    pub parts: response::Parts,
    /// How its body ends.
    pub framing: Framing,
    /// May another request follow on the connection?
    pub keeps_alive: bool,
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; none at all is 0.
    Length(u64),
    /// With a chunk of no bytes.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The bytes are no answer of HTTP/1.1 that has one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableHead {
    /// It breaks the grammar, or has more fields than are read.
    #[error("it is no HTTP/1.1: {0}")]
    Grammar(httparse::Error),
    /// It has no end within [`HEAD_BYTES`].
    #[error("its head is longer than {HEAD_BYTES} bytes")]
    TooLong,
    /// A status outside of 100 to 599 (RFC 9110 §15), or a field that is none.
    #[error("its status or a field is none")]
    Field,
    /// Two lengths, one beside chunks, or one that is no number.
    #[error("its length is none, or not the only one")]
    Length,
    /// Another coding than chunks, chunks twice, or chunks in HTTP/1.0.
    #[error("it is coded by something else than chunks")]
    Coding,
}

/// Reads heads, one after the other, with what it keeps from one to the next.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Empty, with room for the next head's fields.
    fields: HeaderMap,
    places: Vec<Place>,
}

/// Where name and value of a field stand in a head.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

impl HeadReader {
    /// Takes a map that is not needed any more, for the fields of the next head.
    pub fn reuse(&mut self, mut fields: HeaderMap) {
        fields.clear();
        self.fields = fields;
    }

    /// Takes the head of an answer to a request of `method` from the front of `received`; none: its end is still to
    /// come.
    pub fn take_head(
        &mut self,
        received: &mut BytesMut,
        method: &Method,
    ) -> Result<Option<AnswerHead>, UnreadableHead> {
        let mut slots = [const { std::mem::MaybeUninit::uninit() }; HEAD_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let read =
            ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, received, &mut slots);
        let length = match read.map_err(UnreadableHead::Grammar)? {
            Status::Complete(length) if length <= HEAD_BYTES => length,
            Status::Partial if received.len() < HEAD_BYTES => return Ok(None),
            _ => return Err(UnreadableHead::TooLong),
        };
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let code = parsed.code.filter(|code| *code < 600);
        let status = code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(UnreadableHead::Field)?;
        let reason = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason));
        let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.to_owned()).ok());
        let base = received.as_ptr().addr();
        let within = |text: &[u8]| {
            let start = text.as_ptr().addr().wrapping_sub(base);
            (start, start.wrapping_add(text.len()))
        };
        self.places.clear();
        self.places.extend(
            parsed
                .headers
                .iter()
                .map(|field| Place { name: within(field.name.as_bytes()), value: within(field.value) }),
        );
        let head = received.split_to(length).freeze();
        let mut fields = std::mem::take(&mut self.fields);
        let expected = self.places.len() + ADDED_FIELDS;
        if fields.capacity() < expected {
            fields = HeaderMap::with_capacity(expected);
        }
        // What is said of the message itself is heeded here, so that what follows need not look for it.
        let (mut body_length, mut is_coded, mut persistence) = (None, false, None);
        for place in &self.places {
            let name =
                head.get(place.name.0..place.name.1).and_then(|name| HeaderName::from_bytes(name).ok());
            let value =
                slice(&head, place.value).and_then(|value| HeaderValue::from_maybe_shared(value).ok());
            let (Some(name), Some(value)) = (name, value) else { return Err(UnreadableHead::Field) };
            if name == CONTENT_LENGTH {
                // Several that say the same are one.
                if body_length.is_some() {
                    if fields.get(CONTENT_LENGTH) != Some(&value) {
                        return Err(UnreadableHead::Length);
                    }
                    continue;
                }
                body_length = Some(read_length(&value)?);
            } else if name == TRANSFER_ENCODING {
                is_coded = true;
            } else if name == CONNECTION
                && let Some(said) = Persistence::said_by(value.as_bytes())
            {
                // Of this connection alone.
                persistence = persistence.max(Some(said));
                continue;
            }
            fields.append(name, value);
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        (parts.status, parts.version, parts.headers) = (status, version, fields);
        if let Some(reason) = reason {
            // The server's own words for it; hyper passes them on.
            parts.extensions.insert(reason);
        }
        let is_chunked = is_coded && is_chunked(&parts)?;
        if is_chunked && body_length.is_some() {
            // An attack or a mistake, which ought to be an error (RFC 9112 §6.3).
            return Err(UnreadableHead::Length);
        }
        let framing = framing(parts.status, method, is_chunked, body_length);
        let keeps_alive = framing != Framing::UntilClose && keeps_alive(version, persistence, &parts.headers);
        Ok(Some(AnswerHead { parts, framing, keeps_alive }))
    }
}

/// The bytes from `start` to `end`, shared with the head.
fn slice(head: &Bytes, (start, end): (usize, usize)) -> Option<Bytes> {
    (start <= end && end <= head.len()).then(|| head.slice(start..end))
}

/// How the body ends behind a head with this `status`, in answer to a request of `method`.
fn framing(status: StatusCode, method: &Method, is_chunked: bool, length: Option<u64>) -> Framing {
    if *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Framing::Length(0);
    }
    match (is_chunked, length) {
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    }
}

/// The number of a `Content-Length`: digits and nothing else.
fn read_length(value: &HeaderValue) -> Result<u64, UnreadableHead> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(UnreadableHead::Length)
}

/// Does it come in chunks? Every other coding is refused.
fn is_chunked(parts: &response::Parts) -> Result<bool, UnreadableHead> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_sound = coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        && codings.next().is_none()
        && parts.version == Version::HTTP_11;
    if is_sound { Ok(true) } else { Err(UnreadableHead::Coding) }
}

/// What a `Connection` that says nothing else says of the connection's future (RFC 9112 §9.3); closing outranks keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Persistence {
    KeepAlive,
    Close,
}

impl Persistence {
    fn said_by(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            Some(Self::KeepAlive)
        } else if value.eq_ignore_ascii_case(b"close") {
            Some(Self::Close)
        } else {
            None
        }
    }
}

/// Does it stay open, by what was said alone, and by what stands among other options in `fields`?
fn keeps_alive(version: Version, alone: Option<Persistence>, fields: &HeaderMap) -> bool {
    let values =
        fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let said = values.filter_map(|option| Persistence::said_by(option.trim_ascii())).max().max(alone);
    match version {
        Version::HTTP_11 => said != Some(Persistence::Close),
        _ => said == Some(Persistence::KeepAlive),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], method: &Method) -> Result<Option<(AnswerHead, Vec<u8>)>, UnreadableHead> {
        let mut received = BytesMut::from(bytes);
        let head = HeadReader::default().take_head(&mut received, method)?;
        Ok(head.map(|head| (head, received.to_vec())))
    }

    fn framed(head: &str) -> Result<(Framing, bool), UnreadableHead> {
        let (read, left) = read(head.as_bytes(), &Method::GET)?.unwrap();
        assert_eq!(left, b"");
        Ok((read.framing, read.keeps_alive))
    }

    #[test]
    fn a_head_is_read_whole_and_what_follows_is_left() {
        let bytes = b"HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nX-A: 1\r\nx-a:  2 \r\nEmpty:\r\n\r\nabcHTTP";
        let (head, left) = read(bytes, &Method::GET).unwrap().unwrap();
        assert_eq!(left, b"abcHTTP");
        assert_eq!(head.parts.status, 200);
        assert_eq!(head.parts.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
        let values: Vec<_> = head.parts.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(head.parts.headers["empty"], "");
        assert_eq!((head.framing, head.keeps_alive), (Framing::Length(3), true));
    }

    #[test]
    fn a_head_that_has_not_ended_is_waited_for() {
        let bytes = b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n";
        for end in 0..bytes.len() {
            assert!(read(bytes.get(..end).unwrap(), &Method::GET).unwrap().is_none(), "{end}");
        }
        assert!(read(bytes, &Method::GET).unwrap().is_some());
    }

    #[test]
    fn the_body_ends_as_rfc_9112_has_it() {
        for (head, framing, keeps_alive) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n", Framing::Length(7), true),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: x, Close\r\n\r\n",
                Framing::Length(7),
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n", Framing::Length(7), false),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n",
                Framing::Length(7),
                true,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 100 Continue\r\n\r\n", Framing::Length(0), true),
        ] {
            assert_eq!(framed(head), Ok((framing, keeps_alive)), "{head}");
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
        let (read, _) = read(head, &Method::HEAD).unwrap().unwrap();
        assert_eq!(
            (read.framing, &read.parts.headers[CONTENT_LENGTH]),
            (Framing::Length(0), &HeaderValue::from(500))
        );
    }

    #[test]
    fn s71_what_has_two_readings_is_refused() {
        for (head, error) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", UnreadableHead::Length),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n",
                UnreadableHead::Length,
            ),
            ("HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n", UnreadableHead::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", UnreadableHead::Coding),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", UnreadableHead::Coding),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                UnreadableHead::Coding,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
                UnreadableHead::Grammar(httparse::Error::HeaderValue),
            ),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", UnreadableHead::Coding),
            ("HTTP/1.1 099 OK\r\n\r\n", UnreadableHead::Field),
            ("HTTP/1.1 600 OK\r\n\r\n", UnreadableHead::Field),
            ("HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n", UnreadableHead::Grammar(httparse::Error::HeaderName)),
            ("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", UnreadableHead::Grammar(httparse::Error::HeaderName)),
            ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", UnreadableHead::Grammar(httparse::Error::HeaderValue)),
            ("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", UnreadableHead::Grammar(httparse::Error::HeaderValue)),
            (
                "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
                UnreadableHead::Grammar(httparse::Error::HeaderName),
            ),
            ("HTTP/2.0 200 OK\r\n\r\n", UnreadableHead::Grammar(httparse::Error::Version)),
            ("HTTP/1.1 2x0 OK\r\n\r\n", UnreadableHead::Grammar(httparse::Error::Status)),
            ("garbage\r\n\r\n", UnreadableHead::Grammar(httparse::Error::Version)),
        ] {
            assert_eq!(framed(head), Err(error), "{head}");
        }
    }

    #[test]
    fn s71_a_head_has_its_bounds() {
        let fields = |count: usize| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "X: 1\r\n".repeat(count - 1))
        };
        assert!(framed(&fields(HEAD_FIELDS)).is_ok());
        let too_many = UnreadableHead::Grammar(httparse::Error::TooManyHeaders);
        assert_eq!(framed(&fields(HEAD_FIELDS + 1)), Err(too_many));
        for end in ["", "\r\n\r\n"] {
            let long = format!("HTTP/1.1 200 OK\r\nX: {}{end}", "a".repeat(HEAD_BYTES));
            assert_eq!(read(long.as_bytes(), &Method::GET).unwrap_err(), UnreadableHead::TooLong);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
            head.extend_from_slice(&bytes);
            // What is read has an end within what came.
            if let Ok(Some((_, left))) = read(&head, &Method::GET) {
                prop_assert!(head.ends_with(&left));
            }
        }
    }
}
