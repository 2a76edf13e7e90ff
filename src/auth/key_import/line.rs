//! One line of an import: what it says, and what can be wrong with it (S104).
//!
//! Looks nothing up but the tag of a key that claims to be ours. Called by `key_import`.

use std::collections::HashSet;

use super::{ImportError, ImportOrder, KeyStrength};
use crate::auth::ControlPlane;
use crate::crypto::{KeyForm, MalformedKey, recognise_key};
use crate::model::{KeyDigest, UserName};

/// Faulty lines that are named; of further ones only the number.
const NAMED_FAULTS: usize = 20;
const SHORTEST: usize = 32;
const SHORTEST_WEAK: usize = 16;
const LONGEST: usize = 256;
const DISTINCT_CHARACTERS: usize = 10;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not one or two words.
    #[error("write `KEY` or `KEY CUSTOMER/LOGIN`")]
    Words,
    /// The key is no import.
    #[error("the key has {0} characters; {1} to 256 visible ASCII characters are allowed")]
    Length(usize, usize),
    /// The key holds something else than visible ASCII.
    #[error("the key holds characters other than visible ASCII")]
    Characters,
    /// The key is too regular.
    #[error("the key has only {0} different characters; at least 10 are needed")]
    TooRegular(usize),
    /// It starts with `lk1_` and is not ours.
    #[error("the key starts with `lk1_` and was not made by this installation")]
    ForeignKey,
    /// The name is none.
    #[error("{0}")]
    Name(String),
    /// Nobody is named.
    #[error("whose key is it? write `KEY CUSTOMER/LOGIN`, or give --user")]
    NoUser,
    /// The user does not exist.
    #[error("there is no user `{0}`; --create-users makes users that are missing")]
    UnknownUser(UserName),
    /// The same key stands in an earlier line.
    #[error("the same key stands in line {0}")]
    Repeated(u64),
    /// The key is in the store.
    #[error("the key exists already")]
    Exists,
    /// The key was deleted here.
    #[error("the key was deleted here before, and stays dead")]
    Deleted,
    /// The text is not UTF-8.
    #[error("the line is not text")]
    NotText,
}

/// Collects faults, and keeps only the first of them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) named: Vec<(u64, LineFault)>,
    pub(super) total: usize,
}

impl Faults {
    pub(super) fn add(&mut self, line: u64, fault: LineFault) {
        self.total += 1;
        if self.named.len() < NAMED_FAULTS {
            self.named.push((line, fault));
        }
    }

    pub(super) fn into_result(mut self) -> Result<(), ImportError> {
        if self.total == 0 {
            return Ok(());
        }
        self.named.sort_by_key(|(line, _)| *line);
        Err(ImportError::Lines { faults: self.named, total: self.total })
    }
}

/// All that is wrong, a line each.
pub(super) fn faulty_lines(faults: &[(u64, LineFault)], total: usize) -> String {
    let mut text: Vec<String> = faults.iter().map(|(line, fault)| format!("line {line}: {fault}")).collect();
    if total > faults.len() {
        text.push(format!("and {} more faulty lines", total - faults.len()));
    }
    text.push(String::from("nothing was imported"));
    text.join("\n")
}

impl ControlPlane {
    /// One line: the key's digest, its last characters, whose it is; `None` for an empty line.
    pub(super) fn parse_line(
        &self,
        line: &[u8],
        order: &ImportOrder,
    ) -> Result<Option<(KeyDigest, String, UserName)>, LineFault> {
        let text = std::str::from_utf8(line).map_err(|_| LineFault::NotText)?;
        let mut words = text.split_ascii_whitespace();
        let Some(key) = words.next() else { return Ok(None) };
        let user = match (words.next(), words.next()) {
            (_, Some(_)) => return Err(LineFault::Words),
            (Some(name), None) => name.parse().map_err(|error| LineFault::Name(format!("{error}")))?,
            (None, None) => order.user.clone().ok_or(LineFault::NoUser)?,
        };
        self.check_key(key, order.strength)?;
        let last = key.get(key.len().saturating_sub(4)..).unwrap_or_default().to_owned();
        Ok(Some((self.key_ring.digest.digest(key.as_bytes()), last, user)))
    }

    fn check_key(&self, key: &str, strength: KeyStrength) -> Result<(), LineFault> {
        match recognise_key(key.as_bytes(), &self.key_ring.tag) {
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
}
