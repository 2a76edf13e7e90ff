//! The master key's file: read, made on the very first start, and put in the place of another one.
//!
//! Which key opens which store is told in `key_ring`. Called by that, and by `master_key_rotation`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::key_ring::KeyRingError;
use crate::config::{MasterKeySource, mode_for_strangers};
use crate::crypto::{MasterKey, random};
use crate::model::Secret;
use crate::store::{sync_folder, with_ending};

/// Reads the master key.
pub(super) fn read(source: &MasterKeySource) -> Result<MasterKey, KeyRingError> {
    match source {
        MasterKeySource::Text(text) => Ok(MasterKey::parse(text)?),
        MasterKeySource::File(path) => read_file(path),
    }
}

/// Reads the master key of the file at `path`.
pub(super) fn read_file(path: &Path) -> Result<MasterKey, KeyRingError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyRingError::Missing(path.to_owned()));
        }
        Err(source) => return Err(file_error(path)(source)),
    };
    if let Some(mode) = mode_for_strangers(&metadata) {
        return Err(KeyRingError::Readable { path: path.to_owned(), mode });
    }
    let text = std::fs::read_to_string(path).map_err(file_error(path))?;
    Ok(MasterKey::parse(&Secret::new(text))?)
}

/// Reads the master key; where it is a file and there is none, makes one.
pub(super) fn read_or_make(source: &MasterKeySource) -> Result<MasterKey, KeyRingError> {
    if let MasterKeySource::File(path) = source {
        make(path)?;
    }
    // What stands there counts, whoever has made it: the next start finds nothing else.
    read(source)
}

/// What became of a master key's file that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It was made, and is on the disk.
    Here,
    /// There is a file already; it was left as it is.
    ThereBefore,
}

/// Draws a master key into a new file at `path`, mode 0600, which is never there in part.
pub(super) fn make(path: &Path) -> Result<Made, KeyRingError> {
    if path.symlink_metadata().is_ok() {
        return Ok(Made::ThereBefore);
    }
    let text = Secret::new(format!("{}\n", MasterKey::draw()?.to_text().expose()));
    // A name that nobody else has: of two containers that share a folder each may run as process 1.
    let part = with_ending(path, &format!(".{:016x}.part", random::bits()?));
    let linked = write_new(&part, text.expose()).and_then(|()| std::fs::hard_link(&part, path));
    let removed = std::fs::remove_file(&part);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Made::ThereBefore),
        Err(error) => return Err(file_error(path)(error)),
    }
    removed.and_then(|()| sync_folder(path)).map_err(file_error(path))?;
    Ok(Made::Here)
}

/// Gives the key that stands at `path` another name beside it, by which it stays when it is replaced; answers the name:
/// `.old`, or `.old.2` and so on where that is another key's.
pub(super) fn keep(path: &Path) -> Result<PathBuf, KeyRingError> {
    let mut number = 1;
    loop {
        let kept = kept_name(path, number);
        match std::fs::hard_link(path, &kept) {
            Ok(()) => {}
            // Of a replacement that was cut off here.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same_key(path, &kept) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                number += 1;
                continue;
            }
            Err(error) => return Err(file_error(&kept)(error)),
        }
        sync_folder(path).map_err(file_error(path))?;
        return Ok(kept);
    }
}

/// Where [`keep`] has put the key that `is_it`, of the file that stood at `path`.
pub(super) fn find_kept(path: &Path, is_it: impl Fn(&MasterKey) -> bool) -> Option<PathBuf> {
    (1..u32::MAX)
        .map(|number| kept_name(path, number))
        .take_while(|kept| kept.symlink_metadata().is_ok())
        .find(|kept| read_file(kept).is_ok_and(|key| is_it(&key)))
}

fn kept_name(path: &Path, number: u32) -> PathBuf {
    if number == 1 { with_ending(path, ".old") } else { with_ending(path, &format!(".old.{number}")) }
}

fn is_same_key(one: &Path, other: &Path) -> bool {
    match [one, other].map(read_file) {
        [Ok(one), Ok(other)] => one.to_text() == other.to_text(),
        // What cannot be read is another one.
        _ => false,
    }
}

/// Gives what stands at `path`, if anything does, a name of its own, which is answered.
pub(super) fn set_aside(path: &Path) -> Result<Option<PathBuf>, KeyRingError> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let aside = with_ending(path, &format!(".{:016x}.unused", random::bits()?));
    std::fs::rename(path, &aside).and_then(|()| sync_folder(path)).map_err(file_error(path))?;
    Ok(Some(aside))
}

/// Puts the file `new` in the place of `path`.
pub(super) fn put_in_place(new: &Path, path: &Path) -> Result<(), KeyRingError> {
    std::fs::rename(new, path).and_then(|()| sync_folder(path)).map_err(file_error(path))
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> KeyRingError {
    move |source| KeyRingError::File { path: path.to_owned(), source }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn key_at(path: &Path) -> Secret<String> {
        read_file(path).unwrap().to_text()
    }

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        // Of a process of the same number in another container, which writes at this moment.
        let others = with_ending(&path, &format!(".{}.part", std::process::id()));
        std::fs::write(&others, "another's").unwrap();
        assert_eq!(make(&path).unwrap(), Made::Here);
        let made = key_at(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(make(&path).unwrap(), Made::ThereBefore);
        assert!(key_at(&path) == made);
        assert_eq!(std::fs::read_to_string(&others).unwrap(), "another's");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn of_several_that_make_one_at_once_all_have_the_one_that_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let source = MasterKeySource::File(folder.path().join("master.key"));
        let all: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| read_or_make(&source).unwrap().to_text())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let there = read(&source).unwrap().to_text();
        assert!(all.iter().all(|key| *key == there));
    }

    #[test]
    fn a_replaced_key_is_kept_and_no_other_one_is_lost_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let [path, new] = ["key", "key.new"].map(|name| folder.path().join(name));
        make(&path).unwrap();
        let mut keys = vec![key_at(&path)];
        for name in ["key.old", "key.old.2", "key.old.3"] {
            make(&new).unwrap();
            keys.push(key_at(&new));
            let kept = keep(&path).unwrap();
            assert_eq!(kept, folder.path().join(name));
            // Cut off here, and begun again.
            assert_eq!(keep(&path).unwrap(), kept);
            put_in_place(&new, &path).unwrap();
            assert!(!new.exists());
        }
        for (name, key) in ["key.old", "key.old.2", "key.old.3", "key"].iter().zip(&keys) {
            let path = folder.path().join(name);
            assert!(key_at(&path) == *key, "{name}");
        }
        let second = find_kept(&path, |key| key.to_text() == keys[1]);
        assert_eq!(second, Some(folder.path().join("key.old.2")));
        assert_eq!(find_kept(&path, |key| key.to_text() == keys[3]), None);
    }

    #[test]
    fn what_stands_in_the_way_is_set_aside_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.new");
        assert_eq!(set_aside(&path).unwrap(), None);
        std::fs::write(&path, "whatever").unwrap();
        let aside = set_aside(&path).unwrap().unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(aside).unwrap(), "whatever");
    }
}
