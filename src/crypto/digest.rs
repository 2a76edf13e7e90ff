//! The keyed digest that API keys are found by, and the tag that makes guesses cheap to refuse.
//!
//! Both are BLAKE3 in keyed mode (docs/decisions/0002): keys are 208 random bits, so a fast digest is enough.

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::sealing::SealingKey;
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
    /// Secrets that are read again: seeds of authenticator apps, ceremonies under way.
    pub sealing: SealingKey,
    /// The chain of the audit trail.
    pub audit: DigestKey,
    /// Digests of console sessions, form tokens and one-time links.
    pub console: DigestKey,
}

impl KeyRing {
    /// A ring whose data keys are what `draw` answers for each purpose.
    pub fn fill<E>(mut draw: impl FnMut(KeyPurpose) -> Result<[u8; 32], E>) -> Result<Self, E> {
        Ok(Self {
            digest: DigestKey::new(draw(KeyPurpose::ApiKeyDigest)?),
            tag: TagKey::new(draw(KeyPurpose::ApiKeyTag)?),
            sealing: SealingKey::new(draw(KeyPurpose::Sealing)?),
            audit: DigestKey::new(draw(KeyPurpose::Audit)?),
            console: DigestKey::new(draw(KeyPurpose::Console)?),
        })
    }
}

/// What a data key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Digests of API keys.
    ApiKeyDigest,
    /// Tags of API keys.
    ApiKeyTag,
    /// Secrets that are read again.
    Sealing,
    /// The chain of the audit trail.
    Audit,
    /// Digests of what the console hands out.
    Console,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 5] =
        [Self::ApiKeyDigest, Self::ApiKeyTag, Self::Sealing, Self::Audit, Self::Console];

    /// The name that a wrapped key is stored under, and bound to.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeyDigest => "api-key-digest",
            Self::ApiKeyTag => "api-key-tag",
            Self::Sealing => "sealing",
            Self::Audit => "audit",
            Self::Console => "console",
        }
    }
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
        SessionDigest(self.digest_parts([b"api session ", key_text]))
    }

    /// The digest of a change that is noted on a disk, by which the note is known again. No key's digest is one: no key holds
    /// a blank.
    pub fn digest_change(&self, text: &str) -> [u8; 32] {
        self.digest_parts([b"noted change ", text.as_bytes()])
    }

    /// The digest of `parts` one after the other; the caller sees to it that they can be told apart.
    pub(super) fn digest_parts<const N: usize>(&self, parts: [&[u8]; N]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Compares two digests in the same time whether they differ or not.
    pub fn same(left: &KeyDigest, right: &KeyDigest) -> bool {
        same_words(left, right).into()
    }
}

/// Eight bytes at a time: a comparison byte by byte costs as much as the digest.
fn same_words(left: &KeyDigest, right: &KeyDigest) -> Choice {
    let words = |digest: &KeyDigest| {
        let (words, _) = digest.0.as_chunks::<8>();
        <[[u8; 8]; 4]>::try_from(words).unwrap_or_default().map(u64::from_ne_bytes)
    };
    let differing = words(left).iter().zip(words(right)).fold(0, |bits, (left, right)| bits | (left ^ right));
    differing.ct_eq(&0)
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
