//! The rows of a snapshot: what of the index lets keys in, with what is used of quotas, and nothing of passwords and
//! sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{CustomerEntry, CustomerState, UserState};
use super::quotas::{Count, Quotas};
use super::{Generation, Index};
use crate::crypto::random::RandomError;
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, CustomerId, KeyDigest, KeyId, QuotaMoment, QuotaOwner, QuotaTerms,
    Revision, ServiceScope, Timestamp, UserId,
};
use crate::store::feed::Position;
use crate::store::records::{requirement, stored_requirement};
use crate::store::{StoreError, Subject};

/// A row as it is written: quotas before their owners, customers before users, and users before keys.
#[derive(Serialize, Deserialize)]
enum Row<'r> {
    Customer {
        id: i64,
        handle: &'r str,
        mfa: bool,
        allow_list: &'r str,
    },
    User {
        id: i64,
        customer: i64,
        login: &'r str,
        active: bool,
        access_points: u8,
        password_off_by_key: bool,
        mfa: bool,
        mfa_active: bool,
        allow_list: &'r str,
    },
    Key {
        digest: [u8; 32],
        id: i64,
        user: i64,
        scope: u8,
        enabled: bool,
        expires_at: Option<i64>,
        allow_list: &'r str,
    },
    Quota {
        kind: OwnerKind,
        id: i64,
        /// Of the day and the month; 0: none.
        limits: [u64; 2],
        /// Which day and month, and how many requests were let in.
        used: [(u32, u64); 2],
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum OwnerKind {
    Customer,
    User,
    Key,
}

impl OwnerKind {
    const fn of(owner: QuotaOwner) -> (Self, i64) {
        match owner {
            QuotaOwner::Customer(CustomerId(id)) => (Self::Customer, id),
            QuotaOwner::User(UserId(id)) => (Self::User, id),
            QuotaOwner::Key(id) => (Self::Key, id.to_stored()),
        }
    }

    const fn owner(self, id: i64) -> QuotaOwner {
        match self {
            Self::Customer => QuotaOwner::Customer(CustomerId(id)),
            Self::User => QuotaOwner::User(UserId(id)),
            Self::Key => QuotaOwner::Key(KeyId::from_stored(id)),
        }
    }
}

/// Rows that make no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum RowsFault {
    /// A row is not written as rows are.
    Unreadable,
    /// A user's customer, or a key's user, does not come before it.
    WithoutOwner,
}

impl From<StoreError> for RowsFault {
    fn from(_: StoreError) -> Self {
        Self::WithoutOwner
    }
}

impl Index {
    /// An index that holds nothing, at no place of the feed: whatever the feed holds, everything is loaded afresh.
    pub(in crate::store) fn empty() -> Result<Self, RandomError> {
        let nowhere = Position { revision: Revision(-1), mark: 0 };
        Ok(Self::at(Generation::with_room(0, 0, 0)?, nowhere))
    }

    /// Hands every row to `write`, each as it is written.
    pub(in crate::store) fn each_row<E>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let generation = self.current.load_full();
        let mut buffer = Vec::new();
        let mut put = |row: Row<'_>| {
            buffer.clear();
            // Writing to a Vec cannot fail.
            buffer = postcard::to_extend(&row, std::mem::take(&mut buffer)).unwrap_or_default();
            write(&buffer)
        };
        let moment = QuotaMoment::of(self.clock.now());
        self.quotas.try_each(moment, |owner, limits, used| {
            let (kind, id) = OwnerKind::of(owner);
            put(Row::Quota { kind, id, limits, used: used.map(Count::parts) })
        })?;
        for customer in &generation.customers {
            let state = customer.state();
            put(Row::Customer {
                id: customer.id().0,
                handle: customer.handle(),
                mfa: stored_requirement(state.mfa),
                allow_list: &state.allow_list.to_string(),
            })?;
        }
        generation.users.try_each(|user| {
            let state = user.state();
            put(Row::User {
                id: user.id().0,
                customer: user.customer().id().0,
                login: user.login(),
                active: state.active,
                access_points: state.access_points.to_stored(),
                password_off_by_key: state.password_off_by_key,
                mfa: stored_requirement(state.mfa),
                mfa_active: state.mfa_active,
                allow_list: &state.allow_list.to_string(),
            })
        })?;
        generation.keys.try_each(|digest, key| {
            put(Row::Key {
                digest: digest.0,
                id: key.id.to_stored(),
                user: key.user.id().0,
                scope: key.scope.to_stored(),
                enabled: key.enabled,
                expires_at: key.expires_at.map(Timestamp::unix_milliseconds),
                allow_list: &key.allow_list.to_string(),
            })
        })
    }

    /// Puts the rows that stand in `rows`, but nothing that is among `changed`: of whom it is not known what became lets in
    /// nobody.
    pub(in crate::store) fn put_rows(
        &self,
        mut rows: &[u8],
        changed: &HashSet<Subject>,
    ) -> Result<(), RowsFault> {
        let generation = self.current.load_full();
        // Equal lists are read once and shared.
        let mut lists = HashMap::new();
        while !rows.is_empty() {
            let (row, rest) = postcard::take_from_bytes(rows).map_err(|_| RowsFault::Unreadable)?;
            rows = rest;
            generation.put_row(&row, changed, &mut lists, &self.quotas)?;
        }
        Ok(())
    }
}

impl Generation {
    fn put_row(
        &self,
        row: &Row<'_>,
        changed: &HashSet<Subject>,
        lists: &mut HashMap<String, AllowList>,
        quotas: &Quotas,
    ) -> Result<(), RowsFault> {
        let mut list = |written: &str| -> Result<AllowList, RowsFault> {
            if let Some(list) = lists.get(written) {
                return Ok(list.clone());
            }
            let list: AllowList = written.parse().map_err(|_| RowsFault::Unreadable)?;
            lists.insert(written.to_owned(), list.clone());
            Ok(list)
        };
        match *row {
            Row::Customer { id, handle, mfa, allow_list } => {
                let metering = quotas.metering(QuotaOwner::Customer(CustomerId(id)));
                let state = CustomerState { mfa: requirement(mfa), allow_list: list(allow_list)?, metering };
                let entry = CustomerEntry::named(CustomerId(id), handle, self.customer_states.share(state));
                self.customers.insert(CustomerId(id), Arc::new(entry));
            }
            Row::User {
                id,
                customer,
                login,
                active,
                access_points,
                password_off_by_key,
                mfa,
                mfa_active,
                allow_list,
            } => {
                let is_known = !changed.contains(&Subject::User(UserId(id)))
                    && !changed.contains(&Subject::Customer(CustomerId(customer)));
                let state = UserState {
                    active: active && is_known,
                    access_points: AccessPoints::from_stored(access_points),
                    password_hash: None,
                    password_version: 0,
                    password_off_by_key,
                    mfa: requirement(mfa),
                    mfa_active,
                    allow_list: list(allow_list)?,
                    metering: quotas.metering(QuotaOwner::User(UserId(id))),
                };
                self.add_user(UserId(id), CustomerId(customer), login, self.shared_state(state))?;
            }
            Row::Key { digest, .. } if changed.contains(&Subject::Key(KeyDigest(digest))) => {}
            Row::Key { digest, id, user, scope, enabled, expires_at, allow_list } => {
                let record = ApiKeyRecord {
                    id: KeyId::from_stored(id),
                    user: UserId(user),
                    digest: KeyDigest(digest),
                    last_characters: String::new(),
                    description: String::new(),
                    scope: ServiceScope::from_stored(scope).ok_or(RowsFault::Unreadable)?,
                    enabled,
                    expires_at: expires_at.map(Timestamp::from_unix_milliseconds),
                    allow_list: list(allow_list)?,
                    created_at: Timestamp::from_unix_milliseconds(0),
                };
                self.put_key(&record, quotas.metering(QuotaOwner::Key(record.id)))?;
            }
            Row::Quota { kind, id, limits, used } => {
                let [day, month] = limits.map(|limit| (limit > 0).then_some(limit));
                let terms = QuotaTerms::new(day, month).map_err(|_| RowsFault::Unreadable)?;
                quotas.put(
                    kind.owner(id),
                    terms,
                    used.map(|(number, requests)| Count::new(number, requests)),
                );
            }
        }
        Ok(())
    }
}
