//! The key of an API session: 20 upper-case letters and digits (PROTOCOL section 2, row "session").

use zeroize::Zeroize;

use super::random::{self, RandomError};
use crate::model::Secret;

/// Length of a session's key: 103 random bits.
pub const CHARACTERS: usize = 20;
const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// Random bytes from here on are thrown away: the rest is a multiple of 36, so that no character is likelier.
const FIRST_UNUSED: u8 = 252;

/// Draws the key of a new session.
pub fn draw_session_key() -> Result<Secret<String>, RandomError> {
    let mut text = String::with_capacity(CHARACTERS);
    while text.len() < CHARACTERS {
        let mut drawn = random::bytes::<32>()?;
        let used = drawn.iter().filter(|byte| **byte < FIRST_UNUSED);
        let letters = used.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        text.extend(letters.map(|letter| char::from(*letter)).take(CHARACTERS - text.len()));
        drawn.zeroize();
    }
    Ok(Secret::new(text))
}

/// Has `text` the form of a session's key?
pub fn is_session_key(text: &[u8]) -> bool {
    text.len() == CHARACTERS && text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn keys_have_20_letters_and_digits_all_equally_likely_and_none_is_drawn_twice() {
        const DRAWN: usize = 10_000;
        let keys: HashSet<String> =
            (0..DRAWN).map(|_| draw_session_key().unwrap().expose().to_owned()).collect();
        assert_eq!(keys.len(), DRAWN);
        assert!(keys.iter().all(|key| is_session_key(key.as_bytes())));
        let mut seen: HashMap<char, usize> = HashMap::new();
        for letter in keys.iter().flat_map(|key| key.chars()) {
            *seen.entry(letter).or_default() += 1;
        }
        assert_eq!(seen.len(), ALPHABET.len());
        // 5,556 of each are expected, with a standard deviation of 74.
        assert!(seen.values().all(|count| (5_050..6_050).contains(count)), "{seen:?}");
    }

    #[test]
    fn other_texts_are_no_session_keys() {
        for text in [
            "",
            "ABCDEFGHIJ012345678",
            "ABCDEFGHIJ01234567890",
            "abcdefghij0123456789",
            "ABCDEFGHIJ01234567_9",
        ] {
            assert!(!is_session_key(text.as_bytes()), "{text}");
        }
    }
}
