//! An API key as it is kept: never its text.

use std::fmt;

use super::{AllowList, KeyId, ServiceScope, Timestamp, UserId};

/// The keyed digest of an API key: what the store and the index hold instead of the key.
///
/// It prints nothing of itself: with the digest key it would confirm a guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// One API key of a user.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// What it is found by.
    pub digest: KeyDigest,
    /// The last 4 characters, to recognise it by in a list.
    pub last_characters: String,
    /// What its owner wrote about it.
    pub description: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// `false` while it is disabled: refused like an unknown one, and can be enabled again.
    pub enabled: bool,
    /// From this moment on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Narrows where it may come from.
    pub allow_list: AllowList,
    /// When it was made.
    pub created_at: Timestamp,
}
