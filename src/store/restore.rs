//! Putting the embedded store back to a backup while gateways follow it (docs/decisions/0023).
//!
//! The backup is copied beside the store, brought up to date there and attached; one transaction of the live store compares
//! the two, takes what must not come back out of the copy, and puts the copy's rows in the place of its own. A crash leaves
//! the store as it was. Where there is no store any more, the same is done to a new one, which gets its name at the end. The
//! audit trail is never put back. Who may restore, and whether a backup can be trusted, is `auth`'s, the only caller.

mod comparison;
mod difference;
mod new_store;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, AssertSqlSafe, Connection};

pub use self::difference::{Difference, DifferenceKind, Effect};
pub use self::new_store::NewStore;
use super::backup::{self, PASSING};
use super::backup_file::{BackupContents, BackupError, BackupFile, contents};
use super::copy::tables::TABLES;
use super::feed::{self, Subject};
use super::new_file::NewFile;
use super::tombstones::{self, Word};
use super::{AuditEntry, Store, StoreError, audit, import, marks, sqlite};
use crate::config::StoreLocation;
use crate::crypto::DigestKey;
use crate::model::{Revision, Timestamp};

/// May come back what is dead by now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revival {
    /// It stays dead.
    Refused,
    /// It comes back as it was.
    Accepted,
}

/// Is there a store that is put back, or only a new one?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Its audit trail, usage and key ring stay.
    Kept,
    /// All of that comes from the backup.
    Lost,
}

/// How to restore.
#[derive(Debug)]
pub struct RestoreOrder<'a, T> {
    /// May come back what is dead by now?
    pub revival: Revival,
    /// Into what?
    pub present: Present,
    /// The differences that were agreed to; `None`: whatever they are.
    pub agreed: Option<&'a [Difference]>,
    /// What the audit trail tells of it, from what it changes.
    pub tell: T,
    /// Chains the audit trail.
    pub audit_key: &'a DigestKey,
    /// When.
    pub now: Timestamp,
}

/// What a restore has done.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What it has given back, kept away and taken away.
    pub differences: Vec<Difference>,
    /// The revision at which every gateway has it.
    pub revision: Revision,
}

/// Why a store was not put back; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A shared database has its own tools.
    #[error(
        "this store is a PostgreSQL database, which its own tools restore: `pg_restore` or `psql` with what `pg_dump` has \
         written. A backup of an embedded store goes into a database by a restore into a file of its own, and \
         `latchkey store copy --to URL` from there"
    )]
    Shared,
    /// The engine would take it for a part of the new store.
    #[error(
        "{0} is left of the store that is lost, and would be taken for a part of the new one; move it away"
    )]
    Remains(PathBuf),
    /// Whatever was deleted would come back in silence.
    #[error(
        "{0} is missing, which alone tells of a store that is lost what was deleted since the backup; put a copy of it in \
         its place, or give --accept-revival: every key, user and recovery code of the backup is good again then"
    )]
    DeletionsUnknown(PathBuf),
    /// Somebody changed the present store while consent was asked for.
    #[error(
        "the store was changed meanwhile, and more would come back than what was told; nothing was changed: give the \
         command again"
    )]
    MoreComesBack,
    /// Nothing can be read from the backup, or it is no backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RestoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Engine(error))
    }
}

/// A backup's copy of our own, brought up to date.
#[derive(Debug)]
pub struct Image {
    new: NewFile,
    /// The store that is restored.
    of_store: PathBuf,
    /// The copy; nobody else has it open.
    pub store: Store,
    /// What the backup holds.
    pub contents: BackupContents,
}

impl Image {
    /// Copies the backup at `path` to a file beside the embedded store that is, or will be, at `location`; `progress` is
    /// told the bytes that are written, and how many there will be about.
    pub async fn of(
        path: &Path,
        location: &StoreLocation,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Self, RestoreError> {
        let StoreLocation::Sqlite(beside) = location else { return Err(RestoreError::Shared) };
        let mut backup = BackupFile::open(path).await?;
        backup.require_whole().await?;
        sqlite::create_folder(beside)?;
        let new =
            NewFile::beside(beside).map_err(|source| BackupError::File { path: beside.clone(), source })?;
        backup::write_copy(&mut backup.connection, new.part(), progress).await?;
        backup.close().await?;
        let store = Store::open(&StoreLocation::Sqlite(new.part().to_owned())).await?;
        for statement in PASSING {
            sqlx::query(statement).execute(&store.writer).await?;
        }
        // Asked of the copy, which has every table by now.
        let contents = contents(&mut *store.readers.acquire().await?, path).await?;
        Ok(Self { new, of_store: sqlite::real_path(beside), store, contents })
    }

    /// How much the file beside the store that is, or was, there knows as deleted; `None`: the file is missing.
    pub fn known_deletions(&self) -> Result<Option<usize>, RestoreError> {
        Ok(tombstones::known(&self.of_store)?)
    }

    /// Why a restore is refused where that file is missing.
    pub fn deletions_unknown(&self) -> RestoreError {
        RestoreError::DeletionsUnknown(tombstones::path_of(&self.of_store))
    }

    /// What a restore into the store `into` would change.
    pub async fn compare(&self, into: &Store, present: Present) -> Result<Vec<Difference>, RestoreError> {
        let mut connection = self.attached_to(into).await?;
        let mut looking = connection.begin_with("BEGIN").await?;
        comparison::prepare(&mut looking, &self.of_store).await?;
        let differences = comparison::differences(&mut looking, present).await?;
        looking.rollback().await?;
        connection.close().await?;
        Ok(differences)
    }

    /// Puts the store `into` back to the backup. Changes wait meanwhile, or are refused where that takes too long.
    pub async fn put_into<T: FnOnce(&[Difference]) -> Vec<AuditEntry>>(
        &self,
        into: &Store,
        order: RestoreOrder<'_, T>,
    ) -> Result<Restored, RestoreError> {
        let _no_import = import::lock(into).await?;
        let mut connection = self.attached_to(into).await?;
        let mut writing = connection.begin_with(into.dialect().begin_write()).await?;
        marks::require_open_to_changes(&mut writing).await?;
        // What was deleted by now is told before what comes back.
        tombstones::note(&mut writing, &self.of_store).await?;
        comparison::prepare(&mut writing, &self.of_store).await?;
        let differences = comparison::differences(&mut writing, order.present).await?;
        if order.agreed.is_some_and(|agreed| more_comes_back(&differences, agreed, order.revival)) {
            return Err(RestoreError::MoreComesBack);
        }
        if order.revival == Revival::Accepted {
            // Told beside the store once it is so: nothing is said to live that does not, whatever fails from here on.
            let revived = comparison::dead(&mut writing).await?;
            tombstones::put(&mut writing, Word::Revived, &revived).await?;
        }
        take_over(&mut writing, &order).await?;
        let told = (order.tell)(&differences);
        audit::append(&mut writing, &told, order.audit_key).await?;
        let revision = feed::append(&mut writing, &[Subject::Everything]).await?;
        into.require_in_place()?;
        writing.commit().await?;
        // It is done, whatever becomes of the connection.
        let _ = connection.close().await;
        Ok(Restored { differences, revision })
    }

    /// Removes the copy.
    pub async fn remove(self) {
        self.store.close().await;
        drop(self.new);
    }

    /// A connection to the store `into` that sees this copy as `backup`.
    async fn attached_to(&self, into: &Store) -> Result<AnyConnection, RestoreError> {
        let mut connection = into.pinned_connection().await?;
        let source = |source| BackupError::File { path: self.new.part().to_owned(), source };
        let path = std::fs::canonicalize(self.new.part()).map_err(source)?;
        let name = path.to_str().ok_or_else(|| source(std::io::Error::other("its name is no UTF-8")))?;
        sqlx::query("ATTACH DATABASE $1 AS backup").bind(name).execute(&mut connection).await?;
        Ok(connection)
    }
}

/// Puts the backup's rows in the place of the present ones.
async fn take_over<T>(
    connection: &mut AnyConnection,
    order: &RestoreOrder<'_, T>,
) -> Result<(), RestoreError> {
    let kept = match order.revival {
        Revival::Refused => statements::KEEP_DEAD,
        Revival::Accepted => statements::KEEP_COUNTERS,
    };
    run(connection, kept).await?;
    run(connection, statements::ALWAYS_KEEP).await?;
    run(connection, statements::EMPTY).await?;
    for table in TABLES.iter().filter(|table| statements::is_taken_over(table.name, order.present)) {
        let statement = table.insert_from("backup", "main");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    let facts = match order.revival {
        Revival::Refused => statements::PRESENT_FACTS_FIRST,
        Revival::Accepted => statements::BACKED_UP_FACTS_FIRST,
    };
    run(connection, facts).await?;
    sqlx::query(statements::BURY).bind(order.now.unix_milliseconds()).execute(&mut *connection).await?;
    run(connection, statements::FINISH).await
}

/// Does anything come back, or let in more, that was not agreed to?
fn more_comes_back(differences: &[Difference], agreed: &[Difference], revival: Revival) -> bool {
    let agreed: HashSet<&Difference> = agreed.iter().collect();
    let comes_back = |found: &&Difference| match found.kind.effect() {
        Effect::KeptUnlessRevived => revival == Revival::Accepted,
        Effect::GivenBack => true,
        Effect::TakenAway => false,
    };
    differences.iter().filter(comes_back).any(|found| !agreed.contains(found))
}

async fn run(connection: &mut AnyConnection, statements: &[&'static str]) -> Result<(), RestoreError> {
    for statement in statements {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}
