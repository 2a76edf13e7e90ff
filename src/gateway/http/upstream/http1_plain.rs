//! One plain request and its answer on a connection of HTTP/1.1, as bytes both ways: no map of fields is made of either.
//!
//! An answer that is not plain is read as all others are. Called by `fast_path`.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response, StatusCode};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::HttpUpstream;
use super::answer_wait::{AnswerWait, Look};
use super::body::{Source, UpstreamBody};
use super::exchange::{Asking, Outcome, Waited};
use super::http1_answer::Framing;
use super::http1_connection::UpstreamConnection;
use super::http1_exchange::HeadWait;
use super::http1_plain_answer::{AnswerRead, PlainAnswer, pass_head};
use super::server_pool::ServerPool;
use crate::gateway::http::denial::Fault;
use crate::gateway::http::fast_path::{ComposedRequest, OurWord};

/// What came of a plain request.
#[derive(Debug)]
pub enum Came {
    /// A plain answer, all of which is written to what goes to the client.
    Whole {
        /// Its status.
        status: StatusCode,
        /// Bytes of its body.
        body_bytes: u64,
    },
    /// The head of a plain answer, which is written, and what comes behind it.
    Begun {
        /// Its status.
        status: StatusCode,
        /// What is still to come.
        body: UpstreamBody,
    },
    /// An answer of another kind; nothing of it is written.
    Other(Response<UpstreamBody>),
}

/// How the exchange stands.
enum Stand {
    Plain(PlainAnswer),
    Other,
    NothingSent,
    Failed(Fault),
}

impl HttpUpstream {
    /// Can plain requests be sent as bytes: does no server speak anything but HTTP/1.1, and stands each field that they
    /// are told for itself?
    pub const fn takes_plain(&self) -> bool {
        self.takes_plain
    }

    /// Sends `request`, which was judged by `now`, waits for the answer's head, and appends to `out` what the client gets
    /// of it, with what `ours` says by then; a short body too. Everything said of [`Self::send`] holds.
    pub async fn send_plain<'o>(
        self: &Rc<Self>,
        now: Instant,
        request: &ComposedRequest,
        out: &mut Vec<u8>,
        ours: impl Fn() -> OurWord<'o>,
        waited: &mut Waited,
    ) -> Result<Came, Fault> {
        let exchange = async |connection: Box<UpstreamConnection>, total_due, waited: &mut Waited| {
            let asking = Asking { progress: None, began: Instant::now(), total_due };
            let (outcome, ended) = connection.exchange_plain(self, request, out, &ours, asking).await;
            waited.count_until(ended, asking.began);
            outcome
        };
        self.ask(now, ServerPool::take_idle, ServerPool::connect_http1, exchange, waited).await
    }
}

impl UpstreamConnection {
    /// Also answers when it was over.
    async fn exchange_plain<'o>(
        mut self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        request: &ComposedRequest,
        out: &mut Vec<u8>,
        ours: &impl Fn() -> OurWord<'o>,
        asking: Asking<'_>,
    ) -> (Outcome<Came>, Instant) {
        if !self.is_ready() {
            return (Outcome::NothingSent, asking.began);
        }
        let wait = AnswerWait::new(upstream, asking);
        let mut timer = wait.timer(self.timer.take());
        let mut unsent = request.bytes();
        let stand = poll_fn(|cx| {
            loop {
                match self.poll_send_bytes(&mut unsent, cx) {
                    Poll::Ready(Err(_)) if unsent.len() == request.bytes().len() => {
                        return Poll::Ready(Stand::NothingSent);
                    }
                    // What the server says still counts: it may have answered before it closed.
                    Poll::Ready(Err(_)) => self.takes_no_more(&mut unsent),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
                if let Poll::Ready(stand) = self.poll_plain_head(out, ours, cx) {
                    return Poll::Ready(stand);
                }
                match wait.look(timer.as_mut(), cx) {
                    Look::Wait => return Poll::Pending,
                    Look::Again => {}
                    Look::Over(fault) => return Poll::Ready(Stand::Failed(fault)),
                }
            }
        })
        .await;
        self.timer = Some(timer);
        if !unsent.is_empty() {
            // It answered before it had all; what is left will not be sent.
            self.takes_no_more(&mut unsent);
        }
        let now = Instant::now();
        match stand {
            Stand::NothingSent => (Outcome::NothingSent, now),
            Stand::Failed(fault) => (Outcome::Failed(fault), now),
            Stand::Plain(answer) => {
                (Outcome::Answered(self.take_plain(answer, now, upstream, out, asking.total_due)), now)
            }
            Stand::Other => {
                let outcome = match self.wait_for_head(request.method(), &wait).await {
                    HeadWait::Head(head) if head.parts.status == StatusCode::SWITCHING_PROTOCOLS => {
                        Outcome::Failed(Fault::UpstreamUpgraded)
                    }
                    HeadWait::Head(head) => {
                        Outcome::Answered(Came::Other(self.answered(head, upstream, asking.total_due)))
                    }
                    HeadWait::NothingSent => Outcome::Failed(Fault::UpstreamBroke),
                    HeadWait::Failed(fault) => Outcome::Failed(fault),
                };
                (outcome, Instant::now())
            }
        }
    }

    /// Sends of `unsent` what the server takes.
    fn poll_send_bytes(&mut self, unsent: &mut &[u8], cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !unsent.is_empty() {
            let count = ready!(Pin::new(self.stream()).poll_write(cx, unsent))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            *unsent = unsent.get(count..).unwrap_or_default();
        }
        Pin::new(self.stream()).poll_flush(cx)
    }

    fn takes_no_more(&mut self, unsent: &mut &[u8]) {
        *unsent = &[];
        self.keep_if(false);
    }

    fn poll_plain_head<'o>(
        &mut self,
        out: &mut Vec<u8>,
        ours: &impl Fn() -> OurWord<'o>,
        cx: &mut Context<'_>,
    ) -> Poll<Stand> {
        loop {
            if !self.received().is_empty() {
                match pass_head(self.received(), out, &ours()) {
                    AnswerRead::Plain(answer) => return Poll::Ready(Stand::Plain(answer)),
                    AnswerRead::Other => return Poll::Ready(Stand::Other),
                    AnswerRead::Partial => {}
                }
            }
            match ready!(self.poll_receive(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Stand::Failed(Fault::UpstreamBroke)),
            }
        }
    }

    /// Takes the body behind the head of `answer`, where all of it is here by `now`; otherwise it comes by and by.
    fn take_plain(
        mut self: Box<Self>,
        answer: PlainAnswer,
        now: Instant,
        upstream: &Rc<HttpUpstream>,
        out: &mut Vec<u8>,
        total_due: Option<Instant>,
    ) -> Came {
        let PlainAnswer { head_bytes, status, body_bytes, keeps_alive } = answer;
        self.keep_if(keeps_alive);
        let body = self.received().get(head_bytes..).unwrap_or_default();
        let whole = usize::try_from(body_bytes).ok().and_then(|length| body.get(..length));
        if let Some(whole) = whole {
            out.extend_from_slice(whole);
            let length = head_bytes + whole.len();
            self.skip(length);
            if let Some(pool) = self.pool() {
                pool.state().note_end();
            }
            self.give_back(now);
            return Came::Whole { status, body_bytes };
        }
        self.skip(head_bytes);
        self.expect_framed(Framing::Length(body_bytes));
        // That it brings no events is what makes it plain: there is nothing to be read in its head any more.
        let body = UpstreamBody::new(Source::Http1(Some(self)), upstream, &HeaderMap::new(), total_due);
        Came::Begun { status, body }
    }
}
