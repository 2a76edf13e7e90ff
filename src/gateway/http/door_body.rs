//! The body of an answer, and with it the end of a request: when it is dropped, the request is written down.
//!
//! Either the gateway's own few bytes, or the upstream's as they come; nothing is held.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::denial::Fault;
use super::record::RequestRecord;
use super::upstream_body::UpstreamBody;

/// What hyper's server sends.
#[derive(Debug)]
pub struct DoorBody {
    source: Source,
    /// `None`: the request goes on without its answer's body.
    record: Option<RequestRecord>,
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
    pub const fn own(bytes: Bytes, record: RequestRecord) -> Self {
        Self { source: Source::Own(bytes), record: Some(record) }
    }

    /// No body; whoever answers keeps the record, because the request does not end with this answer.
    pub const fn none() -> Self {
        Self { source: Source::Own(Bytes::new()), record: None }
    }

    /// The upstream's body.
    pub const fn upstream(body: UpstreamBody, record: RequestRecord) -> Self {
        Self { source: Source::Upstream(body), record: Some(record) }
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
        let frame = match &mut this.source {
            Source::Own(bytes) if bytes.is_empty() => None,
            Source::Own(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Upstream(body) => ready!(body.poll_frame(cx)),
        };
        match (&frame, &mut this.record) {
            (Some(Ok(frame)), Some(record)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
            (Some(Err(fault)), Some(record)) => record.failed(fault.reason()),
            _ => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BrokenOff)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.is_empty(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for DoorBody {
    fn drop(&mut self) {
        if let (Source::Upstream(body), Some(record)) = (&self.source, &mut self.record)
            && !body.has_ended()
        {
            // Dropped in the middle, and not by a fault of the upstream, which was noted already.
            record.failed("client_gone");
        }
    }
}
