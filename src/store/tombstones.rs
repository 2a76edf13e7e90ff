//! What was deleted for good, in a file beside the embedded store, so that a restore knows it where the store itself is lost
//! or was put back by hand (S98).
//!
//! A line is committed with the deletion that it tells of (`outbox`), and goes into the file behind the commit, on the disk
//! before it is answered; what a kill in between has left out goes there with the next deletion, or when a gateway is
//! started. The file holds digests and numbers, and nothing that opens anything. A shared database has none: its own tools
//! restore it.

mod outbox;
mod risen;

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) use self::outbox::{copy_into, note, put};
pub use self::risen::Risen;
use super::StoreError;
use super::engine::hex;
use super::new_file::with_ending;
use crate::crypto::{Checksum, RecoveryHash};
use crate::model::{CustomerId, KeyDigest, UserId};

/// Something that was deleted for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tombstone {
    Key(KeyDigest),
    /// A code that was used, or whose set was replaced; by the checksum of its hash.
    RecoveryCode([u8; 32]),
    User(Born<UserId>),
    Customer(Born<CustomerId>),
}

/// Whose number it is: another store may have given the same one to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Born<T> {
    pub(super) id: T,
    /// When it was made, in milliseconds since 1970.
    pub(super) created_at: i64,
}

/// What a line tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Deleted,
    /// A restore was told to bring it back.
    Revived,
}

impl Tombstone {
    pub(super) fn of_code(hash: &RecoveryHash) -> Self {
        Self::RecoveryCode(checksum_of(hash))
    }

    fn line(self, word: Word) -> String {
        let revived = if word == Word::Revived { "revived " } else { "" };
        match self {
            Self::Key(KeyDigest(digest)) => format!("{revived}key {}", hex(&digest)),
            Self::RecoveryCode(checksum) => format!("{revived}code {}", hex(&checksum)),
            Self::User(Born { id: UserId(id), created_at }) => format!("{revived}user {id} {created_at}"),
            Self::Customer(Born { id: CustomerId(id), created_at }) => {
                format!("{revived}customer {id} {created_at}")
            }
        }
    }

    fn parse(line: &str) -> Option<(Word, Self)> {
        let (word, told) = match line.strip_prefix("revived ") {
            Some(told) => (Word::Revived, told),
            None => (Word::Deleted, line),
        };
        let (kind, value) = told.split_once(' ')?;
        let tombstone = match kind {
            "key" => digest(value).map(|digest| Self::Key(KeyDigest(digest))),
            "code" => digest(value).map(Self::RecoveryCode),
            "user" => born(value).map(|(id, created_at)| Self::User(Born { id: UserId(id), created_at })),
            "customer" => {
                born(value).map(|(id, created_at)| Self::Customer(Born { id: CustomerId(id), created_at }))
            }
            _ => None,
        };
        tombstone.map(|tombstone| (word, tombstone))
    }
}

fn checksum_of(hash: &RecoveryHash) -> [u8; 32] {
    let mut sum = Checksum::default();
    sum.add(hash.as_stored().as_bytes());
    sum.digest()
}

fn born(value: &str) -> Option<(i64, i64)> {
    let (id, created_at) = value.split_once(' ')?;
    Some((id.parse().ok()?, created_at.parse().ok()?))
}

fn digest(hexadecimal: &str) -> Option<[u8; 32]> {
    crate::model::parse_hex(hexadecimal)
}

/// The file beside the store at `store`.
pub(super) fn path_of(store: &Path) -> PathBuf {
    with_ending(store, ".tombstones")
}

/// Adds `lines`, which are on the disk when it returns, and makes the file if need be. Each call is one write at its end.
fn append(store: &Path, lines: &[String]) -> Result<(), StoreError> {
    let path = path_of(store);
    append_to(&path, lines).map_err(|source| StoreError::Tombstones { path, source })
}

fn append_to(path: &Path, lines: &[String]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // A line that was cut off stays alone.
    let mut text = String::from(if ends_with_line(&mut file)? { "" } else { "\n" });
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    if is_new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn ends_with_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// What the file beside the store at `store` tells, line by line; nothing where there is none. A line that was cut off, or
/// that is no text, tells nothing.
fn lines(store: &Path) -> Result<impl Iterator<Item = Result<(Word, Tombstone), StoreError>>, StoreError> {
    let path = path_of(store);
    let file = match File::open(&path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(StoreError::Tombstones { path, source }),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    Ok(lines.filter_map(move |line| match line {
        Ok(line) => Tombstone::parse(&String::from_utf8_lossy(&line)).map(Ok),
        Err(source) => Some(Err(StoreError::Tombstones { path: path.clone(), source })),
    }))
}

/// What was deleted beside the store at `store`, and was not revived since.
pub(super) fn read(store: &Path) -> Result<HashSet<Tombstone>, StoreError> {
    let mut dead = HashSet::new();
    for line in lines(store)? {
        let (word, tombstone) = line?;
        take(&mut dead, word, tombstone);
    }
    Ok(dead)
}

fn take(dead: &mut HashSet<Tombstone>, word: Word, tombstone: Tombstone) {
    match word {
        Word::Deleted => dead.insert(tombstone),
        Word::Revived => dead.remove(&tombstone),
    };
}

/// How much is known as deleted beside the store at `store`; `None` where no file is there that could tell.
pub(super) fn known(store: &Path) -> Result<Option<usize>, StoreError> {
    if path_of(store).exists() { Ok(Some(read(store)?.len())) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(store: &Path, word: Word, tombstones: &[Tombstone]) {
        let lines: Vec<String> = tombstones.iter().map(|tombstone| tombstone.line(word)).collect();
        append(store, &lines).unwrap();
    }

    #[test]
    fn what_is_written_is_read_but_for_torn_lines_such_as_are_no_text_and_what_was_revived() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("latchkey.db");
        assert!(read(&store).unwrap().is_empty());
        let code = Tombstone::of_code(&RecoveryHash::from_stored("$argon2id$x".into()));
        let all = [
            Tombstone::Key(KeyDigest([0xa5; 32])),
            code,
            Tombstone::User(Born { id: UserId(7), created_at: 5 }),
            Tombstone::Customer(Born { id: CustomerId(2), created_at: -5 }),
        ];
        write(&store, Word::Deleted, &all);
        assert_eq!(read(&store).unwrap(), HashSet::from(all));
        let mut torn = std::fs::read(path_of(&store)).unwrap();
        torn.extend_from_slice(b"\0\xff\nkey a5a5");
        std::fs::write(path_of(&store), torn).unwrap();
        assert_eq!(read(&store).unwrap(), HashSet::from(all));
        write(&store, Word::Revived, &all[..2]);
        write(&store, Word::Deleted, &[code]);
        assert_eq!(read(&store).unwrap(), HashSet::from([code, all[2], all[3]]));
    }

    #[test]
    fn it_holds_neither_a_hash_nor_a_readable_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("latchkey.db");
        let code = Tombstone::of_code(&RecoveryHash::from_stored("$argon2id$secret".into()));
        write(&store, Word::Deleted, &[code]);
        let text = std::fs::read_to_string(path_of(&store)).unwrap();
        assert!(!text.contains("argon2") && text.len() == "code \n".len() + 64, "{text}");
    }
}
