//! A request on its way up an HTTP/1.1 connection: its head as bytes, and its body as it comes from the client.
//!
//! Framing is made here and nowhere else: what the client's head says of it is not passed on. A part of the body is
//! taken only when the one before it is written, so that a slow server slows the client. Called by
//! `http1_connection`.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::{Told, has_field};
use crate::gateway::http::request_body::RequestBody;

/// A smaller part of a body is copied behind what precedes it, for less than a second slice costs.
const COPIED_BYTES: usize = 1_024;
/// The room for heads that a connection keeps; most are smaller.
const KEPT_BYTES: usize = 4_096;

/// The way up of one connection, for one request after the other.
#[derive(Default)]
pub struct Upload {
    /// Head, chunk sizes, small parts, trailers: what is still to be written comes behind `written`.
    out: Vec<u8>,
    written: usize,
    /// A large part of the body, behind `out`.
    part: Bytes,
    /// Ends the chunk that `part` is of.
    behind_part: &'static [u8],
    /// What is on its way; `None`: nothing.
    request: Option<Request<RequestBody>>,
    framing: UploadFraming,
    /// Has a byte of it been written?
    is_begun: bool,
}

/// How the server sees where the request's body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadFraming {
    /// There is none, or nothing of it is left.
    #[default]
    Ended,
    /// By `Content-Length`, of which so much is left.
    Length(u64),
    /// By a last chunk.
    Chunked,
}

/// Why a request does not go on.
#[derive(Debug)]
pub enum UploadError {
    /// The server takes no more. What it says can still be read.
    Server,
    /// The client's body failed.
    Client(Fault),
}

/// Its bytes may be secrets: an upstream's own key stands among the fields.
impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}

impl Upload {
    /// Begins with `request` and what is `told` beside it; nothing is written yet.
    pub fn begin(&mut self, request: Request<RequestBody>, told: &Told<'_>) {
        self.out.clear();
        self.written = 0;
        self.is_begun = false;
        self.framing = write_head(&mut self.out, &request, told);
        self.request = Some(request);
    }

    /// Is nothing on its way?
    pub const fn has_ended(&self) -> bool {
        self.request.is_none()
    }

    /// Gives up what was not written.
    pub fn abandon(&mut self) {
        *self = Self::default();
    }

    /// Is the request as it was: was no byte of it written, and nothing of its body taken?
    pub fn is_whole(&self) -> bool {
        !self.is_begun && self.request.as_ref().is_some_and(|request| request.body().is_untouched())
    }

    /// The request as it was.
    pub fn take_whole(&mut self) -> Option<Request<RequestBody>> {
        if self.is_whole() { self.request.take() } else { None }
    }

    /// Writes what can be written. Ready: all of it is, and here is what carried it.
    pub fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Request<RequestBody>>, UploadError>> {
        loop {
            let taken = self.take_part(cx)?;
            if self.awaits_end() {
                ready!(taken);
            } else if !self.is_written() {
                ready!(self.poll_write(stream, cx)).map_err(|_| UploadError::Server)?;
            } else if self.framing == UploadFraming::Ended {
                break;
            } else {
                ready!(taken);
            }
        }
        ready!(Pin::new(stream).poll_flush(cx)).map_err(|_| UploadError::Server)?;
        if self.out.capacity() > KEPT_BYTES {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(self.request.take()))
    }

    const fn is_written(&self) -> bool {
        self.written == self.out.len() && self.part.is_empty() && self.behind_part.is_empty()
    }

    /// Is all here that was promised, and the end is not? More may come of an HTTP/2 client, or a reset: then the request
    /// is malformed, and the server must not have got it whole (RFC 9113 §8.1.1).
    fn awaits_end(&self) -> bool {
        self.framing == UploadFraming::Length(0)
    }

    /// Takes the next part of the body, unless one is waiting already. Pending: the client has not sent it yet.
    fn take_part(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UploadError> {
        let is_written = self.is_written();
        let Some(request) = &mut self.request else { return Ok(Poll::Ready(())) };
        // The first part leaves together with the head, and the last one together with the end.
        let is_wanted = is_written
            || self.framing == UploadFraming::Length(0)
            || !self.is_begun && request.body().is_untouched();
        if self.framing == UploadFraming::Ended || !is_wanted {
            return Ok(Poll::Ready(()));
        }
        let Poll::Ready(frame) = Pin::new(request.body_mut()).poll_frame(cx) else {
            return Ok(Poll::Pending);
        };
        let frame = frame.transpose();
        let frame =
            frame.map_err(|_| UploadError::Client(request.body().fault().unwrap_or(Fault::BodyBroken)))?;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => self.put_data(data)?,
            Some(Err(frame)) => self.put_end(frame.trailers_ref())?,
            None => self.put_end(None)?,
        }
        // hyper's bodies know their end with the last part: then it leaves in the same write.
        if self.framing != UploadFraming::Ended
            && self.request.as_ref().is_some_and(|request| request.body().is_end_stream())
        {
            self.put_end(None)?;
        }
        Ok(Poll::Ready(()))
    }

    fn put_data(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            UploadFraming::Ended => return Err(UploadError::Client(Fault::BodyBroken)),
            UploadFraming::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(UploadError::Client(Fault::BodyBroken))?;
            }
            UploadFraming::Chunked => {
                // A vector takes every byte.
                let _ = write!(self.out, "{:x}\r\n", data.len());
                self.behind_part = b"\r\n";
            }
        }
        if data.len() <= COPIED_BYTES {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(std::mem::take(&mut self.behind_part));
        } else {
            self.part = data;
        }
        Ok(())
    }

    /// Ends the body; a shorter one than was promised is none.
    fn put_end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), UploadError> {
        match std::mem::take(&mut self.framing) {
            UploadFraming::Ended | UploadFraming::Length(0) => Ok(()),
            UploadFraming::Length(_) => Err(UploadError::Client(Fault::BodyBroken)),
            UploadFraming::Chunked if self.part.is_empty() => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    write_field(&mut self.out, name.as_str(), value.as_bytes());
                }
                self.out.extend_from_slice(b"\r\n");
                Ok(())
            }
            UploadFraming::Chunked => {
                // Only behind a large part, and then there are no trailers.
                self.behind_part = b"\r\n0\r\n\r\n";
                Ok(())
            }
        }
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let head = self.out.get(self.written..).unwrap_or_default();
        let stream = Pin::new(stream);
        let count = if self.part.is_empty() && self.behind_part.is_empty() {
            ready!(stream.poll_write(cx, head))?
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(&self.part), IoSlice::new(self.behind_part)];
            ready!(stream.poll_write_vectored(cx, &slices))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_begun = true;
        let of_head = count.min(head.len());
        self.written += of_head;
        let of_part = (count - of_head).min(self.part.len());
        let _ = self.part.split_to(of_part);
        let of_end = (count - of_head - of_part).min(self.behind_part.len());
        self.behind_part = self.behind_part.get(of_end..).unwrap_or_default();
        Poll::Ready(Ok(()))
    }
}

/// Appends request line and fields (RFC 9112 §3), with framing of our own: what the body knows of its length.
pub fn write_head<B: Body>(out: &mut Vec<u8>, request: &Request<B>, told: &Told<'_>) -> UploadFraming {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.uri().path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let beginning = out.len();
    write_fields(out, request.headers());
    let put = |name: &HeaderName, value: &[u8]| write_field(out, name.as_str(), value);
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    if told.each_behind(host, has_field(request.headers(), &TE), put).is_none() {
        let mut headers = request.headers().clone();
        told.insert_into(&mut headers);
        out.truncate(beginning);
        write_fields(out, &headers);
    }
    let framing = match request.body().size_hint().exact() {
        // A client that says outright that there is no body is passed on as it is, and so is one that says nothing.
        Some(0) => {
            if has_field(request.headers(), &CONTENT_LENGTH) {
                write_field(out, "content-length", b"0");
            }
            UploadFraming::Ended
        }
        Some(length) => {
            write_field(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
            UploadFraming::Length(length)
        }
        None => {
            write_field(out, "transfer-encoding", b"chunked");
            UploadFraming::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            write_field(out, name.as_str(), value.as_bytes());
        }
    }
}

/// Neither name nor value can hold what would end the line: their types see to it.
fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
