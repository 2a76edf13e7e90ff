//! Keeps an index up with the store: watches for changes, applies them in order, acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::index::missing_changes;
use super::{GatewayRegistration, Index, Store, StoreError, Subject};

/// How often the store's `data_version` is looked at (DESIGN section 2).
const POLL_EVERY: Duration = Duration::from_millis(20);
/// A revision that was missed for whatever reason is found after this at the latest.
const LOOK_ANYWAY_AFTER: Duration = Duration::from_secs(1);

/// Follows the change feed of the embedded store for one gateway.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    index: Arc<Index>,
    registration: GatewayRegistration,
}

/// The follower cannot go on; the index stays as it is.
#[derive(Debug, thiserror::Error)]
#[error("the change feed cannot be followed: {0}")]
pub struct FollowerError(#[from] StoreError);

/// What a follower tells whoever runs it.
pub trait FollowerEvents {
    /// Changes about `subjects` have been applied; ends what they no longer let in, and says how many that were.
    fn applied(&mut self, subjects: &[Subject]) -> u64;
    /// The store cannot be read; `Ok` once it can again. Called when this changes.
    fn store_state(&mut self, state: Result<(), &StoreError>);
}

impl Follower {
    /// A follower of `store` that keeps `index` up.
    pub const fn new(store: Store, index: Arc<Index>, registration: GatewayRegistration) -> Self {
        Self { store, index, registration }
    }

    /// Follows until `stop`; then the gateway's registration is taken back.
    pub async fn run(
        self,
        events: &mut impl FollowerEvents,
        stop: CancellationToken,
    ) -> Result<(), FollowerError> {
        let mut watch = Watch { connection: None, seen_version: None, looked_at: Instant::now() };
        let mut healthy = true;
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match self.catch_up(&mut watch, events).await {
                Ok(()) if healthy => {}
                Ok(()) => {
                    healthy = true;
                    events.store_state(Ok(()));
                }
                Err(error) => {
                    // A fresh connection next time: this one may belong to a file that was replaced.
                    watch.connection = None;
                    watch.seen_version = None;
                    if std::mem::replace(&mut healthy, false) {
                        events.store_state(Err(&error));
                    }
                }
            }
        }
        self.store.unregister_gateway(self.registration).await?;
        Ok(())
    }

    async fn catch_up(&self, watch: &mut Watch, events: &mut impl FollowerEvents) -> Result<(), StoreError> {
        self.store.require_in_place()?;
        let connection = match &mut watch.connection {
            Some(connection) => connection,
            none => none.insert(self.store.pinned_connection().await?),
        };
        // Outside any transaction: inside one the version would be frozen.
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection).await?;
        if watch.seen_version == Some(version) && watch.looked_at.elapsed() < LOOK_ANYWAY_AFTER {
            return Ok(());
        }
        watch.looked_at = Instant::now();
        while self.apply_batch(connection, events).await? {}
        watch.seen_version = Some(version);
        Ok(())
    }

    /// Applies the next changes; `false` when there were none.
    async fn apply_batch(
        &self,
        connection: &mut SqliteConnection,
        events: &mut impl FollowerEvents,
    ) -> Result<bool, StoreError> {
        let applied = *self.index.applied().borrow();
        let subjects = match missing_changes(connection, applied).await? {
            Some(changes) if changes.is_empty() => return Ok(false),
            Some(changes) => {
                self.index.apply(&self.store, &changes).await?;
                changes.iter().map(|change| change.subject).collect()
            }
            None => {
                self.index.resynchronise(&self.store).await?;
                vec![Subject::Everything]
            }
        };
        let ended = events.applied(&subjects);
        let revision = *self.index.applied().borrow();
        self.store.acknowledge(&self.registration, revision, ended).await?;
        Ok(true)
    }
}

/// What is remembered between two looks.
struct Watch {
    connection: Option<SqliteConnection>,
    seen_version: Option<i64>,
    looked_at: Instant,
}
