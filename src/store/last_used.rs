//! When keys were last used: written in batches, without change rows.

use super::{Store, StoreError};
use crate::model::{ClientIp, KeyId, Service, Timestamp};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
const ROWS_PER_COMMIT: usize = 500;

/// One use of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// Which key.
    pub key: KeyId,
    /// When.
    pub at: Timestamp,
    /// At which door.
    pub service: Service,
    /// From where.
    pub client_ip: ClientIp,
}

impl Store {
    /// Notes uses, oldest first; a key that was deleted meanwhile is left out.
    pub async fn note_key_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        for batch in uses.chunks(ROWS_PER_COMMIT) {
            let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            for used in batch {
                sqlx::query(
                    "INSERT OR REPLACE INTO key_last_used (key_id, used_at, service, address) \
                     SELECT id, ?, ?, ? FROM api_keys WHERE id = ?",
                )
                .bind(used.at.unix_milliseconds())
                .bind(used.service.as_str())
                .bind(used.client_ip.to_string())
                .bind(used.key.to_stored())
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }
}
