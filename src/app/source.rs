//! The configuration's files: reading them, and seeing that they have changed.
//!
//! Files are looked at by their metadata, once a second: a look at a dozen names costs microseconds, follows symbolic
//! links, and sees every way of replacing a file, on every file system (`docs/decisions/0010-reload.md`). Called by `app`
//! and `reload`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config, Faults};

/// How often a configuration is read until the files that it names are known beforehand.
const READINGS_MAX: usize = 4;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource(Origin);

#[derive(Clone, Debug)]
enum Origin {
    /// A file, and what its `${NAME}` are replaced from.
    File { path: PathBuf, environment: fn(&str) -> Option<String> },
    /// No file; it stays as it is.
    Given(Arc<Config>),
}

/// The configuration as it was read, and the state of its files then.
pub(super) struct Reading {
    pub(super) config: Result<Config, Faults>,
    pub(super) marks: FileMarks,
}

impl ConfigSource {
    /// The configuration at `path`.
    pub const fn new(path: PathBuf, environment: fn(&str) -> Option<String>) -> Self {
        Self(Origin::File { path, environment })
    }

    /// A configuration that stands in no file, and never changes.
    pub fn given(config: Config) -> Self {
        Self(Origin::Given(Arc::new(config)))
    }

    /// Reads the configuration, with the marks of all its files from before they were read: what changes afterwards
    /// makes another mark. A file that was not known to be named is therefore read a second time.
    pub(super) fn read(&self, known: &FileMarks) -> Reading {
        let mut marks = known.look_again();
        let mut reading = self.read_once();
        for _ in 1..READINGS_MAX {
            if marks.files().eq(&reading.1) {
                break;
            }
            marks = FileMarks::of(reading.1);
            reading = self.read_once();
        }
        Reading { config: reading.0, marks }
    }

    fn read_once(&self) -> (Result<Config, Faults>, BTreeSet<PathBuf>) {
        let mut files = BTreeSet::new();
        let config = match &self.0 {
            Origin::File { path, environment } => config::load_noting_files(path, environment, &mut files),
            Origin::Given(config) => Ok(Config::clone(config)),
        };
        (config, files)
    }
}

/// What tells a state of some files from another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileMarks(BTreeMap<PathBuf, Option<Mark>>);

/// A file's identity and times; whoever writes, replaces or releases a file changes one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileMarks {
    /// The present state of `files`.
    fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mark = |file: PathBuf| {
            let mark = std::fs::metadata(&file).ok().map(|metadata| Mark::of(&metadata));
            (file, mark)
        };
        Self(files.into_iter().map(mark).collect())
    }

    /// The present state of the same files.
    pub(super) fn look_again(&self) -> Self {
        Self::of(self.files().cloned())
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const TEXT: &str = "\
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    allow_list_file: networks
    routes: [{ path: /, upstream: registry }]
upstreams:
  - { name: registry, protocol: http, servers: [http://127.0.0.1:9000] }
";

    fn folder() -> (tempfile::TempDir, ConfigSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.yaml");
        fs::write(&path, TEXT).unwrap();
        (folder, ConfigSource::new(path, |_| None))
    }

    #[test]
    fn the_files_that_the_configuration_names_are_marked_there_or_not() {
        let (folder, source) = folder();
        let broken = source.read(&FileMarks::default());
        assert!(broken.config.is_err());
        assert_eq!(broken.marks.look_again(), broken.marks);
        fs::write(folder.path().join("networks"), "192.0.2.0/24\n").unwrap();
        assert_ne!(broken.marks.look_again(), broken.marks, "a missing file is there");
        let sound = source.read(&broken.marks);
        assert!(sound.config.is_ok());
        assert_eq!(sound.marks.files().count(), 2);
        assert_eq!(sound.marks, sound.marks.look_again());
    }

    #[test]
    fn a_given_configuration_has_no_files_that_could_change() {
        let (_folder, source) = folder();
        let text = TEXT.replace("    allow_list_file: networks\n", "");
        let config = config::parse(&text, "f.yaml".as_ref(), "".as_ref(), &|_| None).unwrap();
        let given = ConfigSource::given(config).read(&FileMarks::default());
        assert_eq!(given.marks, FileMarks::default());
        assert_eq!(given.config.unwrap().listeners.len(), 1);
        assert!(source.read(&FileMarks::default()).config.is_err());
    }

    #[test]
    fn every_way_of_changing_a_file_changes_its_mark() {
        let (folder, source) = folder();
        let (networks, other) = (folder.path().join("networks"), folder.path().join("other"));
        fs::write(&networks, "192.0.2.0/24\n").unwrap();
        let mut marks = source.read(&FileMarks::default()).marks;
        let mut expect_change = |what: &str| {
            let now = marks.look_again();
            assert_ne!(now, marks, "{what}");
            marks = now;
        };
        fs::write(&networks, "192.0.3.0/24\n# and a comment\n").unwrap();
        expect_change("written in place");
        fs::write(&other, "192.0.3.0/24\n").unwrap();
        fs::rename(&other, &networks).unwrap();
        expect_change("another file renamed over it");
        fs::set_permissions(&networks, fs::Permissions::from_mode(0o600)).unwrap();
        expect_change("its permissions changed");
        fs::remove_file(&networks).unwrap();
        expect_change("deleted");
        for version in ["one", "two"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("networks"), "192.0.3.0/24\n").unwrap();
        }
        symlink("data/networks", &networks).unwrap();
        symlink("one", folder.path().join("data")).unwrap();
        expect_change("a symbolic link");
        symlink("two", folder.path().join("data.new")).unwrap();
        fs::rename(folder.path().join("data.new"), folder.path().join("data")).unwrap();
        expect_change("the folder behind the link swapped, as Kubernetes does");
    }
}
