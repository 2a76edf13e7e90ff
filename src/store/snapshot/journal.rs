//! What was changed since a snapshot was begun: a line for each, on the disk before the change is acknowledged.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::SnapshotError;
use crate::model::{CustomerId, KeyDigest, UserId, parse_hex};
use crate::store::Subject;
use crate::store::engine::hex;
use crate::store::with_ending;

/// The journal of the snapshot `id` at `snapshot`.
pub(super) fn path_of(snapshot: &Path, id: &str) -> PathBuf {
    with_ending(snapshot, &format!(".{id}.changes"))
}

/// Makes the journal at `path` with what was changed already.
pub(super) fn create(path: &Path, changed: &[Subject]) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    append(&mut file, changed)?;
    file.sync_all()?;
    Ok(file)
}

/// Adds what was changed.
pub(super) fn append(file: &mut File, changed: &[Subject]) -> io::Result<()> {
    let lines: String = changed.iter().filter_map(line).collect();
    if lines.is_empty() {
        return Ok(());
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

/// What the journal at `path` holds.
pub(super) fn read(path: &Path) -> Result<HashSet<Subject>, SnapshotError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SnapshotError::File { path: path.to_owned(), source })?;
    // A line that was cut off stands for a change as well; which one is not known.
    let damaged = || SnapshotError::Damaged { path: path.to_owned(), what: "a line of it cannot be read" };
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(damaged());
    }
    text.lines().map(|line| subject(line).ok_or_else(damaged)).collect()
}

/// Sessions are in no snapshot.
fn line(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Customer(CustomerId(id)) => Some(format!("customer {id}\n")),
        Subject::User(UserId(id)) => Some(format!("user {id}\n")),
        Subject::Key(KeyDigest(digest)) => Some(format!("key {}\n", hex(digest))),
        Subject::ApiSession(_) => None,
        Subject::Everything => Some(String::from("everything \n")),
    }
}

fn subject(line: &str) -> Option<Subject> {
    let (kind, value) = line.split_once(' ')?;
    match kind {
        "customer" => value.parse().ok().map(CustomerId).map(Subject::Customer),
        "user" => value.parse().ok().map(UserId).map(Subject::User),
        "key" => parse_hex(value).map(KeyDigest).map(Subject::Key),
        "everything" => Some(Subject::Everything),
        _ => None,
    }
}
