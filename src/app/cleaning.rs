//! Removes, every hour, what people at the console have left behind: sessions that are over, links that have expired,
//! tokens of forms that were sent long ago.
//!
//! None of it is good for anything any more, whether it is removed or not. Spawned by `control`.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Limits;
use crate::store::{Store, StoreError};

const CLEAN_EVERY: Duration = Duration::from_hours(1);
/// A form that was sent is known for so long, in seconds: no page of it is open longer.
const TOKENS_KNOWN_SECONDS: i64 = 86_400;

/// Longer than any failed password counts.
const FAILURES_KNOWN_MILLISECONDS: i64 = 7_200_000;

/// What cleans the store.
pub(super) struct Cleaning {
    store: Store,
    clock: Clock,
    idle_seconds: i64,
    absolute_seconds: i64,
}

impl Cleaning {
    /// Of `store`, by the lifetimes of `limits`.
    pub(super) fn new(store: Store, clock: Clock, limits: &Limits) -> Self {
        Self {
            store,
            clock,
            idle_seconds: limits.console_session_idle_seconds.into(),
            absolute_seconds: limits.console_session_seconds.into(),
        }
    }

    /// Cleans at once and then every hour.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(CLEAN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.store.in_time(self.clean()).await {
                tracing::warn!(%error, "sessions, links and tokens that are over could not be removed");
            }
        }
    }

    async fn clean(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let opened_until = now.plus_seconds(-self.absolute_seconds);
        let used_until = now.plus_seconds(-self.idle_seconds);
        self.store.clear_console_sessions(opened_until, used_until).await?;
        self.store.clear_links(now).await?;
        self.store.clear_used_tokens(now.plus_seconds(-TOKENS_KNOWN_SECONDS)).await?;
        self.store.clear_failed_passwords(FAILURES_KNOWN_MILLISECONDS).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, World};
    use crate::model::{ConsoleSessionRecord, LinkPurpose, SignInStage, TokenDigest};
    use crate::store::{LinkRecord, Use};

    #[tokio::test]
    async fn s84_what_is_over_is_removed_and_nothing_else() {
        let limits = Limits::default();
        let world = World::new(limits.clone()).await;
        let store = world.store.clone();
        let session = |digest, created: i64, used: i64| ConsoleSessionRecord {
            digest: TokenDigest([digest; 32]),
            user: world.user,
            stage: SignInStage::Full,
            tries: 0,
            password_version: 1,
            mfa_generation: 0,
            created_at: NOW.plus_seconds(-created),
            last_used_at: NOW.plus_seconds(-used),
            authenticated_at: NOW.plus_seconds(-created),
            client_ip: String::new(),
            browser: String::new(),
        };
        let mut change = store.mutate().await.unwrap();
        for session in [session(1, 43_199, 1_799), session(2, 43_200, 0), session(3, 1_800, 1_800)] {
            change.insert_console_session(&session, 10).await.unwrap();
        }
        let link =
            LinkRecord { user: world.user, purpose: LinkPurpose::Password, expires_at: NOW.plus_seconds(1) };
        change.put_link(TokenDigest([7; 32]), &link).await.unwrap();
        for (digest, age) in [(8, 86_399), (9, 86_400)] {
            change.use_token(TokenDigest([digest; 32]), "x", NOW.plus_seconds(-age)).await.unwrap();
        }
        change.commit().await.unwrap();

        let cleaning = Cleaning::new(store.clone(), world.clock.clone(), &limits);
        cleaning.clean().await.unwrap();
        let left: Vec<_> = store.console_sessions_of(world.user).await.unwrap();
        assert_eq!(left.iter().map(|session| session.digest.0[0]).collect::<Vec<_>>(), [1]);
        assert!(store.link(TokenDigest([7; 32])).await.unwrap().is_some());
        let mut change = store.mutate().await.unwrap();
        let again = change.use_token(TokenDigest([8; 32]), "y", NOW).await.unwrap();
        assert_eq!(again, Use::Again("x".into()));
        assert_eq!(change.use_token(TokenDigest([9; 32]), "y", NOW).await.unwrap(), Use::First);
        drop(change);

        world.clock.set(NOW.plus_seconds(1));
        cleaning.clean().await.unwrap();
        assert!(store.link(TokenDigest([7; 32])).await.unwrap().is_none());
        assert!(store.console_sessions_of(world.user).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn it_cleans_as_soon_as_it_runs_and_ends_when_told() {
        let world = World::new(Limits::default()).await;
        let link = LinkRecord { user: world.user, purpose: LinkPurpose::SignIn, expires_at: NOW };
        let mut change = world.store.mutate().await.unwrap();
        change.put_link(TokenDigest([7; 32]), &link).await.unwrap();
        change.commit().await.unwrap();
        let stop = CancellationToken::new();
        let cleaning = Cleaning::new(world.store.clone(), world.clock.clone(), &Limits::default());
        let task = tokio::spawn(cleaning.run(stop.clone()));
        while world.store.link(TokenDigest([7; 32])).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        task.await.unwrap();
    }
}
