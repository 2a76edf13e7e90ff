//! One request and its answer on one connection to an upstream that speaks HTTP/1.1: sends the one, waits for the head
//! of the other, heeds informational heads, and binds the connection to the body. Called by `server_pool`.

use std::rc::Rc;
use std::task::Poll;

use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::HttpUpstream;
use super::answer_wait::{AnswerWait, Look};
use super::body::{Source, UpstreamBody};
use super::exchange::{Asking, Outcome, Switched, Unsent};
use super::http1_answer::AnswerHead;
use super::http1_connection::{Sent, UpstreamConnection};
use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::Told;

/// May the connection become something else than HTTP?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    /// Not on this request.
    Unasked,
    /// If the server agrees.
    Asked,
}

/// The head of an answer, or what came instead.
pub enum HeadWait {
    /// It is here.
    Head(AnswerHead),
    /// Nothing of the request was sent.
    NothingSent,
    /// None comes.
    Failed(Fault),
}

impl UpstreamConnection {
    /// Sends what is `unsent` and waits for the answer's head.
    pub fn exchange(
        self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        told: &Told<'_>,
        unsent: &mut Unsent,
        asking: Asking<'_>,
    ) -> impl Future<Output = Outcome> {
        self.ask(upstream, told, unsent, asking, Switch::Unasked)
    }

    /// The same for a request that asks to switch protocols; it has no body.
    pub fn exchange_for_switch(
        self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        told: &Told<'_>,
        unsent: &mut Unsent,
        total_due: Option<Instant>,
    ) -> impl Future<Output = Outcome> {
        let asking = Asking { progress: None, began: Instant::now(), total_due };
        self.ask(upstream, told, unsent, asking, Switch::Asked)
    }

    async fn ask(
        mut self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        told: &Told<'_>,
        unsent: &mut Unsent,
        asking: Asking<'_>,
        switch: Switch,
    ) -> Outcome {
        if !self.is_ready() {
            return Outcome::NothingSent;
        }
        let Some(request) = unsent.take() else { return Outcome::NothingSent };
        let method = request.method().clone();
        self.begin(request, told);
        let wait = AnswerWait::new(upstream, asking);
        match self.wait_for_head(&method, &wait).await {
            HeadWait::Head(head) if head.parts.status == StatusCode::SWITCHING_PROTOCOLS => {
                match (switch, self.into_parts()) {
                    (Switch::Asked, (stream, read_ahead, Some(in_flight))) => {
                        let head = head.parts;
                        Outcome::Switched(Box::new(Switched { head, stream, read_ahead, in_flight }))
                    }
                    _ => Outcome::Failed(Fault::UpstreamUpgraded),
                }
            }
            HeadWait::Head(head) => Outcome::Answered(self.answered(head, upstream, asking.total_due)),
            HeadWait::NothingSent => {
                *unsent = self.take_unsent();
                Outcome::NothingSent
            }
            HeadWait::Failed(fault) => Outcome::Failed(fault),
        }
    }

    /// The answer with this `head`, whose body comes over this connection.
    pub fn answered(
        mut self: Box<Self>,
        head: AnswerHead,
        upstream: &Rc<HttpUpstream>,
        total_due: Option<Instant>,
    ) -> Response<UpstreamBody> {
        self.keep_if(head.keeps_alive);
        self.expect_framed(head.framing);
        let body = UpstreamBody::new(Source::Http1(Some(self)), upstream, &head.parts.headers, total_due);
        Response::from_parts(head.parts, body)
    }

    /// Sends what was begun, a request of `method`, and waits for the head of its final answer, or of the one that
    /// switches protocols.
    pub async fn wait_for_head(&mut self, method: &Method, wait: &AnswerWait<'_>) -> HeadWait {
        let mut timer = wait.timer(self.timer.take());
        let waited = std::future::poll_fn(|cx| {
            loop {
                match self.poll_send(cx) {
                    Sent::SoFar => {}
                    Sent::Nothing => return Poll::Ready(HeadWait::NothingSent),
                    Sent::ClientFailed(fault) => return Poll::Ready(HeadWait::Failed(fault)),
                }
                match self.poll_head(method, cx) {
                    Poll::Ready(Ok(head)) if head.parts.status == StatusCode::CONTINUE => wait.open_gate(),
                    // Others inform of what a client of ours is not told (RFC 9110 §15.2 lets a proxy keep some to
                    // itself).
                    Poll::Ready(Ok(head)) if is_information(head.parts.status) => {}
                    Poll::Ready(head) => {
                        return Poll::Ready(head.map_or_else(HeadWait::Failed, HeadWait::Head));
                    }
                    Poll::Pending => match wait.look(timer.as_mut(), cx) {
                        Look::Wait => return Poll::Pending,
                        Look::Again => {}
                        Look::Over(fault) => return Poll::Ready(HeadWait::Failed(fault)),
                    },
                }
            }
        })
        .await;
        self.timer = Some(timer);
        waited
    }
}

fn is_information(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
