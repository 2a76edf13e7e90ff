//! The users of the index, found by row and by name.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;

use super::entry::UserEntry;
use super::shards::Shards;
use crate::crypto::random::{self, RandomError};
use crate::model::UserId;

/// All users. The tables hold nothing but the entries, which know what they are found by.
#[derive(Debug)]
pub(super) struct Users {
    by_id: Shards<HashTable<Arc<UserEntry>>>,
    by_name: Shards<HashTable<Arc<UserEntry>>>,
    /// Goes into every hash: whoever chooses names must not choose where they stand.
    secret: [u8; 16],
}

impl Users {
    /// None yet, with room for so many.
    pub(super) fn with_room(users: usize) -> Result<Self, RandomError> {
        let table = || Shards::new(users, HashTable::with_capacity);
        Ok(Self { by_id: table(), by_name: table(), secret: random::bytes()? })
    }

    /// Looks a user up by its row.
    pub(super) fn get(&self, id: UserId) -> Option<Arc<UserEntry>> {
        let hash = self.hash_id(id);
        self.by_id.read(hash)?.find(hash, |user| user.id() == id).map(Arc::clone)
    }

    /// Looks a user up by `customer/login`.
    pub(super) fn named(&self, name: &str) -> Option<Arc<UserEntry>> {
        // Neither part can be empty, nor hold a slash.
        let (customer, login) = name.split_once('/').unwrap_or((name, ""));
        let hash = self.hash_name(customer, login);
        let same = |user: &Arc<UserEntry>| user.login() == login && user.customer_handle() == customer;
        self.by_name.read(hash)?.find(hash, same).map(Arc::clone)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.iter().map(|table| table.len()).sum()
    }

    /// Shows every user to `look`, until it fails.
    pub(super) fn try_each<E>(&self, mut look: impl FnMut(&UserEntry) -> Result<(), E>) -> Result<(), E> {
        self.by_id.iter().try_for_each(|table| table.iter().try_for_each(|user| look(user)))
    }

    /// Puts a user who is not there yet.
    pub(super) fn insert(&self, user: Arc<UserEntry>) {
        let hash = self.hash_name_of(&user);
        if let Some(mut table) = self.by_name.write(hash) {
            table.insert_unique(hash, Arc::clone(&user), |user| self.hash_name_of(user));
        }
        let hash = self.hash_id(user.id());
        if let Some(mut table) = self.by_id.write(hash) {
            table.insert_unique(hash, user, |user| self.hash_id(user.id()));
        }
    }

    /// Takes a user out; answers what was there.
    pub(super) fn remove(&self, id: UserId) -> Option<Arc<UserEntry>> {
        let hash = self.hash_id(id);
        let user = take(&self.by_id, hash, id)?;
        take(&self.by_name, self.hash_name_of(&user), id);
        Some(user)
    }

    fn hash_id(&self, id: UserId) -> u64 {
        self.hash(id)
    }

    fn hash_name_of(&self, user: &UserEntry) -> u64 {
        self.hash_name(user.customer_handle(), user.login())
    }

    fn hash_name(&self, customer: &str, login: &str) -> u64 {
        self.hash((customer, login))
    }

    fn hash(&self, of: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, of).hash(&mut hasher);
        hasher.finish()
    }
}

fn take(from: &Shards<HashTable<Arc<UserEntry>>>, hash: u64, id: UserId) -> Option<Arc<UserEntry>> {
    let mut table = from.write(hash)?;
    let found = table.find_entry(hash, |user| user.id() == id).ok()?;
    Some(found.remove().0)
}
