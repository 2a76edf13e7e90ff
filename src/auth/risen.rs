//! Deletes again what lives in a store that was put back by hand: keys that were deleted, recovery codes that were used (S98).
//!
//! What was deleted is known from the file beside the store. Whoever wants it back restores with `--accept-revival`. Called
//! where a gateway is started, before it lets anybody in.

use super::actor::Actor;
use super::audit::{Event, EventKind};
use crate::crypto::KeyRing;
use crate::model::{Timestamp, UserId};
use crate::store::{Risen, Store, StoreError, StoreMark};

/// What was deleted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuriedAgain {
    /// Keys.
    pub keys: usize,
    /// Recovery codes.
    pub codes: usize,
}

/// Buries what has risen; `None`: nothing has, as ever where the store was not put back.
pub async fn bury_risen(
    store: &Store,
    key_ring: &KeyRing,
    now: Timestamp,
) -> Result<Option<BuriedAgain>, StoreError> {
    let Risen { keys, codes } = store.risen().await?;
    // One that was copied elsewhere takes no changes, and is nobody's truth any more.
    if (keys.is_empty() && codes.is_empty()) || store.is_marked(StoreMark::Moved).await? {
        return Ok(None);
    }
    let mut change = store.mutate().await?;
    let mut events = Vec::new();
    for key in &keys {
        change.delete_key(key, now).await?;
        let event = Event::new(EventKind::KeyDeleted)
            .with("key", key.id)
            .with("description", &key.description)
            .with("reason", "deleted before the store was put back by hand");
        events.push(about(store, event, key.user).await?);
    }
    for (user, code) in &codes {
        change.use_recovery_code(*user, code).await?;
        let event = Event::new(EventKind::RecoveryCodeUsed)
            .with("reason", "used before the store was put back by hand");
        events.push(about(store, event, *user).await?);
    }
    let entries: Vec<_> = events.iter().map(|event| event.entry(&Actor::Gateway, now)).collect();
    change.append_audit(&entries, &key_ring.audit).await?;
    change.commit().await?;
    Ok(Some(BuriedAgain { keys: keys.len(), codes: codes.len() }))
}

async fn about(store: &Store, event: Event, user: UserId) -> Result<Event, StoreError> {
    let user = store.user_by_id(user).await?.ok_or(StoreError::Corrupt("owner"))?;
    Ok(event.about(&user))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{KeyToMake, PasswordEnd};
    use super::*;
    use crate::config::StoreLocation;

    #[tokio::test]
    async fn s98_a_store_that_was_put_back_by_hand_revives_no_deleted_key_at_the_next_start() {
        let (folder, mut plane) = plane().await;
        let StoreLocation::Sqlite(path) = plane.store.location() else { return };
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "test", "api".parse().unwrap());
        let two = NonZeroU32::new(2).unwrap();
        let made = plane.create_keys(&order, two, PasswordEnd::Accepted).await.unwrap().keys;
        let kept = folder.path().join("copied by hand");
        plane.store.close().await;
        std::fs::copy(&path, &kept).unwrap();
        plane.store = Store::open(&StoreLocation::Sqlite(path.clone())).await.unwrap();
        plane.delete_key(made[0].id).await.unwrap();
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);
        plane.store.close().await;
        std::fs::copy(&kept, &path).unwrap();
        plane.store = Store::open(&StoreLocation::Sqlite(path)).await.unwrap();
        assert!(plane.store.key(made[0].id).await.unwrap().is_some());
        let buried = bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap();
        assert_eq!(buried, Some(BuriedAgain { keys: 1, codes: 0 }));
        assert!(plane.store.key(made[0].id).await.unwrap().is_none());
        assert!(plane.store.key(made[1].id).await.unwrap().is_some());
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);
        assert!(plane.verify_audit(None, &mut |_| {}).await.unwrap().is_ok());
    }
}
