//! The end of a listener or of the process, as those learn of it who accept and serve.
//!
//! A drain begins in one of two ways. *At once*: nobody serves in our place, and what is idle ends. *Gently*: another
//! listener or process serves already, so what is idle may ask once more until a given moment, and is told with its
//! answer that it was the last; a client whose request crosses our end on its way is answered that way. What is at work
//! finishes in both, and each connection knows its own last moment (`limits.drain_seconds`). Made by `app`, one for each
//! listener on each thread, because its lock is taken whenever a connection wakes.

use std::sync::{Arc, OnceLock};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Begins once; clones are the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    begun: CancellationToken,
    /// Set before `begun` where it began gently.
    idle_until: OnceLock<Instant>,
    /// Whose beginning is this one's, too.
    above: Option<Drain>,
}

impl Drain {
    /// One that begins with this one, or before.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(State {
            begun: self.0.begun.child_token(),
            idle_until: OnceLock::new(),
            above: Some(self.clone()),
        }))
    }

    /// Begins it at once.
    pub fn begin(&self) {
        self.0.begun.cancel();
    }

    /// Begins it gently: what is idle may ask once more until `idle_until`.
    pub fn begin_gently(&self, idle_until: Instant) {
        if !self.has_begun() {
            // The first who begins it says how.
            let _ = self.0.idle_until.set(idle_until);
        }
        self.0.begun.cancel();
    }

    /// Has it begun?
    pub fn has_begun(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.0.begun.cancelled().await;
    }

    /// Until when what is idle may ask; `None`: not any more, if it has begun.
    pub fn idle_until(&self) -> Option<Instant> {
        let own = self.0.idle_until.get().copied();
        own.or_else(|| self.0.above.as_ref().and_then(Self::idle_until))
    }

    /// Waits until what is idle must end.
    pub async fn idle_ended(&self) {
        self.begun().await;
        if let Some(until) = self.idle_until() {
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_ends_at_once_or_when_it_is_told_to() {
        let (process, began) = (Drain::default(), Instant::now());
        let (moved, other) = (process.child(), process.child());
        moved.begin_gently(began + Duration::from_secs(15));
        assert!(moved.has_begun() && !other.has_begun() && !process.has_begun());
        moved.idle_ended().await;
        assert_eq!(began.elapsed(), Duration::from_secs(15));
        process.begin();
        assert!(other.has_begun());
        other.idle_ended().await;
        assert_eq!((began.elapsed(), other.idle_until()), (Duration::from_secs(15), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_is_as_gentle_as_what_is_above_it() {
        let (process, began) = (Drain::default(), Instant::now());
        let until = began + Duration::from_secs(5);
        let before = process.child();
        process.begin_gently(until);
        for child in [before, process.child(), process.child().child()] {
            assert_eq!((child.has_begun(), child.idle_until()), (true, Some(until)));
        }
        process.begin_gently(until + Duration::from_secs(9));
        assert_eq!(process.idle_until(), Some(until), "the first who begins it says how");
    }
}
