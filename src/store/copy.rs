//! Copying a whole store into an empty one of the same or the other engine, and proving that both hold the same.
//!
//! The source's writer's lock and that of imports are held from the first row to the last word, so that nothing that
//! was acknowledged is missing. The target is marked as unfinished until all that was read has been read back from it;
//! nothing is served from it before. Who may copy, and what the audit trail tells of it, is `auth`'s, the only caller.

pub(super) mod tables;
#[cfg(test)]
mod tests;
mod transfer;

use sqlx::{Any, AnyConnection, AssertSqlSafe, Transaction};

use self::tables::{TABLES, Table};
use self::transfer::Tally;
use super::engine::Dialect;
use super::feed::{self, Subject};
use super::{AuditEntry, Store, StoreError, StoreMark, audit, import, marks, tombstones};
use crate::config::StoreLocation;
use crate::crypto::DigestKey;
use crate::model::Revision;

/// What becomes of the store that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCopy {
    /// It takes no changes any more: nobody would see them.
    Close,
    /// It goes on. What is changed in it is not in the copy.
    LeaveOpen,
}

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyOrder<'a> {
    /// What becomes of the source.
    pub after: AfterCopy,
    /// What the copy's audit trail tells of it.
    pub told: &'a [AuditEntry],
    /// Chains the audit trail.
    pub audit_key: &'a DigestKey,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    /// What is being done.
    pub step: CopyStep,
    /// With which table.
    pub table: &'static str,
    /// Rows that are done.
    pub done: u64,
    /// Rows there are.
    pub of: u64,
}

/// The two steps of a copy, which each go over all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// Rows are written into the target.
    Writing,
    /// Rows are read back from it and compared.
    Checking,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// Every table that is copied.
    pub tables: Vec<CopiedTable>,
    /// The revision of the copy, which its gateways begin with.
    pub revision: Revision,
}

/// A table of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something at the target already; it was left as it is.
    #[error(
        "the store {location} is not empty: its table `{table}` has rows; a copy is made into an empty store only"
    )]
    NotEmpty {
        /// The target.
        location: StoreLocation,
        /// A table that has rows.
        table: &'static str,
    },
    /// What was read back is not what was written.
    #[error(
        "the copy {location} is not what was copied: table `{table}` has {read} rows here and {found} there, which \
         differ; the copy is marked as unfinished, and must be dropped; this store goes on as before"
    )]
    Differs {
        /// The target.
        location: StoreLocation,
        /// The table that differs.
        table: &'static str,
        /// Rows of the source.
        read: u64,
        /// Rows of the target.
        found: u64,
    },
    /// One of the two stores failed on the way.
    #[error(
        "the copy {location} did not come to its end: {source}; it is marked as unfinished, and must be dropped; this \
         store goes on as before"
    )]
    CutShort {
        /// The target.
        location: StoreLocation,
        /// What failed.
        source: Box<StoreError>,
    },
    /// The copy can be used, and the source takes changes that it will not see.
    #[error(
        "the copy {location} is whole, but this store could not be closed to changes: {source}; change nothing in it \
         any more, or drop the copy and make another"
    )]
    NotClosed {
        /// The target.
        location: StoreLocation,
        /// What failed.
        source: Box<StoreError>,
    },
    /// One of the two stores failed before anything was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies everything that lasts into the store at `location`, which is made if need be and must be empty.
    ///
    /// Changes of this store wait meanwhile, or are refused where that takes too long.
    pub async fn copy_to(
        &self,
        location: &StoreLocation,
        order: CopyOrder<'_>,
        progress: &mut impl FnMut(CopyProgress),
    ) -> Result<CopyReport, CopyError> {
        let _no_import = import::lock(self).await?;
        let target = Self::open_or_create(location).await?;
        let copied = copy(self, &target, order, progress).await;
        if copied.is_ok()
            && let Err(error) = target.note_deletions().await
        {
            tracing::warn!(%error, "deletions could not be noted beside the copy yet");
        }
        // Folds the log of an embedded store into its file.
        target.close().await;
        copied
    }
}

async fn copy(
    source: &Store,
    target: &Store,
    order: CopyOrder<'_>,
    progress: &mut impl FnMut(CopyProgress),
) -> Result<CopyReport, CopyError> {
    let location = target.location();
    // Looked at first, so that nobody waits for a copy that is refused; this also refuses the source itself.
    let mut looking = target.readers.acquire().await.map_err(StoreError::from)?;
    require_empty(&mut looking, &location).await?;
    drop(looking);
    let mut reading = source.begin_write().await?;
    if source.dialect() == Dialect::Postgres {
        // A long copy is not a hung one.
        sqlx::raw_sql(
            "SET LOCAL statement_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0; \
             SET LOCAL tcp_user_timeout TO 0",
        )
        .execute(&mut *reading)
        .await
        .map_err(StoreError::from)?;
    }
    begin_target(target, &location).await?;
    let report = match fill(source, &mut reading, target, order, progress).await {
        Err(CopyError::Store(source)) => {
            return Err(CopyError::CutShort { location, source: Box::new(source) });
        }
        filled => filled?,
    };
    if order.after == AfterCopy::Close
        && let Err(source) = close_to_changes(source, reading).await
    {
        return Err(CopyError::NotClosed { location, source: Box::new(source) });
    }
    Ok(report)
}

async fn close_to_changes(
    store: &Store,
    mut transaction: Transaction<'static, Any>,
) -> Result<(), StoreError> {
    marks::set(&mut transaction, StoreMark::Moved).await?;
    store.require_in_place()?;
    transaction.commit().await?;
    Ok(())
}

async fn require_empty(connection: &mut AnyConnection, location: &StoreLocation) -> Result<(), CopyError> {
    for table in &TABLES {
        let statement = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS found", table.name);
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::from)?;
        if found != 0 {
            return Err(CopyError::NotEmpty { location: location.clone(), table: table.name });
        }
    }
    Ok(())
}

/// Takes the empty target: from then on nothing but this copy changes it, and nothing is served from it.
async fn begin_target(target: &Store, location: &StoreLocation) -> Result<(), CopyError> {
    let mut beginning = target.begin_write().await?;
    require_empty(&mut beginning, location).await?;
    marks::set(&mut beginning, StoreMark::Unfinished).await?;
    beginning.commit().await.map_err(StoreError::from)?;
    Ok(())
}

async fn fill(
    source: &Store,
    reading: &mut AnyConnection,
    target: &Store,
    order: CopyOrder<'_>,
    progress: &mut impl FnMut(CopyProgress),
) -> Result<CopyReport, CopyError> {
    let mut read: Vec<(&'static Table, Tally)> = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        read.push((table, transfer::copy_rows(reading, target, table, progress).await?));
    }
    check(target, &read, progress).await?;
    let mut finishing = target.begin_write().await?;
    for table in &TABLES {
        transfer::copy_numbering(reading, &mut finishing, table).await?;
    }
    if target.dialect() == Dialect::Sqlite {
        tombstones::copy_into(&mut finishing, source, reading).await?;
    }
    audit::append(&mut finishing, order.told, order.audit_key).await?;
    marks::clear(&mut finishing, StoreMark::Unfinished).await?;
    let revision = feed::append(&mut finishing, &[Subject::Everything]).await?;
    target.require_in_place()?;
    finishing.commit().await.map_err(StoreError::from)?;
    let tables =
        read.iter().map(|(table, tally)| CopiedTable { name: table.name, rows: tally.rows }).collect();
    Ok(CopyReport { tables, revision })
}

/// Reads the target back, and fails with the first table that is not what was read from the source.
async fn check(
    target: &Store,
    read: &[(&'static Table, Tally)],
    progress: &mut impl FnMut(CopyProgress),
) -> Result<(), CopyError> {
    let found = transfer::read_all(target, progress).await?;
    for ((table, read), found) in read.iter().zip(&found) {
        if read != found {
            return Err(CopyError::Differs {
                location: target.location(),
                table: table.name,
                read: read.rows,
                found: found.rows,
            });
        }
    }
    Ok(())
}
