//! The master key's file: read, made on the very first start, and put in the place of another one.
//!
//! Which key opens which store is told in `key_ring`. Called by that, and by `master_key_rotation`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::key_ring::KeyRingError;
use crate::config::{MasterKeySource, mode_for_strangers};
use crate::crypto::{MasterKey, random};
use crate::model::Secret;
use crate::store::{sync_folder, with_ending};

/// Reads the master key.
pub(super) fn read(source: &MasterKeySource) -> Result<MasterKey, KeyRingError> {
    let path = match source {
        MasterKeySource::Text(text) => return Ok(MasterKey::parse(text)?),
        MasterKeySource::File(path) => path,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyRingError::Missing(path.clone()));
        }
        Err(source) => return Err(KeyRingError::File { path: path.clone(), source }),
    };
    if let Some(mode) = mode_for_strangers(&metadata) {
        return Err(KeyRingError::Readable { path: path.clone(), mode });
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| KeyRingError::File { path: path.clone(), source })?;
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
    let file_error = |source| KeyRingError::File { path: path.to_owned(), source };
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
        Err(error) => return Err(file_error(error)),
    }
    removed.and_then(|()| sync_folder(path)).map_err(file_error)?;
    Ok(Made::Here)
}

/// Puts the file `new` in the place of `path`, and keeps what stood there at `kept`, which is never another key's.
pub(super) fn replace(path: &Path, new: &Path, kept: &Path) -> Result<(), KeyRingError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyRingError::File { path, source }
    };
    match std::fs::hard_link(path, kept) {
        Ok(()) => {}
        // Of a replacement that was cut off here.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same_key(path, kept)? => {}
        Err(error) => return Err(file_error(kept)(error)),
    }
    sync_folder(path).map_err(file_error(path))?;
    std::fs::rename(new, path).and_then(|()| sync_folder(path)).map_err(file_error(path))
}

fn is_same_key(one: &Path, other: &Path) -> Result<bool, KeyRingError> {
    let [one, other] = [one, other].map(|path| read(&MasterKeySource::File(path.to_owned())));
    Ok(one?.to_text() == other?.to_text())
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
        read(&MasterKeySource::File(path.to_owned())).unwrap().to_text()
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
        let [path, new, kept] = ["key", "key.new", "key.old"].map(|name| folder.path().join(name));
        for path in [&path, &new] {
            make(path).unwrap();
        }
        let (old, fresh) = (key_at(&path), key_at(&new));
        // Cut off behind its first step, and begun again.
        std::fs::hard_link(&path, &kept).unwrap();
        replace(&path, &new, &kept).unwrap();
        assert!(key_at(&path) == fresh && key_at(&kept) == old && !new.exists());
        make(&new).unwrap();
        let refused = replace(&path, &new, &kept).unwrap_err();
        assert!(matches!(&refused, KeyRingError::File { path, .. } if *path == kept), "{refused}");
        assert!(key_at(&path) == fresh && key_at(&kept) == old);
    }
}
