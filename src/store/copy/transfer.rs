//! Reading tables row by row, counting and digesting what is read, and writing it into another store.
//!
//! In which order and under which locks is the copy's own matter. Called by `copy`.

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use super::tables::{Numbering, TABLES, Table};
use super::{CopyProgress, CopyStep};
use crate::crypto::Checksum;
use crate::store::engine::{Dialect, rows};
use crate::store::{Store, StoreError};

/// Rows of one statement and one commit.
const ROWS_AT_ONCE: usize = 1_000;

/// What the rows of a table come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    digest: [u8; 32],
}

/// A tally on its way.
#[derive(Debug, Default)]
struct Counting {
    rows: u64,
    sum: Checksum,
}

impl Counting {
    /// Counts a row; each is one line of JSON, so that nothing can be moved from one value or row to the next.
    fn add(&mut self, table: &Table, row: &AnyRow) -> Result<Value, StoreError> {
        let cells = table.cells(row)?;
        self.rows += 1;
        self.sum.add(cells.to_string().as_bytes());
        self.sum.add(b"\n");
        Ok(cells)
    }

    fn tally(&self) -> Tally {
        Tally { rows: self.rows, digest: self.sum.digest() }
    }
}

/// Copies the rows of a table into `target`, and answers what was read.
pub(super) async fn copy_rows(
    from: &mut AnyConnection,
    target: &Store,
    table: &'static Table,
    progress: &mut impl FnMut(CopyProgress),
) -> Result<Tally, StoreError> {
    let of = count(from, table).await?;
    let insert = table.insert(target.dialect());
    let mut counting = Counting::default();
    let mut batch = Vec::with_capacity(ROWS_AT_ONCE);
    let select = table.select(Dialect::of(from));
    let mut read = sqlx::query(AssertSqlSafe(select)).fetch(from);
    loop {
        let row = read.try_next().await?;
        let is_end = row.is_none();
        if let Some(row) = row {
            batch.push(counting.add(table, &row)?);
        }
        if batch.len() == ROWS_AT_ONCE || (is_end && !batch.is_empty()) {
            write(target, &insert, &mut batch).await?;
        }
        if is_end || batch.is_empty() {
            progress(CopyProgress { step: CopyStep::Writing, table: table.name, done: counting.rows, of });
        }
        if is_end {
            return Ok(counting.tally());
        }
    }
}

async fn write(target: &Store, insert: &str, batch: &mut Vec<Value>) -> Result<(), StoreError> {
    let mut writing = target.begin_write().await?;
    sqlx::query(AssertSqlSafe(insert.to_owned())).bind(rows(batch.drain(..))).execute(&mut *writing).await?;
    writing.commit().await?;
    Ok(())
}

/// Reads every table of `store` as it stands at one moment.
pub(super) async fn read_all(
    store: &Store,
    progress: &mut impl FnMut(CopyProgress),
) -> Result<Vec<Tally>, StoreError> {
    let mut connection = store.pinned_connection().await?;
    let mut reading = connection.begin_with(store.dialect().begin_read()).await?;
    let mut tallies = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        tallies.push(read_rows(&mut reading, table, progress).await?);
    }
    reading.rollback().await?;
    connection.close().await?;
    Ok(tallies)
}

async fn read_rows(
    from: &mut AnyConnection,
    table: &'static Table,
    progress: &mut impl FnMut(CopyProgress),
) -> Result<Tally, StoreError> {
    let of = count(from, table).await?;
    let mut counting = Counting::default();
    let mut tell = |done| progress(CopyProgress { step: CopyStep::Checking, table: table.name, done, of });
    let select = table.select(Dialect::of(from));
    let mut read = sqlx::query(AssertSqlSafe(select)).fetch(from);
    while let Some(row) = read.try_next().await? {
        counting.add(table, &row)?;
        if counting.rows.is_multiple_of(ROWS_AT_ONCE as u64) {
            tell(counting.rows);
        }
    }
    tell(counting.rows);
    Ok(counting.tally())
}

async fn count(connection: &mut AnyConnection, table: &Table) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(table.count())).fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// Sees to it that `to` gives out no number that `from` has given out already, to rows that are gone by now included: the
/// audit trail still names them.
pub(super) async fn copy_numbering(
    from: &mut AnyConnection,
    to: &mut AnyConnection,
    table: &Table,
) -> Result<(), StoreError> {
    if table.numbering == Numbering::ByProgram {
        return Ok(());
    }
    let given_out = match Dialect::of(from) {
        Dialect::Sqlite => {
            format!("SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '{}'), 0)", table.name)
        }
        Dialect::Postgres => format!(
            "SELECT COALESCE((SELECT last_value FROM pg_sequences WHERE schemaname = 'latchkey' \
             AND sequencename = '{}_id_seq'), 0)",
            table.name
        ),
    };
    let given_out: i64 = sqlx::query_scalar(AssertSqlSafe(given_out)).fetch_one(from).await?;
    let highest = format!("SELECT COALESCE(MAX(id), 0) FROM {}", table.name);
    let highest: i64 = sqlx::query_scalar(AssertSqlSafe(highest)).fetch_one(&mut *to).await?;
    let last = given_out.max(highest);
    if last == 0 {
        return Ok(());
    }
    let statements: &[&str] = match Dialect::of(to) {
        Dialect::Sqlite => &[
            "DELETE FROM sqlite_sequence WHERE name = $1",
            "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)",
        ],
        Dialect::Postgres => &["SELECT setval(CAST($1 || '_id_seq' AS regclass), $2)"],
    };
    for statement in statements {
        let query = sqlx::query(AssertSqlSafe((*statement).to_owned())).bind(table.name);
        let query = if statement.contains("$2") { query.bind(last) } else { query };
        query.execute(&mut *to).await?;
    }
    Ok(())
}
