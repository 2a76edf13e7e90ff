//! The text of an API key in Latchkey's own form (PROTOCOL section 4), and what form a presented key has.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize;

use super::digest::{TAG_BYTES, TagKey};
use super::random::{self, RandomError};
use crate::model::Secret;

/// What every key of ours starts with; secret scanners look for it.
pub const PREFIX: &str = "lk1_";
/// Length of a key of ours, in characters.
pub const KEY_CHARACTERS: usize = 44;
const RANDOM_BYTES: usize = 26;
const BODY_BYTES: usize = RANDOM_BYTES + TAG_BYTES;

/// Shortest and longest imported key that a door looks at, in bytes; import itself is stricter by default.
pub const IMPORTED_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The clear text of a newly made key; shown once, then gone.
pub struct KeyText(Secret<String>);

impl KeyText {
    /// Draws a new key: `lk1_` and the base64url text of 26 random bytes and their 4-byte tag.
    pub fn draw(tag_key: &TagKey) -> Result<Self, RandomError> {
        let mut random = random::bytes::<RANDOM_BYTES>()?;
        let mut body = [0; BODY_BYTES];
        let (front, back) = body.split_at_mut(RANDOM_BYTES);
        front.copy_from_slice(&random);
        back.copy_from_slice(&tag_key.tag(&random));
        let mut text = String::with_capacity(KEY_CHARACTERS);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(body, &mut text);
        random.zeroize();
        body.zeroize();
        Ok(Self(Secret::new(text)))
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The last 4 characters, kept to recognise the key by.
    pub fn last_characters(&self) -> &str {
        let text = self.expose();
        text.get(text.len().saturating_sub(4)..).unwrap_or_default()
    }
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// What a presented text can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Ours, with a right tag.
    Own,
    /// Not ours by its prefix; perhaps imported.
    Imported,
}

/// A text that cannot be an API key, told apart without any look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// Starts like ours, and its length, alphabet or tag is wrong: mistyped or guessed.
    #[error(
        "the key starts with `lk1_` and its check characters are wrong: it is mistyped, cut, or from another installation"
    )]
    WrongTag,
    /// Too short, too long, or with characters that no key has.
    #[error("a key is 16 to 256 visible ASCII characters without spaces")]
    NotAKey,
}

/// Tells what `text` can be by its form and tag alone.
pub fn recognise_key(text: &[u8], tag_key: &TagKey) -> Result<KeyForm, MalformedKey> {
    if let Some(encoded) = text.strip_prefix(PREFIX.as_bytes()) {
        let mut body = [0; BODY_BYTES + 3];
        let decoded = URL_SAFE_NO_PAD.decode_slice(encoded, &mut body).map_err(|_| MalformedKey::WrongTag)?;
        let known = body
            .get(..decoded)
            .and_then(|body| body.split_at_checked(RANDOM_BYTES))
            .is_some_and(|(random, tag)| decoded == BODY_BYTES && tag_key.verify(random, tag));
        body.zeroize();
        return if known { Ok(KeyForm::Own) } else { Err(MalformedKey::WrongTag) };
    }
    if IMPORTED_BYTES.contains(&text.len()) && text.iter().all(u8::is_ascii_graphic) {
        Ok(KeyForm::Imported)
    } else {
        Err(MalformedKey::NotAKey)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn tag_key() -> TagKey {
        TagKey::new([7; 32])
    }

    #[test]
    fn s39_keys_have_44_characters_and_10_000_have_no_duplicate() {
        let keys: HashSet<String> =
            (0..10_000).map(|_| KeyText::draw(&tag_key()).unwrap().expose().to_owned()).collect();
        assert_eq!(keys.len(), 10_000);
        for key in &keys {
            assert_eq!(key.len(), KEY_CHARACTERS);
            assert_eq!(recognise_key(key.as_bytes(), &tag_key()), Ok(KeyForm::Own));
        }
    }

    #[test]
    fn a_key_of_another_installation_is_not_ours() {
        let key = KeyText::draw(&TagKey::new([8; 32])).unwrap();
        assert_eq!(recognise_key(key.expose().as_bytes(), &tag_key()), Err(MalformedKey::WrongTag));
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let key = KeyText::draw(&tag_key()).unwrap();
        for position in PREFIX.len()..KEY_CHARACTERS {
            let mut wrong = key.expose().as_bytes().to_vec();
            wrong[position] = if wrong[position] == b'A' { b'B' } else { b'A' };
            assert_eq!(recognise_key(&wrong, &tag_key()), Err(MalformedKey::WrongTag), "position {position}");
        }
    }

    #[test]
    fn imported_keys_are_opaque() {
        for key in ["0123456789abcdef", "QGvRkbXzcgh8kPo2CMW5xGZ0kqgO2WcHkQqrZiQXbNA="] {
            assert_eq!(recognise_key(key.as_bytes(), &tag_key()), Ok(KeyForm::Imported));
        }
        for text in ["", "short", "with space in the text", "umlaut-ä-umlaut-ä", &"x".repeat(257)] {
            assert_eq!(recognise_key(text.as_bytes(), &tag_key()), Err(MalformedKey::NotAKey), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300), own in any::<bool>()) {
            let text = if own { [PREFIX.as_bytes(), &text].concat() } else { text };
            prop_assert_ne!(recognise_key(&text, &tag_key()), Ok(KeyForm::Own));
        }
    }
}
