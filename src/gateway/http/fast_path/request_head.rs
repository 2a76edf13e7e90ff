//! The head of a plain request: read from bytes where it stands, and written upstream from there. Pure.
//!
//! A plain request has one reading, no body, and nothing about it that a proxy has to translate. Whatever is not known
//! to be plain is no concern of this file: the way for all requests reads it, and refuses it where it must. What it
//! does take goes upstream as that way would send it; a test compares both. Called by `fast_path`, and by `fuzz`.

use std::fmt;
use std::mem::MaybeUninit;

use http::{HeaderName, Method};

use super::fields::{is_plain_name, is_special, write_field, write_read};
use crate::config::Limits;
use crate::gateway::http::api_session::is_session_path;
use crate::gateway::http::byte_set::ByteSet;
use crate::gateway::http::cookies::holds_own;
use crate::gateway::http::headers::Told;
use crate::gateway::http::target::host_part;

/// A plain request has as many bytes at most, fewer than any limit of a configuration lets through.
const HEAD_BYTES: usize = 4 * 1024;
/// And as many fields.
const FIELDS: usize = 32;

/// Where the fields of a head are noted while it is read.
pub type Slots<'b> = [MaybeUninit<httparse::Header<'b>>; FIELDS];

/// No field is noted yet.
pub const fn no_fields<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; FIELDS]
}

/// A plain request, in the bytes that it came in.
#[derive(Debug)]
pub struct PlainRequest<'s, 'b> {
    /// GET or DELETE.
    pub method: Method,
    target: &'b str,
    path: &'b str,
    host: &'b [u8],
    host_part: &'b [u8],
    authorization: &'b [u8],
    /// All of it.
    bytes: &'b [u8],
    fields: &'s [httparse::Header<'b>],
    /// A bit for each field that goes on, unless it could pass for the gateway's word.
    goes_on: u32,
}

/// A plain request as it goes upstream, with what is told beside it. There is none without a
/// [`Permit`](crate::auth::Permit) (invariant 1): [`Told`] holds one.
pub struct ComposedRequest {
    bytes: Vec<u8>,
    method: Method,
}

/// What becomes of a field of a plain request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on, unless it could pass for the gateway's word.
    Passed,
    /// The only `Host`.
    Host,
    /// The only `Authorization`.
    Credential,
    /// It says what is so anyway, of this connection alone.
    Dropped,
    /// The request is not plain.
    Special,
}

impl<'s, 'b> PlainRequest<'s, 'b> {
    /// Reads `bytes`, all that came; `None`: they are not one plain request that ends with them.
    pub fn read(bytes: &'b [u8], slots: &'s mut Slots<'b>, limits: &Limits) -> Option<Self> {
        if bytes.len() > HEAD_BYTES || !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let mut parsed = httparse::Request::new(&mut []);
        let read = parsed.parse_with_uninit_headers(bytes, slots).ok()?;
        if read != httparse::Status::Complete(bytes.len()) || parsed.version != Some(1) {
            return None;
        }
        let method = match parsed.method? {
            "GET" => Method::GET,
            "DELETE" => Method::DELETE,
            _ => return None,
        };
        let target = parsed.path.filter(|target| is_plain_target(target, limits))?;
        let path = match memchr::memchr(b'?', target.as_bytes()) {
            Some(end) => target.get(..end)?,
            None => target,
        };
        if is_session_path(path) {
            return None;
        }
        let fields: &'s [httparse::Header<'b>] = parsed.headers;
        if u32::try_from(fields.len()).ok()? > limits.http_header_fields {
            return None;
        }
        let (mut host, mut authorization, mut goes_on) = (None, None, 0_u32);
        for (field, place) in fields.iter().zip(0_u32..) {
            match Fate::of(field) {
                Fate::Passed => goes_on |= 1_u32.checked_shl(place)?,
                Fate::Dropped => {}
                Fate::Host if host.is_none() => {
                    host = Some(field.value);
                    goes_on |= 1_u32.checked_shl(place)?;
                }
                Fate::Credential if authorization.is_none() => authorization = Some(field.value),
                Fate::Host | Fate::Credential | Fate::Special => return None,
            }
        }
        let (host, authorization) = (host?, authorization?);
        let host_part = host_part(host)?;
        Some(Self { method, target, path, host, host_part, authorization, bytes, fields, goes_on })
    }

    /// The target without its query.
    pub const fn path(&self) -> &'b str {
        self.path
    }

    /// The host that it is for, without its port.
    pub fn host_name(&self) -> Option<&'b str> {
        std::str::from_utf8(self.host_part).ok()
    }

    /// The value of its `Authorization`.
    pub const fn authorization(&self) -> &'b [u8] {
        self.authorization
    }

    /// Appends to `out` what goes upstream: the request without credential and claims, and behind it what is `told`, by
    /// rules that have no collisions.
    fn write(&self, out: &mut Vec<u8>, told: &Told<'_>) {
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        for (field, place) in self.fields.iter().zip(0..) {
            if self.goes_on & (1 << place) != 0 {
                self.write_passed(out, field, told);
            }
        }
        let put = |name: &HeaderName, value: &[u8]| write_field(out, name.as_str().as_bytes(), value);
        told.each_behind_unsorted(Some(self.host), false, put);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a field, unless only the gateway may say such a thing.
    fn write_passed(&self, out: &mut Vec<u8>, field: &httparse::Header<'b>, told: &Told<'_>) {
        let start = write_read(out, self.bytes, field);
        let name = out.get(start..start + field.name.len());
        if name.is_none_or(|name| told.rules.forbids(name)) {
            out.truncate(start);
        }
    }

    /// The same, in place of what is in `room`, as what may be sent.
    pub fn compose(&self, mut room: Vec<u8>, told: &Told<'_>) -> ComposedRequest {
        room.clear();
        self.write(&mut room, told);
        ComposedRequest { bytes: room, method: self.method.clone() }
    }
}

impl ComposedRequest {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Its room, for another one.
    pub fn into_room(self) -> Vec<u8> {
        self.bytes
    }
}

/// It holds what an upstream is told, perhaps a key of its own.
impl fmt::Debug for ComposedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComposedRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Fate {
    /// By length first: nearly every field is passed by it.
    fn of(field: &httparse::Header<'_>) -> Self {
        let name = field.name.as_bytes();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => Self::Host,
            13 if is("authorization") => Self::Credential,
            10 if is("connection") && field.value.eq_ignore_ascii_case(b"keep-alive") => Self::Dropped,
            6 if is("cookie") && !holds_own(field.value) => Self::Passed,
            6 if is("cookie") || is("expect") => Self::Special,
            14 if is("content-length") => Self::Special,
            _ if !is_special(name) && is_plain_name(name) => Self::Passed,
            _ => Self::Special,
        }
    }
}

/// Is it a path, perhaps with a query, of characters that stand for themselves everywhere (RFC 3986 §3.3), within
/// `limits`?
fn is_plain_target(target: &str, limits: &Limits) -> bool {
    static PLAIN: ByteSet = ByteSet::alphanumeric_and(b"-._~%/?=&+,:@");
    target.starts_with('/')
        && usize::try_from(limits.http_target_bytes).is_ok_and(|limit| target.len() <= limit)
        && PLAIN.holds_all(target.as_bytes())
}
