//! A file that holds a store and that nobody serves from: read, and checked to be whole. It is never changed.
//!
//! Called by `backup`, for what it has written, and by `restore`, for what it is given.

use std::path::{Path, PathBuf};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};

use super::audit::{AuditEnd, AuditRow, last_row};
use super::schema::NEWEST_MIGRATION;
use super::{StoreError, sqlite};
use crate::model::Revision;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupContents {
    /// Customers.
    pub customers: u64,
    /// Users of all customers.
    pub users: u64,
    /// API keys of all users.
    pub keys: u64,
    /// The newest revision.
    pub revision: Revision,
    /// The audit trail's newest row.
    pub audit_end: AuditEnd,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// Why a backup was not made, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A shared database has its own tools.
    #[error(
        "this store is a PostgreSQL database, which its own tools back up while gateways run: `pg_dump` or \
         `pg_basebackup`; or run `latchkey store copy --to sqlite:FILE --leave-open` for an embedded store of the same"
    )]
    Shared,
    /// There is a file at the place.
    #[error("{0} exists already; a backup never takes the place of a file")]
    Exists(PathBuf),
    /// The file or its folder cannot be used.
    #[error("{path} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is another kind of file.
    #[error("{0} is no backup of a Latchkey store")]
    NotAStore(PathBuf),
    /// It may lack anything.
    #[error("{0} is an unfinished copy of a store, which may lack anything")]
    Unfinished(PathBuf),
    /// It is of a later version.
    #[error(
        "{path} is of a newer version of Latchkey: its schema is {found}, and this version knows {known}"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Engine(error))
    }
}

/// The file, opened for reading alone.
#[derive(Debug)]
pub(super) struct BackupFile {
    path: PathBuf,
    pub(super) connection: AnyConnection,
}

impl BackupFile {
    /// Opens the store that must be in the file at `path`, of this version or an earlier one.
    pub(super) async fn open(path: &Path) -> Result<Self, BackupError> {
        sqlx::any::install_default_drivers();
        let metadata = std::fs::metadata(path);
        let metadata = metadata.map_err(|source| BackupError::File { path: path.to_owned(), source })?;
        if !metadata.is_file() {
            return Err(BackupError::NotAStore(path.to_owned()));
        }
        let options: AnyConnectOptions = sqlite::url_of(path, "ro").parse()?;
        let opened = options.disable_statement_logging().connect().await;
        let connection = opened.map_err(|error| of_foreign_file(error, path))?;
        let mut file = Self { path: path.to_owned(), connection };
        file.require_store().await?;
        Ok(file)
    }

    async fn require_store(&mut self) -> Result<(), BackupError> {
        let tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' \
             AND name IN ('feed_head', 'key_ring', 'store_marks', 'api_keys', '_sqlx_migrations')",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| of_foreign_file(error, &self.path))?;
        if tables != 5 {
            return Err(BackupError::NotAStore(self.path.clone()));
        }
        let found: i64 = sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(&mut self.connection).await?;
        let known = sqlite::newest_schema();
        if found > known {
            return Err(BackupError::Newer { path: self.path.clone(), found, known });
        }
        let unfinished: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM store_marks WHERE mark = 'unfinished'")
                .fetch_one(&mut self.connection)
                .await?;
        if unfinished != 0 { Err(BackupError::Unfinished(self.path.clone())) } else { Ok(()) }
    }

    /// Reads the whole file, and fails with the first thing in it that does not fit.
    pub(super) async fn require_whole(&mut self) -> Result<(), BackupError> {
        let found: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut self.connection).await?;
        let orphan: Option<String> =
            sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1")
                .fetch_optional(&mut self.connection)
                .await?;
        let damaged = |what| BackupError::Damaged { path: self.path.clone(), what };
        match (found.as_str(), orphan) {
            ("ok", None) => Ok(()),
            ("ok", Some(table)) => Err(damaged(format!("a row of {table} has no owner"))),
            (fault, _) => Err(damaged(fault.to_owned())),
        }
    }

    /// What it holds.
    pub(super) async fn contents(&mut self) -> Result<BackupContents, BackupError> {
        contents(&mut self.connection, &self.path).await
    }

    /// At most `count` rows of its audit trail behind the row `after`, oldest first.
    pub(super) async fn audit_rows(&mut self, after: i64, count: u32) -> Result<Vec<AuditRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(after)
            .bind(i64::from(count))
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(AuditRow::from_row).collect()
    }

    pub(super) async fn close(self) -> Result<(), BackupError> {
        Ok(self.connection.close().await?)
    }
}

/// What the connection sees of the backup whose file is at `path`.
pub(super) async fn contents(
    connection: &mut AnyConnection,
    path: &Path,
) -> Result<BackupContents, BackupError> {
    let (customers, users, keys, revision): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM visible_customers), (SELECT COUNT(*) FROM visible_users), \
         (SELECT COUNT(*) FROM visible_keys), (SELECT revision FROM feed_head)",
    )
    .fetch_one(&mut *connection)
    .await?;
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| BackupError::File { path: path.to_owned(), source })?;
    Ok(BackupContents {
        customers: customers.unsigned_abs(),
        users: users.unsigned_abs(),
        keys: keys.unsigned_abs(),
        revision: Revision(revision),
        audit_end: last_row(connection).await?,
        bytes: metadata.len(),
    })
}

/// `SQLITE_NOTADB` (26) and its like say what the file is, and not that the store has failed.
fn of_foreign_file(error: sqlx::Error, path: &Path) -> BackupError {
    match &error {
        sqlx::Error::Database(told) if told.code().is_some_and(|code| code == "26") => {
            BackupError::NotAStore(path.to_owned())
        }
        sqlx::Error::Database(told) if told.code().is_some_and(|code| code == "11") => {
            BackupError::Damaged { path: path.to_owned(), what: told.message().to_owned() }
        }
        _ => error.into(),
    }
}
