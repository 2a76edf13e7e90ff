//! What the hot path reads: every key, session, user and customer, in memory.
//!
//! A reader takes no lock that a writer holds across an await. A single change replaces one entry or one state; a
//! resynchronisation builds a whole new generation and swaps it in. Only the [`Follower`](super::Follower) writes.

mod entry;
mod interned;
mod keys;
mod load;
mod quotas;
mod rows;
mod sessions;
mod shards;
mod users;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use sqlx::AnyConnection;
use tokio::sync::watch;

pub(super) use rows::RowsFault;

pub use entry::{CustomerEntry, CustomerState, FoundKey, FoundSession, SessionEntry, UserEntry, UserState};
pub use quotas::{Metering, QuotaLevel, Quotas};

use interned::Interned;
use keys::Keys;
use users::Users;

use super::feed::Position;
use super::records::{CustomerRecord, UserRecord};
use super::{Change, Store, StoreError, Subject, api_sessions, queries, quotas as stored_quotas};
use crate::clock::Clock;
use crate::crypto::random::RandomError;
use crate::model::{
    ApiKeyRecord, CustomerId, KeyDigest, QuotaMoment, QuotaOwner, Revision, Timestamp, UserId,
};

/// The index of one process; shared by reference.
#[derive(Debug)]
pub struct Index {
    current: ArcSwap<Generation>,
    /// Outlives the generations, so that what was counted stays counted.
    quotas: Quotas,
    /// Tells of which day and month the use of a new quota is read.
    clock: Clock,
    applied: watch::Sender<Revision>,
    /// Of the last revision that was applied; the follower alone writes it.
    applied_mark: AtomicI64,
}

/// One whole picture of the store.
#[derive(Debug)]
struct Generation {
    keys: Keys,
    sessions: sessions::Sessions,
    users: Users,
    customers: DashMap<CustomerId, Arc<CustomerEntry>>,
    user_states: Interned<UserState>,
    customer_states: Interned<CustomerState>,
}

/// How much an index holds, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexSize {
    /// API keys.
    pub keys: usize,
    /// Users.
    pub users: usize,
}

impl Index {
    /// Reads the whole store, but for what is used of quotas: [`look_at_quotas`](Self::look_at_quotas).
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let (generation, quotas, position) = load::generation(store).await?;
        let index = Self::at(generation, position);
        index.quotas.replace(&quotas, &HashMap::new(), index.moment());
        Ok(index)
    }

    /// The same index by another clock than the machine's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn at(generation: Generation, Position { revision, mark }: Position) -> Self {
        Self {
            current: ArcSwap::from_pointee(generation),
            quotas: Quotas::default(),
            clock: Clock::system(),
            applied: watch::Sender::new(revision),
            applied_mark: AtomicI64::new(mark),
        }
    }

    fn moment(&self) -> QuotaMoment {
        QuotaMoment::of(self.clock.now())
    }

    /// How far it has come.
    pub(super) fn position(&self) -> Position {
        Position { revision: *self.applied.borrow(), mark: self.applied_mark.load(Ordering::Acquire) }
    }

    fn come_to(&self, position: Position) {
        self.applied_mark.store(position.mark, Ordering::Release);
        self.applied.send_replace(position.revision);
    }

    /// Looks a key up. The work and the comparison are the same for a hit and a miss.
    pub fn lookup_key(&self, digest: &KeyDigest) -> Option<FoundKey> {
        self.current.load().keys.lookup(digest)
    }

    /// Looks a user up by `customer/login`.
    pub fn lookup_user(&self, name: &str) -> Option<Arc<UserEntry>> {
        self.current.load().users.named(name)
    }

    /// Looks a user up by its row.
    pub fn user(&self, id: UserId) -> Option<Arc<UserEntry>> {
        self.current.load().users.get(id)
    }

    /// Remembers that a use of the key was noted, so that the next one soon after need not be.
    pub fn remember_noted_use(&self, digest: &KeyDigest, at: Timestamp) {
        // A key that is gone is used no more.
        let _ = self.current.load().keys.look_at(digest, |entry| entry.note_use(at));
    }

    /// Hands the number to `spend` by which the key's requests are counted; `None`: there is no such key any more. It
    /// is 0 at first, outlives changes of the key, and begins anew where everything is loaded afresh.
    pub fn meter_request<T>(&self, digest: &KeyDigest, spend: impl FnOnce(&AtomicU64) -> T) -> Option<T> {
        self.current.load().keys.look_at(digest, |entry| spend(&entry.meter))
    }

    /// Sets the numbers of all keys' requests to 0.
    pub fn reset_meters(&self) {
        self.current.load().keys.look_at_all(|entry| entry.meter.store(0, Ordering::Relaxed));
    }

    /// The revision that has been applied; a receiver is told of each further one.
    pub fn applied(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// How much it holds.
    pub fn size(&self) -> IndexSize {
        let generation = self.current.load();
        IndexSize { keys: generation.keys.len(), users: generation.users.len() }
    }

    /// Loads everything afresh and swaps it in.
    pub(crate) async fn resynchronise(&self, store: &Store) -> Result<Revision, StoreError> {
        let (generation, quotas, position) = load::generation(store).await?;
        let moment = self.moment();
        let used = self.used_of_new_quotas(store, &quotas, moment).await?;
        generation.keep_session_uses_of(&self.current.load());
        // First the counters: whoever is said to have a quota finds its counter.
        self.quotas.replace(&quotas, &used, moment);
        self.current.store(Arc::new(generation));
        self.come_to(position);
        Ok(position.revision)
    }

    /// Applies `changes`, which follow what was applied without a gap up to `end`, as the store has them now.
    pub(super) async fn apply(
        &self,
        store: &Store,
        changes: &[Change],
        end: Position,
    ) -> Result<(), StoreError> {
        if changes.iter().any(|change| change.subject == Subject::Everything) {
            self.resynchronise(store).await?;
            return Ok(());
        }
        // One read transaction, so that all parts of a mutation are seen together.
        let mut transaction = store.begin_read().await?;
        let generation = self.current.load_full();
        for change in changes {
            match change.subject {
                Subject::Customer(id) => {
                    let metering = self.put_quota(&mut transaction, QuotaOwner::Customer(id)).await?;
                    match queries::customer_by_id(&mut transaction, id).await? {
                        Some(customer) => generation.put_customer(&customer, metering),
                        None => drop(generation.customers.remove(&id)),
                    }
                }
                Subject::User(id) => {
                    let metering = self.put_quota(&mut transaction, QuotaOwner::User(id)).await?;
                    match queries::user_by_id(&mut transaction, id).await? {
                        Some(user) => generation.put_user(&user, metering)?,
                        None => generation.remove_user(id),
                    }
                }
                Subject::Key(digest) => match queries::key_by_digest(&mut transaction, &digest).await? {
                    Some(key) => {
                        let metering = self.put_quota(&mut transaction, QuotaOwner::Key(key.id)).await?;
                        generation.put_key(&key, metering)?;
                    }
                    None => {
                        if let Some(id) = generation.keys.remove(&digest) {
                            self.quotas.set(QuotaOwner::Key(id), None, None);
                        }
                    }
                },
                Subject::ApiSession(digest) => {
                    match api_sessions::by_digest(&mut transaction, digest).await? {
                        Some(session) => generation.put_session(&session)?,
                        None => drop(generation.sessions.remove(&digest)),
                    }
                }
                Subject::Everything => {}
            }
        }
        transaction.rollback().await?;
        self.come_to(end);
        Ok(())
    }

    /// Takes over the quota of `owner` as it is stored; a new one begins with what was used before it.
    async fn put_quota(
        &self,
        connection: &mut AnyConnection,
        owner: QuotaOwner,
    ) -> Result<Metering, StoreError> {
        let terms = stored_quotas::of(connection, owner).await?;
        let is_new = terms.is_some() && self.quotas.metering(owner) == Metering::Off;
        let used = if is_new {
            let moment = self.moment();
            Some((moment, stored_quotas::requests_of(connection, owner, moment).await?))
        } else {
            None
        };
        Ok(self.quotas.set(owner, terms, used))
    }
}

impl Generation {
    /// Of nothing, with room for so many.
    fn with_room(keys: usize, users: usize, customers: usize) -> Result<Self, RandomError> {
        Ok(Self {
            keys: Keys::with_room(keys),
            sessions: sessions::Sessions::default(),
            users: Users::with_room(users)?,
            customers: DashMap::with_capacity(customers),
            user_states: Interned::default(),
            customer_states: Interned::default(),
        })
    }

    fn put_customer(&self, record: &CustomerRecord, metering: Metering) {
        let state = self.customer_states.share(CustomerState::of(record, metering));
        match self.customers.get(&record.id) {
            Some(entry) => entry.replace_state(state),
            None => drop(self.customers.insert(record.id, Arc::new(CustomerEntry::new(record, state)))),
        }
    }

    fn put_user(&self, record: &UserRecord, metering: Metering) -> Result<(), StoreError> {
        let state = self.shared_state(UserState::of(record, metering));
        if let Some(entry) = self.users.get(record.id) {
            entry.replace_state(state);
            return Ok(());
        }
        self.add_user(record.id, record.customer, record.name.login.as_str(), state)
    }

    fn add_user(
        &self,
        id: UserId,
        customer: CustomerId,
        login: &str,
        state: Arc<UserState>,
    ) -> Result<(), StoreError> {
        let customer = self.customers.get(&customer).map(|entry| Arc::clone(&entry));
        let customer = customer.ok_or(StoreError::Corrupt("user without a customer"))?;
        self.users.insert(Arc::new(UserEntry::new(id, customer, login, state)));
        Ok(())
    }

    /// A state with a password is like no other, and must not be kept once it was changed.
    fn shared_state(&self, state: UserState) -> Arc<UserState> {
        if state.password_hash.is_some() { Arc::new(state) } else { self.user_states.share(state) }
    }

    fn remove_user(&self, id: UserId) {
        if let Some(entry) = self.users.remove(id) {
            entry.mark_deleted();
        }
    }

    fn put_key(&self, record: &ApiKeyRecord, metering: Metering) -> Result<(), StoreError> {
        let user = self.users.get(record.user).ok_or(StoreError::Corrupt("key without a user"))?;
        self.keys.put(record, user, metering);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::DigestKey;
    use crate::model::{
        AccessPoints, AllowList, KeyId, MfaRequirement, Permissions, QuotaMoment, QuotaTerms, Recognised,
        Service,
    };
    use crate::store::testing::CredentialUse;
    use crate::store::{NewCustomer, NewUser, UsageHour, feed};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn key(number: u8, user: UserId) -> ApiKeyRecord {
        ApiKeyRecord {
            id: KeyId::from_random(u64::from(number)),
            user,
            digest: KeyDigest([number; 32]),
            last_characters: "abcd".into(),
            description: "test".into(),
            scope: "api".parse().unwrap(),
            enabled: true,
            expires_at: None,
            allow_list: AllowList::default(),
            created_at: NOW,
        }
    }

    fn new_user(customer: CustomerId, login: &str) -> NewUser {
        NewUser {
            customer,
            login: login.parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: None,
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: NOW,
        }
    }

    async fn store_with_a_user() -> (tempfile::TempDir, Store, UserId) {
        let (folder, store) = crate::store::testing::empty_store().await;
        let mut change = store.mutate().await.unwrap();
        let new =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&new).await.unwrap();
        let user = change.insert_user(&new_user(customer, "alex")).await.unwrap();
        change.commit().await.unwrap();
        (folder, store, user)
    }

    async fn catch_up(index: &Index, store: &Store) -> usize {
        let mut connection = store.pinned_connection().await.unwrap();
        let (changes, end) = feed::after(&mut connection, index.position()).await.unwrap().unwrap();
        index.apply(store, &changes, end).await.unwrap();
        changes.len()
    }

    #[tokio::test]
    async fn what_is_changed_one_by_one_equals_what_is_loaded_at_once() {
        let (_folder, store, user) = store_with_a_user().await;
        let index = Index::load(&store).await.unwrap();
        let mut change = store.mutate().await.unwrap();
        change.insert_key(&key(1, user), "").await.unwrap();
        change.insert_key(&key(2, user), "").await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(catch_up(&index, &store).await, 2);
        let mut change = store.mutate().await.unwrap();
        change.delete_key(&key(1, user), NOW).await.unwrap();
        let mut disabled = key(2, user);
        disabled.enabled = false;
        change.update_key(&disabled).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        let afresh = Index::load(&store).await.unwrap();
        for index in [&index, &afresh] {
            assert!(index.lookup_key(&KeyDigest([1; 32])).is_none());
            assert!(!index.lookup_key(&KeyDigest([2; 32])).unwrap().enabled);
            assert_eq!(index.lookup_user("acme/alex").unwrap().id(), user);
            assert_eq!(index.size(), IndexSize { keys: 1, users: 1 });
        }
        assert_eq!(*index.applied().borrow(), *afresh.applied().borrow());
    }

    #[tokio::test]
    async fn a_digest_that_shares_the_first_half_with_a_key_is_not_that_key() {
        let (_folder, store, user) = store_with_a_user().await;
        let mut change = store.mutate().await.unwrap();
        change.insert_key(&key(7, user), "").await.unwrap();
        change.commit().await.unwrap();
        let index = Index::load(&store).await.unwrap();
        let mut other = [7; 32];
        other[31] = 8;
        assert!(index.lookup_key(&KeyDigest(other)).is_none());
        assert!(index.lookup_key(&KeyDigest([7; 32])).is_some());
    }

    #[tokio::test]
    async fn users_that_are_alike_share_a_state_until_one_of_them_changes() {
        let (_folder, store, alex) = store_with_a_user().await;
        let customer = store.user_by_id(alex).await.unwrap().unwrap().customer;
        let mut change = store.mutate().await.unwrap();
        let bo = change.insert_user(&new_user(customer, "bo")).await.unwrap();
        change.commit().await.unwrap();
        let index = Index::load(&store).await.unwrap();
        let (alex, bo) = (index.user(alex).unwrap(), index.user(bo).unwrap());
        assert!(Arc::ptr_eq(&alex.state(), &bo.state()));
        for active in [false, true] {
            let mut record = store.user_by_id(bo.id()).await.unwrap().unwrap();
            record.active = active;
            let mut change = store.mutate().await.unwrap();
            change.update_user(&record).await.unwrap();
            change.commit().await.unwrap();
            catch_up(&index, &store).await;
            assert_eq!((alex.state().active, bo.state().active), (true, active));
            assert_eq!(Arc::ptr_eq(&alex.state(), &bo.state()), active);
        }
        let mut change = store.mutate().await.unwrap();
        change.delete_user(bo.id(), NOW).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        assert_eq!((alex.state().active, bo.state().active), (true, false));
    }

    #[tokio::test]
    async fn a_deleted_user_is_shut_out_for_whoever_still_holds_the_entry() {
        let (_folder, store, user) = store_with_a_user().await;
        let index = Index::load(&store).await.unwrap();
        let held = index.lookup_user("acme/alex").unwrap();
        let mut change = store.mutate().await.unwrap();
        change.delete_user(user, NOW).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        assert!(index.lookup_user("acme/alex").is_none());
        assert!(!held.state().active);
    }

    #[tokio::test]
    async fn what_a_key_has_used_of_its_limit_outlives_a_change_of_the_key_and_not_the_key() {
        let (_folder, store, user) = store_with_a_user().await;
        let mut change = store.mutate().await.unwrap();
        change.insert_key(&key(1, user), "").await.unwrap();
        change.commit().await.unwrap();
        let index = Index::load(&store).await.unwrap();
        let spend =
            || index.meter_request(&KeyDigest([1; 32]), |meter| meter.fetch_add(5, Ordering::Relaxed));
        assert_eq!((spend(), spend()), (Some(0), Some(5)));
        index.reset_meters();
        assert_eq!((spend(), spend()), (Some(0), Some(5)));
        let mut described = key(1, user);
        described.description = "another".into();
        let mut change = store.mutate().await.unwrap();
        change.update_key(&described).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        assert_eq!(spend(), Some(10));
        let mut change = store.mutate().await.unwrap();
        change.delete_key(&key(1, user), NOW).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        assert_eq!(spend(), None);
    }

    #[tokio::test]
    async fn a_gap_in_the_feed_is_noticed() {
        let (_folder, store, user) = store_with_a_user().await;
        let index = Index::load(&store).await.unwrap();
        for number in 1..=3 {
            let mut change = store.mutate().await.unwrap();
            change.insert_key(&key(number, user), "").await.unwrap();
            change.commit().await.unwrap();
        }
        sqlx::query("DELETE FROM changes WHERE revision = 4").execute(&store.writer).await.unwrap();
        let mut connection = store.pinned_connection().await.unwrap();
        assert_eq!(feed::after(&mut connection, index.position()).await.unwrap(), None);
        index.resynchronise(&store).await.unwrap();
        assert_eq!(index.size().keys, 3);
        let now = index.position();
        assert_eq!(feed::after(&mut connection, now).await.unwrap(), Some((vec![], now)));
    }

    #[tokio::test]
    async fn a_feed_that_went_back_and_gave_its_revisions_out_anew_is_noticed() {
        let (_folder, store, user) = store_with_a_user().await;
        let index = Index::load(&store).await.unwrap();
        let mut connection = store.pinned_connection().await.unwrap();
        assert!(feed::after(&mut connection, index.position()).await.unwrap().is_some());
        // The last commit is another one, and more follow it without a gap.
        sqlx::query("UPDATE changes SET mark = mark + 1").execute(&store.writer).await.unwrap();
        assert_eq!(feed::after(&mut connection, index.position()).await.unwrap(), None);
        let mut change = store.mutate().await.unwrap();
        change.insert_key(&key(1, user), "").await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(feed::after(&mut connection, index.position()).await.unwrap(), None);
        index.resynchronise(&store).await.unwrap();
        assert_eq!(index.size().keys, 1);
        // And one that has gone back to where there was nothing.
        sqlx::query("DELETE FROM changes").execute(&store.writer).await.unwrap();
        sqlx::query("UPDATE feed_head SET revision = 0").execute(&store.writer).await.unwrap();
        assert_eq!(feed::after(&mut connection, index.position()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_import_is_invisible_until_its_commit() {
        let (_folder, store, user) = store_with_a_user().await;
        let import = store.begin_import(NOW).await.unwrap();
        let [customer] = import.add_customers(&["beta".parse().unwrap()]).await.unwrap()[..] else {
            panic!()
        };
        let login = "bo".parse().unwrap();
        let new = crate::store::ImportedUser { customer, login, administrator: false, has_key: true };
        let [bo] = import.add_users(&[new]).await.unwrap()[..] else { panic!() };
        let keys: Vec<_> = [(21, user), (22, bo)]
            .map(|(number, user)| crate::store::ImportedKey {
                id: KeyId::from_random(number),
                user,
                digest: KeyDigest([u8::try_from(number).unwrap(); 32]),
                last_characters: "wxyz".into(),
            })
            .into();
        import.add_keys(&keys, "api".parse().unwrap()).await.unwrap();
        let before = Index::load(&store).await.unwrap();
        assert_eq!(before.size(), IndexSize { keys: 0, users: 1 });
        import.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        let after = Index::load(&store).await.unwrap();
        assert_eq!(after.size(), IndexSize { keys: 2, users: 2 });
        assert!(after.lookup_user("acme/alex").unwrap().state().password_off_by_key);
        assert!(after.lookup_user("beta/bo").unwrap().state().password_off_by_key);

        let abandoned = store.begin_import(NOW).await.unwrap();
        abandoned.add_customers(&["gamma".parse().unwrap()]).await.unwrap();
        assert!(matches!(store.begin_import(NOW).await, Err(StoreError::ImportRuns)));
        abandoned.abandon().await.unwrap();
        assert!(store.customer(&"gamma".parse().unwrap()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_a_cut_off_import_left_is_cleared_away_by_the_next() {
        let (_folder, store, _) = store_with_a_user().await;
        let cut_off = store.begin_import(NOW).await.unwrap();
        cut_off.add_customers(&["gamma".parse().unwrap()]).await.unwrap();
        drop(cut_off);
        let again = store.begin_import(NOW).await.unwrap();
        again.add_customers(&["gamma".parse().unwrap()]).await.unwrap();
        again.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        assert!(store.customer(&"gamma".parse().unwrap()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_quota_is_known_of_its_owner_and_outlives_a_whole_load_with_what_was_counted() {
        let (_folder, store, user) = store_with_a_user().await;
        let index = Index::load(&store).await.unwrap().with_clock(Clock::given(NOW));
        let terms = QuotaTerms::new(Some(10), None).unwrap();
        let of_key = QuotaOwner::Key(key(1, user).id);
        let mut change = store.mutate().await.unwrap();
        change.insert_key(&key(1, user), "").await.unwrap();
        change.set_quota(of_key, Some(terms)).await.unwrap();
        change.set_quota(QuotaOwner::User(user), Some(terms)).await.unwrap();
        change.commit().await.unwrap();
        let made = CredentialUse {
            whose: Recognised::Key(key(1, user).id),
            service: Service::Api,
            hour: UsageHour::of(NOW),
            requests: 7,
            refusals: 0,
        };
        store.add_uses(&[made]).await;
        catch_up(&index, &store).await;
        let moment = QuotaMoment::of(NOW);
        let (owners, found) =
            ([of_key, QuotaOwner::User(user)], index.lookup_key(&KeyDigest([1; 32])).unwrap());
        assert_eq!((found.metering, found.user.state().metering), (Metering::On, Metering::On));
        assert_eq!(found.user.customer().state().metering, Metering::Off);
        assert!(index.quotas().take(&owners, moment).is_ok());
        index.resynchronise(&store).await.unwrap();
        assert_eq!((0..10).filter(|_| index.quotas().take(&owners, moment).is_ok()).count(), 2);
        let behind = Index::empty().unwrap().with_clock(Clock::given(NOW));
        behind.resynchronise(&store).await.unwrap();
        assert_eq!(behind.quotas().used(of_key, moment).unwrap().day, 7, "used before it was first seen");
        let afresh = Index::load(&store).await.unwrap();
        assert_eq!(afresh.lookup_key(&KeyDigest([1; 32])).unwrap().metering, Metering::On);
        afresh.look_at_quotas(&store, moment).await.unwrap();
        assert_eq!((0..10).filter(|_| afresh.quotas().take(&owners, moment).is_ok()).count(), 3);

        let mut change = store.mutate().await.unwrap();
        change.set_quota(QuotaOwner::User(user), None).await.unwrap();
        change.delete_key(&key(1, user), NOW).await.unwrap();
        change.commit().await.unwrap();
        catch_up(&index, &store).await;
        assert!(index.quotas().is_empty());
        assert_eq!(index.user(user).unwrap().state().metering, Metering::Off);
    }
}
