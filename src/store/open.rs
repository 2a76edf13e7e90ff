//! Opening the embedded store: one writer, several readers, every connection checked.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use crate::crypto::random::RandomError;

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// Pages that a reader keeps, in KiB with a minus: what the console asks for again and again, such as a large customer's
/// usage of two days. Taken as it is needed.
const READER_CACHE: &str = "-16384";
/// Pages that the writer keeps: what is changed, which is rarely the same page for long. What a larger transaction
/// changes goes into the write-ahead log before its end.
const WRITER_CACHE: &str = "-512";

/// The store of one installation. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) path: PathBuf,
    file: FileIdentity,
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

/// Which file it is, whatever it is called: device and number (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What can go wrong with the store; always our side's fault, never a client's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not there, and was not to be made.
    #[error("there is no store at {0} yet; `latchkey serve`, `customer create` and `key import` make one")]
    Missing(PathBuf),
    /// The file or its folder cannot be used.
    #[error("the store {path} cannot be opened: {source}")]
    File {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another operating-system user owns the store: files made by us would lock the gateway out.
    #[error(
        "the store {path} belongs to the operating-system user with id {owner}, and this is the user with id {us}; run the command as its owner"
    )]
    OtherOwner {
        /// The store's file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// The file that was opened is not the one at its path any more: what it says is nobody's truth.
    #[error(
        "the store {0} was moved, removed or replaced while it was in use; put it back, or start the gateway anew"
    )]
    NotInPlace(PathBuf),
    /// The engine refused a statement.
    #[error("the store failed: {0}")]
    Engine(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the store's schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A connection does not sync every commit to the disk, so that a power cut could lose an acknowledged change.
    #[error("the store's connection runs with synchronous={0}; only 2 (FULL) keeps what was acknowledged")]
    NotDurable(i64),
    /// A stored value makes no sense: the file was changed by something else.
    #[error("the store holds a {0} that makes no sense")]
    Corrupt(&'static str),
    /// Only one import at a time.
    #[error("another import into this store is running; wait for its end")]
    ImportRuns,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A name is taken.
    #[error("{0} exists already")]
    Exists(String),
}

impl StoreError {
    /// Can the store be read, and only not be written: a full disk, a failing one, a file that may not be changed or that
    /// is not in its place?
    pub fn is_unwritable(&self) -> bool {
        // SQLITE_READONLY, SQLITE_IOERR and SQLITE_FULL; the low byte of an extended code is the plain one.
        const UNWRITABLE: [i32; 3] = [8, 10, 13];
        let Self::Engine(sqlx::Error::Database(error)) = self else {
            return matches!(self, Self::NotInPlace(_));
        };
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| UNWRITABLE.contains(&(code & 0xff)))
    }
}

impl Store {
    /// Opens the store at `path`, making it and its folder if need be, and brings its schema up to date.
    pub async fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        let file_error = |source| StoreError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file_error)?;
        }
        // Made by us rather than by the engine, so that nobody else can read it for a moment.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(file_error(error)),
        }
        Self::open(path).await
    }

    /// Opens the store at `path`, which must exist, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        refuse_other_owner(path)?;
        let options = options(path);
        let writer = pool(1).connect_with(options.clone().pragma("cache_size", WRITER_CACHE)).await?;
        sqlx::migrate!("src/store/migrations").run(&writer).await?;
        let readers = pool(READERS).connect_with(options.pragma("cache_size", READER_CACHE)).await?;
        let source = |source| StoreError::File { path: path.to_owned(), source };
        let file = FileIdentity::of(path).map_err(source)?;
        Ok(Self { path: path.to_owned(), file, writer, readers })
    }

    /// Is what is open still what stands at its path? The engine itself does not notice.
    pub(super) fn require_in_place(&self) -> Result<(), StoreError> {
        match FileIdentity::of(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { path: self.path.clone(), source })
            }
            _ => Err(StoreError::NotInPlace(self.path.clone())),
        }
    }

    /// Ends all connections; the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A connection of its own: for watching `data_version`, and for reading everything once.
    pub(super) async fn pinned_connection(&self) -> Result<SqliteConnection, StoreError> {
        let mut connection = options(&self.path).connect().await?;
        assert_durable(&mut connection).await?;
        connection.ping().await?;
        Ok(connection)
    }
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .after_connect(|connection, _| {
            Box::pin(async move {
                assert_durable(connection).await.map_err(|error| sqlx::Error::Configuration(error.into()))
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Answered when a rollback that was begun before is done.
                connection.ping().await?;
                // Where the disk is full or fails, the engine rolls back by itself, of which the driver knows nothing: it
                // would never begin another transaction. Such a connection is closed, and the next one is a new one.
                Ok(!connection.is_in_transaction())
            })
        })
}

/// Refuses a connection that could lose an acknowledged change in a power cut (DESIGN section 2).
async fn assert_durable(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await?;
    if level == 2 { Ok(()) } else { Err(StoreError::NotDurable(level)) }
}

fn refuse_other_owner(path: &Path) -> Result<(), StoreError> {
    let owner = match std::fs::metadata(path) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        Err(source) => return Err(StoreError::File { path: path.to_owned(), source }),
    };
    let us = rustix::process::geteuid().as_raw();
    if owner == us { Ok(()) } else { Err(StoreError::OtherOwner { path: path.to_owned(), owner, us }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s81_every_connection_syncs_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("data/latchkey.db")).await.unwrap();
        for pool in [&store.writer, &store.readers] {
            let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.unwrap();
            assert_eq!(level, 2);
        }
        let mut lax = SqliteConnectOptions::new()
            .filename(&store.path)
            .synchronous(SqliteSynchronous::Normal)
            .connect()
            .await
            .unwrap();
        assert!(matches!(assert_durable(&mut lax).await, Err(StoreError::NotDurable(1))));
    }

    #[tokio::test]
    async fn what_belongs_to_a_deleted_row_goes_with_it_on_every_connection() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        for pool in [&store.writer, &store.readers] {
            let on: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
            assert_eq!(on, 1);
        }
    }

    #[tokio::test]
    async fn s80_a_store_that_was_moved_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, elsewhere] = ["latchkey.db", "moved.db"].map(|name| folder.path().join(name));
        let store = Store::open_or_create(&path).await.unwrap();
        assert!(store.require_in_place().is_ok());
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(matches!(store.require_in_place(), Err(StoreError::NotInPlace(named)) if named == path));
        std::fs::copy(&elsewhere, &path).unwrap();
        assert!(matches!(store.require_in_place(), Err(StoreError::NotInPlace(_))));
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(store.require_in_place().is_ok());
    }

    #[tokio::test]
    async fn a_missing_store_is_named_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latchkey.db");
        assert!(matches!(Store::open(&path).await, Err(StoreError::Missing(missing)) if missing == path));
        Store::open_or_create(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
