//! The change feed: one row for every subject that a mutation touched, in one order for everybody.
//!
//! Revisions have no gaps and are never reordered, because each is taken as the last thing before its commit, under
//! the writer's lock. A gateway that has applied revision N knows everything up to N.

use sqlx::{Row, SqliteConnection};

use super::StoreError;
use super::records::{digest, session_digest};
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

/// Takes the next revision for `subject`; the transaction must be committed next.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    subject: Subject,
) -> Result<Revision, StoreError> {
    let revision: i64 = sqlx::query_scalar("UPDATE feed_head SET revision = revision + 1 RETURNING revision")
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO changes (revision, kind, subject) VALUES (?, ?, ?)")
        .bind(revision)
        .bind(subject.kind())
        .bind(subject.to_stored())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM changes WHERE revision <= ?")
        .bind(revision.saturating_sub(KEPT_CHANGES))
        .execute(&mut *connection)
        .await?;
    Ok(Revision(revision))
}

/// The newest revision.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<Revision, StoreError> {
    Ok(Revision(sqlx::query_scalar("SELECT revision FROM feed_head").fetch_one(connection).await?))
}

/// The changes after `applied`, oldest first, at most a batch of them.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    applied: Revision,
) -> Result<Vec<Change>, StoreError> {
    sqlx::query("SELECT revision, kind, subject FROM changes WHERE revision > ? ORDER BY revision LIMIT ?")
        .bind(applied.0)
        .bind(BATCH)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| {
            Ok(Change {
                revision: Revision(row.try_get("revision")?),
                subject: Subject::from_stored(row.try_get("kind")?, row.try_get("subject")?)?,
            })
        })
        .collect()
}
