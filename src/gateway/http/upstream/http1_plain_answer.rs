//! The head of a plain answer: read from bytes where it stands, and written to the client from there. Pure.
//!
//! A plain answer is a final one of HTTP/1.1 whose body has a length, with nothing in its head that a proxy has to
//! translate. Any other goes the way for all answers; what is taken here reaches the client as that way would send
//! it; a test compares both. Called by `http1_plain`.

use std::mem::MaybeUninit;

use http::header::{DATE, VIA};
use http::{StatusCode, Version};

use super::body::is_of_events;
use crate::gateway::http::cookies::sets_own;
use crate::gateway::http::denial::is_of_quota;
use crate::gateway::http::fast_path::{
    OurWord, is_plain_name, is_special, write_field, write_read, write_status,
};
use crate::gateway::http::headers::via;

/// A plain answer has as many fields at most.
const FIELDS: usize = 32;
/// And as many bytes before its body.
const MOST_BYTES: usize = 8 * 1024;

/// What came so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerRead {
    /// The end of the head is still to come.
    Partial,
    /// The head is here, and written.
    Plain(PlainAnswer),
    /// It is no plain answer; perhaps it is none at all.
    Other,
}

/// A plain answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainAnswer {
    /// Bytes of the head.
    pub head_bytes: usize,
    /// Its status.
    pub status: StatusCode,
    /// Bytes of the body behind it.
    pub body_bytes: u64,
    /// May another request follow on the connection?
    pub keeps_alive: bool,
}

/// What becomes of a field of a plain answer.
enum Fate {
    Passed,
    /// The body's length, which is passed too.
    Length,
    /// When it was made, which is passed too.
    Date,
    /// Of the upstream's connection alone, or the gateway's to say.
    Dropped,
    /// No further answer comes on the connection.
    Close,
    /// The answer is not plain.
    Special,
}

/// Reads the head at the front of `received` and appends to `out` what the client gets of it, with `ours`.
pub fn pass_head(received: &[u8], out: &mut Vec<u8>, ours: &OurWord<'_>) -> AnswerRead {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let read = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        received,
        &mut slots,
    );
    let head_bytes = match read {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        // What is too long for this way may be right for the other one.
        Ok(httparse::Status::Partial) if received.len() < MOST_BYTES => return AnswerRead::Partial,
        _ => return AnswerRead::Other,
    };
    let before = out.len();
    let plain = pass_parsed(&parsed, received, head_bytes, out, ours);
    if plain.is_none() {
        out.truncate(before);
    }
    plain.map_or(AnswerRead::Other, AnswerRead::Plain)
}

fn pass_parsed(
    parsed: &httparse::Response<'_, '_>,
    received: &[u8],
    head_bytes: usize,
    out: &mut Vec<u8>,
    ours: &OurWord<'_>,
) -> Option<PlainAnswer> {
    let code = parsed.code.filter(|code| (200..600).contains(code) && !matches!(code, 204 | 205 | 304))?;
    let status = StatusCode::from_u16(code).ok()?;
    let reason = parsed.reason.filter(|reason| parsed.version == Some(1) && !reason.is_empty())?;
    write_status(out, status, reason);
    let (mut body_bytes, mut has_date, mut keeps_alive) = (None, false, true);
    for field in &*parsed.headers {
        match Fate::of(field, ours) {
            Fate::Passed => {}
            Fate::Length if body_bytes.is_none() => body_bytes = Some(read_length(field.value)?),
            Fate::Date => has_date = true,
            Fate::Dropped => continue,
            Fate::Close => {
                keeps_alive = false;
                continue;
            }
            Fate::Length | Fate::Special => return None,
        }
        write_read(out, received, field);
    }
    let body_bytes = body_bytes?;
    if !has_date {
        write_field(out, DATE.as_str().as_bytes(), ours.date.as_bytes());
    }
    write_field(out, VIA.as_str().as_bytes(), via(Version::HTTP_11).as_bytes());
    ours.write(out);
    out.extend_from_slice(b"\r\n");
    Some(PlainAnswer { head_bytes, status, body_bytes, keeps_alive })
}

impl Fate {
    /// By length first: nearly every field is passed by it.
    fn of(field: &httparse::Header<'_>, ours: &OurWord<'_>) -> Self {
        let (name, value) = (field.name.as_bytes(), field.value);
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            14 if is("content-length") => Self::Length,
            4 if is("date") => Self::Date,
            12 if is("x-request-id") => Self::Dropped,
            10 if is("connection") && value.eq_ignore_ascii_case(b"keep-alive") => Self::Dropped,
            10 if is("connection") && value.eq_ignore_ascii_case(b"close") => Self::Close,
            10 if is("keep-alive") => Self::Dropped,
            10 if is("set-cookie") && !sets_own(value) => Self::Passed,
            10 if is("set-cookie") => Self::Special,
            12 if is("content-type") && is_of_events(value) => Self::Special,
            15 | 19 if ours.quota.is_some() && is_of_quota(name) => Self::Dropped,
            _ if is_special(name) || !is_plain_name(name) => Self::Special,
            _ => Self::Passed,
        }
    }
}

/// The number of a `Content-Length`: digits and nothing else.
fn read_length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}
