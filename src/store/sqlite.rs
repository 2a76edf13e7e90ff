//! The embedded store: one file, which its owner alone may open.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::AnyConnection;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use super::StoreError;
use super::engine::Dialect;
use super::new_file::with_ending;
use super::open::Task;
use super::schema::{NEWEST_MIGRATION, Schema};
use crate::config::StoreLocation;

/// How long another process is waited for, as in [`preparation`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The file of an open store.
#[derive(Debug)]
pub(super) struct StoreFile {
    /// What it was opened by.
    name: PathBuf,
    /// Where it is: one place, whatever links lead to it.
    path: PathBuf,
    identity: FileIdentity,
    schema: Schema,
}

/// Which file it is, whatever it is called: device and number (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Where the engine keeps what it has not yet put into the file at `path`.
pub(super) fn log_path(path: &Path) -> PathBuf {
    with_ending(path, "-wal")
}

/// Where the file at `path` is, whatever links lead there: what stands beside it is found by each of its names.
pub(super) fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What the driver opens the file at `path` by, in a `mode` of its own: no letter of a path can mean anything else there.
pub(super) fn url_of(path: &Path, mode: &str) -> String {
    use std::fmt::Write;
    // Whole, so that no `..` in it is read as a part of an address.
    let path = real_path(path);
    let mut url = String::from("sqlite:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            url.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    // Writing to a String cannot fail.
    let _ = write!(url, "?mode={mode}");
    url
}

/// The newest schema that this version knows.
pub(super) fn newest_schema() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn migrations() -> Migrator {
    sqlx::migrate!("src/store/migrations/sqlite")
}

/// The newest migration that was carried out; 0 where none was.
async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let is_made = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    if !sqlx::query_scalar(is_made).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    Ok(sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(connection).await?)
}

/// Tells a connection what it is for, which makes a new store one with a log. The engine does not wait for whoever does the
/// same at this moment.
async fn prepare_first(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    const SQLITE_BUSY: &str = "5";
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match sqlx::raw_sql(preparation(Task::Writing)).execute(&mut *connection).await {
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code == SQLITE_BUSY) && Instant::now() < give_up =>
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            prepared => return Ok(prepared.map(drop)?),
        }
    }
}

/// Carries out the migrations that were not. Whoever opens the store at the same moment waits for the end of it.
async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<Schema, StoreError> {
    let found = schema_version(connection).await?;
    // Only then, so that nobody who opens a store waits for whoever changes it.
    if found >= newest_schema() {
        migrations().run_direct(None, connection, false).await?;
        return Ok(Schema { before: found, now: found });
    }
    let mut writing = connection.begin_with(Dialect::Sqlite.begin_write()).await?;
    let before = schema_version(&mut writing).await?;
    migrations().run_direct(None, &mut *writing, false).await?;
    let now = schema_version(&mut writing).await?;
    writing.commit().await?;
    Ok(Schema { before, now })
}

/// Makes the folder of the file at `path` if need be.
pub(super) fn create_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Makes the file and its folder if need be.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    create_folder(path)?;
    let file_error = |source| StoreError::File { path: path.to_owned(), source };
    // Made by us rather than by the engine, so that nobody else can read it for a moment.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(file_error(error)),
    }
}

impl StoreFile {
    /// The file at `path`, with its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        refuse_other_owner(path)?;
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(false).disable_statement_logging();
        let mut connection = options.connect().await?;
        prepare_first(&mut connection).await?;
        let schema = bring_up_to_date(&mut connection).await?;
        connection.close().await?;
        let source = |source| StoreError::File { path: path.to_owned(), source };
        let identity = FileIdentity::of(path).map_err(source)?;
        Ok(Self { name: path.to_owned(), path: real_path(path), identity, schema })
    }

    /// What opening it made of its schema.
    pub(super) const fn schema(&self) -> Schema {
        self.schema
    }

    /// What it was opened by.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Where it is, and what belongs to it is beside it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the driver opens it by.
    pub(super) fn url(&self) -> String {
        url_of(&self.path, "rw")
    }

    /// Is what was opened still what its name leads to?
    pub(super) fn require_in_place(&self) -> Result<(), StoreError> {
        match FileIdentity::of(&self.name) {
            Ok(identity) if identity == self.identity => Ok(()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { path: self.name.clone(), source })
            }
            _ => Err(StoreError::NotInPlace(self.name.clone())),
        }
    }
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// What a connection is told first. The writer keeps few pages: what is changed is rarely the same page for long, and what
/// a larger transaction changes goes into the write-ahead log before its end. A reader keeps what the console asks for again
/// and again, such as a large customer's usage of two days; it is taken as it is needed. Another process's transaction is
/// waited for, ten seconds at most.
pub(super) const fn preparation(task: Task) -> &'static str {
    match task {
        Task::Writing => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA cache_size = -512"
        }
        Task::Reading => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384"
        }
        Task::Following => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON"
        }
    }
}

pub(super) async fn require_durable(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await?;
    if level == 2 {
        Ok(())
    } else {
        Err(StoreError::NotDurable(format!("synchronous={level} where only 2 (FULL) keeps every commit")))
    }
}

fn refuse_other_owner(path: &Path) -> Result<(), StoreError> {
    let owner = match std::fs::metadata(path) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(StoreLocation::Sqlite(path.to_owned())));
        }
        Err(source) => return Err(StoreError::File { path: path.to_owned(), source }),
    };
    let us = rustix::process::geteuid().as_raw();
    if owner == us { Ok(()) } else { Err(StoreError::OtherOwner { path: path.to_owned(), owner, us }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    async fn store(path: &Path) -> Store {
        Store::open_or_create(&StoreLocation::Sqlite(path.to_owned())).await.unwrap()
    }

    #[tokio::test]
    async fn s81_every_connection_syncs_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("data/latchkey.db")).await;
        for pool in [&store.writer, &store.readers] {
            let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.unwrap();
            assert_eq!(level, 2);
        }
        let mut lax = store.pinned_connection().await.unwrap();
        sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&mut lax).await.unwrap();
        let refused = require_durable(&mut lax).await;
        assert!(matches!(refused, Err(StoreError::NotDurable(told)) if told.starts_with("synchronous=1")));
    }

    #[tokio::test]
    async fn many_that_open_a_store_of_an_older_version_at_once_all_find_it_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        for older in 0..newest_schema() {
            let path = folder.path().join(format!("{older}.db"));
            create(&path).unwrap();
            if older != 0 {
                let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
                sqlx::raw_sql(preparation(Task::Writing)).execute(&mut connection).await.unwrap();
                migrations().run_to(older, &mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            let open =
                || tokio::runtime::Runtime::new().unwrap().block_on(StoreFile::open(&path)).unwrap().schema();
            let schemas: Vec<Schema> = std::thread::scope(|scope| {
                let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                opening.into_iter().map(|opened| opened.join().unwrap()).collect()
            });
            assert!(schemas.iter().all(|schema| schema.now == newest_schema()), "{older}: {schemas:?}");
            let upgraded = schemas.iter().filter(|schema| schema.before == older).count();
            assert_eq!(upgraded, 1, "one of them did it, from {older}: {schemas:?}");
        }
    }

    #[tokio::test]
    async fn what_belongs_to_a_deleted_row_goes_with_it_on_every_connection() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("latchkey.db")).await;
        for pool in [&store.writer, &store.readers] {
            let on: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
            assert_eq!(on, 1);
        }
    }

    #[tokio::test]
    async fn s80_a_store_that_was_moved_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, elsewhere] = ["latchkey.db", "moved.db"].map(|name| folder.path().join(name));
        let store = store(&path).await;
        assert!(store.require_in_place().is_ok());
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(matches!(store.require_in_place(), Err(StoreError::NotInPlace(named)) if named == path));
        std::fs::copy(&elsewhere, &path).unwrap();
        assert!(matches!(store.require_in_place(), Err(StoreError::NotInPlace(_))));
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(store.require_in_place().is_ok());
    }

    #[tokio::test]
    async fn a_store_of_two_names_is_one_with_one_of_each_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["data/latchkey.db", "latchkey.db"].map(|name| folder.path().join(name));
        let by_path = store(&path).await;
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let by_link = store(&link).await;
        assert_eq!(by_link.location(), StoreLocation::Sqlite(link.clone()));
        let now = crate::model::Timestamp::from_unix_milliseconds(1_800_000_000_000);
        let _running = by_path.begin_import(now).await.unwrap();
        assert!(matches!(by_link.begin_import(now).await, Err(StoreError::ImportRuns)));
        // Another store behind the name is noticed.
        drop(store(&folder.path().join("other.db")).await);
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("other.db"), &link).unwrap();
        assert!(matches!(by_link.require_in_place(), Err(StoreError::NotInPlace(named)) if named == link));
        assert!(by_path.require_in_place().is_ok());
    }

    #[tokio::test]
    async fn a_missing_store_is_named_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latchkey.db");
        let location = StoreLocation::Sqlite(path.clone());
        assert!(
            matches!(Store::open(&location).await, Err(StoreError::Missing(missing)) if missing == location)
        );
        Store::open_or_create(&location).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_path_may_have_any_letter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?c#d%41:é/../é/latchkey.db");
        std::fs::create_dir_all(folder.path().join("a b?c#d%41:é")).unwrap();
        drop(store(&path).await);
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
    }
}
