//! Bulk import of keys: staged invisibly in batches, made visible by one commit with one change row.
//!
//! Rows carry the import's number until it is committed; a number that stands in `imports` hides its rows. Only one
//! import runs at a time: it holds a lock that goes with its process, however that ends. So the next import knows what it
//! finds for the remains of a dead one, and clears it away.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;

use serde_json::json;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use super::audit::{self, AuditEntry};
use super::engine::{Kind, hex, rows};
use super::feed::{self, Subject};
use super::new_file::with_ending;
use super::open::Place;
use super::records::flag;
use super::{Store, StoreError, api_sessions, marks};
use crate::crypto::DigestKey;
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
    /// Holds every permission.
    pub administrator: bool,
    /// The import brings a key of this user, by which no password opens the API any more.
    pub has_key: bool,
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
    _locked: ImportLock,
}

impl Store {
    /// Begins an import, after clearing away what cut-off ones left. Fails with [`StoreError::ImportRuns`] beside
    /// another one.
    pub async fn begin_import(&self, now: Timestamp) -> Result<KeyImport, StoreError> {
        let locked = lock(self).await?;
        for id in self.unfinished_imports().await? {
            clear(self, id).await?;
        }
        let mut transaction = self.begin_write().await?;
        marks::require_open_to_changes(&mut transaction).await?;
        let id = sqlx::query_scalar("INSERT INTO imports (started_at) VALUES ($1) RETURNING id")
            .bind(now.unix_milliseconds())
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(KeyImport { store: self.clone(), id, now, _locked: locked })
    }

    /// Clears away what cut-off imports left, so that the names and keys in it are free; a running one is left alone.
    pub async fn clear_dead_imports(&self) -> Result<(), StoreError> {
        if self.unfinished_imports().await?.is_empty() {
            return Ok(());
        }
        let _locked = match lock(self).await {
            Ok(locked) => locked,
            Err(StoreError::ImportRuns) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Asked again under the lock: the import may have come to its end, and another have begun.
        for id in self.unfinished_imports().await? {
            clear(self, id).await?;
        }
        Ok(())
    }

    async fn unfinished_imports(&self) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar("SELECT id FROM imports").fetch_all(&self.readers).await?)
    }
}

/// What only one import can hold; let go however the process ends.
#[derive(Debug)]
pub(super) enum ImportLock {
    /// A file beside the embedded store, which the operating system unlocks.
    File { _locked: File },
    /// A connection's lock, which the database lets go of with the connection.
    Connection { _connection: Box<AnyConnection> },
}

/// Keeps every import away for as long as the answer lives. Fails with [`StoreError::ImportRuns`] beside one.
pub(super) async fn lock(store: &Store) -> Result<ImportLock, StoreError> {
    let file = match &*store.place {
        Place::File(file) => file,
        Place::Server(_) => {
            let mut connection = store.pinned_connection().await?;
            let row = sqlx::query("SELECT pg_try_advisory_lock(7311003)").fetch_one(&mut connection).await?;
            let is_ours = flag(&row, 0)?;
            return if is_ours {
                Ok(ImportLock::Connection { _connection: Box::new(connection) })
            } else {
                Err(StoreError::ImportRuns)
            };
        }
    };
    let path = with_ending(file.path(), ".import");
    let file_error = |source| StoreError::File { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(ImportLock::File { _locked: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::ImportRuns),
        Err(TryLockError::Error(error)) => Err(file_error(error)),
    }
}

impl KeyImport {
    /// Stages customers with MFA optional; answers their ids in order.
    pub async fn add_customers(&self, handles: &[CustomerHandle]) -> Result<Vec<CustomerId>, StoreError> {
        let statement = format!(
            "{}INSERT INTO customers (handle, mfa_required, allow_list, created_at, import_id) \
             SELECT handle, FALSE, '', $2, $3 FROM given ORDER BY place RETURNING id",
            self.store.dialect().given(&[("handle", Kind::Text)])
        );
        let mut transaction = self.store.begin_write().await?;
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(rows(handles.iter().map(|handle| json!([handle.as_str()]))))
            .bind(self.now.unix_milliseconds())
            .bind(self.id)
            .fetch_all(&mut *transaction)
            .await
            .map_err(|error| super::mutation::exists(error, || String::from("one of the customers")))?;
        transaction.commit().await?;
        Ok(in_order(ids).map(CustomerId).collect())
    }

    /// Stages users without a password, for whom every entrance is open; answers their ids in order.
    ///
    /// Who has a key is told here already, so that the end of an import need not write all of them once more: a million at
    /// once take a shared database longer than any statement may.
    pub async fn add_users(&self, users: &[ImportedUser]) -> Result<Vec<UserId>, StoreError> {
        let given = users
            .iter()
            .map(|user| json!([user.customer.0, user.login.as_str(), user.administrator, user.has_key]));
        let statement = format!(
            "{}INSERT INTO users (customer_id, login, administrator, full_name, email, permissions, access_points, active, \
             password_hash, password_version, password_off_by_key, mfa_forced, mfa_active, allow_list, created_at, import_id) \
             SELECT customer_id, login, administrator, '', '', 0, $4, TRUE, NULL, 1, has_key, FALSE, FALSE, '', $2, $3 \
             FROM given ORDER BY place RETURNING id",
            self.store.dialect().given(&[
                ("customer_id", Kind::Integer),
                ("login", Kind::Text),
                ("administrator", Kind::Flag),
                ("has_key", Kind::Flag),
            ])
        );
        let mut transaction = self.store.begin_write().await?;
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(rows(given))
            .bind(self.now.unix_milliseconds())
            .bind(self.id)
            .bind(i64::from(AccessPoints::ALL.to_stored()))
            .fetch_all(&mut *transaction)
            .await
            .map_err(|error| super::mutation::exists(error, || String::from("one of the users")))?;
        transaction.commit().await?;
        Ok(in_order(ids).map(UserId).collect())
    }

    /// Stages keys of one scope. Fails with [`StoreError::Exists`] where one is known already.
    pub async fn add_keys(&self, keys: &[ImportedKey], scope: ServiceScope) -> Result<(), StoreError> {
        let given = keys
            .iter()
            .map(|key| json!([key.id.to_stored(), key.user.0, hex(&key.digest.0), key.last_characters]));
        let statement = format!(
            "{}INSERT INTO api_keys (id, user_id, digest, digest_key, last_characters, description, scope, enabled, \
             expires_at, allow_list, created_at, import_id) \
             SELECT id, user_id, digest, 1, last_characters, 'imported', $4, TRUE, NULL, '', $2, $3 FROM given",
            self.store.dialect().given(&[
                ("id", Kind::Integer),
                ("user_id", Kind::Integer),
                ("digest", Kind::Bytes),
                ("last_characters", Kind::Text),
            ])
        );
        let mut transaction = self.store.begin_write().await?;
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(given))
            .bind(self.now.unix_milliseconds())
            .bind(self.id)
            .bind(i64::from(scope.to_stored()))
            .execute(&mut *transaction)
            .await
            .map_err(|error| super::mutation::exists(error, || String::from("one of the keys")))?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes everything visible at once with its rows in the audit trail, and ends password access to the API, and what
    /// it opened, for the users that got a first key. Takes everything back where that fails.
    pub async fn commit(self, told: &[AuditEntry], audit_key: &DigestKey) -> Result<Revision, StoreError> {
        let committed = self.publish(told, audit_key).await;
        if committed.is_err() {
            self.abandon().await?;
        }
        committed
    }

    async fn publish(&self, told: &[AuditEntry], audit_key: &DigestKey) -> Result<Revision, StoreError> {
        let mut transaction = self.store.begin_write().await?;
        sqlx::query(
            "UPDATE users SET password_off_by_key = TRUE WHERE NOT password_off_by_key \
             AND id IN (SELECT user_id FROM api_keys WHERE import_id = $1)",
        )
        .bind(self.id)
        .execute(&mut *transaction)
        .await?;
        api_sessions::end_all_lost_sessions(&mut transaction).await?;
        sqlx::query("DELETE FROM imports WHERE id = $1").bind(self.id).execute(&mut *transaction).await?;
        audit::append(&mut transaction, told, audit_key).await?;
        let revision = feed::append(&mut transaction, &[Subject::Everything]).await?;
        transaction.commit().await?;
        Ok(revision)
    }

    /// Takes everything back.
    pub async fn abandon(self) -> Result<(), StoreError> {
        clear(&self.store, self.id).await
    }
}

/// Ids grow in the order of insertion; the order in which `RETURNING` answers is not promised.
fn in_order(mut ids: Vec<i64>) -> impl Iterator<Item = i64> {
    ids.sort_unstable();
    ids.into_iter()
}

/// Removes what an import staged, in batches, so that other writers are not kept waiting.
async fn clear(store: &Store, import: i64) -> Result<(), StoreError> {
    const BY_BATCH: [&str; 3] = [
        "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE import_id = $1 LIMIT $2)",
        "DELETE FROM users WHERE id IN (SELECT id FROM users WHERE import_id = $1 LIMIT $2)",
        "DELETE FROM customers WHERE id IN (SELECT id FROM customers WHERE import_id = $1 LIMIT $2)",
    ];
    for statement in BY_BATCH {
        loop {
            let mut transaction = store.begin_write().await?;
            let removed = sqlx::query(statement)
                .bind(import)
                .bind(i64::try_from(ROWS_PER_BATCH).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if removed == 0 {
                break;
            }
        }
    }
    let mut transaction = store.begin_write().await?;
    sqlx::query("DELETE FROM imports WHERE id = $1").bind(import).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    async fn store() -> (tempfile::TempDir, Store) {
        let (folder, store) = crate::store::testing::empty_store().await;
        (folder, store)
    }

    fn key(number: u8, user: UserId) -> ImportedKey {
        ImportedKey {
            id: KeyId::from_random(u64::from(number)),
            user,
            digest: KeyDigest([number; 32]),
            last_characters: "wxyz".into(),
        }
    }

    /// Stages customer `acme` and three users, of whom the first is its administrator and the others have a key.
    async fn staged(store: &Store) -> KeyImport {
        let import = store.begin_import(NOW).await.unwrap();
        let customer = import.add_customers(&["acme".parse().unwrap()]).await.unwrap()[0];
        let users = ["admin", "alex", "bo"].map(|login| ImportedUser {
            customer,
            login: login.parse().unwrap(),
            administrator: login == "admin",
            has_key: login != "admin",
        });
        let ids = import.add_users(&users).await.unwrap();
        let keys = [key(1, ids[1]), key(2, ids[2])];
        import.add_keys(&keys, "api".parse().unwrap()).await.unwrap();
        import
    }

    #[tokio::test]
    async fn r8_the_password_is_off_for_those_who_got_a_key() {
        let (_folder, store) = store().await;
        staged(&store).await.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        let users = store.users().await.unwrap();
        let off: Vec<_> = users.iter().map(|user| user.password_off_by_key).collect();
        assert_eq!(off, [false, true, true]);
        let administrators: Vec<_> = users.iter().map(|user| user.administrator).collect();
        assert_eq!(administrators, [true, false, false]);
    }

    #[tokio::test]
    async fn only_one_import_runs_and_the_next_clears_what_a_dead_one_left() {
        let (_folder, store) = store().await;
        let running = staged(&store).await;
        assert!(matches!(store.begin_import(NOW).await, Err(StoreError::ImportRuns)));
        drop(running);
        assert_eq!(store.known_digests(&[KeyDigest([1; 32])]).await.unwrap(), []);
        // The same customer, users and keys again: nothing of the dead one stands in the way.
        staged(&store).await.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        assert_eq!(store.list_keys(None).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn names_in_a_dead_import_become_free_and_a_running_one_is_left_alone() {
        let (_folder, store) = store().await;
        let running = staged(&store).await;
        store.clear_dead_imports().await.unwrap();
        drop(running);
        assert_eq!(store.unfinished_imports().await.unwrap().len(), 1);
        store.clear_dead_imports().await.unwrap();
        let mut change = store.mutate().await.unwrap();
        let new = crate::store::NewCustomer {
            handle: "acme".parse().unwrap(),
            mfa: crate::model::MfaRequirement::Optional,
            created_at: NOW,
        };
        change.insert_customer(&new).await.unwrap();
        change.commit().await.unwrap();
    }

    #[tokio::test]
    async fn what_a_dead_import_left_does_not_keep_a_customer_from_being_deleted() {
        let (_folder, store) = store().await;
        staged(&store).await.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        let users = store.users().await.unwrap();
        let import = store.begin_import(NOW).await.unwrap();
        let late = ImportedUser {
            customer: users[0].customer,
            login: "late".parse().unwrap(),
            administrator: false,
            has_key: true,
        };
        let late = import.add_users(&[late]).await.unwrap()[0];
        let keys = [key(40, users[0].id), key(41, late)];
        import.add_keys(&keys, "api".parse().unwrap()).await.unwrap();
        drop(import);
        let mut change = store.mutate().await.unwrap();
        for user in &users {
            change.delete_user(user.id, NOW).await.unwrap();
        }
        change.delete_customer(users[0].customer).await.unwrap();
        change.commit().await.unwrap();
        assert!(store.customers().await.unwrap().is_empty());
    }
}
