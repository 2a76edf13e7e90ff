//! Who listens to the live page's events, and how events reach them.
//!
//! Every listener has a queue of a few events of its own, which are shared by reference. Whoever does not take them is let
//! go of, so that nobody slow takes a place or memory for long. Events are the caller's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Listeners at once.
pub(super) const LISTENERS: usize = 16;
/// Events that may wait for a listener; with one more it is too slow.
const WAITING_EVENTS: usize = 4;

/// All who listen.
#[derive(Debug)]
pub(super) struct Listeners(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(Vec<Listener>),
    /// There are no more events.
    Closed,
}

#[derive(Debug)]
struct Listener {
    events: mpsc::Sender<Bytes>,
    too_slow: CancellationToken,
}

/// A listener's own end.
#[derive(Debug)]
pub(super) struct Listening {
    /// What it is told; ends with the events.
    pub(super) events: mpsc::Receiver<Bytes>,
    /// Cancelled when it takes too little.
    pub(super) too_slow: CancellationToken,
}

/// Why somebody cannot listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::ops) enum NotTaken {
    /// All places are taken.
    #[error("{most} pages listen already, which is as many as may; close one, or read the page without events", most = LISTENERS)]
    TooMany,
    /// The gateway drains.
    #[error("the gateway drains; there are no more events")]
    Ended,
}

impl Default for Listeners {
    fn default() -> Self {
        Self(Mutex::new(State::Open(Vec::new())))
    }
}

impl Listeners {
    /// One more listener.
    pub(super) fn take_in(&self) -> Result<Listening, NotTaken> {
        let State::Open(listeners) = &mut *self.state() else { return Err(NotTaken::Ended) };
        listeners.retain(|listener| !listener.events.is_closed());
        if listeners.len() >= LISTENERS {
            return Err(NotTaken::TooMany);
        }
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        let too_slow = CancellationToken::new();
        listeners.push(Listener { events: sender, too_slow: too_slow.clone() });
        Ok(Listening { events, too_slow })
    }

    /// Does anybody listen?
    pub(super) fn is_listened_to(&self) -> bool {
        matches!(&*self.state(), State::Open(listeners) if !listeners.is_empty())
    }

    /// Tells all of them, and lets go of those who are gone or take too little.
    pub(super) fn tell(&self, event: &Bytes) {
        if let State::Open(listeners) = &mut *self.state() {
            listeners.retain(|listener| {
                let told = listener.events.try_send(event.clone());
                if let Err(mpsc::error::TrySendError::Full(_)) = &told {
                    listener.too_slow.cancel();
                }
                told.is_ok()
            });
        }
    }

    /// There are no more events: what waits is still told.
    pub(super) fn close(&self) {
        *self.state() = State::Closed;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in single steps, each of which leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer that goes on for as long as there are events.
#[derive(Debug)]
pub(in crate::ops) struct Events {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Bytes>,
}

impl Events {
    pub(super) const fn new(first: Bytes, rest: mpsc::Receiver<Bytes>) -> Self {
        Self { first: Some(first), rest }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        this.rest.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_may_listen_and_a_place_is_free_once_its_listener_is_gone() {
        let listeners = Listeners::default();
        assert!(!listeners.is_listened_to());
        let mut taken: Vec<_> = (0..LISTENERS).map(|_| listeners.take_in().unwrap()).collect();
        assert!(listeners.is_listened_to());
        assert_eq!(listeners.take_in().map(drop), Err(NotTaken::TooMany));
        assert!(NotTaken::TooMany.to_string().starts_with("16 pages listen already"));
        taken.pop();
        assert!(listeners.take_in().is_ok());
    }

    #[test]
    fn a_listener_that_takes_nothing_is_let_go_and_others_are_told_on() {
        let listeners = Listeners::default();
        let mut slow = listeners.take_in().unwrap();
        let mut quick = listeners.take_in().unwrap();
        for number in 0..=WAITING_EVENTS {
            let event = Bytes::from(number.to_string());
            listeners.tell(&event);
            assert_eq!(quick.events.try_recv(), Ok(event));
        }
        assert!(slow.too_slow.is_cancelled() && !quick.too_slow.is_cancelled());
        for _ in 0..WAITING_EVENTS {
            slow.events.try_recv().unwrap();
        }
        assert_eq!(slow.events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn at_the_end_what_waits_is_told_and_nobody_is_taken_in() {
        let listeners = Listeners::default();
        let mut listening = listeners.take_in().unwrap();
        listeners.tell(&Bytes::from_static(b"last"));
        listeners.close();
        listeners.tell(&Bytes::from_static(b"never"));
        assert_eq!(listening.events.try_recv(), Ok(Bytes::from_static(b"last")));
        assert_eq!(listening.events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(listeners.take_in().map(drop), Err(NotTaken::Ended));
    }
}
