//! The keeper of API sessions: opens and closes them in the store for the doors, which never touch it.
//!
//! The doors send orders and wait; the keeper carries out what has come in by one change, and answers once the index
//! of this process has applied it. It also writes down last uses, and removes sessions whose time is over. Whether
//! a session lets in is the authenticator's to judge. Run by `app` on the control plane's runtime.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Denial;
use super::reach::known_everywhere;
use crate::clock::Clock;
use crate::config::Limits;
use crate::crypto::random::RandomError;
use crate::crypto::{KeyRing, draw_session_key};
use crate::model::{
    ApiSessionRecord, Revision, Secret, SessionBounds, SessionDigest, SessionLifetime, Timestamp, UserId,
};
use crate::store::{Index, Mutation, SessionUse, Store, StoreError};

/// Orders that may wait; beyond, the doors answer 503.
const WAITING_ORDERS: usize = 256;
/// Orders that are carried out by one change.
const ORDERS_PER_CHANGE: usize = 64;
/// A door gives up waiting after this, and answers 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Uses are written at least this often, or 30 times in the time that an unused session lives.
const TIDY_AT_MOST_EVERY_SECONDS: u32 = 60;

/// Where the doors send their orders to. Clones share one queue.
#[derive(Clone, Debug)]
pub struct SessionOrders(mpsc::Sender<Order>);

/// Opens, closes and removes sessions, one change after the other.
#[derive(Debug)]
pub struct SessionKeeper {
    store: Store,
    index: Arc<Index>,
    key_ring: Arc<KeyRing>,
    clock: Clock,
    lifetime: SessionLifetime,
    per_user: usize,
    orders: mpsc::Receiver<Order>,
    /// Uses before this moment are written.
    written_until: Timestamp,
}

/// What a [`SessionKeeper`] works on.
#[derive(Debug)]
pub struct SessionKeeperParts {
    /// Where the sessions are kept.
    pub store: Store,
    /// Where the doors look them up; somebody else keeps it up with the store.
    pub index: Arc<Index>,
    /// What digests are made with.
    pub key_ring: Arc<KeyRing>,
    /// The time.
    pub clock: Clock,
    /// Lifetimes, and how many a user may have.
    pub limits: Arc<Limits>,
}

#[derive(Debug)]
struct Order {
    wish: Wish,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// A session for whoever has just shown the password of this version.
    Open { user: UserId, password_version: i64 },
    /// No such session any more.
    Close(SessionDigest),
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// The new session's key.
    Opened(Secret<String>),
    /// The password has ended meanwhile.
    PasswordEnded,
    /// The session is gone.
    Closed,
}

/// Why a session was neither opened nor closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFault {
    /// The credential does not allow it.
    Denied(Denial),
    /// The store is away, or too much waits already; trying again makes sense.
    Unavailable,
}

/// An order could not be carried out.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The index does not follow.
    #[error("the change was made, and the index has not applied it")]
    NotApplied,
}

impl SessionOrders {
    /// Has `wish` carried out, and waits until this process knows what came of it.
    pub(super) async fn carry_out(&self, wish: Wish) -> Result<Outcome, SessionFault> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Order { wish, answer }).map_err(|_| SessionFault::Unavailable)?;
        match timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) | Err(_) => Err(SessionFault::Unavailable),
        }
    }
}

impl SessionKeeper {
    /// A keeper, and where its orders are sent to.
    pub fn new(parts: SessionKeeperParts) -> (Self, SessionOrders) {
        let (sender, orders) = mpsc::channel(WAITING_ORDERS);
        let keeper = Self {
            lifetime: parts.limits.session_lifetime(),
            per_user: usize::try_from(parts.limits.api_sessions_per_user).unwrap_or(usize::MAX),
            written_until: parts.clock.now(),
            store: parts.store,
            index: parts.index,
            key_ring: parts.key_ring,
            clock: parts.clock,
            orders,
        };
        (keeper, SessionOrders(sender))
    }

    /// Carries out orders until `stop`, then writes the last uses.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_secs(self.tidy_every_seconds().into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orders = Vec::new();
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    let store = self.store.clone();
                    store.in_time(self.tidy()).await
                }
                _ = self.orders.recv_many(&mut orders, ORDERS_PER_CHANGE) => {
                    if orders.is_empty() {
                        break;
                    }
                    self.store.in_time(self.carry_out(orders.drain(..))).await
                }
            };
            if let Err(error) = done {
                tracing::warn!(%error, "API sessions could not be changed");
            }
        }
        if let Err(error) = self.write_uses().await {
            tracing::warn!(%error, "uses of API sessions could not be written");
        }
    }

    /// Makes one change of all `orders`, and answers them. After an error they are dropped unanswered, which the
    /// doors understand.
    async fn carry_out(&self, orders: impl Iterator<Item = Order>) -> Result<(), KeeperError> {
        let mut change = self.store.mutate().await?;
        let mut outcomes = Vec::new();
        for Order { wish, answer } in orders {
            let outcome = match wish {
                Wish::Open { user, password_version } => {
                    self.open(&mut change, user, password_version).await?
                }
                Wish::Close(session) => {
                    change.delete_api_session(session).await?;
                    Outcome::Closed
                }
            };
            outcomes.push((answer, outcome));
        }
        let revision = change.commit().await?;
        self.await_applied(revision).await?;
        known_everywhere(&self.store, revision).await?;
        for (answer, outcome) in outcomes {
            // Whoever has stopped waiting has answered 503 already.
            drop(answer.send(outcome));
        }
        Ok(())
    }

    async fn open(
        &self,
        change: &mut Mutation,
        user: UserId,
        password_version: i64,
    ) -> Result<Outcome, KeeperError> {
        self.make_room(change, user).await?;
        let key = draw_session_key()?;
        let now = self.clock.now();
        let session = ApiSessionRecord {
            digest: self.key_ring.digest.digest_session(key.expose().as_bytes()),
            user,
            password_version,
            opened_at: now,
            last_used_at: now,
        };
        let stands = change.insert_api_session(&session).await?;
        Ok(if stands { Outcome::Opened(key) } else { Outcome::PasswordEnded })
    }

    /// Ends those of the user's sessions that were unused longest, so that there is room for one more.
    async fn make_room(&self, change: &mut Mutation, user: UserId) -> Result<(), KeeperError> {
        let mut sessions = change.api_sessions_of(user).await?;
        let surplus = (sessions.len() + 1).saturating_sub(self.per_user);
        if surplus == 0 {
            return Ok(());
        }
        // The index knows uses that are not written yet.
        sessions.sort_by_cached_key(|session| {
            let known = self.index.lookup_session(session.digest).map(|found| found.last_used_at);
            (known.max(Some(session.last_used_at)), session.opened_at)
        });
        for session in sessions.iter().take(surplus) {
            change.delete_api_session(session.digest).await?;
        }
        Ok(())
    }

    async fn await_applied(&self, revision: Revision) -> Result<(), KeeperError> {
        let mut applied = self.index.applied();
        match timeout(ANSWER_WITHIN, applied.wait_for(|applied| *applied >= revision)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(KeeperError::NotApplied),
        }
    }

    /// Writes uses, learns those of other gateways, and removes sessions whose time is over.
    async fn tidy(&mut self) -> Result<(), KeeperError> {
        let others_write_within = -i64::from(self.tidy_every_seconds()) * 2;
        let known_since = self.written_until.plus_seconds(others_write_within);
        self.write_uses().await?;
        for used in self.store.session_uses_since(known_since).await? {
            self.index.remember_session_use(used);
        }
        let bounds = self.lifetime.bounds(self.clock.now());
        let used_until = bounds.used_until.plus_seconds(others_write_within);
        let mut change = self.store.mutate().await?;
        change.delete_api_sessions_beyond(SessionBounds { used_until, ..bounds }).await?;
        change.commit().await?;
        Ok(())
    }

    async fn write_uses(&mut self) -> Result<(), KeeperError> {
        let now = self.clock.now();
        let uses: Vec<SessionUse> = self.index.session_uses_since(self.written_until);
        self.store.note_session_uses(&uses).await?;
        // Threads read the clock a moment before they note a use.
        self.written_until = now.plus_seconds(-1);
        Ok(())
    }

    fn tidy_every_seconds(&self) -> u32 {
        (self.lifetime.idle_seconds / 30).clamp(1, TIDY_AT_MOST_EVERY_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, World};

    /// A keeper whose index nobody keeps up, so that a test does it.
    async fn keeper(limits: Limits) -> (World, SessionKeeper) {
        let mut world = World::new(limits).await;
        let keeper = world.keeper.take().unwrap();
        (world, keeper)
    }

    async fn insert(world: &World, number: u8) -> SessionDigest {
        let digest = SessionDigest([number; 32]);
        let user = world.user;
        let session =
            ApiSessionRecord { digest, user, password_version: 1, opened_at: NOW, last_used_at: NOW };
        let mut change = world.store.mutate().await.unwrap();
        assert!(change.insert_api_session(&session).await.unwrap());
        change.commit().await.unwrap();
        world.reload().await;
        digest
    }

    fn last_use(index: &Index, session: SessionDigest) -> Option<Timestamp> {
        index.lookup_session(session).map(|found| found.last_used_at)
    }

    #[tokio::test]
    async fn uses_survive_a_restart_and_a_load_of_everything() {
        let (world, mut keeper) = keeper(Limits::default()).await;
        let session = insert(&world, 1).await;
        let used = NOW.plus_seconds(600);
        world.index.remember_session_use(SessionUse { session, at: used });
        world.reload().await;
        assert_eq!(last_use(&world.index, session), Some(used), "not written yet, and not forgotten");
        world.clock.set(NOW.plus_seconds(620));
        keeper.tidy().await.unwrap();
        let after_restart = Index::load(&world.store).await.unwrap();
        assert_eq!(last_use(&after_restart, session), Some(used));
    }

    #[tokio::test]
    async fn uses_at_other_gateways_are_learnt() {
        let (world, mut keeper) = keeper(Limits::default()).await;
        let session = insert(&world, 1).await;
        let elsewhere = SessionUse { session, at: NOW.plus_seconds(30) };
        world.store.note_session_uses(&[elsewhere]).await.unwrap();
        world.clock.set(NOW.plus_seconds(60));
        keeper.tidy().await.unwrap();
        assert_eq!(last_use(&world.index, session), Some(elsewhere.at));
    }

    #[tokio::test]
    async fn what_is_over_is_removed_once_no_gateway_can_know_better() {
        let (world, mut keeper) = keeper(Limits::default()).await;
        let session = insert(&world, 1).await;
        for (seconds, kept) in [(1_800, true), (1_919, true), (1_920, false)] {
            world.clock.set(NOW.plus_seconds(seconds));
            keeper.tidy().await.unwrap();
            world.reload().await;
            assert_eq!(last_use(&world.index, session).is_some(), kept, "after {seconds} s");
        }
    }

    #[tokio::test]
    async fn more_orders_than_may_wait_are_refused() {
        let (_world, mut keeper) = keeper(Limits::default()).await;
        let (sender, orders) = mpsc::channel(1);
        keeper.orders = orders;
        let orders = SessionOrders(sender);
        let wish = Wish::Close(SessionDigest([1; 32]));
        let waiting = orders.carry_out(wish);
        tokio::pin!(waiting);
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        assert_eq!(orders.carry_out(wish).await.unwrap_err(), SessionFault::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_nobody_carries_out_is_given_up() {
        let (sender, _orders) = mpsc::channel(1);
        let began = tokio::time::Instant::now();
        let refused = SessionOrders(sender).carry_out(Wish::Close(SessionDigest([1; 32]))).await;
        assert_eq!(refused.unwrap_err(), SessionFault::Unavailable);
        assert_eq!(began.elapsed(), ANSWER_WITHIN);
    }

    #[tokio::test]
    async fn an_order_is_answered_only_once_the_index_has_it() {
        let (world, keeper) = keeper(Limits::default()).await;
        let (answer, answered) = oneshot::channel();
        let wish = Wish::Open { user: world.user, password_version: 1 };
        let carried_out = keeper.carry_out([Order { wish, answer }].into_iter());
        let seen = async {
            while world.store.revision().await.unwrap() == *world.index.applied().borrow() {
                tokio::task::yield_now().await;
            }
            assert!(world.index.session_uses_since(NOW).is_empty());
            world.reload().await;
        };
        let (done, ()) = tokio::join!(carried_out, seen);
        done.unwrap();
        let Outcome::Opened(key) = answered.await.unwrap() else { panic!() };
        let digest = world.key_ring.digest.digest_session(key.expose().as_bytes());
        assert_eq!(last_use(&world.index, digest), Some(NOW));
    }
}
