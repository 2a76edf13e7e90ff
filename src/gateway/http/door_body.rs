//! The body of an answer, and with it the end of a request: when it is dropped, the request is written down.
//!
//! Either the gateway's own few bytes, or the upstream's as they come. What does not end with the first look at it
//! goes into the register of `open_bodies`, so that it ends with its credential.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::deadlines::Spoken;
use super::denial::Fault;
use super::open_bodies::OpenBody;
use super::record::RequestRecord;
use super::upstream::UpstreamBody;

/// An HTTP/2 client gets parts of this size at most, one usual DATA frame: so a part that is taken is a sign of life
/// of a slow client too.
const HTTP2_PART_BYTES: usize = 16 * 1024;

/// What hyper's server sends.
#[derive(Debug)]
pub struct DoorBody {
    source: Source,
    /// The rest of what the upstream sent, for an HTTP/2 client.
    rest: Bytes,
    /// `None`: the request goes on without its answer's body.
    record: Option<Box<RequestRecord>>,
    /// `None`: nothing has been asked of it, or it ended at once.
    open: Option<OpenBody>,
}

#[derive(Debug)]
enum Source {
    Own(Bytes),
    Upstream(UpstreamBody),
}

/// The upstream's body broke off. The client's must break off too, so that nobody takes a part for the whole (S71).
#[derive(Debug, thiserror::Error)]
#[error("the answer of the upstream broke off: {}", .0.reason())]
pub struct BrokenOff(Fault);

impl DoorBody {
    /// The gateway's own bytes.
    pub const fn own(bytes: Bytes, record: Box<RequestRecord>) -> Self {
        Self { source: Source::Own(bytes), rest: Bytes::new(), record: Some(record), open: None }
    }

    /// No body; whoever answers keeps the record, because the request does not end with this answer.
    pub const fn none() -> Self {
        Self { source: Source::Own(Bytes::new()), rest: Bytes::new(), record: None, open: None }
    }

    /// The upstream's body.
    pub const fn upstream(body: UpstreamBody, record: Box<RequestRecord>) -> Self {
        Self { source: Source::Upstream(body), rest: Bytes::new(), record: Some(record), open: None }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !self.rest.is_empty() {
            let count = self.rest.len().min(HTTP2_PART_BYTES);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(count)))));
        }
        let polled = match &mut self.source {
            Source::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream(body) => body.poll_frame(cx),
        };
        if !self.is_for_http2() {
            return polled;
        }
        polled.map_ok(|mut frame| {
            if let Some(bytes) = frame.data_mut().filter(|bytes| bytes.len() > HTTP2_PART_BYTES) {
                self.rest = bytes.split_off(HTTP2_PART_BYTES);
            }
            frame
        })
    }

    fn is_for_http2(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.spoken() == Spoken::Http2)
    }

    /// Keeps the register up to date about what hyper was given.
    fn note_part(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Fault>>>, cx: &Context<'_>) {
        // Over HTTP/1.1 the end is the end: the connection has a deadline for what it takes. An HTTP/2 stream's last
        // part may wait for its window.
        let goes_on = self.is_for_http2() || !self.is_end_stream();
        let Some(record) = &mut self.record else { return };
        let is_given = match polled {
            Poll::Ready(Some(Ok(frame))) => {
                record.sent(frame.data_ref().map_or(0, Bytes::len));
                true
            }
            Poll::Ready(Some(Err(fault))) => return record.failed(fault.reason()),
            Poll::Ready(None) => return,
            Poll::Pending => false,
        };
        if self.open.is_none() && goes_on {
            self.open = Some(record.open_body(cx));
        }
        if let Some(open) = self.open.as_ref().filter(|_| is_given) {
            open.gave();
        }
    }
}

impl Body for DoorBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if let Some(open) = &this.open {
            open.asked();
        }
        let polled = this.poll_part(cx);
        this.note_part(&polled, cx);
        polled.map_err(BrokenOff)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.source {
                Source::Own(bytes) => bytes.is_empty(),
                Source::Upstream(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            // The upstream's part of it is known, and hyper asks before the first part only.
            _ if !self.rest.is_empty() => SizeHint::default(),
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for DoorBody {
    fn drop(&mut self) {
        let Some(record) = &mut self.record else { return };
        if let Some(ending) = self.open.as_ref().and_then(OpenBody::ended) {
            record.failed(ending.as_str());
        }
        if let Source::Upstream(body) = &self.source
            && !(body.has_ended() && self.rest.is_empty())
        {
            // Dropped in the middle, and not by a fault of the upstream, which was noted already.
            record.failed("client_gone");
        }
    }
}
