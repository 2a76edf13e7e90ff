//! Keeps an index up with the store: hears of changes, applies them in order, acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyConnection;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::feed::{self, Position};
use super::log_mark::LogMark;
use super::open::Place;
use super::postgres::Empty;
use super::sqlite::{StoreFile, log_path};
use super::{Change, GatewayRegistration, Index, Store, StoreError, Subject};
use crate::model::Timestamp;

/// How often it is looked whether the embedded store was written to.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// A revision that was missed for whatever reason is found after this at the latest.
const LOOK_ANYWAY_AFTER: Duration = Duration::from_secs(1);
/// How soon a shared database that is away is looked for again.
const LOOK_FOR_IT_EVERY: Duration = Duration::from_millis(200);
/// A shared database that has not answered a small question by then is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// The same where everything is read, or the schema is brought up to date.
const LOADED_WITHIN: Duration = Duration::from_mins(5);

/// Follows the change feed for one gateway.
#[derive(Debug)]
pub struct Follower {
    gateway: Gateway,
    watch: Watch,
}

/// Whose index is kept up, and by which store.
#[derive(Debug)]
struct Gateway {
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
    /// How long decisions go on while the store cannot be read.
    fn trusted(&self) -> Duration;
    /// A shared database's clock says `now`. Called every second.
    fn database_time(&mut self, now: Timestamp);
    /// The store cannot be read; `Ok` once it can again. Called when this changes.
    fn store_state(&mut self, state: Result<(), &StoreError>);
}

impl Follower {
    /// A follower of `store` that keeps `index` up.
    pub fn new(store: Store, index: Arc<Index>, registration: GatewayRegistration) -> Self {
        Self { gateway: Gateway { store, index, registration }, watch: Watch::default() }
    }

    /// Looks at once: what was changed by now is applied when this returns, and acknowledged.
    pub async fn look(&mut self, events: &mut impl FollowerEvents) -> Result<(), StoreError> {
        let looked = self.gateway.catch_up(&mut self.watch, events).await;
        if looked.is_err() {
            // Fresh connections next time: these may belong to a file that was replaced, or lead nowhere.
            self.watch = Watch::default();
        }
        looked
    }

    /// Follows until `stop`; then the gateway's registration is taken back.
    pub async fn run(
        mut self,
        events: &mut impl FollowerEvents,
        stop: CancellationToken,
    ) -> Result<(), FollowerError> {
        // Whoever started without the store is told of its return, and not of its absence.
        let mut healthy = !self.gateway.store.is_awaited();
        // First a look, and then the wait for something new: nobody else has looked since the gateway was registered.
        while !stop.is_cancelled() {
            match self.look(events).await {
                Ok(()) if healthy => {}
                Ok(()) => {
                    healthy = true;
                    events.store_state(Ok(()));
                }
                Err(error) => {
                    if std::mem::replace(&mut healthy, false) {
                        events.store_state(Err(&error));
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.gateway.next_look(Arc::clone(&self.watch.notices.arrived), healthy) => {}
            }
        }
        self.leave().await
    }

    /// Takes the gateway's registration back.
    pub async fn leave(self) -> Result<(), FollowerError> {
        let Gateway { store, registration, .. } = self.gateway;
        Ok(store.unregister_gateway(registration).await?)
    }
}

impl Gateway {
    /// Waits until there may be something new.
    async fn next_look(&self, notice: Arc<Notify>, healthy: bool) {
        match &*self.store.place {
            Place::File(_) => sleep(POLL_EVERY).await,
            Place::Server(_) if !healthy => sleep(LOOK_FOR_IT_EVERY).await,
            // The notice is the wake-up, and never the truth: whatever it misses is found all the same.
            Place::Server(_) => {
                let _ = timeout(LOOK_ANYWAY_AFTER, notice.notified()).await;
            }
        }
    }

    async fn catch_up(&self, watch: &mut Watch, events: &mut impl FollowerEvents) -> Result<(), StoreError> {
        self.store.require_in_place()?;
        match &*self.store.place {
            Place::File(file) => self.catch_up_with_file(file, watch, events).await,
            Place::Server(_) => self.catch_up_with_server(watch, events).await,
        }
    }

    async fn catch_up_with_file(
        &self,
        file: &StoreFile,
        watch: &mut Watch,
        events: &mut impl FollowerEvents,
    ) -> Result<(), StoreError> {
        let is_due = watch.looked_at.is_none_or(|looked| looked.elapsed() >= LOOK_ANYWAY_AFTER);
        if watch.log.is_as_it_was(&log_path(file.path()), Instant::now()) && !is_due {
            return Ok(());
        }
        let connection = match &mut watch.connection {
            Some(connection) => connection,
            none => none.insert(self.store.pinned_connection().await?),
        };
        // Outside any transaction: inside one the version would be frozen.
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection).await?;
        if watch.seen_version == Some(version) && !is_due {
            return Ok(());
        }
        watch.looked_at = Some(Instant::now());
        while self.apply_batch(connection, events).await? {}
        watch.seen_version = Some(version);
        Ok(())
    }

    async fn catch_up_with_server(
        &self,
        watch: &mut Watch,
        events: &mut impl FollowerEvents,
    ) -> Result<(), StoreError> {
        let connection = match &mut watch.connection {
            Some(connection) => connection,
            none => {
                if let Place::Server(server) = &*self.store.place {
                    in_time(LOADED_WITHIN, server.bring_up_to_date(Empty::Refuse)).await?;
                }
                // Listened first, so that nothing comes between the last look and the first notice.
                watch.notices = Notices::of(&self.store).await?;
                none.insert(in_time(ANSWERED_WITHIN, self.store.pinned_connection()).await?)
            }
        };
        if watch.presence_noted_at.is_none_or(|noted| noted.elapsed() >= LOOK_ANYWAY_AFTER) {
            let noting = self.store.note_presence(connection, &self.registration, events.trusted());
            if let Some(now) = in_time(ANSWERED_WITHIN, noting).await? {
                events.database_time(now);
            }
            watch.presence_noted_at = Some(Instant::now());
        }
        while self.apply_batch(connection, events).await? {}
        Ok(())
    }

    /// Applies the next changes; `false` when there were none.
    async fn apply_batch(
        &self,
        connection: &mut AnyConnection,
        events: &mut impl FollowerEvents,
    ) -> Result<bool, StoreError> {
        let subjects = match in_time(ANSWERED_WITHIN, feed::after(connection, self.index.position())).await? {
            Some((changes, _)) if changes.is_empty() => return Ok(false),
            Some((changes, end)) => self.apply(&changes, end).await?,
            None => {
                in_time(LOADED_WITHIN, self.index.resynchronise(&self.store)).await?;
                vec![Subject::Everything]
            }
        };
        let ended = events.applied(&subjects);
        let revision = *self.index.applied().borrow();
        match &*self.store.place {
            Place::File(_) => self.store.acknowledge(&self.registration, revision, ended).await?,
            Place::Server(_) => {
                let acknowledging =
                    self.store.acknowledge_by(connection, &self.registration, revision, ended);
                in_time(ANSWERED_WITHIN, acknowledging).await?;
            }
        }
        Ok(true)
    }

    async fn apply(&self, changes: &[Change], end: Position) -> Result<Vec<Subject>, StoreError> {
        let subjects: Vec<Subject> = changes.iter().map(|change| change.subject).collect();
        let patience =
            if subjects.contains(&Subject::Everything) { LOADED_WITHIN } else { 5 * ANSWERED_WITHIN };
        in_time(patience, self.index.apply(&self.store, changes, end)).await?;
        Ok(subjects)
    }
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Watch {
    connection: Option<AnyConnection>,
    /// Of the embedded store: what its log looked like, and its `data_version`.
    log: LogMark,
    seen_version: Option<i64>,
    looked_at: Option<Instant>,
    /// Of a shared database.
    notices: Notices,
    presence_noted_at: Option<Instant>,
}

/// What a shared database sends after each commit.
#[derive(Debug, Default)]
struct Notices {
    arrived: Arc<Notify>,
    listener: Option<AbortHandle>,
}

impl Notices {
    async fn of(store: &Store) -> Result<Self, StoreError> {
        let Place::Server(server) = &*store.place else { return Ok(Self::default()) };
        let mut listener = in_time(ANSWERED_WITHIN, server.listen()).await?;
        let arrived = Arc::new(Notify::new());
        let told = Arc::clone(&arrived);
        let task = tokio::spawn(async move {
            // A lost connection wakes as well: the next look finds out what there is.
            while let Ok(Some(_)) = listener.try_recv().await {
                told.notify_one();
            }
            told.notify_one();
        });
        Ok(Self { arrived, listener: Some(task.abort_handle()) })
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(patience, work).await.unwrap_or(Err(StoreError::Unanswered(patience)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewGateway;

    /// Listens to nothing.
    struct Deaf;

    impl FollowerEvents for Deaf {
        fn applied(&mut self, _subjects: &[Subject]) -> u64 {
            0
        }

        fn trusted(&self) -> Duration {
            Duration::from_mins(1)
        }

        fn database_time(&mut self, _now: Timestamp) {}

        fn store_state(&mut self, _state: Result<(), &StoreError>) {}
    }

    #[tokio::test]
    async fn what_was_changed_while_the_index_was_loaded_is_applied_and_acknowledged_by_the_first_look() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let index = Arc::new(Index::load(&store).await.unwrap());
        let loaded = *index.applied().borrow();
        let mut change = store.mutate().await.unwrap();
        change.touch(Subject::Customer(crate::model::CustomerId(1)));
        let changed = change.commit().await.unwrap();
        let new = NewGateway { id: "a1".into(), name: "test".into(), trusted: Duration::from_mins(1) };
        let now = Timestamp::from_unix_milliseconds(0);
        let registration = store.register_gateway(new, loaded, now).await.unwrap();
        let mut follower = Follower::new(store.clone(), Arc::clone(&index), registration);
        follower.look(&mut Deaf).await.unwrap();
        assert!(changed > loaded && *index.applied().borrow() == changed);
        let answers = store.await_acknowledgements(changed, Duration::ZERO).await.unwrap();
        assert_eq!(answers.len(), 1);
        assert!(matches!(answers[0], crate::store::Acknowledgement::Applied { .. }), "{answers:?}");
        follower.leave().await.unwrap();
        assert_eq!(store.await_acknowledgements(changed, Duration::ZERO).await.unwrap(), []);
    }
}
