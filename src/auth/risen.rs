//! Deletes again what lives in a store that was put back by hand: customers, users and keys that were deleted, recovery codes
//! that were used (S98).
//!
//! What was deleted is known from the file beside the store. Whoever wants it back restores with `--accept-revival`. A
//! customer may be left without an administrator: the one of then was deleted, and the one of now is not in that store; an
//! operator makes another. Called where a gateway is started, before it lets anybody in.

use super::actor::Actor;
use super::audit::{Event, EventKind};
use crate::crypto::{KeyRing, RecoveryHash};
use crate::model::{ApiKeyRecord, CustomerId, Timestamp, UserId};
use crate::store::{Mutation, Risen, Store, StoreError, StoreMark};

const DELETED_BEFORE: &str = "deleted before the store was put back by hand";

/// What was deleted again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuriedAgain {
    /// Customers with all that is theirs, by handle.
    pub customers: Vec<String>,
    /// Users of other customers with all that is theirs, by name.
    pub users: Vec<String>,
    /// Keys of other users.
    pub keys: usize,
    /// Recovery codes of other users.
    pub codes: usize,
}

/// Buries what has risen; `None`: nothing has, as ever where the store was not put back.
pub async fn bury_risen(
    store: &Store,
    key_ring: &KeyRing,
    now: Timestamp,
) -> Result<Option<BuriedAgain>, StoreError> {
    let Risen { customers, users, keys, codes } = store.risen().await?;
    let is_any = !(customers.is_empty() && users.is_empty() && keys.is_empty() && codes.is_empty());
    // One that was copied elsewhere takes no changes, and is nobody's truth any more.
    if !is_any || store.is_marked(StoreMark::Moved).await? {
        return Ok(None);
    }
    let mut burial =
        Burial { change: store.mutate().await?, now, events: Vec::new(), done: BuriedAgain::default() };
    for customer in customers {
        burial.bury_customer(customer).await?;
    }
    for user in users {
        burial.bury_user(user).await?;
    }
    for key in keys {
        burial.bury_key(&key).await?;
    }
    for (user, code) in &codes {
        burial.bury_code(*user, code).await?;
    }
    let Burial { mut change, events, done, .. } = burial;
    let entries: Vec<_> = events.iter().map(|event| event.entry(&Actor::Gateway, now)).collect();
    change.append_audit(&entries, &key_ring.audit).await?;
    change.commit().await?;
    Ok(Some(done))
}

/// The larger first: what goes with it is not there any more when its own turn comes.
struct Burial {
    change: Mutation,
    now: Timestamp,
    events: Vec<Event>,
    done: BuriedAgain,
}

impl Burial {
    async fn bury_customer(&mut self, id: CustomerId) -> Result<(), StoreError> {
        let Some(customer) = self.change.customer_by_id(id).await? else { return Ok(()) };
        let users = self.change.users_of(id).await?;
        for user in &users {
            self.change.delete_user(user.id, self.now).await?;
        }
        self.change.delete_customer(id).await?;
        let event = Event::new(EventKind::CustomerDeleted).about_thing(Some(id), customer.handle.as_str());
        self.events.push(event.with("users", users.len()).with("reason", DELETED_BEFORE));
        self.done.customers.push(customer.handle.to_string());
        Ok(())
    }

    async fn bury_user(&mut self, id: UserId) -> Result<(), StoreError> {
        let Some(user) = self.change.user_by_id(id).await? else { return Ok(()) };
        let keys = self.change.keys_of(id).await?.len();
        self.change.delete_user(id, self.now).await?;
        let event = Event::new(EventKind::UserDeleted).about(&user);
        self.events.push(event.with("keys", keys).with("reason", DELETED_BEFORE));
        self.done.users.push(user.name.to_string());
        Ok(())
    }

    async fn bury_key(&mut self, key: &ApiKeyRecord) -> Result<(), StoreError> {
        let Some(user) = self.change.user_by_id(key.user).await? else { return Ok(()) };
        self.change.delete_key(key, self.now).await?;
        let event = Event::new(EventKind::KeyDeleted)
            .about(&user)
            .with("key", key.id)
            .with("description", &key.description);
        self.events.push(event.with("reason", DELETED_BEFORE));
        self.done.keys += 1;
        Ok(())
    }

    async fn bury_code(&mut self, user: UserId, code: &RecoveryHash) -> Result<(), StoreError> {
        let Some(record) = self.change.user_by_id(user).await? else { return Ok(()) };
        self.change.use_recovery_code(user, code).await?;
        let event = Event::new(EventKind::RecoveryCodeUsed).about(&record);
        self.events.push(event.with("reason", "used before the store was put back by hand"));
        self.done.codes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{CustomerToMake, KeyToMake, PasswordEnd, UserToMake};
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
        assert_eq!(buried, Some(BuriedAgain { keys: 1, ..BuriedAgain::default() }));
        assert!(plane.store.key(made[0].id).await.unwrap().is_none());
        assert!(plane.store.key(made[1].id).await.unwrap().is_some());
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);
        assert!(plane.verify_audit(None, &mut |_| {}).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn s98_users_and_customers_of_a_store_that_was_put_back_by_hand_stay_deleted_with_all_that_is_theirs()
     {
        let (folder, mut plane) = plane().await;
        let StoreLocation::Sqlite(path) = plane.store.location() else { return };
        let beta = "beta".parse().unwrap();
        plane.create_customer(CustomerToMake::new("beta".parse().unwrap())).await.unwrap();
        let one = NonZeroU32::new(1).unwrap();
        for user in ["acme/alex", "beta/admin"] {
            let order = KeyToMake::new(user.parse().unwrap(), "test", "api".parse().unwrap());
            plane.create_keys(&order, one, PasswordEnd::Accepted).await.unwrap();
        }
        let kept = folder.path().join("copied by hand");
        plane.store.close().await;
        std::fs::copy(&path, &kept).unwrap();
        plane.store = Store::open(&StoreLocation::Sqlite(path.clone())).await.unwrap();
        plane.delete_user(&"acme/alex".parse().unwrap()).await.unwrap();
        plane.delete_customer(&beta).await.unwrap();
        plane.store.close().await;
        std::fs::copy(&kept, &path).unwrap();
        plane.store = Store::open(&StoreLocation::Sqlite(path)).await.unwrap();
        assert_eq!(plane.users(None).await.unwrap().len(), 3);
        let buried = bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap().unwrap();
        let expected = BuriedAgain {
            customers: vec!["beta".into()],
            users: vec!["acme/alex".into()],
            ..BuriedAgain::default()
        };
        assert_eq!(buried, expected);
        let left: Vec<_> =
            plane.users(None).await.unwrap().iter().map(|user| user.name.to_string()).collect();
        assert_eq!(left, ["acme/admin"]);
        assert!(plane.store.list_keys(None).await.unwrap().is_empty());
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);
        assert!(plane.verify_audit(None, &mut |_| {}).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_has_got_the_number_of_somebody_who_was_deleted_is_somebody_else() {
        let (folder, mut plane) = plane().await;
        let StoreLocation::Sqlite(path) = plane.store.location() else { return };
        let kept = folder.path().join("copied by hand");
        plane.store.close().await;
        std::fs::copy(&path, &kept).unwrap();
        let open = async || Store::open(&StoreLocation::Sqlite(path.clone())).await.unwrap();
        plane.store = open().await;
        plane.create_user(UserToMake::new("acme/early".parse().unwrap())).await.unwrap();
        let early = plane.user(&"acme/early".parse().unwrap()).await.unwrap().id;
        plane.delete_user(&"acme/early".parse().unwrap()).await.unwrap();
        plane.store.close().await;
        std::fs::copy(&kept, &path).unwrap();
        plane.store = open().await;
        plane.clock.set(NOW.plus_seconds(1));
        plane.create_user(UserToMake::new("acme/late".parse().unwrap())).await.unwrap();
        assert_eq!(plane.user(&"acme/late".parse().unwrap()).await.unwrap().id, early);
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);

        // A gateway that is started in time sees to it that nobody gets the number.
        plane.store.close().await;
        std::fs::copy(&kept, &path).unwrap();
        plane.store = open().await;
        assert_eq!(bury_risen(&plane.store, &plane.key_ring, NOW).await.unwrap(), None);
        plane.create_user(UserToMake::new("acme/late".parse().unwrap())).await.unwrap();
        assert!(plane.user(&"acme/late".parse().unwrap()).await.unwrap().id > early);
    }
}
