//! Second factors in the store: authenticator apps and security keys.
//!
//! What is added and removed changes how doors judge the user's password, so it is announced; failures and uses are not.

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::mutation::exists;
use super::records::{flag, small_count};
use super::{Mutation, Store, StoreError, Subject};
use crate::model::{FactorFailures, MethodId, MethodKind, MethodRecord, Timestamp, UserId};

/// A method to be added.
#[derive(Debug)]
pub struct NewMethod<'a> {
    /// Whose.
    pub user: UserId,
    /// Of which kind.
    pub kind: MethodKind,
    /// What its user calls it.
    pub name: &'a str,
    /// Sealed seed or public key.
    pub secret: &'a [u8],
    /// A security key's credential id.
    pub credential_id: Option<&'a [u8]>,
    /// The time step whose code has confirmed an app.
    pub last_step: Option<u64>,
    /// When.
    pub created_at: Timestamp,
}

impl Store {
    /// A user's methods, oldest first.
    pub async fn mfa_methods_of(&self, user: UserId) -> Result<Vec<MethodRecord>, StoreError> {
        methods_of(&mut *self.readers.acquire().await?, user).await
    }

    /// The names of all who hold a security key, `customer/login`, at most a thousand.
    pub async fn holders_of_security_keys(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT DISTINCT c.handle || '/' || u.login FROM mfa_methods m JOIN users u ON u.id = m.user_id \
             JOIN customers c ON c.id = u.customer_id WHERE m.kind = 'key' ORDER BY 1 LIMIT 1000",
        )
        .fetch_all(&self.readers)
        .await?)
    }
}

impl Mutation {
    /// A user's methods, as they stand inside this change.
    pub async fn mfa_methods_of(&mut self, user: UserId) -> Result<Vec<MethodRecord>, StoreError> {
        methods_of(self.connection(), user).await
    }

    /// Has anybody registered a security key?
    pub async fn holds_security_keys(&mut self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM mfa_methods WHERE kind = 'key')")
            .fetch_one(self.connection())
            .await?;
        Ok(flag(&row, 0)?)
    }

    /// Adds a method and marks the user's MFA as on. Fails with [`StoreError::Exists`] where the security key is
    /// registered already, whoever's it is (`WebAuthn` §7.1).
    pub async fn insert_mfa_method(&mut self, new: &NewMethod<'_>) -> Result<MethodId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO mfa_methods (user_id, kind, name, secret, credential_id, last_step, failures, burst, \
             burst_began_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8) RETURNING id",
        )
        .bind(new.user.0)
        .bind(new.kind.as_str())
        .bind(new.name)
        .bind(new.secret)
        .bind(new.credential_id)
        .bind(stored_step(new.last_step))
        .bind(new.created_at.unix_milliseconds())
        .bind(new.created_at.unix_milliseconds())
        .fetch_one(self.connection())
        .await
        .map_err(|error| exists(error, || String::from("this security key")))?;
        self.mfa_changed(new.user).await?;
        Ok(MethodId(id))
    }

    /// Removes a method; the user's MFA is off once none is left.
    pub async fn delete_mfa_method(&mut self, user: UserId, id: MethodId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM mfa_methods WHERE id = $1 AND user_id = $2")
            .bind(id.0)
            .bind(user.0)
            .execute(self.connection())
            .await?;
        self.mfa_changed(user).await
    }

    /// Removes every method of a user.
    pub async fn delete_mfa_methods_of(&mut self, user: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM mfa_methods WHERE user_id = $1")
            .bind(user.0)
            .execute(self.connection())
            .await?;
        self.mfa_changed(user).await
    }

    /// Gives a method another name.
    pub async fn rename_mfa_method(
        &mut self,
        user: UserId,
        id: MethodId,
        name: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE mfa_methods SET name = $1 WHERE id = $2 AND user_id = $3")
            .bind(name)
            .bind(id.0)
            .bind(user.0)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Writes back what a use or a failure changes: step, counter inside the sealed key, failures, last use.
    pub async fn update_mfa_method(&mut self, method: &MethodRecord) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE mfa_methods SET secret = $1, last_step = $2, failures = $3, burst = $4, burst_began_at = $5, \
             last_used_at = $6 WHERE id = $7",
        )
        .bind(&method.secret)
        .bind(stored_step(method.last_step))
        .bind(i64::from(method.failures.in_a_row))
        .bind(i64::from(method.failures.burst))
        .bind(method.failures.burst_began_at.unix_milliseconds())
        .bind(method.last_used_at.map(Timestamp::unix_milliseconds))
        .bind(method.id.0)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Brings the user's mark in line with its methods, and ends what was begun before.
    async fn mfa_changed(&mut self, user: UserId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET mfa_generation = mfa_generation + 1, \
             mfa_active = EXISTS (SELECT 1 FROM mfa_methods WHERE user_id = users.id) WHERE id = $1",
        )
        .bind(user.0)
        .execute(self.connection())
        .await?;
        self.touch(Subject::User(user));
        Ok(())
    }
}

async fn methods_of(connection: &mut AnyConnection, user: UserId) -> Result<Vec<MethodRecord>, StoreError> {
    sqlx::query("SELECT * FROM mfa_methods WHERE user_id = $1 ORDER BY id")
        .bind(user.0)
        .fetch_all(connection)
        .await?
        .iter()
        .map(from_row)
        .collect()
}

fn stored_step(step: Option<u64>) -> Option<i64> {
    step.map(|step| i64::try_from(step).unwrap_or(i64::MAX))
}

pub(super) fn failures_from_row(row: &AnyRow) -> Result<FactorFailures, sqlx::Error> {
    Ok(FactorFailures {
        in_a_row: small_count(row, "failures")?,
        burst: small_count(row, "burst")?,
        burst_began_at: Timestamp::from_unix_milliseconds(row.try_get("burst_began_at")?),
    })
}

fn from_row(row: &AnyRow) -> Result<MethodRecord, StoreError> {
    let kind = match row.try_get("kind")? {
        "app" => MethodKind::App,
        "key" => MethodKind::SecurityKey,
        _ => return Err(StoreError::Corrupt("MFA method")),
    };
    Ok(MethodRecord {
        id: MethodId(row.try_get("id")?),
        user: UserId(row.try_get("user_id")?),
        kind,
        name: row.try_get("name")?,
        secret: row.try_get("secret")?,
        last_step: row.try_get::<Option<i64>, _>("last_step")?.and_then(|step| u64::try_from(step).ok()),
        failures: failures_from_row(row)?,
        created_at: Timestamp::from_unix_milliseconds(row.try_get("created_at")?),
        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(Timestamp::from_unix_milliseconds),
    })
}
