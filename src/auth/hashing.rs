//! The lane in which new passwords and recovery codes are hashed: one after another in the whole process, and few of one
//! person's at once, so that nobody fills the machine's memory or keeps the others waiting (S43).
//!
//! Presented passwords have threads of their own, see `password_check`. Callers: the use cases that set passwords, set
//! second factors up or take a recovery code.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::control_plane::ControlError;

/// So many of one person's may be hashed or wait.
const OF_ONE_PERSON: usize = 4;

/// The lane; clones share it.
#[derive(Clone, Debug)]
pub struct HashingLane {
    slot: Arc<Semaphore>,
    present: Arc<Mutex<HashMap<String, usize>>>,
}

/// Somebody's place in the lane, given back when it is dropped.
struct Place {
    whose: String,
    present: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for HashingLane {
    fn default() -> Self {
        Self { slot: Arc::new(Semaphore::new(1)), present: Arc::default() }
    }
}

impl HashingLane {
    /// Does the slow `work` of `whose` when its turn has come. It goes on, and keeps its turn, when nobody waits for it
    /// any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        whose: impl ToString,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        let failed = |error: &dyn std::fmt::Display| ControlError::Hashing(error.to_string());
        let place = Place::take(&self.present, whose.to_string()).ok_or(ControlError::HashingBusy)?;
        let turn = Arc::clone(&self.slot).acquire_owned().await.map_err(|error| failed(&error))?;
        let done = tokio::task::spawn_blocking(move || {
            let _kept = (turn, place);
            work()
        });
        done.await.map_err(|error| failed(&error))
    }
}

impl Place {
    fn take(present: &Arc<Mutex<HashMap<String, usize>>>, whose: String) -> Option<Self> {
        let mut places = present.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = places.entry(whose.clone()).or_default();
        if *taken >= OF_ONE_PERSON {
            return None;
        }
        *taken += 1;
        Some(Self { whose, present: Arc::clone(present) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = places.get_mut(&self.whose) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                places.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn s43_one_hashes_at_a_time_and_nobody_takes_more_than_four_places() {
        let lane = HashingLane::default();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let lane = lane.clone();
            async move { lane.run("acme/alex", move || released.recv().is_ok()).await }
        });
        while lane.present.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(lane.run("acme/alex", || true))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let refused = lane.run("acme/alex", || true).await;
        assert!(matches!(refused, Err(ControlError::HashingBusy)));
        let mut other = Box::pin(lane.run("acme/bo", || true));
        assert!((&mut other).now_or_never().is_none(), "one at a time, whoever it is");
        // Whoever gives up makes room.
        waiting.clear();
        let mut again = Box::pin(lane.run("acme/alex", || true));
        assert!((&mut again).now_or_never().is_none());
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert!(other.await.unwrap() && again.await.unwrap());
        assert!(lane.present.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn s43_what_nobody_waits_for_any_more_keeps_its_turn_until_it_is_done() {
        let lane = HashingLane::default();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let mut left = Box::pin(lane.run("acme/alex", move || released.recv().is_ok()));
        assert!((&mut left).now_or_never().is_none());
        drop(left);
        let mut next = Box::pin(lane.run("acme/bo", || true));
        assert!((&mut next).now_or_never().is_none());
        release.send(()).unwrap();
        assert!(next.await.unwrap());
    }
}
