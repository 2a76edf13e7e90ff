//! Hashes of passwords: argon2id with the crate's parameters (19 MiB, 2 passes, 1 lane), as a PHC string.
//!
//! Slow on purpose: only the threads of `auth::password_check` and the command line call it.

use argon2::password_hash::{PasswordHasher, phc};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::random;
use crate::model::Secret;

/// A stored password hash in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordHash(Box<str>);

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordHashError {
    /// No salt could be drawn.
    #[error(transparent)]
    Random(#[from] random::RandomError),
    /// The hash function refused the input.
    #[error("argon2 failed: {0}")]
    Argon2(argon2::password_hash::Error),
}

impl PasswordHash {
    /// Takes a stored PHC string; it is checked when it is used.
    pub fn from_stored(phc: String) -> Self {
        Self(phc.into_boxed_str())
    }

    /// The PHC string to store.
    pub const fn as_stored(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The form in which a password is hashed, NFC: one and the same whichever way a keyboard composes `ü` (NIST SP 800-63B
/// §3.1.1.2). ASCII stays as it is.
pub fn normalise_password(password: &Secret<String>) -> Secret<String> {
    // Room for what composes to more bytes than it had, so that no copy is left behind in growing.
    let mut text = String::with_capacity(password.expose().len().saturating_mul(3));
    text.extend(password.expose().nfc());
    Secret::new(text)
}

/// Hashes `password` with a salt of its own.
pub fn hash_password(password: &Secret<String>) -> Result<PasswordHash, PasswordHashError> {
    let salt = random::bytes::<16>()?;
    let password = normalise_password(password);
    let hash = Argon2::default()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(PasswordHashError::Argon2)?;
    Ok(PasswordHash(hash.to_string().into_boxed_str()))
}

/// What passwords are hashed in, kept from one to the next.
///
/// A hash needs 19 MiB. Taken anew for each, the allocator scatters them, and hundreds of megabytes stay behind.
#[derive(Default)]
pub struct HashingMemory(Vec<Block>);

impl HashingMemory {
    /// Is `password` the one behind `hash`? A stored text that is no PHC string matches nothing.
    pub fn verify(&mut self, password: &Secret<String>, hash: &PasswordHash) -> bool {
        self.matches(normalise_password(password).expose().as_bytes(), hash).unwrap_or(false)
    }

    fn matches(&mut self, password: &[u8], hash: &PasswordHash) -> Option<bool> {
        let stored = phc::PasswordHash::new(&hash.0).ok()?;
        let given = self.derive(password, &stored)?;
        Some(given.ct_eq(stored.hash.as_ref()?.as_bytes()).into())
    }

    /// What `secret` comes to with the parameters and the salt of `stored`, as long as what is stored there.
    pub(super) fn derive(&mut self, secret: &[u8], stored: &phc::PasswordHash) -> Option<Zeroizing<Vec<u8>>> {
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
        let version = Version::try_from(stored.version?).ok()?;
        let params = Params::try_from(stored).ok()?;
        if self.0.len() < params.block_count() {
            self.0.resize_with(params.block_count(), Block::default);
        }
        let mut given = Zeroizing::new(vec![0; stored.hash.as_ref()?.len()]);
        let hasher = Argon2::new(algorithm, version, params);
        hasher.hash_password_into_with_memory(secret, stored.salt.as_ref()?, &mut given, &mut self.0).ok()?;
        Some(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s42_a_password_is_kept_as_argon2id_with_its_own_salt() {
        let password = Secret::new(String::from("correct horse battery staple"));
        let one = hash_password(&password).unwrap();
        let other = hash_password(&password).unwrap();
        assert!(one.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(one, other);
        let mut memory = HashingMemory::default();
        // In the same memory again and again, whatever was hashed in it before.
        for hash in [&one, &other, &one] {
            assert!(memory.verify(&password, hash));
            assert!(!memory.verify(&Secret::new(String::from("wrong")), hash));
        }
        let cut = one.as_stored().rsplit_once('$').unwrap().0;
        for stored in ["not a hash", "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", cut] {
            assert!(!memory.verify(&password, &PasswordHash::from_stored(stored.to_owned())), "{stored}");
        }
    }

    #[test]
    fn s42_a_password_is_the_same_however_its_characters_are_composed() {
        let [composed, decomposed] = ["gr\u{fc}ner \u{212b}ngstrom", "gru\u{308}ner A\u{30a}ngstrom"]
            .map(|text| Secret::new(text.to_owned()));
        let hash = hash_password(&decomposed).unwrap();
        let mut memory = HashingMemory::default();
        assert!(memory.verify(&composed, &hash));
        assert!(memory.verify(&decomposed, &hash));
        assert!(!memory.verify(&Secret::new(String::from("gruner Angstrom")), &hash));
        let ascii = Secret::new(String::from("a password of the tests"));
        assert_eq!(normalise_password(&ascii), ascii);
    }

    #[test]
    fn hashes_made_with_other_parameters_are_verified_with_theirs() {
        let password = Secret::new(String::from("correct horse battery staple"));
        let mut memory = HashingMemory::default();
        for (memory_kib, passes) in [(32, 1), (64, 3), (16, 2)] {
            let hasher = Argon2::from(Params::new(memory_kib, passes, 1, None).unwrap());
            let hash = hasher.hash_password_with_salt(password.expose().as_bytes(), &[7; 16]).unwrap();
            let hash = PasswordHash::from_stored(hash.to_string());
            assert!(memory.verify(&password, &hash), "{hash:?}");
            assert!(!memory.verify(&Secret::new(String::from("wrong")), &hash));
        }
    }
}
