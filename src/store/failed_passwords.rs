//! Failed passwords, counted in a shared database for all its gateways; what a count means is `auth`'s.
//!
//! Callers, addresses and user names, are known by keyed digests. The database's own time is counted by, because the
//! gateways' clocks may differ. Nothing is on the disk when it is counted: a crash of the database forgets the last counts.

use sqlx::Row;

use super::records::small_count;
use super::{Store, StoreError};

/// What a caller is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerDigest(pub [u8; 32]);

/// Who tried a password, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCallers {
    /// From where.
    pub address: CallerDigest,
    /// For which user name, as it was sent.
    pub name: CallerDigest,
}

/// What is known of a caller; `failures` 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCount {
    /// Failures that count.
    pub failures: u32,
    /// The moment that the rule goes by, in milliseconds since 1970 by the database's clock.
    pub at: i64,
}

impl Store {
    /// Is it shared by gateways that know nothing else of each other?
    pub fn is_shared(&self) -> bool {
        self.dialect() == super::engine::Dialect::Postgres
    }

    /// Hands what is known of the two callers, and the time, to `judge`, and keeps what that answers; nobody else counts for
    /// them meanwhile. An `Err` of `judge` keeps what there was.
    pub async fn count_password<E>(
        &self,
        callers: PasswordCallers,
        judge: impl FnOnce([FailureCount; 2], i64) -> Result<[FailureCount; 2], E> + Send,
    ) -> Result<Result<(), E>, StoreError> {
        let digests = [callers.address.0.as_slice(), callers.name.0.as_slice()];
        let mut transaction = self.begin_unordered().await?;
        // Locks both, or makes them; addresses before names, here and below, so that two attempts never wait for each other.
        sqlx::query(
            "INSERT INTO failed_passwords (kind, caller, failures, at) \
             SELECT kind, caller, 0, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) \
             FROM (VALUES (0, $1), (1, $2)) AS new (kind, caller) \
             ON CONFLICT (kind, caller) DO UPDATE SET failures = failed_passwords.failures",
        )
        .bind(digests[0])
        .bind(digests[1])
        .execute(&mut *transaction)
        .await?;
        let mut known = [FailureCount::default(); 2];
        let mut now = 0;
        for ((count, kind), digest) in known.iter_mut().zip(0_i64..).zip(digests) {
            let row = sqlx::query(
                "SELECT failures, at, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now \
                 FROM failed_passwords WHERE kind = $1 AND caller = $2",
            )
            .bind(kind)
            .bind(digest)
            .fetch_one(&mut *transaction)
            .await?;
            *count = FailureCount { failures: small_count(&row, "failures")?, at: row.try_get("at")? };
            now = row.try_get("now")?;
        }
        let counted = match judge(known, now) {
            Ok(counted) => counted,
            Err(refused) => return Ok(Err(refused)),
        };
        for ((count, kind), digest) in counted.into_iter().zip(0_i64..).zip(digests) {
            sqlx::query("UPDATE failed_passwords SET failures = $3, at = $4 WHERE kind = $1 AND caller = $2")
                .bind(kind)
                .bind(digest)
                .bind(i64::from(count.failures))
                .bind(count.at)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// Takes one failure of the address back, and one of the name, or all of the name where it has let in.
    pub async fn uncount_password(&self, callers: PasswordCallers, let_in: bool) -> Result<(), StoreError> {
        let mut transaction = self.begin_unordered().await?;
        for (kind, digest, all) in [(0_i64, callers.address, false), (1, callers.name, let_in)] {
            sqlx::query(
                "UPDATE failed_passwords SET failures = CASE WHEN $3 OR failures = 0 THEN 0 ELSE failures - 1 END \
                 WHERE kind = $1 AND caller = $2",
            )
            .bind(kind)
            .bind(digest.0.as_slice())
            .bind(all)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets callers who have not failed for `quiet_milliseconds`.
    pub async fn clear_failed_passwords(&self, quiet_milliseconds: i64) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM failed_passwords WHERE at < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - $1",
        )
        .bind(quiet_milliseconds)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
