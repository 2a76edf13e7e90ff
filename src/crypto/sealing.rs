//! Sealing of small secrets that must be read again, such as the seed of an authenticator app.
//!
//! AES-256-GCM with a random nonce; what a secret belongs to is bound to it, so that a row moved elsewhere does not open.
//! No I/O. Callers: `auth`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::random::{self, RandomError};
use crate::model::Secret;

/// The data key that secrets are sealed with.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

/// A secret that could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// It was sealed with another key or for something else, or it is damaged.
    #[error("a sealed secret does not open with this store's keys")]
    DoesNotOpen,
}

impl SealingKey {
    /// A key of 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Encrypts `secret`; the result holds nonce, ciphertext and tag. Only the same `belongs_to` opens it again.
    pub fn seal(&self, secret: &[u8], belongs_to: &str) -> Result<Vec<u8>, SealError> {
        let nonce = random::bytes::<NONCE_LEN>()?;
        let mut sealed = secret.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(belongs_to.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| SealError::DoesNotOpen)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`SealingKey::seal`] made for the same `belongs_to`.
    pub fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Secret<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::DoesNotOpen)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = self
            .cipher()?
            .open_in_place(nonce, Aad::from(belongs_to.as_bytes()), &mut sealed)
            .map_err(|_| SealError::DoesNotOpen)?;
        Ok(Secret::new(opened.to_vec()))
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| SealError::DoesNotOpen)?))
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_and_for_its_owner_only() {
        let key = SealingKey::new([5; 32]);
        let sealed = key.seal(b"seed", "user 1, app 2").unwrap();
        assert_ne!(sealed, key.seal(b"seed", "user 1, app 2").unwrap(), "the nonce is drawn anew");
        assert_eq!(key.open(&sealed, "user 1, app 2").unwrap().expose(), b"seed");
        assert!(key.open(&sealed, "user 2, app 2").is_err());
        assert!(SealingKey::new([6; 32]).open(&sealed, "user 1, app 2").is_err());
        let mut damaged = sealed.clone();
        if let Some(last) = damaged.last_mut() {
            *last ^= 1;
        }
        assert!(key.open(&damaged, "user 1, app 2").is_err());
        assert!(key.open(&sealed[..8], "user 1, app 2").is_err());
    }
}
