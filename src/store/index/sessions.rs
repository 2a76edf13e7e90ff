//! API sessions in the index: found by their digest, their last use kept here until it is written.
//!
//! The digests are keyed, so that nobody can choose one: comparing them as the map does tells nothing of a key.

use std::hash::{BuildHasher, Hasher};

use dashmap::DashMap;

use super::entry::{FoundSession, SessionEntry};
use super::{Generation, Index};
use crate::model::{ApiSessionRecord, SessionDigest, Timestamp};
use crate::store::{SessionUse, StoreError};

/// All open sessions.
pub(super) type Sessions = DashMap<SessionDigest, SessionEntry, DigestBits>;

impl Index {
    /// Looks a session up.
    pub fn lookup_session(&self, session: SessionDigest) -> Option<FoundSession> {
        self.current.load().sessions.get(&session).map(|entry| entry.found())
    }

    /// Remembers a use of a session; one that has ended meanwhile is let be.
    pub fn remember_session_use(&self, used: SessionUse) {
        if let Some(entry) = self.current.load().sessions.get(&used.session) {
            entry.note_use(used.at);
        }
    }

    /// The sessions that were used at or after `since`, each with its last use.
    pub fn session_uses_since(&self, since: Timestamp) -> Vec<SessionUse> {
        let generation = self.current.load();
        let uses = generation
            .sessions
            .iter()
            .map(|entry| SessionUse { session: *entry.key(), at: entry.last_used_at() });
        uses.filter(|used| used.at >= since).collect()
    }
}

impl Generation {
    /// Puts a session as it is stored; a later use that is known here stays.
    pub(super) fn put_session(&self, record: &ApiSessionRecord) -> Result<(), StoreError> {
        let user = self.users.get(record.user).ok_or(StoreError::Corrupt("session without a user"))?;
        let entry = SessionEntry::new(record, user);
        if let Some(known) = self.sessions.get(&record.digest) {
            entry.note_use(known.last_used_at());
        }
        self.sessions.insert(record.digest, entry);
        Ok(())
    }

    /// Takes over what `older` knows of the last uses and the store does not yet.
    pub(super) fn keep_session_uses_of(&self, older: &Self) {
        for entry in &self.sessions {
            if let Some(known) = older.sessions.get(entry.key()) {
                entry.note_use(known.last_used_at());
            }
        }
    }
}

/// Hashes a digest by taking its own bits: they are uniform, and nobody without the digest key can choose them.
#[derive(Clone, Debug, Default)]
pub(super) struct DigestBits;

/// The state of [`DigestBits`].
#[derive(Debug, Default)]
pub(super) struct DigestBitsHasher(u64);

impl BuildHasher for DigestBits {
    type Hasher = DigestBitsHasher;

    fn build_hasher(&self) -> DigestBitsHasher {
        DigestBitsHasher(0)
    }
}

impl Hasher for DigestBitsHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_spread_by_the_bits_of_their_digests() {
        let hashed = |first: u8| {
            let mut digest = [0; 32];
            digest[0] = first;
            DigestBits.hash_one(SessionDigest(digest))
        };
        assert_eq!(hashed(1), hashed(1));
        assert_ne!(hashed(1), hashed(2));
    }
}
