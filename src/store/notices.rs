//! Security events that their user has not been shown yet.

use sqlx::Row;

use super::{Mutation, Store, StoreError};
use crate::model::{Timestamp, UserId};

/// Kept for one user at most; the oldest go first.
const KEPT: i64 = 50;

/// Something that the user is to be shown at the next sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    /// When it happened.
    pub at: Timestamp,
    /// The kind of event, as the audit trail names it.
    pub event: String,
    /// From which address; empty: from none.
    pub client_ip: String,
}

impl Mutation {
    /// Keeps a notice for a user.
    pub async fn insert_notice(&mut self, user: UserId, notice: &NoticeRecord) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO notices (user_id, at, event, client_ip) VALUES ($1, $2, $3, $4)")
            .bind(user.0)
            .bind(notice.at.unix_milliseconds())
            .bind(&notice.event)
            .bind(&notice.client_ip)
            .execute(self.connection())
            .await?;
        sqlx::query(
            "DELETE FROM notices WHERE user_id = $1 AND id NOT IN \
             (SELECT id FROM notices WHERE user_id = $1 ORDER BY id DESC LIMIT $2)",
        )
        .bind(user.0)
        .bind(KEPT)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

impl Store {
    /// What a user has not been shown yet, oldest first.
    pub async fn notices_of(&self, user: UserId) -> Result<Vec<NoticeRecord>, StoreError> {
        sqlx::query("SELECT * FROM notices WHERE user_id = $1 ORDER BY id")
            .bind(user.0)
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| {
                Ok(NoticeRecord {
                    at: Timestamp::from_unix_milliseconds(row.try_get("at")?),
                    event: row.try_get("event")?,
                    client_ip: row.try_get("client_ip")?,
                })
            })
            .collect()
    }

    /// Those that happened until then were shown.
    pub async fn forget_notices_of(&self, user: UserId, until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM notices WHERE user_id = $1 AND at <= $2")
            .bind(user.0)
            .bind(until.unix_milliseconds())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
