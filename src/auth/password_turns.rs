//! Lets the same password for the same name be checked by one at a time.
//!
//! Many connections of one application send the same password at once. If each were counted before it is hashed, a
//! right password would run into its own throttle; in turn, all but the first find it remembered. Nobody waits who
//! sends another password. Called by `authenticator`, for passwords that are not remembered.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::password_check::QueueFull;
use crate::model::KeyDigest;

/// Who checks what, and who waits for that.
#[derive(Debug)]
pub(super) struct PasswordTurns {
    /// By digest of name and password.
    taken: DashMap<KeyDigest, Arc<Mutex<()>>>,
    /// As many may wait for one turn.
    queue: usize,
}

/// One's turn; the next one's begins when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    // The order matters: the place looks whether anybody else is left.
    _guard: OwnedMutexGuard<()>,
    _kept: Place<'t>,
}

/// A place in the queue for a turn.
#[derive(Debug)]
struct Place<'t> {
    turns: &'t PasswordTurns,
    digest: KeyDigest,
    turn: Option<Arc<Mutex<()>>>,
}

impl PasswordTurns {
    /// `queue` may wait for the same turn.
    pub(super) fn new(queue: usize) -> Self {
        Self { taken: DashMap::new(), queue }
    }

    /// Waits until nobody else checks what has this digest.
    pub(super) async fn take(&self, digest: KeyDigest) -> Result<Turn<'_>, QueueFull> {
        let turn = Arc::clone(&self.taken.entry(digest).or_default());
        let place = Place { turns: self, digest, turn: Some(Arc::clone(&turn)) };
        // Each who waits, or has the turn, holds it twice; the map once.
        if Arc::strong_count(&turn) / 2 > self.queue.saturating_add(1) {
            return Err(QueueFull);
        }
        Ok(Turn { _guard: turn.lock_owned().await, _kept: place })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.turn.take());
        // Whoever comes next takes it out of the map under the same lock, so it is nobody's when it is the map's alone.
        self.turns.taken.remove_if(&self.digest, |_, turn| Arc::strong_count(turn) == 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ONE: KeyDigest = KeyDigest([1; 32]);
    const OTHER: KeyDigest = KeyDigest([2; 32]);

    #[tokio::test]
    async fn one_at_a_time_has_the_turn_and_others_do_not_wait_for_it() {
        let turns = PasswordTurns::new(5);
        let first = turns.take(ONE).await.unwrap();
        let mut second = Box::pin(turns.take(ONE));
        assert!((&mut second).now_or_never().is_none());
        assert!(turns.take(OTHER).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
        assert!(turns.taken.is_empty());
    }

    #[tokio::test]
    async fn s43_no_more_wait_than_the_queue_has_room_for() {
        let turns = PasswordTurns::new(2);
        let first = turns.take(ONE).await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(turns.take(ONE))).collect();
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none());
        }
        assert_eq!(turns.take(ONE).await.unwrap_err(), QueueFull);
        // Whoever gives up makes room, and leaves nothing behind.
        waiting.pop();
        assert!(turns.take(ONE).now_or_never().is_none());
        drop(waiting);
        drop(first);
        assert!(turns.taken.is_empty());
    }
}
