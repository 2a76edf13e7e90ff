//! What can be wrong with an import, each fault named by its line.

use std::collections::BTreeMap;
use std::io;

use crate::auth::ControlError;
use crate::model::UserName;

/// Faulty lines that are named; of further ones only the number.
const NAMED_FAULTS: usize = 20;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not one or two words.
    #[error("write `KEY` or `KEY CUSTOMER/LOGIN`")]
    Words,
    /// No key and name are that long; the rest of it was not looked at.
    #[error("the line is longer than 1,024 bytes; write `KEY` or `KEY CUSTOMER/LOGIN`")]
    TooLong,
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
    /// The second word names nobody. It is not repeated: where the two words are the wrong way round, it is the key.
    #[error("the second word is no user name; write `KEY` or `KEY CUSTOMER/LOGIN`, the key first")]
    Name,
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

/// An import cannot be done; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Lines are faulty.
    #[error("{}", faulty_lines(.faults, *.total))]
    Lines {
        /// The first of them.
        faults: Vec<(u64, LineFault)>,
        /// How many there are.
        total: usize,
    },
    /// The file has no key.
    #[error("there is no key in it")]
    Empty,
    /// The file cannot be read.
    #[error("the keys cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Anything else.
    #[error(transparent)]
    Control(#[from] ControlError),
}

fn faulty_lines(faults: &[(u64, LineFault)], total: usize) -> String {
    let mut text: Vec<String> = faults.iter().map(|(line, fault)| format!("line {line}: {fault}")).collect();
    if total > faults.len() {
        text.push(format!("and {} more faulty lines", total - faults.len()));
    }
    text.push(String::from("nothing was imported"));
    text.join("\n")
}

/// Collects faults, one a line, and keeps only those of the first lines.
#[derive(Debug, Default)]
pub(super) struct Faults {
    named: BTreeMap<u64, LineFault>,
    total: usize,
}

impl Faults {
    /// Is there none?
    pub(super) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Notes the one fault of `line`.
    pub(super) fn add(&mut self, line: u64, fault: LineFault) {
        self.total += 1;
        self.named.insert(line, fault);
        if self.named.len() > NAMED_FAULTS {
            self.named.pop_last();
        }
    }

    /// Succeeds where there is none.
    pub(super) fn into_result(self) -> Result<(), ImportError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(ImportError::Lines { faults: self.named.into_iter().collect(), total: self.total })
    }
}
