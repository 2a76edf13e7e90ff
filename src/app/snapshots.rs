//! Keeps the snapshot from which a gateway is started while its shared store is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::ops::Readiness;
use crate::store::{SnapshotKeeper, Store, StoreFact, Subject};

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
/// changed to be named; always of an index that is in step with the store.
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
            self.write().await;
            let quarter = self.shared.authenticator.policy().max_staleness.duration() / 4;
            let next = async {
                tokio::time::sleep(WRITE_AT_MOST_EVERY.min(quarter)).await;
                let rest = quarter.saturating_sub(WRITE_AT_MOST_EVERY);
                let _ = tokio::time::timeout(rest, self.outdated.notified()).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
        }
    }

    async fn write(&self) {
        let relying_party = match self.store.in_time(self.store.fact(StoreFact::RelyingParty)).await {
            Ok(relying_party) => relying_party,
            Err(error) => return tracing::warn!(%error, "no snapshot was written"),
        };
        let (keeper, index) = (Arc::clone(&self.keeper), Arc::clone(&self.shared.index));
        let now = self.shared.clock.now();
        let written = tokio::task::spawn_blocking(move || keeper.write(&index, now, relying_party)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no snapshot was written"),
            Err(error) => tracing::warn!(%error, "no snapshot was written"),
        }
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
