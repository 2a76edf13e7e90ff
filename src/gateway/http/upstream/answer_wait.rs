//! The wait for the head of an upstream's answer: until when, for whom, and whose fault it is if nothing comes.
//!
//! Reads how the sending of a body goes, and sends nothing itself. Called by the exchanges of both versions of HTTP.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::HttpUpstream;
use super::exchange::Asking;
use crate::gateway::http::denial::Fault;
use crate::gateway::http::request_body::SendProgress;

/// How long a body waits for the upstream's `100 Continue`; old servers send none (RFC 9110 §10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// The wait for one head.
pub struct AnswerWait<'a> {
    upstream: &'a Rc<HttpUpstream>,
    /// That of a body that is still to come.
    progress: Option<&'a Rc<SendProgress>>,
    total_due: Option<Instant>,
    sent_at: Instant,
}

/// What to do when nothing has come yet.
pub enum Look {
    /// Wait on: the task is woken.
    Wait,
    /// The body may be asked for now: move bytes again.
    Again,
    /// Give up, for this fault.
    Over(Fault),
}

impl<'a> AnswerWait<'a> {
    /// The wait of an exchange that begins, as `asking` says.
    pub const fn new(upstream: &'a Rc<HttpUpstream>, asking: Asking<'a>) -> Self {
        let Asking { progress, began, total_due } = asking;
        Self { upstream, progress, total_due, sent_at: began }
    }

    /// When the head of the request was sent.
    pub const fn sent_at(&self) -> Instant {
        self.sent_at
    }

    /// What the client did wrong, if it did.
    pub fn clients_fault(&self) -> Option<Fault> {
        self.progress.and_then(|progress| progress.fault())
    }

    /// Does the body still wait for `100 Continue`?
    pub fn awaits_continue(&self) -> bool {
        self.progress.is_some_and(|progress| progress.awaits_continue())
    }

    /// Lets the body be asked for, because the upstream has said `100 Continue`.
    pub fn open_gate(&self) {
        if let Some(progress) = self.progress {
            progress.open_gate();
        }
    }

    /// A timer for [`Self::look`]: a `former` one that fires soon enough, or a new one.
    pub fn timer(&self, former: Option<Pin<Box<Sleep>>>) -> Pin<Box<Sleep>> {
        let due = self.due().0;
        let soon_enough = former.filter(|timer| timer.deadline() <= due && !timer.is_elapsed());
        soon_enough.unwrap_or_else(|| Box::pin(sleep_until(due)))
    }

    /// Is it over? `timer` wakes the task when it may be.
    pub fn look(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Look {
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Look::Wait;
            }
            // The body may have moved since the timer was set: only what is due now counts.
            let (due, fault) = self.due();
            if due > Instant::now() {
                timer.as_mut().reset(due);
            } else if self.awaits_continue() {
                self.open_gate();
                return Look::Again;
            } else {
                return Look::Over(fault);
            }
        }
    }

    /// What is waited for now: until when, and whose fault it is if it does not come.
    fn due(&self) -> (Instant, Fault) {
        let limits = self.upstream.limits();
        let first_byte = Duration::from_secs(limits.upstream_first_byte_seconds.into());
        let body_idle = Duration::from_secs(limits.http_body_idle_seconds.into());
        let (due, fault) = match self.progress {
            None => (self.sent_at + first_byte, Fault::UpstreamTooSlow),
            Some(progress) if progress.awaits_continue() => {
                (self.sent_at + CONTINUE_WAIT, Fault::UpstreamTooSlow)
            }
            Some(progress) if progress.has_ended() => {
                (progress.moved_at() + first_byte, Fault::UpstreamTooSlow)
            }
            Some(progress) => (progress.moved_at() + body_idle, progress.stall()),
        };
        match self.total_due {
            Some(total) if total < due => (total, Fault::UpstreamTooSlow),
            _ => (due, fault),
        }
    }
}
