//! The keyed digest that API keys are found by, and the tag that makes guesses cheap to refuse.
//!
//! Both are BLAKE3 in keyed mode (docs/decisions/0002): keys are 208 random bits, so a fast digest is enough.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::model::{KeyDigest, SessionDigest};

/// Length of the tag inside a key, in bytes (PROTOCOL section 4).
pub const TAG_BYTES: usize = 4;

/// The key that turns an API key's text into its digest.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DigestKey([u8; 32]);

/// The key that the tag of an API key is made with.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TagKey([u8; 32]);

/// The data keys that records are made with, unwrapped from the store's `key_ring`.
pub struct KeyRing {
    /// Digests of API keys.
    pub digest: DigestKey,
    /// Tags of API keys.
    pub tag: TagKey,
}

impl DigestKey {
    /// A key of 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of an API key's text, ours or imported.
    pub fn digest(&self, key_text: &[u8]) -> KeyDigest {
        KeyDigest(*blake3::keyed_hash(&self.0, key_text).as_bytes())
    }

    /// The digest of an API session's key, which is no key's digest: no key holds a blank.
    pub fn digest_session(&self, key_text: &[u8]) -> SessionDigest {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"api session ").update(key_text);
        SessionDigest(*hasher.finalize().as_bytes())
    }

    /// Compares two digests in the same time whether they differ or not.
    pub fn same(left: &KeyDigest, right: &KeyDigest) -> bool {
        left.0.ct_eq(&right.0).into()
    }
}

impl TagKey {
    /// A key of 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag over the random part of a key.
    pub fn tag(&self, random_part: &[u8]) -> [u8; TAG_BYTES] {
        let [a, b, c, d, ..] = *blake3::keyed_hash(&self.0, random_part).as_bytes();
        [a, b, c, d]
    }

    /// Is `tag` the tag over `random_part`? Takes the same time either way.
    pub fn verify(&self, random_part: &[u8], tag: &[u8]) -> bool {
        self.tag(random_part).ct_eq(tag).into()
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey(…)")
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing(…)")
    }
}
