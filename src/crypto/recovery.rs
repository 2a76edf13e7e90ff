//! Recovery codes, each of which stands once for a second factor (S32): drawn, shown, read back, hashed, recognised.
//!
//! Hashed like passwords, with one salt a set, so that a presented code is hashed once and compared with every hash of the
//! set. Slow on purpose: call hashing and comparing on threads that may block. That a code works once is the store's to
//! see to: it deletes the row of the hash that matched, and whoever deletes it is let in. Callers: `auth`.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, phc};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::password::{HashingMemory, PasswordHashError};
use super::random::{self, RandomError};
use crate::model::Secret;

/// Codes in a set.
const CODES: usize = 10;
/// 80 random bits.
const CHARACTERS: usize = 16;
const GROUP: usize = 4;
/// RFC 4648 §6 in lower case: it has none of 0, 1, 8 and 9, which look like letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A set of codes in the clear, as it is shown once.
pub struct RecoveryCodes(Vec<RecoveryCode>);

/// One code in the clear, drawn or presented.
pub struct RecoveryCode(Secret<String>);

/// The stored hash of one code, in PHC form.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryHash(Box<str>);

/// Bytes that are no set of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a set of recovery codes is 10 codes of 16 characters")]
pub struct NotRecoveryCodes;

impl RecoveryCodes {
    /// Draws a new set.
    pub fn draw() -> Result<Self, RandomError> {
        let codes = (0..CODES).map(|_| RecoveryCode::draw()).collect::<Result<_, _>>()?;
        Ok(Self(codes))
    }

    /// The codes to show, each `xxxx-xxxx-xxxx-xxxx`.
    pub fn shown(&self) -> Vec<Secret<String>> {
        self.0.iter().map(RecoveryCode::shown).collect()
    }

    /// The bytes to seal until the set is in force; never store them as they are.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        let mut bytes = Vec::with_capacity(CODES * CHARACTERS);
        for code in &self.0 {
            bytes.extend_from_slice(code.0.expose().as_bytes());
        }
        Secret::new(bytes)
    }

    /// Takes back what [`RecoveryCodes::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotRecoveryCodes> {
        if bytes.len() != CODES * CHARACTERS || !bytes.iter().all(|byte| ALPHABET.contains(byte)) {
            return Err(NotRecoveryCodes);
        }
        let texts = bytes.chunks(CHARACTERS).map(|code| code.iter().copied().map(char::from).collect());
        Ok(Self(texts.map(|text: String| RecoveryCode(Secret::new(text))).collect()))
    }

    /// Hashes the set with a salt of its own, in the order of the codes; takes ten times as long as a password.
    pub fn hash(&self) -> Result<Vec<RecoveryHash>, PasswordHashError> {
        let salt = random::bytes::<16>()?;
        let hasher = Argon2::default();
        let hash = |code: &RecoveryCode| {
            let hash = hasher.hash_password_with_salt(code.0.expose().as_bytes(), &salt);
            hash.map(|hash| RecoveryHash(hash.to_string().into_boxed_str()))
                .map_err(PasswordHashError::Argon2)
        };
        self.0.iter().map(hash).collect()
    }
}

impl RecoveryCode {
    fn draw() -> Result<Self, RandomError> {
        let mut drawn = random::bytes::<CHARACTERS>()?;
        // 256 is a multiple of 32, so no character is likelier than another.
        let letters = drawn.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        let mut text = String::with_capacity(CHARACTERS);
        text.extend(letters.copied().map(char::from));
        drawn.zeroize();
        Ok(Self(Secret::new(text)))
    }

    /// Reads a code that somebody typed: in any case, with or without dashes and blanks. `None`: it is not of the form.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut text = String::with_capacity(CHARACTERS);
        let mut fits = true;
        for letter in typed.chars().filter(|letter| !is_separator(*letter)) {
            let letter = letter.to_ascii_lowercase();
            fits &=
                text.len() < CHARACTERS && u8::try_from(letter).is_ok_and(|byte| ALPHABET.contains(&byte));
            if !fits {
                break;
            }
            text.push(letter);
        }
        let text = Secret::new(text);
        (fits && text.expose().len() == CHARACTERS).then_some(Self(text))
    }

    /// Which of a user's unused codes this one is: its place among `hashes`, which are of one set.
    ///
    /// Takes as long as one password, and compares with every hash whichever it is.
    pub fn matching(&self, hashes: &[RecoveryHash]) -> Option<usize> {
        let first = phc::PasswordHash::new(&hashes.first()?.0).ok()?;
        let given = HashingMemory::default().derive(self.0.expose().as_bytes(), &first)?;
        let mut matching = None;
        for (place, hash) in hashes.iter().enumerate() {
            let Ok(stored) = phc::PasswordHash::new(&hash.0) else { continue };
            let same = stored.hash.is_some_and(|output| given.ct_eq(output.as_bytes()).into());
            if same && stored.salt == first.salt && stored.params == first.params {
                matching = Some(place);
            }
        }
        matching
    }

    fn shown(&self) -> Secret<String> {
        let mut text = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
        for (place, letter) in self.0.expose().chars().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        Secret::new(text)
    }
}

/// Blanks, and the dashes that word processors put in the place of `-`.
fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

impl RecoveryHash {
    /// Takes a stored PHC string; it is checked when it is used.
    pub fn from_stored(phc: String) -> Self {
        Self(phc.into_boxed_str())
    }

    /// The PHC string to store, in a row of its own.
    pub const fn as_stored(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCodes(…)")
    }
}

impl std::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl std::fmt::Debug for RecoveryHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn parse(typed: &str) -> Option<String> {
        RecoveryCode::parse(typed).map(|code| code.0.expose().clone())
    }

    #[test]
    fn s32_a_set_is_10_codes_of_80_random_bits_in_groups_of_four() {
        let shown: Vec<_> = (0..100).flat_map(|_| RecoveryCodes::draw().unwrap().shown()).collect();
        let codes: HashSet<&str> = shown.iter().map(|code| code.expose().as_str()).collect();
        assert_eq!(codes.len(), 100 * CODES, "none is drawn twice");
        let mut letters = HashSet::new();
        for code in codes {
            assert_eq!(code.len(), 19);
            assert!(code.split('-').all(|group| group.len() == 4), "{code}");
            letters.extend(code.chars());
        }
        // 16 characters of 32 equally likely ones: 80 bits; the 33rd is the dash.
        assert_eq!(letters.len(), ALPHABET.len() + 1);
    }

    #[test]
    fn s32_a_code_is_read_in_any_case_with_or_without_dashes_and_blanks() {
        let code = Some(String::from("abcdefgh234567yz"));
        for typed in [
            "abcd-efgh-2345-67yz",
            "ABCD-EFGH-2345-67YZ",
            "abcdefgh234567yz",
            " AbCd efgh 2345 67yz\n",
            "abcd–efgh‑2345−67yz",
        ] {
            assert_eq!(parse(typed), code, "{typed}");
        }
        for typed in [
            "",
            "-",
            "abcd-efgh-2345-67y",
            "abcd-efgh-2345-67yzz",
            "abcd-efgh-2345-67y0",
            "abcd-efgh-2345-67y1",
            "abcd-efgh-2345-67yä",
            "abcd_efgh_2345_67yz",
            "abcd-efgh-2345-67y\u{212a}", // the Kelvin sign, whose lower case is a letter of the alphabet
            &"a".repeat(100_000),
        ] {
            assert_eq!(parse(typed), None, "{typed}");
        }
    }

    #[test]
    fn s32_hashes_are_argon2id_with_one_salt_a_set_and_know_their_code_alone() {
        let codes = RecoveryCodes::draw().unwrap();
        let hashes = codes.hash().unwrap();
        let salts: HashSet<_> =
            hashes.iter().map(|hash| hash.as_stored().rsplit_once('$').unwrap().0).collect();
        assert_eq!((hashes.len(), salts.len()), (CODES, 1));
        assert!(salts.iter().all(|salt| salt.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
        let [.., last] = &codes.shown()[..] else { unreachable!() };
        let last = RecoveryCode::parse(last.expose()).unwrap();
        assert_eq!(last.matching(&hashes), Some(CODES - 1));
        assert_eq!(last.matching(&hashes[..CODES - 1]), None, "its row is gone: it was used");
        assert_eq!(last.matching(&[]), None);
        assert_eq!(RecoveryCode::draw().unwrap().matching(&hashes), None);
    }

    #[test]
    fn s32_another_set_has_another_salt_and_damaged_rows_match_nothing() {
        let codes = RecoveryCodes::draw().unwrap();
        let (one, other) = (codes.hash().unwrap(), codes.hash().unwrap());
        assert_ne!(one[0], other[0]);
        let first = &codes.0[0];
        assert_eq!(first.matching(&[other[1].clone(), one[0].clone()]), None, "of another set");
        let damaged = RecoveryHash::from_stored(String::from("no PHC string"));
        assert_eq!(first.matching(&[one[1].clone(), damaged.clone(), one[0].clone()]), Some(2));
        assert_eq!(first.matching(&[damaged]), None);
    }

    #[test]
    fn a_set_survives_its_bytes_and_prints_only_its_name() {
        let codes = RecoveryCodes::draw().unwrap();
        let bytes = codes.to_bytes();
        let again = RecoveryCodes::from_bytes(bytes.expose()).unwrap();
        assert_eq!(again.shown(), codes.shown());
        assert_eq!(format!("{codes:?} {:?}", codes.0[0]), "RecoveryCodes(…) RecoveryCode(…)");
        assert!(RecoveryCodes::from_bytes(&bytes.expose()[1..]).is_err());
        assert!(RecoveryCodes::from_bytes(&[b'0'; CODES * CHARACTERS]).is_err());
    }
}
