//! Keeps the snapshot from which a gateway is started while its shared store is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::ops::Readiness;
use crate::store::{SnapshotFacts, SnapshotKeeper, Store, StoreError, StoreFact, Subject, WrappedKey};

/// No snapshot follows another sooner, however soon one would be too old.
const WRITE_AT_MOST_EVERY: Duration = Duration::from_secs(15);

/// What a gateway was started from, and what it keeps for the next start.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    /// `None`: the store is not shared.
    pub(super) keeper: Option<Arc<SnapshotKeeper>>,
    /// How old the snapshot was that this gateway was started from; `None`: it was started from the store.
    pub(super) age: Option<Duration>,
    /// What that snapshot knew of whom security keys were registered for.
    pub(super) relying_party: Option<String>,
}

/// Writes a snapshot at once and whenever a quarter of `policy.max_staleness` has gone by, and anew where too much was
/// changed to be named or another master key opens the store; always of an index that is in step with the store.
pub(super) struct SnapshotWriter {
    pub(super) keeper: Arc<SnapshotKeeper>,
    pub(super) store: Store,
    pub(super) shared: Shared,
    pub(super) readiness: watch::Receiver<Readiness>,
    /// Too much was changed to be named.
    pub(super) outdated: Arc<Notify>,
}

impl SnapshotWriter {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let in_step = async {
                let _ = self.readiness.wait_for(|readiness| matches!(readiness, Readiness::Ready)).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = in_step => {}
            }
            let wrapped = self.write().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.next_is_due(wrapped.as_deref()) => {}
            }
        }
    }

    /// Waits until the next snapshot is due after one that holds the data keys as they were `wrapped`.
    async fn next_is_due(&self, wrapped: Option<&[WrappedKey]>) {
        let quarter = self.shared.authenticator.policy().max_staleness.duration() / 4;
        let due = Instant::now() + quarter;
        tokio::time::sleep(WRITE_AT_MOST_EVERY.min(quarter)).await;
        loop {
            let rest = due.saturating_duration_since(Instant::now()).min(WRITE_AT_MOST_EVERY);
            if rest.is_zero() || tokio::time::timeout(rest, self.outdated.notified()).await.is_ok() {
                return;
            }
            // A master key that is rotated wakes nobody; a store that is away is told of by others.
            let found = self.store.in_time(self.store.key_ring()).await;
            if wrapped.zip(found.ok()).is_some_and(|(wrapped, found)| wrapped != found) {
                return;
            }
        }
    }

    /// Writes one; answers the wrapped data keys that it holds, `None` where it was not written.
    async fn write(&self) -> Option<Vec<WrappedKey>> {
        let facts = async {
            let key_ring = self.store.key_ring().await?;
            let relying_party = self.store.fact(StoreFact::RelyingParty).await?;
            Ok::<_, StoreError>(SnapshotFacts { key_ring, relying_party })
        };
        let facts = match self.store.in_time(facts).await {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%error, "no snapshot was written");
                return None;
            }
        };
        let wrapped = facts.key_ring.clone();
        let (keeper, index) = (Arc::clone(&self.keeper), Arc::clone(&self.shared.index));
        let now = self.shared.clock.now();
        let written = tokio::task::spawn_blocking(move || keeper.write(&index, now, facts)).await;
        match written {
            Ok(Ok(())) => return Some(wrapped),
            Ok(Err(error)) => tracing::warn!(%error, "no snapshot was written"),
            Err(error) => tracing::warn!(%error, "no snapshot was written"),
        }
        None
    }
}

/// Notes in the journal what was changed.
pub(super) fn note(keeper: &SnapshotKeeper, outdated: &Notify, subjects: &[Subject]) {
    if let Err(error) = keeper.note(subjects) {
        tracing::warn!(%error, "a change could not be noted beside the snapshot, which is gone now");
    }
    if subjects.contains(&Subject::Everything) {
        outdated.notify_one();
    }
}
