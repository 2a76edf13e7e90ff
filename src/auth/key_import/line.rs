//! One line of an import: `KEY`, or `KEY CUSTOMER/LOGIN`. Pure.

use std::collections::HashSet;

use super::{ImportOrder, KeyStrength, LineFault};
use crate::crypto::{KeyForm, KeyRing, MalformedKey, TagKey, recognise_key};
use crate::model::{KeyDigest, UserName};

const SHORTEST: usize = 32;
const SHORTEST_WEAK: usize = 16;
const LONGEST: usize = 256;
const DISTINCT_CHARACTERS: usize = 10;

/// What a line says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// What the key will be found by.
    pub digest: KeyDigest,
    /// Its last 4 characters.
    pub last_characters: String,
    /// Whose it is.
    pub user: UserName,
}

/// Reads one line; `None`: it is empty.
pub fn parse_key_line(
    line: &[u8],
    order: &ImportOrder,
    key_ring: &KeyRing,
) -> Result<Option<KeyLine>, LineFault> {
    let text = std::str::from_utf8(line).map_err(|_| LineFault::NotText)?;
    let mut words = text.split_ascii_whitespace();
    let Some(key) = words.next() else { return Ok(None) };
    let user = match (words.next(), words.next()) {
        (_, Some(_)) => return Err(LineFault::Words),
        (Some(name), None) => name.parse().map_err(|_| LineFault::Name)?,
        (None, None) => order.user.clone().ok_or(LineFault::NoUser)?,
    };
    check_key(key, order.strength, &key_ring.tag)?;
    let last_characters = key.get(key.len().saturating_sub(4)..).unwrap_or_default().to_owned();
    Ok(Some(KeyLine { digest: key_ring.digest.digest(key.as_bytes()), last_characters, user }))
}

fn check_key(key: &str, strength: KeyStrength, tag: &TagKey) -> Result<(), LineFault> {
    match recognise_key(key.as_bytes(), tag) {
        Ok(KeyForm::Own) => return Ok(()),
        Err(MalformedKey::WrongTag) => return Err(LineFault::ForeignKey),
        Ok(KeyForm::Imported) | Err(MalformedKey::NotAKey) => {}
    }
    let shortest = match strength {
        KeyStrength::Usual => SHORTEST,
        KeyStrength::Weak => SHORTEST_WEAK,
    };
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LineFault::Characters);
    }
    if !(shortest..=LONGEST).contains(&key.len()) {
        return Err(LineFault::Length(key.len(), shortest));
    }
    let distinct = key.bytes().collect::<HashSet<_>>().len();
    if distinct < DISTINCT_CHARACTERS {
        return Err(LineFault::TooRegular(distinct));
    }
    Ok(())
}
