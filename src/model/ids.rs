//! Identities of records, one type each, so that they cannot be swapped.

use std::fmt;
use std::str::FromStr;

/// A customer's row in the store; never used again after a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerId(pub i64);

/// A user's row in the store; never used again after a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// Whose credential was presented, where a gateway knew it, whether it was right or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recognised {
    /// This key.
    Key(KeyId),
    /// A password for this user.
    Password(UserId),
    /// An API session of this user; which one is not told.
    Session(UserId),
}

/// A user and the customer that it is of, for as long as there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The user.
    pub user: UserId,
    /// Its customer.
    pub customer: CustomerId,
}

/// A position in the change feed: every mutation of the store takes the next one, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision(pub i64);

/// The public name of an API key: 63 random bits, shown as `key_` and 13 letters and digits.
///
/// It identifies a key in lists, logs and `X-Auth-Key-Id`, and opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

/// Crockford's alphabet without the letters that are mistaken for digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX: &str = "key_";
const DIGITS: usize = 13;
const TEXT_BYTES: usize = PREFIX.len() + DIGITS;

/// A text that is not the name of an API key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a key id; one looks like `key_0c1x8n4t7q2vz`")]
pub struct InvalidKeyId(String);

impl KeyId {
    /// Makes an id of random bits; the top bit is dropped, because the store's integers are signed.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & (i64::MAX as u64))
    }

    /// The id as the store keeps it.
    pub const fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// The id as it is shown, without the formatter: every request through a key writes it twice.
    pub fn to_ascii(self) -> [u8; TEXT_BYTES] {
        let mut text = [b'_'; TEXT_BYTES];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let mut left = self.0;
        for place in digits.iter_mut().rev() {
            *place = ALPHABET.get((left & 31) as usize).copied().unwrap_or(b'0');
            left >>= 5;
        }
        text
    }

    /// The id of a stored row.
    pub const fn from_stored(stored: i64) -> Self {
        Self(stored.cast_unsigned() & (i64::MAX as u64))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_ascii()).unwrap_or(PREFIX))
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let invalid = || InvalidKeyId(text.chars().take(40).collect());
        let digits = text.strip_prefix(PREFIX).filter(|d| d.len() == DIGITS).ok_or_else(invalid)?;
        let mut value: u64 = 0;
        for letter in digits.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == letter).ok_or_else(invalid)?;
            value = value.checked_mul(32).ok_or_else(invalid)? | (digit as u64);
        }
        i64::try_from(value).map_err(|_| invalid())?;
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_survives_its_text_and_its_row() {
        for bits in [0, 1, 31, 32, u64::MAX, 0x1234_5678_9abc_def0] {
            let id = KeyId::from_random(bits);
            assert_eq!(id.to_string().len(), 17);
            assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
            assert_eq!(KeyId::from_stored(id.to_stored()), id);
        }
    }

    #[test]
    fn what_is_not_a_key_id_is_refused() {
        for text in [
            "",
            "key_",
            "key_0c1x8n4t7q2v",
            "lk1_0c1x8n4t7q2vz",
            "key_oooooooooooooo",
            "key_zzzzzzzzzzzzz",
            "key_ilou0c1x8n4t7",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }
}
