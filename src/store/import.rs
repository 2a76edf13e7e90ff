//! Bulk import of keys: staged invisibly in batches, made visible by one commit with one change row.
//!
//! Rows carry the import's number until it is committed; a number that stands in `imports` hides its rows. An import
//! that is dropped or dies leaves hidden rows, which the next one clears away: a locked file beside the store, which
//! the operating system unlocks with the process, lets only one run at a time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::feed::{self, Subject};
use super::{Store, StoreError};
use crate::model::{
    AccessPoints, CustomerHandle, CustomerId, KeyDigest, KeyId, Login, Revision, ServiceScope, Timestamp,
    UserId,
};

/// Rows of one statement and one commit, so that the writer's lock is held for milliseconds.
pub const ROWS_PER_BATCH: usize = 5_000;

/// A user that an import makes.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// Whose user it is; may be a customer made by the same import.
    pub customer: CustomerId,
    /// The login name.
    pub login: Login,
}

/// A key that an import adds.
#[derive(Clone, Debug)]
pub struct ImportedKey {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// What it is found by.
    pub digest: KeyDigest,
    /// The last 4 characters.
    pub last_characters: String,
}

/// A running import; nothing of it is visible before [`KeyImport::commit`].
#[derive(Debug)]
pub struct KeyImport {
    store: Store,
    id: i64,
    now: Timestamp,
    _locked: File,
}

impl Store {
    /// Begins an import, after clearing away what cut-off ones left. Fails with [`StoreError::ImportRunning`] while
    /// another one runs.
    pub async fn begin_import(&self, now: Timestamp) -> Result<KeyImport, StoreError> {
        let locked = lock_imports(&self.path)?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let cut_off: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM imports").fetch_all(&mut *transaction).await?;
        for id in cut_off {
            clear(&mut transaction, id).await?;
        }
        let id = sqlx::query_scalar("INSERT INTO imports (started_at) VALUES (?) RETURNING id")
            .bind(now.unix_milliseconds())
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(KeyImport { store: self.clone(), id, now, _locked: locked })
    }
}

impl KeyImport {
    /// Stages customers with MFA optional; answers their ids in order.
    pub async fn add_customers(&self, handles: &[CustomerHandle]) -> Result<Vec<CustomerId>, StoreError> {
        let rows: Vec<Value> = handles.iter().map(|handle| json!(handle.as_str())).collect();
        let mut transaction = self.store.writer.begin_with("BEGIN IMMEDIATE").await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO customers (handle, mfa_required, allow_list, created_at, import_id) \
             SELECT value, FALSE, '', ?, ? FROM json_each(?) WHERE TRUE ORDER BY key RETURNING id",
        )
        .bind(self.now.unix_milliseconds())
        .bind(self.id)
        .bind(Value::from(rows).to_string())
        .fetch_all(&mut *transaction)
        .await
        .map_err(|error| super::mutation::exists(error, || String::from("one of the customers")))?;
        transaction.commit().await?;
        Ok(in_order(ids).map(CustomerId).collect())
    }

    /// Stages users without a password, for whom every entrance is open; answers their ids in order.
    pub async fn add_users(&self, users: &[ImportedUser]) -> Result<Vec<UserId>, StoreError> {
        let rows: Vec<Value> =
            users.iter().map(|user| json!([user.customer.0, user.login.as_str()])).collect();
        let mut transaction = self.store.writer.begin_with("BEGIN IMMEDIATE").await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO users (customer_id, login, full_name, email, administrator, permissions, access_points, active, \
             password_hash, password_version, password_off_by_key, mfa_forced, mfa_active, allow_list, created_at, import_id) \
             SELECT value ->> 0, value ->> 1, '', '', FALSE, 0, ?, TRUE, NULL, 1, TRUE, FALSE, FALSE, '', ?, ? \
             FROM json_each(?) WHERE TRUE ORDER BY key RETURNING id",
        )
        .bind(AccessPoints::ALL.to_stored())
        .bind(self.now.unix_milliseconds())
        .bind(self.id)
        .bind(Value::from(rows).to_string())
        .fetch_all(&mut *transaction)
        .await
        .map_err(|error| super::mutation::exists(error, || String::from("one of the users")))?;
        transaction.commit().await?;
        Ok(in_order(ids).map(UserId).collect())
    }

    /// Stages keys of one scope. Fails with [`StoreError::Exists`] where one is known already.
    pub async fn add_keys(&self, keys: &[ImportedKey], scope: ServiceScope) -> Result<(), StoreError> {
        let rows: Vec<Value> = keys
            .iter()
            .map(|key| json!([key.id.to_stored(), key.user.0, hex(&key.digest), key.last_characters]))
            .collect();
        let mut transaction = self.store.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO api_keys (id, user_id, digest, digest_key, last_characters, description, scope, enabled, \
             expires_at, allow_list, created_at, import_id) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), 1, value ->> 3, 'imported', ?, TRUE, NULL, '', ?, ? \
             FROM json_each(?)",
        )
        .bind(scope.to_stored())
        .bind(self.now.unix_milliseconds())
        .bind(self.id)
        .bind(Value::from(rows).to_string())
        .execute(&mut *transaction)
        .await
        .map_err(|error| super::mutation::exists(error, || String::from("one of the keys")))?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes everything visible at once, and ends password access to the API for the users that got a first key.
    pub async fn commit(self) -> Result<Revision, StoreError> {
        let mut transaction = self.store.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "UPDATE users SET password_off_by_key = TRUE WHERE NOT password_off_by_key \
             AND id IN (SELECT user_id FROM api_keys WHERE import_id = ?)",
        )
        .bind(self.id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM imports WHERE id = ?").bind(self.id).execute(&mut *transaction).await?;
        let revision = feed::append(&mut transaction, Subject::Everything).await?;
        transaction.commit().await?;
        Ok(revision)
    }

    /// Takes everything back.
    pub async fn abandon(self) -> Result<(), StoreError> {
        let mut transaction = self.store.writer.begin_with("BEGIN IMMEDIATE").await?;
        clear(&mut transaction, self.id).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Ids grow in the order of insertion; the order in which `RETURNING` answers is not promised.
fn in_order(mut ids: Vec<i64>) -> impl Iterator<Item = i64> {
    ids.sort_unstable();
    ids.into_iter()
}

/// Takes the one place for an import.
fn lock_imports(store: &Path) -> Result<File, StoreError> {
    let mut name = store.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".import");
    let path = store.with_file_name(name);
    let file_error = |source| StoreError::File { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::ImportRunning),
        Err(TryLockError::Error(error)) => Err(file_error(error)),
    }
}

async fn clear(connection: &mut SqliteConnection, import: i64) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM api_keys WHERE import_id = ?",
        "DELETE FROM users WHERE import_id = ?",
        "DELETE FROM customers WHERE import_id = ?",
        "DELETE FROM imports WHERE id = ?",
    ] {
        sqlx::query(statement).bind(import).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) fn hex(digest: &KeyDigest) -> String {
    use std::fmt::Write;
    digest.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
