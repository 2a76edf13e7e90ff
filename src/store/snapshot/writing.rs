//! Writing snapshots, and noting what changes between them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{self, Journal};
use super::{FORMAT, Head, HeadChecksum, LAST, MORE_FOLLOWS, PART_BYTES, SnapshotError};
use crate::crypto::{KeyRing, random};
use crate::model::Timestamp;
use crate::store::new_file::folder_of;
use crate::store::{Index, Subject, WrappedKey, sync_folder, with_ending};

/// Keeps the snapshot at one path.
#[derive(Debug)]
pub struct SnapshotKeeper {
    path: PathBuf,
    key_ring: Arc<KeyRing>,
    changes: Mutex<Changes>,
}

/// What a snapshot tells in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The data keys, as every master key wraps them that opens the store.
    pub key_ring: Vec<WrappedKey>,
    /// What security keys were registered for (`WebAuthn` §4), if any were.
    pub relying_party: Option<String>,
}

#[derive(Debug, Default)]
struct Changes {
    /// The journal of the snapshot that stands at the path.
    journal: Option<Journal>,
    /// What was changed since the next snapshot was begun.
    since_begun: Option<Vec<Subject>>,
}

impl SnapshotKeeper {
    /// A keeper of the snapshot at `path`, with the data keys. What an earlier process left there is removed: nobody notes
    /// any more what was changed since.
    pub fn new(path: PathBuf, key_ring: Arc<KeyRing>) -> Result<Self, SnapshotError> {
        remove(&path)?;
        Ok(Self { path, key_ring, changes: Mutex::default() })
    }

    /// A keeper of the snapshot that stands at `path`, whose journal this is.
    pub(super) fn adopt(path: PathBuf, journal: Journal, key_ring: Arc<KeyRing>) -> Self {
        let changes = Mutex::new(Changes { journal: Some(journal), since_begun: None });
        Self { path, key_ring, changes }
    }

    /// Notes what was changed, before anybody is told that it holds. Where that fails the snapshot is removed.
    pub fn note(&self, subjects: &[Subject]) -> Result<(), SnapshotError> {
        let mut changes = self.lock();
        if let Some(since_begun) = &mut changes.since_begun {
            since_begun.extend_from_slice(subjects);
        }
        let Some(journal) = &mut changes.journal else { return Ok(()) };
        if let Err(source) = journal.append(subjects) {
            changes.journal = None;
            remove(&self.path)?;
            return Err(SnapshotError::File { path: self.path.clone(), source });
        }
        Ok(())
    }

    /// Writes what `index` holds, which is in step with the store at `now`. Blocks for as long as the disk takes.
    pub fn write(&self, index: &Index, now: Timestamp, facts: SnapshotFacts) -> Result<(), SnapshotError> {
        self.lock().since_begun = Some(Vec::new());
        let written = self.write_begun(index, now, facts);
        self.lock().since_begun = None;
        written
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_begun(&self, index: &Index, now: Timestamp, facts: SnapshotFacts) -> Result<(), SnapshotError> {
        let file_error = |source| SnapshotError::File { path: self.path.clone(), source };
        let id = format!("{:016x}", random::bits()?);
        let new = with_ending(&self.path, ".new");
        let mut file = BufWriter::new(create_anew(&new).map_err(file_error)?);
        let SnapshotFacts { key_ring, relying_party } = facts;
        let key_ring = key_ring.into_iter().map(|key| (key.purpose, key.wrapped)).collect();
        let written_at = now.unix_milliseconds();
        let head = Head { format: FORMAT, id: id.clone(), written_at, key_ring, relying_party }.line();
        let head = head.map_err(|error| file_error(error.into()))?;
        file.write_all(&head).map_err(file_error)?;
        self.write_parts(&mut file, &HeadChecksum::of(&head), index)?;
        let file = file.into_inner().map_err(|error| file_error(error.into_error()))?;
        file.sync_all().map_err(file_error)?;
        self.put_in_place(&new, &id)
    }

    /// Gives the snapshot `id`, which is whole at `new`, its name. From then on what is changed is noted in its own journal; where
    /// it does not get its name, in that of the one before, which stays in force.
    pub(super) fn put_in_place(&self, new: &Path, id: &str) -> Result<(), SnapshotError> {
        let file_error = |source| SnapshotError::File { path: self.path.clone(), source };
        // From here on nothing may change unseen.
        let mut changes = self.lock();
        let since_begun = changes.since_begun.take().unwrap_or_default();
        let path = journal::path_of(&self.path, id);
        let journal = Journal::create(&self.path, id, &self.key_ring, &since_begun).map_err(file_error)?;
        if let Err(error) = std::fs::rename(new, &self.path) {
            // Without its snapshot it is in nobody's way, and the next snapshot removes it.
            let _ = std::fs::remove_file(path);
            return Err(file_error(error));
        }
        changes.journal = Some(journal);
        if let Err(error) = sync_folder(&self.path) {
            // After a power cut either may stand here, and only one has a journal that goes on: neither may be used.
            changes.journal = None;
            remove(&self.path)?;
            return Err(file_error(error));
        }
        // By its name: the same file may be called by another path.
        for former in journals(&self.path).map_err(file_error)? {
            if former.file_name() != path.file_name() {
                std::fs::remove_file(former).map_err(file_error)?;
            }
        }
        Ok(())
    }

    fn write_parts(
        &self,
        file: &mut impl Write,
        head: &HeadChecksum,
        index: &Index,
    ) -> Result<(), SnapshotError> {
        let (mut number, mut part) = (0, vec![MORE_FOLLOWS]);
        let mut write = |part: &[u8]| {
            let sealed = self.key_ring.sealing.seal(part, &head.of_part(number))?;
            number += 1;
            let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_be_bytes();
            file.write_all(&length)
                .and_then(|()| file.write_all(&sealed))
                .map_err(|source| SnapshotError::File { path: self.path.clone(), source })
        };
        index.each_row(|row| {
            part.extend_from_slice(row);
            if part.len() > PART_BYTES {
                write(&part)?;
                part.truncate(1);
            }
            Ok::<_, SnapshotError>(())
        })?;
        if let Some(kind) = part.first_mut() {
            *kind = LAST;
        }
        write(&part)
    }
}

/// Removes the snapshot at `path` and all journals beside it.
fn remove(path: &Path) -> Result<(), SnapshotError> {
    let removed =
        remove_file(path).and_then(|()| journals(path)?.iter().try_for_each(|journal| remove_file(journal)));
    removed.map_err(|source| SnapshotError::File { path: path.to_owned(), source })
}

/// Removes a file that need not be there.
fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An empty file at `path` for its owner alone, whatever stood there: the rest of one that was cut off, or a name that leads
/// elsewhere.
fn create_anew(path: &Path) -> io::Result<File> {
    remove_file(path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The journals beside the snapshot at `path`, of whichever snapshot.
fn journals(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let is_journal = |file: &str| {
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".changes"))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder_of(path))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_journal) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
