//! The store that a restore makes where there is none any more: written under a name of its own until it is whole.

use std::path::{Path, PathBuf};

use super::RestoreError;
use crate::config::StoreLocation;
use crate::store::backup_file::BackupError;
use crate::store::new_file::{NewFile, with_ending};
use crate::store::{Store, sqlite};

/// A store that takes the place of one that is lost.
#[derive(Debug)]
pub struct NewStore {
    new: NewFile,
    path: PathBuf,
    /// The store, under a name of its own.
    pub store: Store,
}

impl NewStore {
    /// An empty store, for the file that is not there at `path`.
    pub async fn create(path: &Path) -> Result<Self, RestoreError> {
        sqlite::create_folder(path)?;
        let remains = ["-wal", "-journal"].map(|ending| with_ending(path, ending));
        if let Some(remains) = remains.into_iter().find(|file| file.symlink_metadata().is_ok()) {
            return Err(RestoreError::Remains(remains));
        }
        let new = NewFile::create(path);
        let new = new.map_err(|source| BackupError::File { path: path.to_owned(), source })?;
        let store = Store::open(&StoreLocation::Sqlite(new.part().to_owned())).await?;
        Ok(Self { new, path: path.to_owned(), store })
    }

    /// Gives it its name, with what a restore has put into it; only now is it there.
    pub async fn publish(self) -> Result<(), RestoreError> {
        let Self { new, path, store } = self;
        fold_log(&store, &path).await?;
        store.close().await;
        Ok(new.publish().map_err(|source| BackupError::File { path, source })?)
    }
}

/// Puts what the engine's log holds into the file. Closing does so, too, and tells nobody where it fails: on a full disk.
async fn fold_log(store: &Store, path: &Path) -> Result<(), RestoreError> {
    store.readers.close().await;
    let mut connection = store.writer.acquire().await?;
    // Nobody else should have it open.
    sqlx::raw_sql("PRAGMA busy_timeout = 1000").execute(&mut *connection).await?;
    let (is_busy, left, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await?;
    if is_busy == 0 && left == 0 {
        return Ok(());
    }
    let source = std::io::Error::other("the engine's log could not be put into it");
    Err(BackupError::File { path: path.to_owned(), source }.into())
}
