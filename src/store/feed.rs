//! The change feed: one row for every subject that a mutation touched, in one order for everybody.
//!
//! Revisions have no gaps and are never reordered, because each is taken as the last thing before its commit, under
//! the writer's lock. A gateway that has applied revision N knows everything up to N.

use serde_json::json;
use sqlx::AnyConnection;
use sqlx::{AssertSqlSafe, Row};

use super::StoreError;
use super::engine::{Dialect, Kind, hex, rows};
use super::records::{digest, session_digest};
use crate::crypto::random;
use crate::model::{CustomerId, KeyDigest, Revision, SessionDigest, UserId};

/// Rows kept for gateways to catch up with; one that is further behind loads everything.
const KEPT_CHANGES: i64 = 100_000;
/// Rows read at once.
const BATCH: i64 = 1_000;

/// What a change is about; the reader looks up what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A customer was made or changed.
    Customer(CustomerId),
    /// A user was made, changed or deleted.
    User(UserId),
    /// A key was made, changed or deleted; by its digest, because a deleted key's row is gone.
    Key(KeyDigest),
    /// An API session was opened or ended.
    ApiSession(SessionDigest),
    /// Too much to name: load everything again.
    Everything,
}

/// One row of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order.
    pub revision: Revision,
    /// What it is about.
    pub subject: Subject,
}

impl Subject {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::ApiSession(_) => "session",
            Self::Everything => "everything",
        }
    }

    fn to_stored(self) -> Vec<u8> {
        match self {
            Self::Customer(CustomerId(id)) | Self::User(UserId(id)) => id.to_be_bytes().to_vec(),
            Self::Key(KeyDigest(digest)) | Self::ApiSession(SessionDigest(digest)) => digest.to_vec(),
            Self::Everything => Vec::new(),
        }
    }

    fn from_stored(kind: &str, stored: &[u8]) -> Result<Self, StoreError> {
        let id = || stored.try_into().map(i64::from_be_bytes).map_err(|_| StoreError::Corrupt("change"));
        match kind {
            "customer" => Ok(Self::Customer(CustomerId(id()?))),
            "user" => Ok(Self::User(UserId(id()?))),
            "key" => Ok(Self::Key(digest(stored)?)),
            "session" => Ok(Self::ApiSession(session_digest(stored)?)),
            "everything" => Ok(Self::Everything),
            _ => Err(StoreError::Corrupt("kind of change")),
        }
    }
}

/// How far a reader has come: the revision, and the mark that its last row carries.
///
/// Marks are drawn at random. A store that went back, and whose revisions were given out anew since (a replica that took
/// over and had not got the last commits, a restored backup), has another mark at that revision, so that nobody goes on
/// from what never was (docs/decisions/0022).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) revision: Revision,
    pub(super) mark: i64,
}

/// Takes the next revisions, one for each of `subjects`; the transaction must be committed next. Answers the last.
pub(super) async fn append(
    connection: &mut AnyConnection,
    subjects: &[Subject],
) -> Result<Revision, StoreError> {
    if subjects.is_empty() {
        return Ok(position(connection).await?.revision);
    }
    let dialect = Dialect::of(connection);
    let count = i64::try_from(subjects.len()).unwrap_or(i64::MAX);
    let last: i64 = sqlx::query_scalar("UPDATE feed_head SET revision = revision + $1 RETURNING revision")
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
    let mark = i64::from_be_bytes(random::bytes()?);
    let insert = format!(
        "{}INSERT INTO changes (revision, kind, subject, mark) SELECT $2 + place, kind, subject, $3 FROM given",
        dialect.given(&[("kind", Kind::Text), ("subject", Kind::Bytes)])
    );
    sqlx::query(AssertSqlSafe(insert))
        .bind(rows(subjects.iter().map(|subject| json!([subject.kind(), hex(&subject.to_stored())]))))
        .bind(last - count + 1)
        .bind(mark)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM changes WHERE revision <= $1")
        .bind(last.saturating_sub(KEPT_CHANGES))
        .execute(&mut *connection)
        .await?;
    if dialect == Dialect::Postgres {
        sqlx::query("SELECT pg_notify('latchkey', '')").execute(&mut *connection).await?;
    }
    Ok(Revision(last))
}

/// The end of the feed.
pub(super) async fn position(connection: &mut AnyConnection) -> Result<Position, StoreError> {
    let (revision, mark) = sqlx::query_as(
        "SELECT h.revision, COALESCE((SELECT c.mark FROM changes c WHERE c.revision = h.revision), 0) \
         FROM feed_head h WHERE h.only_row = 1",
    )
    .fetch_one(connection)
    .await?;
    Ok(Position { revision: Revision(revision), mark })
}

/// The changes after `applied`, oldest first, at most a batch of them, and the position behind them; `None` where they do
/// not follow what was applied, so that all must be loaded. Read by one statement, so that all is seen at one moment.
pub(super) async fn after(
    connection: &mut AnyConnection,
    applied: Position,
) -> Result<Option<(Vec<Change>, Position)>, StoreError> {
    let rows = sqlx::query(
        "SELECT h.revision AS head, c.revision, c.kind, c.subject, c.mark FROM feed_head h \
         LEFT JOIN changes c ON c.revision >= $1 WHERE h.only_row = 1 ORDER BY c.revision LIMIT $2",
    )
    .bind(applied.revision.0)
    .bind(BATCH + 1)
    .fetch_all(connection)
    .await?;
    let mut changes = Vec::with_capacity(rows.len());
    let mut end = applied;
    // Nothing stands before the first of all; otherwise the row of what was applied must come first.
    let mut follows = applied == Position::default();
    for row in &rows {
        let Some(revision) = row.try_get("revision")? else {
            let head: i64 = row.try_get("head")?;
            follows &= head == 0;
            break;
        };
        let found = Position { revision: Revision(revision), mark: row.try_get("mark")? };
        if !follows {
            if found != applied {
                return Ok(None);
            }
            follows = true;
        } else if found.revision.0 == end.revision.0.saturating_add(1) {
            end = found;
            let subject = Subject::from_stored(row.try_get("kind")?, row.try_get("subject")?)?;
            changes.push(Change { revision: found.revision, subject });
        } else {
            return Ok(None);
        }
    }
    Ok(follows.then_some((changes, end)))
}
