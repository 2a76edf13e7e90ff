//! Entries of the index. What can change stands behind one swap, so that no reader sees half a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use ecow::EcoString;

use super::quotas::Metering;
use crate::crypto::PasswordHash;
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, ApiSessionRecord, CustomerId, KeyDigest, KeyId, Membership,
    MfaRequirement, ServiceScope, Timestamp, UserId,
};
use crate::store::records::{CustomerRecord, UserRecord};

const MILLISECONDS_PER_SECOND: i64 = 1_000;

/// A customer.
#[derive(Debug)]
pub struct CustomerEntry {
    id: CustomerId,
    handle: EcoString,
    state: ArcSwap<CustomerState>,
}

/// What can change of a customer. Customers that are alike share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomerState {
    /// Is MFA demanded of all users?
    pub mfa: MfaRequirement,
    /// Narrows where the users may come from.
    pub allow_list: AllowList,
    /// Are all users' requests counted together?
    pub metering: Metering,
}

impl CustomerState {
    pub(super) fn of(record: &CustomerRecord, metering: Metering) -> Self {
        Self { mfa: record.mfa, allow_list: record.allow_list.clone(), metering }
    }
}

impl CustomerEntry {
    pub(super) fn new(record: &CustomerRecord, state: Arc<CustomerState>) -> Self {
        Self::named(record.id, record.handle.as_str(), state)
    }

    pub(super) fn named(id: CustomerId, handle: &str, state: Arc<CustomerState>) -> Self {
        Self { id, handle: EcoString::from(handle), state: ArcSwap::new(state) }
    }

    /// The customer's handle.
    pub(super) fn handle(&self) -> &str {
        self.handle.as_str()
    }

    /// The customer's row.
    pub const fn id(&self) -> CustomerId {
        self.id
    }

    /// The present state.
    pub fn state(&self) -> Guard<Arc<CustomerState>> {
        self.state.load()
    }

    pub(super) fn replace_state(&self, state: Arc<CustomerState>) {
        self.state.store(state);
    }
}

/// A user; lives as long as anybody holds it, so that a deleted user's open sessions still find out.
#[derive(Debug)]
pub struct UserEntry {
    id: UserId,
    customer: Arc<CustomerEntry>,
    login: EcoString,
    state: ArcSwap<UserState>,
}

/// What can change of a user. Users that are alike share it; each changes to another one for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserState {
    /// `false` once deactivated or deleted.
    pub active: bool,
    /// Entrances that are open.
    pub access_points: AccessPoints,
    /// `None`: no password opens anything.
    pub password_hash: Option<Arc<PasswordHash>>,
    /// Grows with every change of the password.
    pub password_version: i64,
    /// The user has, or ever had, a key.
    pub password_off_by_key: bool,
    /// Does an administrator demand MFA?
    pub mfa: MfaRequirement,
    /// Is at least one method active?
    pub mfa_active: bool,
    /// Narrows where the user may come from.
    pub allow_list: AllowList,
    /// Are the user's requests counted?
    pub metering: Metering,
}

impl UserState {
    pub(super) fn of(record: &UserRecord, metering: Metering) -> Self {
        Self {
            active: record.active,
            access_points: record.access_points,
            // One that somebody else chose opens the console, to be replaced, and nothing else; and so does one that takes a
            // link beside it.
            password_hash: record
                .password_hash
                .clone()
                .filter(|_| record.password_ends_at.is_none() && !record.link_required)
                .map(Arc::new),
            password_version: record.password_version,
            password_off_by_key: record.password_off_by_key,
            mfa: record.mfa,
            mfa_active: record.mfa_active,
            allow_list: record.allow_list.clone(),
            metering,
        }
    }
}

impl UserEntry {
    pub(super) fn new(id: UserId, customer: Arc<CustomerEntry>, login: &str, state: Arc<UserState>) -> Self {
        Self { id, customer, login: EcoString::from(login), state: ArcSwap::new(state) }
    }

    /// The user's row.
    pub const fn id(&self) -> UserId {
        self.id
    }

    /// The user and its customer.
    pub fn membership(&self) -> Membership {
        Membership { user: self.id, customer: self.customer.id }
    }

    /// Whose user it is.
    pub const fn customer(&self) -> &Arc<CustomerEntry> {
        &self.customer
    }

    /// The customer's handle.
    pub fn customer_handle(&self) -> &str {
        self.customer.handle.as_str()
    }

    /// The login name.
    pub fn login(&self) -> &str {
        self.login.as_str()
    }

    /// The present state.
    pub fn state(&self) -> Guard<Arc<UserState>> {
        self.state.load()
    }

    pub(super) fn replace_state(&self, state: Arc<UserState>) {
        self.state.store(state);
    }

    /// Shuts the user out for whoever still holds the entry.
    pub(super) fn mark_deleted(&self) {
        let state = UserState { active: false, password_hash: None, ..UserState::clone(&self.state()) };
        self.replace_state(Arc::new(state));
    }
}

/// A key: one line of the CPU's cache, and read as one.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct KeyEntry {
    pub(super) digest: KeyDigest,
    user: Arc<UserEntry>,
    id: KeyId,
    /// What `auth` counts the key's requests by; 0: none yet. Not read here.
    pub(super) meter: AtomicU64,
    /// The last use that was noted, in seconds since 1970.
    noted_use: AtomicU32,
    scope: ServiceScope,
    enabled: bool,
    /// Has the key [`KeyLimits`] beside the entry?
    pub(super) limited: bool,
    metering: Metering,
}

/// What narrows a key, where anything does.
#[derive(Debug)]
pub(super) struct KeyLimits {
    expires_at: Option<Timestamp>,
    allow_list: AllowList,
}

impl KeyLimits {
    /// `None`: the key has no end and no list.
    pub(super) fn of(record: &ApiKeyRecord) -> Option<Self> {
        let limited = record.expires_at.is_some() || !record.allow_list.is_empty();
        limited.then(|| Self { expires_at: record.expires_at, allow_list: record.allow_list.clone() })
    }
}

/// A key that was found, copied out so that no lock is held while it is judged.
#[derive(Clone, Debug)]
pub struct FoundKey {
    /// Whose key it is.
    pub user: Arc<UserEntry>,
    /// Its public name.
    pub id: KeyId,
    /// From this moment on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Narrows where it may come from.
    pub allow_list: AllowList,
    /// What it opens.
    pub scope: ServiceScope,
    /// `false` while it is disabled.
    pub enabled: bool,
    /// The last use that was noted; 1970 for none in this process.
    pub noted_use: Timestamp,
    /// Are its own requests counted?
    pub metering: Metering,
}

impl KeyEntry {
    pub(super) fn new(
        record: &ApiKeyRecord,
        user: Arc<UserEntry>,
        limits: Option<&KeyLimits>,
        metering: Metering,
    ) -> Self {
        Self {
            digest: record.digest,
            user,
            id: record.id,
            meter: AtomicU64::new(0),
            noted_use: AtomicU32::new(0),
            scope: record.scope,
            enabled: record.enabled,
            limited: limits.is_some(),
            metering,
        }
    }

    /// The key's public name.
    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// The same key after a change to it: what it has used of its limit stays used.
    pub(super) fn in_place_of(mut self, former: &Self) -> Self {
        self.meter = AtomicU64::new(former.meter.load(Ordering::Relaxed));
        self
    }

    /// The key with its limits, if it has any.
    pub(super) fn found(&self, limits: Option<&KeyLimits>) -> FoundKey {
        FoundKey {
            user: Arc::clone(&self.user),
            id: self.id,
            expires_at: limits.and_then(|limits| limits.expires_at),
            allow_list: limits.map(|limits| limits.allow_list.clone()).unwrap_or_default(),
            scope: self.scope,
            enabled: self.enabled,
            noted_use: Timestamp::from_unix_milliseconds(
                i64::from(self.noted_use.load(Ordering::Relaxed)) * MILLISECONDS_PER_SECOND,
            ),
            metering: self.metering,
        }
    }

    /// To the second, so that the entry stays small.
    pub(super) fn note_use(&self, at: Timestamp) {
        let seconds = u32::try_from(at.unix_milliseconds() / MILLISECONDS_PER_SECOND).unwrap_or(0);
        self.noted_use.store(seconds, Ordering::Relaxed);
    }
}

/// An API session.
#[derive(Debug)]
pub struct SessionEntry {
    user: Arc<UserEntry>,
    password_version: i64,
    opened_at: Timestamp,
    /// The last use that is known, in milliseconds since 1970; newer than the store's.
    last_used_at: AtomicI64,
}

/// A session that was found, copied out so that no lock is held while it is judged.
#[derive(Clone, Debug)]
pub struct FoundSession {
    /// Whose session it is.
    pub user: Arc<UserEntry>,
    /// The version of the password that opened it.
    pub password_version: i64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Its last use.
    pub last_used_at: Timestamp,
}

impl SessionEntry {
    pub(super) fn new(record: &ApiSessionRecord, user: Arc<UserEntry>) -> Self {
        Self {
            user,
            password_version: record.password_version,
            opened_at: record.opened_at,
            last_used_at: AtomicI64::new(record.last_used_at.unix_milliseconds()),
        }
    }

    pub(super) fn found(&self) -> FoundSession {
        FoundSession {
            user: Arc::clone(&self.user),
            password_version: self.password_version,
            opened_at: self.opened_at,
            last_used_at: self.last_used_at(),
        }
    }

    pub(super) fn last_used_at(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(self.last_used_at.load(Ordering::Relaxed))
    }

    /// Remembers a use, unless a later one is known.
    pub(super) fn note_use(&self, at: Timestamp) {
        self.last_used_at.fetch_max(at.unix_milliseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_as_small_as_they_are() {
        assert_eq!(size_of::<KeyEntry>(), 64);
        // With its two counts and what the allocator adds, a user takes 64 bytes, too.
        assert!(size_of::<UserEntry>() <= 40);
        assert!(size_of::<CustomerEntry>() <= 40);
    }
}
