//! The master key: wraps the store's data keys and is kept outside the store.
//!
//! Does no I/O; `auth::key_ring` reads the file and the store's rows.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::random::{self, RandomError};
use crate::model::Secret;

/// 32 random bytes that everything at rest depends on.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// A text that is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a master key is the standard base64 text of 32 bytes (44 characters); `openssl rand -base64 32` makes one"
)]
pub struct MasterKeyError;

/// A data key could not be wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The wrapped key was made with another master key, or it is damaged.
    #[error("the master key does not fit")]
    DoesNotFit,
}

impl MasterKey {
    /// Draws a new master key.
    pub fn draw() -> Result<Self, RandomError> {
        Ok(Self(random::bytes()?))
    }

    /// Reads the text of a master key; blanks around it are ignored.
    pub fn parse(text: &Secret<String>) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.expose().trim()).map_err(|_| MasterKeyError)?);
        Ok(Self(bytes.as_slice().try_into().map_err(|_| MasterKeyError)?))
    }

    /// The text to keep in the master key file.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.0))
    }

    /// Encrypts a data key; `purpose` (its name) is bound to the result: nonce, ciphertext, tag.
    pub fn wrap(&self, data_key: &[u8; 32], purpose: &str) -> Result<Vec<u8>, WrapError> {
        let nonce = random::bytes::<NONCE_LEN>()?;
        let mut sealed = data_key.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| WrapError::DoesNotFit)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`MasterKey::wrap`] made for the same `purpose`.
    pub fn unwrap(&self, wrapped: &[u8], purpose: &str) -> Result<[u8; 32], WrapError> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or(WrapError::DoesNotFit)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrapError::DoesNotFit)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = self
            .cipher()?
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| WrapError::DoesNotFit)?;
        <[u8; 32]>::try_from(&*opened).map_err(|_| WrapError::DoesNotFit)
    }

    fn cipher(&self) -> Result<LessSafeKey, WrapError> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| WrapError::DoesNotFit)?))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_with_its_master_key_and_purpose_only() {
        let master = MasterKey::draw().unwrap();
        let wrapped = master.wrap(&[42; 32], "digest").unwrap();
        assert_eq!(master.unwrap(&wrapped, "digest").unwrap(), [42; 32]);
        assert!(master.unwrap(&wrapped, "tag").is_err());
        assert!(MasterKey::draw().unwrap().unwrap(&wrapped, "digest").is_err());
        assert!(master.unwrap(&wrapped[..20], "digest").is_err());
        assert!(master.unwrap(&[], "digest").is_err());
    }

    #[test]
    fn a_master_key_survives_its_text() {
        let master = MasterKey::draw().unwrap();
        let again = MasterKey::parse(&Secret::new(format!("  {}\n", master.to_text().expose()))).unwrap();
        assert_eq!(again.0, master.0);
        assert_eq!(MasterKey::parse(&Secret::new(String::from("c2hvcnQ="))).unwrap_err(), MasterKeyError);
    }
}
