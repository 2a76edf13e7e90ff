//! What a console session is in the middle of. One row a session and purpose; sealed, because some hold a secret.

use sqlx::Row;

use super::{Mutation, StoreError};
use crate::model::{Timestamp, TokenDigest};

/// A ceremony under way.
#[derive(Clone, Debug)]
pub struct CeremonyRecord {
    /// What is remembered of it, sealed.
    pub state: Vec<u8>,
    /// The state of the user's methods when it began.
    pub mfa_generation: i64,
    /// When it began.
    pub began_at: Timestamp,
}

impl Mutation {
    /// Begins a ceremony in the place of an earlier one for the same purpose.
    pub async fn put_ceremony(
        &mut self,
        session: TokenDigest,
        purpose: &str,
        ceremony: &CeremonyRecord,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO ceremonies (session, purpose, state, mfa_generation, began_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (session, purpose) DO UPDATE SET state = excluded.state, \
             mfa_generation = excluded.mfa_generation, began_at = excluded.began_at",
        )
        .bind(session.0.as_slice())
        .bind(purpose)
        .bind(&ceremony.state)
        .bind(ceremony.mfa_generation)
        .bind(ceremony.began_at.unix_milliseconds())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// The session's ceremony for that purpose, left where it is.
    pub async fn ceremony(
        &mut self,
        session: TokenDigest,
        purpose: &str,
    ) -> Result<Option<CeremonyRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM ceremonies WHERE session = $1 AND purpose = $2")
            .bind(session.0.as_slice())
            .bind(purpose)
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(CeremonyRecord {
            state: row.try_get("state")?,
            mfa_generation: row.try_get("mfa_generation")?,
            began_at: Timestamp::from_unix_milliseconds(row.try_get("began_at")?),
        }))
    }

    /// Ends the session's ceremony for that purpose.
    pub async fn delete_ceremony(&mut self, session: TokenDigest, purpose: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM ceremonies WHERE session = $1 AND purpose = $2")
            .bind(session.0.as_slice())
            .bind(purpose)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
