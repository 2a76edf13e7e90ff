//! What was deleted for good, in a file beside the embedded store, so that a restore knows it where the store itself is lost
//! or was put back by hand (S98).
//!
//! Appended behind each commit, on the disk before it is answered; what a kill in between has left out, a gateway adds when
//! it is started. The file holds digests and numbers, and nothing that opens anything. A shared database has none: its own
//! tools restore it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::Row;

use super::engine::hex;
use super::new_file::with_ending;
use super::open::Place;
use super::{DigestOrigin, ROWS_PER_BATCH, Store, StoreError, records};
use crate::crypto::{Checksum, RecoveryHash};
use crate::model::{ApiKeyRecord, CustomerId, KeyDigest, UserId};

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

/// What lives in a store although it was deleted there: the store was put back by hand.
#[derive(Clone, Debug, Default)]
pub struct Risen {
    /// Keys.
    pub keys: Vec<ApiKeyRecord>,
    /// Recovery codes, with their user.
    pub codes: Vec<(UserId, RecoveryHash)>,
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
        let mut sum = Checksum::default();
        sum.add(hash.as_stored().as_bytes());
        Self::RecoveryCode(sum.digest())
    }

    fn line(self) -> String {
        match self {
            Self::Key(KeyDigest(digest)) => format!("key {}", hex(&digest)),
            Self::RecoveryCode(checksum) => format!("code {}", hex(&checksum)),
            Self::User(Born { id: UserId(id), created_at }) => format!("user {id} {created_at}"),
            Self::Customer(Born { id: CustomerId(id), created_at }) => format!("customer {id} {created_at}"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (kind, value) = line.split_once(' ')?;
        match kind {
            "key" => digest(value).map(|digest| Self::Key(KeyDigest(digest))),
            "code" => digest(value).map(Self::RecoveryCode),
            "user" => born(value).map(|(id, created_at)| Self::User(Born { id: UserId(id), created_at })),
            "customer" => {
                born(value).map(|(id, created_at)| Self::Customer(Born { id: CustomerId(id), created_at }))
            }
            _ => None,
        }
    }
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

/// Adds a line for each of `tombstones`, which are on the disk when it returns. Each call is one write at the file's end.
pub(super) fn append(store: &Path, word: Word, tombstones: &[Tombstone]) -> Result<(), StoreError> {
    if tombstones.is_empty() {
        return Ok(());
    }
    let path = path_of(store);
    append_to(&path, word, tombstones).map_err(|source| StoreError::Tombstones { path, source })
}

fn append_to(path: &Path, word: Word, tombstones: &[Tombstone]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // A line that was cut off stays alone.
    let mut lines = String::from(if ends_with_line(&mut file)? { "" } else { "\n" });
    for tombstone in tombstones {
        let revived = if word == Word::Revived { "revived " } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{revived}{}", tombstone.line());
    }
    file.write_all(lines.as_bytes())?;
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

/// What was deleted beside the store at `store`, and was not revived since. A line that was cut off tells nothing.
pub(super) fn read(store: &Path) -> Result<HashSet<Tombstone>, StoreError> {
    let path = path_of(store);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(source) => return Err(StoreError::Tombstones { path, source }),
    };
    let mut dead = HashSet::new();
    for line in text.lines() {
        match line.strip_prefix("revived ") {
            Some(revived) => {
                Tombstone::parse(revived).map(|tombstone| dead.remove(&tombstone));
            }
            None => dead.extend(Tombstone::parse(line)),
        }
    }
    Ok(dead)
}

impl Store {
    /// What lives although it was deleted; beside that, adds to the file what it has missed. Nothing in a shared database.
    pub async fn risen(&self) -> Result<Risen, StoreError> {
        let Place::File(file) = &*self.place else { return Ok(Risen::default()) };
        let dead = read(file.path())?;
        self.note_missed(file.path(), &dead).await?;
        let mut risen = Risen::default();
        let digests = dead.iter().filter_map(|tombstone| match tombstone {
            Tombstone::Key(digest) => Some(*digest),
            _ => None,
        });
        let digests: Vec<KeyDigest> = digests.collect();
        for batch in digests.chunks(ROWS_PER_BATCH) {
            for (place, origin) in self.known_digests(batch).await? {
                if origin == DigestOrigin::Exists
                    && let Some(digest) = batch.get(place)
                {
                    risen.keys.extend(self.key_by_digest(digest).await?);
                }
            }
        }
        if dead.iter().any(|tombstone| matches!(tombstone, Tombstone::RecoveryCode(_))) {
            let codes: Vec<(i64, String)> =
                sqlx::query_as("SELECT user_id, hash FROM recovery_codes").fetch_all(&self.readers).await?;
            let codes = codes.into_iter().map(|(user, hash)| (UserId(user), RecoveryHash::from_stored(hash)));
            risen.codes = codes.filter(|(_, hash)| dead.contains(&Tombstone::of_code(hash))).collect();
        }
        Ok(risen)
    }

    async fn note_missed(&self, path: &Path, dead: &HashSet<Tombstone>) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT digest FROM deleted_keys").fetch_all(&self.readers).await?;
        let mut missed = Vec::new();
        for row in &rows {
            let tombstone = Tombstone::Key(records::digest(row.try_get("digest")?)?);
            if !dead.contains(&tombstone) {
                missed.push(tombstone);
            }
        }
        append(path, Word::Deleted, &missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_but_for_a_torn_line_and_what_was_revived() {
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
        append(&store, Word::Deleted, &all).unwrap();
        assert_eq!(read(&store).unwrap(), HashSet::from(all));
        let mut torn = std::fs::read(path_of(&store)).unwrap();
        torn.extend_from_slice(b"key a5a5");
        std::fs::write(path_of(&store), torn).unwrap();
        assert_eq!(read(&store).unwrap(), HashSet::from(all));
        append(&store, Word::Revived, &all[..2]).unwrap();
        append(&store, Word::Deleted, &[code]).unwrap();
        assert_eq!(read(&store).unwrap(), HashSet::from([code, all[2], all[3]]));
    }

    #[test]
    fn it_holds_neither_a_hash_nor_a_readable_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("latchkey.db");
        let code = Tombstone::of_code(&RecoveryHash::from_stored("$argon2id$secret".into()));
        append(&store, Word::Deleted, &[code]).unwrap();
        let text = std::fs::read_to_string(path_of(&store)).unwrap();
        assert!(!text.contains("argon2") && text.len() == "code \n".len() + 64, "{text}");
    }
}
