//! Recovery codes in the store: a hash for each code that was not used yet.

use sqlx::AnyConnection;
use sqlx::Row;

use super::mfa_methods::failures_from_row;
use super::tombstones::Tombstone;
use super::{Mutation, Store, StoreError};
use crate::crypto::RecoveryHash;
use crate::model::{FactorFailures, Timestamp, UserId};

/// A user's set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySetRecord {
    /// The codes that were not used yet.
    pub hashes: Vec<RecoveryHash>,
    /// What failed.
    pub failures: FactorFailures,
    /// When it was drawn.
    pub created_at: Timestamp,
}

impl Store {
    /// A user's set, if one was drawn.
    pub async fn recovery_set_of(&self, user: UserId) -> Result<Option<RecoverySetRecord>, StoreError> {
        set_of(&mut *self.readers.acquire().await?, user).await
    }
}

impl Mutation {
    /// A user's set, as it stands inside this change.
    pub async fn recovery_set_of(&mut self, user: UserId) -> Result<Option<RecoverySetRecord>, StoreError> {
        set_of(self.connection(), user).await
    }

    /// Puts a set in the place of the one before.
    pub async fn replace_recovery_set(
        &mut self,
        user: UserId,
        hashes: &[RecoveryHash],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.delete_recovery_set(user).await?;
        sqlx::query(
            "INSERT INTO recovery_sets (user_id, failures, burst, burst_began_at, created_at) \
             VALUES ($1, 0, 0, $2, $3)",
        )
        .bind(user.0)
        .bind(now.unix_milliseconds())
        .bind(now.unix_milliseconds())
        .execute(self.connection())
        .await?;
        for hash in hashes {
            sqlx::query("INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)")
                .bind(user.0)
                .bind(hash.as_stored())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Removes a user's set; none of its codes is good any more.
    pub async fn delete_recovery_set(&mut self, user: UserId) -> Result<(), StoreError> {
        if let Some(set) = self.recovery_set_of(user).await? {
            set.hashes.iter().for_each(|hash| self.bury(Tombstone::of_code(hash)));
        }
        sqlx::query("DELETE FROM recovery_sets WHERE user_id = $1")
            .bind(user.0)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Uses up the code of that hash; answers whether there was one. The hash is argon2's and tells nothing, so that
    /// the engine may compare it.
    pub async fn use_recovery_code(&mut self, user: UserId, hash: &RecoveryHash) -> Result<bool, StoreError> {
        let gone = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2")
            .bind(user.0)
            .bind(hash.as_stored())
            .execute(self.connection())
            .await?;
        let was_there = gone.rows_affected() > 0;
        if was_there {
            self.bury(Tombstone::of_code(hash));
        }
        Ok(was_there)
    }

    /// Notes what failed.
    pub async fn set_recovery_failures(
        &mut self,
        user: UserId,
        failures: FactorFailures,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE recovery_sets SET failures = $1, burst = $2, burst_began_at = $3 WHERE user_id = $4",
        )
        .bind(i64::from(failures.in_a_row))
        .bind(i64::from(failures.burst))
        .bind(failures.burst_began_at.unix_milliseconds())
        .bind(user.0)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

async fn set_of(
    connection: &mut AnyConnection,
    user: UserId,
) -> Result<Option<RecoverySetRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM recovery_sets WHERE user_id = $1")
        .bind(user.0)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let hashes: Vec<String> = sqlx::query_scalar("SELECT hash FROM recovery_codes WHERE user_id = $1")
        .bind(user.0)
        .fetch_all(connection)
        .await?;
    Ok(Some(RecoverySetRecord {
        hashes: hashes.into_iter().map(RecoveryHash::from_stored).collect(),
        failures: failures_from_row(&row)?,
        created_at: Timestamp::from_unix_milliseconds(row.try_get("created_at")?),
    }))
}
