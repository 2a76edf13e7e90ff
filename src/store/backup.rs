//! A backup of the embedded store: one file with everything that lasts, as it stood at one moment, while changes go on.
//!
//! The engine writes it (`VACUUM INTO`) from one read transaction, which in the store's journal mode holds up nobody. What
//! ends with a restore anyway is left out: sessions, ceremonies, links, used tokens, refusals, gateways, staged imports. It
//! gets its name once it has been read back. Who may make one, and what is told of it, is `auth`'s, the only caller.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};

use super::backup_file::{BackupContents, BackupError, BackupFile};
use super::new_file::NewFile;
use super::{AuditRow, Store, StoreError, sqlite};

/// How often the growing file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a backup leaves out, and a restore takes away: children before their parents.
pub(super) const PASSING: [&str; 14] = [
    "DELETE FROM ceremonies",
    "DELETE FROM console_sessions",
    "DELETE FROM links",
    "DELETE FROM used_tokens",
    "DELETE FROM api_sessions",
    "DELETE FROM refusals",
    "DELETE FROM feed_acks",
    "DELETE FROM gateways",
    "DELETE FROM api_keys WHERE import_id IN (SELECT id FROM imports) \
     OR user_id IN (SELECT id FROM users WHERE import_id IN (SELECT id FROM imports))",
    "DELETE FROM users WHERE import_id IN (SELECT id FROM imports) \
     OR customer_id IN (SELECT id FROM customers WHERE import_id IN (SELECT id FROM imports))",
    "DELETE FROM customers WHERE import_id IN (SELECT id FROM imports)",
    "DELETE FROM imports",
    "DELETE FROM key_last_used WHERE key_id NOT IN (SELECT id FROM api_keys)",
    // What was deleted before a backup is not in it.
    "DELETE FROM unnoted_tombstones",
];

/// A backup that is written, and has not got its name yet.
#[derive(Debug)]
pub struct Backup {
    new: NewFile,
    path: PathBuf,
    file: BackupFile,
    /// What was read back.
    pub contents: BackupContents,
}

impl Store {
    /// Writes a backup for the file `path`, which must not exist, and reads it back; `progress` is told the bytes that are
    /// written, and how many there will be about.
    pub async fn back_up(
        &self,
        path: &Path,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Backup, BackupError> {
        if self.is_shared() {
            return Err(BackupError::Shared);
        }
        let new = NewFile::create(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
            _ => BackupError::File { path: path.to_owned(), source },
        })?;
        self.require_in_place()?;
        let mut reading = self.pinned_connection().await?;
        write_copy(&mut reading, new.part(), progress).await?;
        reading.close().await?;
        leave_out_passing(new.part()).await?;
        let mut file = BackupFile::open(new.part()).await?;
        file.require_whole().await?;
        let contents = file.contents().await?;
        Ok(Backup { new, path: path.to_owned(), file, contents })
    }
}

impl Backup {
    /// At most `count` rows of its audit trail behind the row `after`, oldest first.
    pub async fn audit_rows(&mut self, after: i64, count: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.file.audit_rows(after, count).await
    }

    /// Gives it its name; only now is it there.
    pub async fn publish(self) -> Result<BackupContents, BackupError> {
        let Self { new, path, file, contents } = self;
        file.close().await?;
        new.publish().map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => BackupError::Exists(path),
            _ => BackupError::File { path, source },
        })?;
        Ok(contents)
    }
}

/// Writes what the connection sees at this moment into the empty file at `to`.
pub(super) async fn write_copy(
    from: &mut AnyConnection,
    to: &Path,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), BackupError> {
    let file_error = |source| BackupError::File { path: to.to_owned(), source };
    let name = std::fs::canonicalize(to).map_err(file_error)?;
    let name = name.to_str().ok_or_else(|| file_error(std::io::Error::other("its name is no UTF-8")))?;
    let (pages, bytes): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size)",
    )
    .fetch_one(&mut *from)
    .await?;
    let of = pages.unsigned_abs().saturating_mul(bytes.unsigned_abs());
    let mut writing = pin!(sqlx::query("VACUUM INTO $1").bind(name).execute(from));
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            written = &mut writing => break written.map(drop)?,
            _ = looks.tick() => {
                // A look that fails tells nothing; the writing does.
                let done = std::fs::metadata(to).map_or(0, |metadata| metadata.len());
                progress(done.min(of), of);
            }
        }
    }
    progress(of, of);
    Ok(())
}

/// Takes away what does not last from the copy at `path`, which nobody else has open. What is deleted is overwritten.
pub(super) async fn leave_out_passing(path: &Path) -> Result<(), BackupError> {
    let options: AnyConnectOptions = sqlite::url_of(path, "rw").parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    // Whatever is cut off here is thrown away.
    let preparation = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON; \
                       PRAGMA foreign_keys = ON";
    sqlx::raw_sql(preparation).execute(&mut connection).await?;
    for statement in PASSING {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}
