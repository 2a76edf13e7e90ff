//! Hashes of passwords: argon2id with the crate's parameters (19 MiB, 2 passes, 1 lane), as a PHC string.
//!
//! Slow on purpose: only the threads of `auth::password_check` and the command line call it.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use super::random;
use crate::model::Secret;

/// A stored password hash in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`).
#[derive(Clone, PartialEq, Eq)]
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

/// Hashes `password` with a salt of its own.
pub fn hash_password(password: &Secret<String>) -> Result<PasswordHash, PasswordHashError> {
    let salt = random::bytes::<16>()?;
    let hash = Argon2::default()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(PasswordHashError::Argon2)?;
    Ok(PasswordHash(hash.to_string().into_boxed_str()))
}

/// Is `password` the one behind `hash`? A stored text that is no PHC string matches nothing.
pub fn verify_password(password: &Secret<String>, hash: &PasswordHash) -> bool {
    argon2::password_hash::phc::PasswordHash::new(&hash.0)
        .is_ok_and(|parsed| Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok())
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
        assert!(verify_password(&password, &one));
        assert!(!verify_password(&Secret::new(String::from("wrong")), &one));
        assert!(!verify_password(&password, &PasswordHash::from_stored(String::from("not a hash"))));
    }
}
