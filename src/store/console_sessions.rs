//! Console sessions in the store. They concern no door, so nothing here stands in the change feed.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::records::small_count;
use super::{Mutation, Store, StoreError};
use crate::model::{ConsoleSessionRecord, SignInStage, Timestamp, TokenDigest, UserId};

impl Store {
    /// The session of that digest, whatever its age.
    pub async fn console_session(
        &self,
        digest: TokenDigest,
    ) -> Result<Option<ConsoleSessionRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM console_sessions WHERE digest = $1")
            .bind(digest.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// A user's sessions that have signed in, the one that was used last first.
    pub async fn console_sessions_of(&self, user: UserId) -> Result<Vec<ConsoleSessionRecord>, StoreError> {
        sqlx::query(
            "SELECT * FROM console_sessions WHERE user_id = $1 AND stage = 'full' ORDER BY last_used_at DESC LIMIT 200",
        )
        .bind(user.0)
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(from_row)
        .collect()
    }

    /// Notes a session's use; lost without harm.
    pub async fn note_console_session_use(
        &self,
        digest: TokenDigest,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE console_sessions SET last_used_at = $1 WHERE digest = $2")
            .bind(at.unix_milliseconds())
            .bind(digest.0.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Removes sessions that nobody can use any more: opened or used too long ago.
    pub async fn clear_console_sessions(
        &self,
        opened_until: Timestamp,
        used_until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM console_sessions WHERE created_at <= $1 OR last_used_at <= $2")
            .bind(opened_until.unix_milliseconds())
            .bind(used_until.unix_milliseconds())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl Mutation {
    /// The session of that digest, as it stands inside this change.
    pub async fn console_session(
        &mut self,
        digest: TokenDigest,
    ) -> Result<Option<ConsoleSessionRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM console_sessions WHERE digest = $1")
            .bind(digest.0.as_slice())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Adds a session, and removes the oldest others of its user beyond `at_most` of its stage: no number of half sign-ins ends a
    /// session.
    pub async fn insert_console_session(
        &mut self,
        session: &ConsoleSessionRecord,
        at_most: u32,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO console_sessions (digest, user_id, stage, tries, password_version, mfa_generation, created_at, \
             last_used_at, authenticated_at, client_ip, browser) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(session.digest.0.as_slice())
        .bind(session.user.0)
        .bind(session.stage.as_str())
        .bind(i64::from(session.tries))
        .bind(session.password_version)
        .bind(session.mfa_generation)
        .bind(session.created_at.unix_milliseconds())
        .bind(session.last_used_at.unix_milliseconds())
        .bind(session.authenticated_at.unix_milliseconds())
        .bind(&session.client_ip)
        .bind(&session.browser)
        .execute(self.connection())
        .await?;
        sqlx::query(
            "DELETE FROM console_sessions WHERE digest IN (SELECT digest FROM console_sessions WHERE user_id = $1 \
             AND stage = $2 AND digest <> $3 ORDER BY last_used_at DESC, created_at DESC LIMIT 1000000 OFFSET $4)",
        )
        .bind(session.user.0)
        .bind(session.stage.as_str())
        .bind(session.digest.0.as_slice())
        .bind(i64::from(at_most.saturating_sub(1)))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Counts a second factor that was tried in vain.
    pub async fn count_console_session_try(&mut self, digest: TokenDigest) -> Result<(), StoreError> {
        sqlx::query("UPDATE console_sessions SET tries = tries + 1 WHERE digest = $1")
            .bind(digest.0.as_slice())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Ends a session; answers whether there was one.
    pub async fn delete_console_session(&mut self, digest: TokenDigest) -> Result<bool, StoreError> {
        let ended = sqlx::query("DELETE FROM console_sessions WHERE digest = $1")
            .bind(digest.0.as_slice())
            .execute(self.connection())
            .await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Ends a user's sessions, but not the one of `spared`; answers how many that had signed in.
    pub async fn end_console_sessions(
        &mut self,
        user: UserId,
        spared: Option<TokenDigest>,
    ) -> Result<usize, StoreError> {
        let spared = spared.map_or_else(Vec::new, |digest| digest.0.to_vec());
        let stages: Vec<String> = sqlx::query_scalar(
            "DELETE FROM console_sessions WHERE user_id = $1 AND digest <> $2 RETURNING stage",
        )
        .bind(user.0)
        .bind(spared)
        .fetch_all(self.connection())
        .await?;
        Ok(stages.iter().filter(|stage| *stage == SignInStage::Full.as_str()).count())
    }
}

fn from_row(row: &AnyRow) -> Result<ConsoleSessionRecord, StoreError> {
    let digest: &[u8] = row.try_get("digest")?;
    let stage = match row.try_get("stage")? {
        "half" => SignInStage::Half,
        "full" => SignInStage::Full,
        _ => return Err(StoreError::Corrupt("console session")),
    };
    let time = |column: &str| Ok::<_, sqlx::Error>(Timestamp::from_unix_milliseconds(row.try_get(column)?));
    Ok(ConsoleSessionRecord {
        digest: TokenDigest(digest.try_into().map_err(|_| StoreError::Corrupt("console session"))?),
        user: UserId(row.try_get("user_id")?),
        stage,
        tries: small_count(row, "tries")?,
        password_version: row.try_get("password_version")?,
        mfa_generation: row.try_get("mfa_generation")?,
        created_at: time("created_at")?,
        last_used_at: time("last_used_at")?,
        authenticated_at: time("authenticated_at")?,
        client_ip: row.try_get("client_ip")?,
        browser: row.try_get("browser")?,
    })
}
