//! A client's body on its way upstream: limited, timed, its trailers cleaned, never held.
//!
//! It knows nothing of the upstream; the exchanges read from [`SendProgress`] how sending goes. Made by `forward`.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::denial::Fault;
use super::headers::{are_sound, strip_trailers};
use super::upstream::HttpUpstream;

/// What goes up behind a request's head.
#[derive(Debug)]
pub enum RequestBody {
    /// Nothing follows the head.
    Empty,
    /// The client's body as it comes.
    Streaming(StreamingBody),
}

/// A body that comes from the client while it goes upstream.
#[derive(Debug)]
pub struct StreamingBody {
    incoming: Incoming,
    progress: Rc<SendProgress>,
    upstream: Rc<HttpUpstream>,
    /// Bytes that may still come; `None`: unbounded.
    left_bytes: Option<u64>,
    /// Was nothing taken from the client yet?
    is_untouched: bool,
}

/// How the sending of a body goes, for the deadlines of the exchange and for the answer when it fails.
#[derive(Debug)]
pub struct SendProgress {
    gate: Cell<Gate>,
    waits_for_client: Cell<bool>,
    ended: Cell<bool>,
    moved_at: Cell<Instant>,
    fault: Cell<Option<Fault>>,
}

/// May the body be asked for? Asking makes hyper send `100 Continue` to a client that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Not until the upstream says `100 Continue`, or has been silent for a while (RFC 9110 §10.1.1).
    AwaitsContinue,
    /// Yes.
    Open,
}

/// The client's body failed; [`SendProgress::fault`] says how.
#[derive(Debug, thiserror::Error)]
#[error("the client's body failed")]
pub struct ClientBodyError;

impl SendProgress {
    /// Progress of a body that has not begun.
    pub fn new(gate: Gate) -> Rc<Self> {
        Rc::new(Self {
            gate: Cell::new(gate),
            waits_for_client: Cell::new(false),
            ended: Cell::new(false),
            moved_at: Cell::new(Instant::now()),
            fault: Cell::new(None),
        })
    }

    /// Does the body still wait for `100 Continue`?
    pub fn awaits_continue(&self) -> bool {
        self.gate.get() == Gate::AwaitsContinue
    }

    /// Lets the body be asked for; its time runs from now.
    pub fn open_gate(&self) {
        self.gate.set(Gate::Open);
        self.moved_at.set(Instant::now());
    }

    /// Has all of it been handed on?
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// When something last came from the client and was taken.
    pub fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// What the client did wrong, if it did.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Who is to blame when nothing has moved for too long.
    pub fn stall(&self) -> Fault {
        if self.waits_for_client.get() { Fault::BodyTooSlow } else { Fault::UpstreamTooSlow }
    }

    fn moved(&self) {
        self.moved_at.set(Instant::now());
    }
}

impl RequestBody {
    /// `incoming` for `upstream`, at most `limit_bytes` (0: unbounded) of it.
    pub fn new(
        incoming: Incoming,
        progress: &Rc<SendProgress>,
        upstream: &Rc<HttpUpstream>,
        limit_bytes: u64,
    ) -> Self {
        Self::Streaming(StreamingBody {
            incoming,
            progress: Rc::clone(progress),
            upstream: Rc::clone(upstream),
            left_bytes: (limit_bytes != 0).then_some(limit_bytes),
            is_untouched: true,
        })
    }

    /// Can it still go elsewhere, because nothing was taken of it?
    pub const fn is_untouched(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.is_untouched,
        }
    }

    /// What the client did wrong, if it did.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Empty => None,
            Self::Streaming(body) => body.progress.fault(),
        }
    }
}

impl StreamingBody {
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        if self.progress.awaits_continue() {
            // No waker: the exchange polls again when it opens the gate.
            return Poll::Pending;
        }
        self.progress.waits_for_client.set(true);
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.progress.waits_for_client.set(false);
        self.is_untouched = false;
        self.progress.moved();
        let Some(frame) = frame else {
            self.progress.ended.set(true);
            return Poll::Ready(None);
        };
        let passed = frame.map_err(|_| Fault::BodyBroken).and_then(|frame| self.pass(frame));
        self.progress.ended.set(self.incoming.is_end_stream());
        Poll::Ready(Some(passed.map_err(|fault| {
            self.progress.fault.set(Some(fault));
            ClientBodyError
        })))
    }

    /// Counts data, and cleans trailers like the head.
    fn pass(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, Fault> {
        if let (Some(data), Some(left)) = (frame.data_ref(), &mut self.left_bytes) {
            *left = left.checked_sub(data.len() as u64).ok_or(Fault::BodyTooLong)?;
        }
        if let Some(trailers) = frame.trailers_mut() {
            if !are_sound(trailers) {
                return Err(Fault::BodyBroken);
            }
            strip_trailers(trailers, self.upstream.identity_rules());
        }
        Ok(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(body) => body.poll_client(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body) => body.incoming.size_hint(),
        }
    }
}
