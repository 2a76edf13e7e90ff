//! A change of the store: one transaction that ends with its rows in the change feed.

use sqlx::AnyConnection;
use sqlx::{Any, Transaction};

use super::feed::{self, Subject};
use super::open::Place;
use super::records::{CustomerRecord, NewCustomer, NewUser, UserRecord, stored_requirement};
use super::tombstones::{self, Born, Tombstone, Word};
use super::{Store, StoreError, marks, queries, quotas, usage};
use crate::crypto::PasswordHash;
use crate::model::{
    AllowList, ApiKeyRecord, CustomerHandle, CustomerId, KeyId, MfaRequirement, QuotaOwner, Revision,
    Timestamp, UserId, UserName,
};

/// More touched keys than this are announced as [`Subject::Everything`].
const NAMED_SUBJECTS: usize = 1_000;

/// An open transaction that holds the writer's lock. Dropping it changes nothing.
///
/// Each method notes what it touched, and [`Mutation::commit`] announces exactly that, so that no change can be made
/// visible without its place in the feed.
#[must_use = "a mutation that is not committed changes nothing"]
#[derive(Debug)]
pub struct Mutation {
    store: Store,
    transaction: Transaction<'static, Any>,
    touched: Vec<Subject>,
    /// What is deleted for good.
    buried: Vec<Tombstone>,
}

impl Store {
    /// Begins a change; waits for other writers. Fails with [`StoreError::Moved`] where the store was copied to another
    /// one, because nobody would see it.
    pub async fn mutate(&self) -> Result<Mutation, StoreError> {
        let mut transaction = self.begin_write().await?;
        marks::require_open_to_changes(&mut transaction).await?;
        Ok(Mutation { store: self.clone(), transaction, touched: Vec::new(), buried: Vec::new() })
    }
}

impl Mutation {
    /// Ends the API sessions that lost their password, makes all durable, and returns the revision at which every gateway
    /// has it. Refuses where the store is not in its place: what is written then is seen by nobody.
    pub async fn commit(mut self) -> Result<Revision, StoreError> {
        let touched = self.named_subjects();
        self.end_lost_sessions(&touched).await?;
        self.touched = self.named_subjects();
        let subjects = std::mem::take(&mut self.touched);
        let revision = feed::append(&mut self.transaction, &subjects).await?;
        let buries = !self.buried.is_empty() && matches!(&*self.store.place, Place::File(_));
        if buries {
            tombstones::put(&mut self.transaction, Word::Deleted, &self.buried).await?;
        }
        self.store.require_in_place()?;
        self.transaction.commit().await?;
        // It holds. What cannot be noted beside the store, because of a fault or of a caller that went away, is noted with
        // the next deletion, or when a gateway is started.
        if buries && let Err(error) = self.store.note_deletions().await {
            tracing::warn!(%error, "a deletion could not be noted for a restore yet");
        }
        Ok(revision)
    }

    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        self.buried.push(tombstone);
    }

    /// What was touched, or [`Subject::Everything`] where that is too much to name.
    fn named_subjects(&self) -> Vec<Subject> {
        if self.touched.len() > NAMED_SUBJECTS { vec![Subject::Everything] } else { self.touched.clone() }
    }

    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    pub(super) fn touch(&mut self, subject: Subject) {
        // Beyond the bound the commit says "everything" anyway.
        if self.touched.len() <= NAMED_SUBJECTS && !self.touched.contains(&subject) {
            self.touched.push(subject);
        }
    }

    /// The customer of that handle, as it stands inside this change.
    pub async fn customer(&mut self, handle: &CustomerHandle) -> Result<Option<CustomerRecord>, StoreError> {
        queries::customer(&mut self.transaction, handle).await
    }

    /// The customer of that row, as it stands inside this change.
    pub async fn customer_by_id(&mut self, id: CustomerId) -> Result<Option<CustomerRecord>, StoreError> {
        queries::customer_by_id(&mut self.transaction, id).await
    }

    /// The user of that name, as it stands inside this change.
    pub async fn user(&mut self, name: &UserName) -> Result<Option<UserRecord>, StoreError> {
        queries::user(&mut self.transaction, name).await
    }

    /// The user of that row, as it stands inside this change.
    pub async fn user_by_id(&mut self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        queries::user_by_id(&mut self.transaction, id).await
    }

    /// The users of a customer, as they stand inside this change.
    pub async fn users_of(&mut self, customer: CustomerId) -> Result<Vec<UserRecord>, StoreError> {
        queries::users_of(&mut self.transaction, customer).await
    }

    /// The key of that id, as it stands inside this change.
    pub async fn key(&mut self, id: KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        queries::key(&mut self.transaction, id).await
    }

    /// The keys of a user, as they stand inside this change.
    pub async fn keys_of(&mut self, user: UserId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        queries::keys_of(&mut self.transaction, user).await
    }

    /// Adds a customer. Fails with [`StoreError::Exists`] where the handle is taken.
    pub async fn insert_customer(&mut self, new: &NewCustomer) -> Result<CustomerId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO customers (handle, mfa_required, allow_list, created_at) VALUES ($1, $2, '', $3) RETURNING id",
        )
        .bind(new.handle.as_str())
        .bind(stored_requirement(new.mfa))
        .bind(new.created_at.unix_milliseconds())
        .fetch_one(&mut *self.transaction)
        .await
        .map_err(|error| exists(error, || format!("customer `{}`", new.handle)))?;
        let id = CustomerId(id);
        self.touch(Subject::Customer(id));
        Ok(id)
    }

    /// Demands MFA of a customer's users, or stops demanding it.
    pub async fn set_customer_mfa(&mut self, id: CustomerId, mfa: MfaRequirement) -> Result<(), StoreError> {
        sqlx::query("UPDATE customers SET mfa_required = $1 WHERE id = $2")
            .bind(stored_requirement(mfa))
            .bind(id.0)
            .execute(&mut *self.transaction)
            .await?;
        self.touch(Subject::Customer(id));
        Ok(())
    }

    /// Replaces a customer's list.
    pub async fn set_customer_allow_list(
        &mut self,
        id: CustomerId,
        list: &AllowList,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE customers SET allow_list = $1 WHERE id = $2")
            .bind(list.to_string())
            .bind(id.0)
            .execute(&mut *self.transaction)
            .await?;
        self.touch(Subject::Customer(id));
        Ok(())
    }

    /// Removes a customer whose users are gone already, but for those that an import has staged.
    pub async fn delete_customer(&mut self, id: CustomerId) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM api_keys WHERE user_id IN (SELECT id FROM users WHERE customer_id = $1 \
             AND import_id IN (SELECT id FROM imports))",
            "DELETE FROM users WHERE customer_id = $1 AND import_id IN (SELECT id FROM imports)",
        ] {
            sqlx::query(statement).bind(id.0).execute(&mut *self.transaction).await?;
        }
        quotas::delete(&mut self.transaction, QuotaOwner::Customer(id)).await?;
        let created_at = sqlx::query_scalar("DELETE FROM customers WHERE id = $1 RETURNING created_at")
            .bind(id.0)
            .fetch_optional(&mut *self.transaction)
            .await?;
        if let Some(created_at) = created_at {
            self.bury(Tombstone::Customer(Born { id, created_at }));
        }
        self.touch(Subject::Customer(id));
        Ok(())
    }

    /// Adds a user. Fails with [`StoreError::Exists`] where the login name is taken.
    pub async fn insert_user(&mut self, new: &NewUser) -> Result<UserId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO users (customer_id, login, full_name, email, language, administrator, permissions, access_points, active, \
             password_hash, password_version, password_ends_at, password_off_by_key, mfa_forced, mfa_active, allow_list, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, TRUE, $9, 1, $10, FALSE, $11, FALSE, '', $12) RETURNING id",
        )
        .bind(new.customer.0)
        .bind(new.login.as_str())
        .bind(&new.full_name)
        .bind(&new.email)
        .bind(&new.language)
        .bind(new.administrator)
        .bind(i64::from(new.permissions.to_stored()))
        .bind(i64::from(new.access_points.to_stored()))
        .bind(new.password_hash.as_ref().map(PasswordHash::as_stored))
        .bind(new.password_ends_at.map(Timestamp::unix_milliseconds))
        .bind(stored_requirement(new.mfa))
        .bind(new.created_at.unix_milliseconds())
        .fetch_one(&mut *self.transaction)
        .await
        .map_err(|error| exists(error, || format!("a user with login name `{}`", new.login)))?;
        let id = UserId(id);
        self.touch(Subject::User(id));
        Ok(id)
    }

    /// Writes back what may be edited of a user: name, address, rights, entrances, state, marks, MFA demand, list.
    pub async fn update_user(&mut self, user: &UserRecord) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET full_name = $1, email = $2, language = $3, administrator = $4, permissions = $5, access_points = $6, active = $7, \
             password_off_by_key = $8, mfa_forced = $9, mfa_active = $10, allow_list = $11 WHERE id = $12",
        )
        .bind(&user.full_name)
        .bind(&user.email)
        .bind(&user.language)
        .bind(user.administrator)
        .bind(i64::from(user.permissions.to_stored()))
        .bind(i64::from(user.access_points.to_stored()))
        .bind(user.active)
        .bind(user.password_off_by_key)
        .bind(stored_requirement(user.mfa))
        .bind(user.mfa_active)
        .bind(user.allow_list.to_string())
        .bind(user.id.0)
        .execute(&mut *self.transaction)
        .await?;
        self.touch(Subject::User(user.id));
        Ok(())
    }

    /// Sets a user's password; whatever the old one opened ends, and so does a one-time link. The new one opens nothing from `ends_at` on.
    pub async fn set_password(
        &mut self,
        id: UserId,
        hash: &PasswordHash,
        ends_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET password_hash = $1, password_version = password_version + 1, password_ends_at = $2 \
             WHERE id = $3",
        )
        .bind(hash.as_stored())
        .bind(ends_at.map(Timestamp::unix_milliseconds))
        .bind(id.0)
        .execute(&mut *self.transaction)
        .await?;
        self.delete_link_of(id).await?;
        self.touch(Subject::User(id));
        Ok(())
    }

    /// Removes a user, and all its keys and sessions.
    pub async fn delete_user(&mut self, id: UserId, now: Timestamp) -> Result<(), StoreError> {
        for key in self.keys_of(id).await? {
            self.delete_key(&key, now).await?;
        }
        // What an import has staged for the user goes too; it was never visible.
        sqlx::query("DELETE FROM api_keys WHERE user_id = $1")
            .bind(id.0)
            .execute(&mut *self.transaction)
            .await?;
        self.delete_api_sessions_of(id).await?;
        usage::delete_of_user(&mut self.transaction, id).await?;
        quotas::delete(&mut self.transaction, QuotaOwner::User(id)).await?;
        let created_at = sqlx::query_scalar("DELETE FROM users WHERE id = $1 RETURNING created_at")
            .bind(id.0)
            .fetch_optional(&mut *self.transaction)
            .await?;
        if let Some(created_at) = created_at {
            self.bury(Tombstone::User(Born { id, created_at }));
        }
        self.touch(Subject::User(id));
        Ok(())
    }

    /// Adds a key that `created_by` made, as the audit trail names actors.
    pub async fn insert_key(&mut self, key: &ApiKeyRecord, created_by: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, user_id, digest, digest_key, last_characters, description, scope, enabled, \
             expires_at, allow_list, created_at, created_by) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(key.id.to_stored())
        .bind(key.user.0)
        .bind(key.digest.0.as_slice())
        .bind(&key.last_characters)
        .bind(&key.description)
        .bind(i64::from(key.scope.to_stored()))
        .bind(key.enabled)
        .bind(key.expires_at.map(Timestamp::unix_milliseconds))
        .bind(key.allow_list.to_string())
        .bind(key.created_at.unix_milliseconds())
        .bind(created_by)
        .execute(&mut *self.transaction)
        .await
        .map_err(|error| exists(error, || String::from("this key")))?;
        self.touch(Subject::Key(key.digest));
        Ok(())
    }

    /// Writes back what may be edited of a key: whether it is enabled, when it ends, its list.
    pub async fn update_key(&mut self, key: &ApiKeyRecord) -> Result<(), StoreError> {
        sqlx::query("UPDATE api_keys SET enabled = $1, expires_at = $2, allow_list = $3 WHERE id = $4")
            .bind(key.enabled)
            .bind(key.expires_at.map(Timestamp::unix_milliseconds))
            .bind(key.allow_list.to_string())
            .bind(key.id.to_stored())
            .execute(&mut *self.transaction)
            .await?;
        self.touch(Subject::Key(key.digest));
        Ok(())
    }

    /// Removes a key for good; its digest is remembered, so that no import brings it back.
    pub async fn delete_key(&mut self, key: &ApiKeyRecord, now: Timestamp) -> Result<(), StoreError> {
        let id = key.id.to_stored();
        sqlx::query("DELETE FROM api_keys WHERE id = $1").bind(id).execute(&mut *self.transaction).await?;
        usage::delete_of_key(&mut self.transaction, key.id).await?;
        quotas::delete(&mut self.transaction, QuotaOwner::Key(key.id)).await?;
        sqlx::query(
            "INSERT INTO deleted_keys (digest, key_id, deleted_at) VALUES ($1, $2, $3) \
             ON CONFLICT (digest) DO UPDATE SET key_id = excluded.key_id, deleted_at = excluded.deleted_at",
        )
        .bind(key.digest.0.as_slice())
        .bind(id)
        .bind(now.unix_milliseconds())
        .execute(&mut *self.transaction)
        .await?;
        self.bury(Tombstone::Key(key.digest));
        self.touch(Subject::Key(key.digest));
        Ok(())
    }
}

/// Turns a broken uniqueness into a sentence.
pub(super) fn exists(error: sqlx::Error, what: impl FnOnce() -> String) -> StoreError {
    match &error {
        sqlx::Error::Database(engine) if engine.is_unique_violation() => StoreError::Exists(what()),
        _ => StoreError::Engine(error),
    }
}
