//! A file that is written under a name of its own, and gets the name that it is for once it is whole.
//!
//! Never over another file, and readable by its owner alone from its first byte on. Called by `backup` and `restore`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::engine::hex;
use crate::crypto::random;

/// What the engine, and imports, put beside a store's file.
const NEIGHBOURS: [&str; 4] = ["-journal", "-wal", "-shm", ".import"];

/// A file on its way; dropped before it has got its name, it is removed.
#[derive(Debug)]
pub(super) struct NewFile {
    part: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// An empty file beside `path`; fails where there is something at `path`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Self::named(path, "part")
    }

    /// An empty file beside `path`, whatever is there, which is not meant to get that name.
    pub(super) fn beside(path: &Path) -> io::Result<Self> {
        Self::named(path, "copy")
    }

    fn named(path: &Path, ending: &str) -> io::Result<Self> {
        // Drawn at random: in containers every process may have the same number.
        let name = random::bytes::<8>().map_err(io::Error::other)?;
        let part = with_ending(path, &format!(".{}.{ending}", hex(&name)));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Self { part, path: path.to_owned() })
    }

    /// Where it is written.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Makes it durable and gives it its name. Whatever has it open must be closed before; where that has left something
    /// that belongs to it, it is not whole, and does not get its name.
    pub(super) fn publish(self) -> io::Result<()> {
        for neighbour in ["-wal", "-journal"].map(|ending| with_ending(&self.part, ending)) {
            if std::fs::metadata(&neighbour).is_ok_and(|left| left.len() > 0) {
                let left = format!("{} holds what could not be put into it", neighbour.display());
                return Err(io::Error::other(left));
            }
        }
        File::open(&self.part)?.sync_all()?;
        rename_new(&self.part, &self.path)?;
        sync_folder(&self.path)
    }

    /// What cannot be removed is in nobody's way but the disk's.
    fn remove(&self) {
        let _ = std::fs::remove_file(&self.part);
        for ending in NEIGHBOURS {
            let _ = std::fs::remove_file(with_ending(&self.part, ending));
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A file's neighbour: its name with an `ending`.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The folder that the file at `path` is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the name of the file at `path` durable, or that it has it no more.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, such as NFS, do not know it.
        Err(rustix::io::Errno::INVAL) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let new = NewFile::create(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::metadata(new.part()).unwrap().mode() & 0o777, 0o600);
        std::fs::write(new.part(), "whole").unwrap();
        let late = NewFile { part: folder.path().join("late"), path: path.clone() };
        std::fs::write(late.part(), "late").unwrap();
        new.publish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(late.publish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(NewFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(NewFile::beside(&path).unwrap());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn two_of_the_same_process_do_not_take_each_others_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let [first, second] = [(); 2].map(|()| NewFile::beside(&path).unwrap());
        assert_ne!(first.part(), second.part());
        drop(second);
        assert!(first.part().exists());
    }

    #[test]
    fn a_file_beside_which_something_of_it_is_left_does_not_get_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for ending in ["-wal", "-journal"] {
            let new = NewFile::create(&path).unwrap();
            std::fs::write(with_ending(new.part(), ending), "").unwrap();
            new.publish().unwrap();
            std::fs::remove_file(&path).unwrap();
            let new = NewFile::create(&path).unwrap();
            std::fs::write(with_ending(new.part(), ending), "rows").unwrap();
            assert!(new.publish().unwrap_err().to_string().contains(ending));
            assert!(!path.exists());
        }
    }
}
