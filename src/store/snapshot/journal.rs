//! What was changed since a snapshot was begun: a line for each, on the disk before the change is acknowledged.
//!
//! Each line ends with a tag of its own, made with a data key for this snapshot, so that one that is not as it was written makes
//! the whole of no use. A line that somebody has taken out whole is not missed: who can do that can put back an older pair as
//! well. Two processes may write one journal, while one takes over from the other.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SnapshotError;
use crate::crypto::KeyRing;
use crate::model::{CustomerId, KeyDigest, UserId, parse_hex};
use crate::store::engine::hex;
use crate::store::{Subject, with_ending};

/// The journal of one snapshot, which is added to.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    id: String,
    key_ring: Arc<KeyRing>,
}

impl Journal {
    /// Makes that of the snapshot `id` at `snapshot`, with what was changed already.
    pub(super) fn create(
        snapshot: &Path,
        id: &str,
        key_ring: &Arc<KeyRing>,
        changed: &[Subject],
    ) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(0o600).open(path_of(snapshot, id))?;
        let mut journal = Self { file, id: id.to_owned(), key_ring: Arc::clone(key_ring) };
        journal.append(changed)?;
        journal.file.sync_all()?;
        Ok(journal)
    }

    /// Opens that of the snapshot `id` at `snapshot`, and reads what was changed.
    pub(super) fn open(
        snapshot: &Path,
        id: &str,
        key_ring: &Arc<KeyRing>,
    ) -> Result<(Self, HashSet<Subject>), SnapshotError> {
        let path = path_of(snapshot, id);
        let file_error = |source| SnapshotError::File { path: path.clone(), source };
        let file = OpenOptions::new().append(true).open(&path).map_err(file_error)?;
        let lines = std::fs::read_to_string(&path).map_err(file_error)?;
        let journal = Self { file, id: id.to_owned(), key_ring: Arc::clone(key_ring) };
        let damaged = || SnapshotError::Damaged { path: path.clone(), what: "a line of it cannot be read" };
        // A line that was cut off stands for a change as well; which one is not known.
        if !lines.is_empty() && !lines.ends_with('\n') {
            return Err(damaged());
        }
        let changed = lines.lines().map(|line| journal.parse(line).ok_or_else(damaged));
        let changed = changed.collect::<Result<_, _>>()?;
        Ok((journal, changed))
    }

    /// Adds what was changed.
    pub(super) fn append(&mut self, changed: &[Subject]) -> io::Result<()> {
        let line = |text: String| format!("{text} {}\n", self.tag(&text));
        let lines: String = changed.iter().filter_map(text).map(line).collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()
    }

    fn parse(&self, line: &str) -> Option<Subject> {
        let (text, tag) = line.rsplit_once(' ')?;
        if tag == self.tag(text) { subject(text) } else { None }
    }

    fn tag(&self, text: &str) -> String {
        hex(&self.key_ring.digest.digest_change(&format!("{} {text}", self.id)))
    }
}

/// The journal of the snapshot `id` at `snapshot`.
pub(super) fn path_of(snapshot: &Path, id: &str) -> PathBuf {
    with_ending(snapshot, &format!(".{id}.changes"))
}

/// Sessions are in no snapshot.
fn text(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Customer(CustomerId(id)) => Some(format!("customer {id}")),
        Subject::User(UserId(id)) => Some(format!("user {id}")),
        Subject::Key(KeyDigest(digest)) => Some(format!("key {}", hex(digest))),
        Subject::ApiSession(_) => None,
        Subject::Everything => Some(String::from("everything")),
    }
}

fn subject(text: &str) -> Option<Subject> {
    if text == "everything" {
        return Some(Subject::Everything);
    }
    let (kind, value) = text.split_once(' ')?;
    match kind {
        "customer" => value.parse().ok().map(CustomerId).map(Subject::Customer),
        "user" => value.parse().ok().map(UserId).map(Subject::User),
        "key" => parse_hex(value).map(KeyDigest).map(Subject::Key),
        _ => None,
    }
}
