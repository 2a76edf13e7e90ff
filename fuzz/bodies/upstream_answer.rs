//! Any bytes as an upstream's answer: it is read or refused, and however its bytes come in parts, it reads alike.
//!
//! The first four bytes say, from `0` on, of how many bytes the parts are; where the first says a multiple of 8, `HEAD` was
//! asked.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};
use latchkey::gateway::http::{BodyDecoder, Decoded, HeadReader};

/// What a client would be told, and what would be left on the connection.
#[derive(Debug, PartialEq)]
struct Read {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    left: Vec<u8>,
}

/// Reads one answer that comes in parts of these sizes, after which the connection ends; `None`: it is refused.
fn read(answer: &[u8], mut sizes: impl Iterator<Item = usize>, method: &Method) -> Option<Read> {
    let (mut received, mut rest) = (BytesMut::new(), answer);
    let mut receive = |received: &mut BytesMut| {
        let (part, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        received.extend_from_slice(part);
        rest = later;
        !part.is_empty()
    };
    let mut heads = HeadReader::default();
    let head = loop {
        match heads.take_head(&mut received, method).ok()? {
            Some(head) if head.parts.status.is_informational() => {}
            Some(head) => break head,
            None if receive(&mut received) => {}
            None => return None,
        }
    };
    let (mut body, mut trailers, mut decoder) =
        (Vec::new(), HeaderMap::new(), BodyDecoder::new(head.framing));
    loop {
        match decoder.decode(&mut received).ok()? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(fields) => trailers = fields,
            Decoded::End => break,
            Decoded::NeedsMore if receive(&mut received) => {}
            Decoded::NeedsMore => decoder.on_close().ok()?,
        }
    }
    while receive(&mut received) {}
    Some(Read {
        status: head.parts.status,
        fields: head.parts.headers,
        body,
        trailers,
        left: received.to_vec(),
    })
}

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let Some((sizes, answer)) = input.split_at_checked(4) else { return };
    let sizes = sizes.iter().map(|size| usize::from(size.wrapping_sub(b'0')));
    let method =
        if sizes.clone().next().is_some_and(|size| size % 8 == 0) { Method::HEAD } else { Method::GET };
    let whole = read(answer, std::iter::repeat(answer.len().max(1)), &method);
    let in_parts = read(answer, sizes.map(|size| size.max(1)).cycle(), &method);
    assert_eq!(whole, in_parts);
    if let Some(Read { body, left, .. }) = whole {
        assert!(answer.ends_with(&left) && body.len() + left.len() <= answer.len());
    }
}
