//! A folder of the probe's own, for the store, the master key and the logs of the copy; gone with its owner.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::crypto::random;

/// A folder that nobody else can read; deleted when this is dropped.
#[derive(Debug)]
pub(super) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes one where the system keeps such folders.
    pub(super) fn make() -> Result<Self> {
        let name = format!("latchkey-probe-{:032x}", u128::from_ne_bytes(random::bytes()?));
        let path = std::env::temp_dir().join(name);
        // Not recursive: a folder that is there already is somebody else's.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("the folder {} cannot be made", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be deleted holds nothing but the probe's own; the system cleans such folders.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_its_owners_alone_and_goes_with_it() {
        let folder = TemporaryFolder::make().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
