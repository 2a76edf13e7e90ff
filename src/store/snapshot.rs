//! What a gateway keeps on its own disk, so that it can be started while the shared database is away: keys, and what their
//! users and customers need to be judged. Encrypted with the store's own data key.
//!
//! Denials come first. A snapshot is minutes old, so everything that was changed since is written down beside it at once,
//! and is let in by it no more: what became of it is not known. Passwords and API sessions are not in it: they would have
//! to be counted, or noted, in the store. Written and read by `app`; the rows are the index's (`index::rows`).

mod journal;
mod writing;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use writing::{SnapshotFacts, SnapshotKeeper};

use self::journal::Journal;
use super::engine::hex;
use super::index::{Index, RowsFault};
use super::{Subject, WrappedKey};
use crate::crypto::random::RandomError;
use crate::crypto::{Checksum, KeyRing, SealError};
use crate::model::Timestamp;

/// Bytes of rows that are sealed together, at least.
const PART_BYTES: usize = 1 << 20;
/// A sealed part is no longer than this: one row more, nonce and tag.
const SEALED_PART_BYTES_MAX: u32 = 4 << 20;
/// The longest head that is read: the wrapped data keys take some hundred bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// A snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is none.
    #[error("there is no snapshot at {0}")]
    Missing(PathBuf),
    /// A file cannot be used.
    #[error("the snapshot {path} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is not whole, or not one of ours.
    #[error("the snapshot {path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Another version reads it.
    #[error(
        "the snapshot {path} was written by another version of Latchkey: its format is {format}, and this version reads {FORMAT}"
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// It says nothing of what holds now.
    #[error(
        "the snapshot {path} is too old: it is of {written_at}, and `policy.max_staleness` allows {allowed_seconds} s"
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Of when it is.
        written_at: Timestamp,
        /// How old it may be.
        allowed_seconds: i64,
    },
    /// The clock went backwards, so that nobody knows how old it is.
    #[error("the snapshot {path} is of {written_at}, which is later than now: its age is not known")]
    FromTheFuture {
        /// The file.
        path: PathBuf,
        /// Of when it is.
        written_at: Timestamp,
    },
    /// Its rows could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What stands in clear before the sealed rows.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    id: String,
    written_at: i64,
    /// Purpose and wrapped key.
    key_ring: Vec<(String, Vec<u8>)>,
    relying_party: Option<String>,
}

impl Head {
    fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What every format's head tells.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Since 2 the head is bound to the parts, and lines of the journal carry tags.
const FORMAT: u32 = 2;

/// What a sealed part begins with.
const MORE_FOLLOWS: u8 = 0;
const LAST: u8 = 1;

/// Stands for everything that the head tells in clear.
#[derive(Clone, Debug)]
struct HeadChecksum(String);

impl HeadChecksum {
    fn of(line: &[u8]) -> Self {
        let mut sum = Checksum::default();
        sum.add(line);
        Self(hex(&sum.digest()))
    }

    /// What a sealed part belongs to: it opens at no other place, and behind no other head.
    fn of_part(&self, number: u64) -> String {
        format!("snapshot {}, part {number}", self.0)
    }
}

/// A snapshot whose head was read.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    id: String,
    head: HeadChecksum,
    /// Of when it is.
    pub written_at: Timestamp,
    /// The data keys, as every master key wraps them that opened the store.
    pub key_ring: Vec<WrappedKey>,
    /// What security keys were registered for (`WebAuthn` §4), if any were.
    pub relying_party: Option<String>,
    parts: BufReader<File>,
}

impl Snapshot {
    /// Reads the head of the snapshot at `path`, which must be of the last `allowed_seconds`.
    pub fn open(path: &Path, now: Timestamp, allowed_seconds: i64) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SnapshotError::Missing(path.to_owned()),
            _ => SnapshotError::File { path: path.to_owned(), source },
        })?;
        let mut parts = BufReader::new(file);
        let mut line = Vec::new();
        let read = (&mut parts).take(HEAD_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|source| SnapshotError::File { path: path.to_owned(), source })?;
        let damaged = |what| SnapshotError::Damaged { path: path.to_owned(), what };
        let unreadable = |_| damaged("its head cannot be read");
        let Format { format } = serde_json::from_slice(&line).map_err(unreadable)?;
        if format != FORMAT {
            return Err(SnapshotError::OtherVersion { path: path.to_owned(), format });
        }
        let head: Head = serde_json::from_slice(&line).map_err(unreadable)?;
        let written_at = Timestamp::from_unix_milliseconds(head.written_at);
        if written_at > now {
            return Err(SnapshotError::FromTheFuture { path: path.to_owned(), written_at });
        }
        if written_at.plus_seconds(allowed_seconds) <= now {
            return Err(SnapshotError::TooOld { path: path.to_owned(), written_at, allowed_seconds });
        }
        let wrapped = |(purpose, wrapped): &(String, Vec<u8>)| WrappedKey {
            purpose: purpose.clone(),
            wrapped: wrapped.clone(),
        };
        let key_ring = head.key_ring.iter().map(wrapped).collect();
        let Head { id, relying_party, .. } = head;
        let (path, head) = (path.to_owned(), HeadChecksum::of(&line));
        Ok(Self { path, id, head, written_at, key_ring, relying_party, parts })
    }

    /// The index that it holds, without anything that was changed since, and what goes on keeping it.
    pub fn load(mut self, key_ring: &Arc<KeyRing>) -> Result<(Index, SnapshotKeeper), SnapshotError> {
        let path = self.path.clone();
        let damaged = |what| SnapshotError::Damaged { path: path.clone(), what };
        let (journal, changed) = Journal::open(&path, &self.id, key_ring)?;
        if changed.contains(&Subject::Everything) {
            return Err(damaged("everything was changed since"));
        }
        let index = Index::empty()?;
        for number in 0.. {
            let opened = key_ring.sealing.open(&self.read_part()?, &self.head.of_part(number));
            let opened = opened.map_err(|_| damaged("it was changed, or is of another store"))?;
            let (kind, rows) = opened.expose().split_first().ok_or_else(|| damaged("a part is empty"))?;
            index.put_rows(rows, &changed).map_err(|fault| match fault {
                RowsFault::Unreadable => damaged("a row cannot be read"),
                RowsFault::WithoutOwner => damaged("a row has no owner"),
            })?;
            if *kind == LAST {
                break;
            }
        }
        let keeper = SnapshotKeeper::adopt(path, journal, Arc::clone(key_ring));
        Ok((index, keeper))
    }

    fn read_part(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let file_error = |source| SnapshotError::File { path: self.path.clone(), source };
        let mut length = [0; 4];
        self.parts.read_exact(&mut length).map_err(file_error)?;
        let length = u32::from_be_bytes(length);
        if length > SEALED_PART_BYTES_MAX {
            return Err(SnapshotError::Damaged { path: self.path.clone(), what: "a part is too long" });
        }
        let mut sealed = vec![0; usize::try_from(length).unwrap_or(0)];
        self.parts.read_exact(&mut sealed).map_err(file_error)?;
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests;
