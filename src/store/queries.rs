//! Reading records; nothing here changes anything.

use sqlx::AnyConnection;

use super::records::{CustomerRecord, ListedKey, UserRecord, key_from_row};
use super::{Store, StoreError};
use crate::model::{ApiKeyRecord, CustomerHandle, CustomerId, KeyDigest, KeyId, Revision, UserId, UserName};

/// Keys with what a list shows beside them.
macro_rules! listed_keys {
    () => {
        "SELECT k.*, c.handle, u.login, l.used_at, l.service, l.address FROM visible_keys k \
         JOIN users u ON u.id = k.user_id JOIN customers c ON c.id = u.customer_id \
         LEFT JOIN key_last_used l ON l.key_id = k.id"
    };
}

impl Store {
    /// The customer of that handle.
    pub async fn customer(&self, handle: &CustomerHandle) -> Result<Option<CustomerRecord>, StoreError> {
        customer(&mut *self.readers.acquire().await?, handle).await
    }

    /// All customers, by handle.
    pub async fn customers(&self) -> Result<Vec<CustomerRecord>, StoreError> {
        sqlx::query("SELECT * FROM visible_customers ORDER BY handle")
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(CustomerRecord::from_row)
            .collect()
    }

    /// The user of that name.
    pub async fn user(&self, name: &UserName) -> Result<Option<UserRecord>, StoreError> {
        user(&mut *self.readers.acquire().await?, name).await
    }

    /// The user of that row.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        user_by_id(&mut *self.readers.acquire().await?, id).await
    }

    /// A customer's users, by login name.
    pub async fn users_of(&self, customer: CustomerId) -> Result<Vec<UserRecord>, StoreError> {
        users_of(&mut *self.readers.acquire().await?, customer).await
    }

    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        sqlx::query(
            "SELECT u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list FROM visible_users u \
             JOIN visible_customers c ON c.id = u.customer_id ORDER BY c.handle, u.login",
        )
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(UserRecord::from_row)
        .collect()
    }

    /// A user's keys, or all, oldest first, with what a list shows beside them.
    pub async fn list_keys(&self, user: Option<UserId>) -> Result<Vec<ListedKey>, StoreError> {
        // The embedded engine finds one user's by the index of users only in a statement of its own.
        let query = match user {
            Some(user) => {
                sqlx::query(concat!(listed_keys!(), " WHERE k.user_id = $1 ORDER BY k.created_at, k.id"))
                    .bind(user.0)
            }
            None => sqlx::query(concat!(listed_keys!(), " ORDER BY k.created_at, k.id")),
        };
        query.fetch_all(&self.readers).await?.iter().map(ListedKey::from_row).collect()
    }

    /// The key of that id, with what a list shows beside it.
    pub async fn listed_key(&self, id: KeyId) -> Result<Option<ListedKey>, StoreError> {
        sqlx::query(concat!(listed_keys!(), " WHERE k.id = $1"))
            .bind(id.to_stored())
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(ListedKey::from_row)
            .transpose()
    }

    /// The key of that id.
    pub async fn key(&self, id: KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        key(&mut *self.readers.acquire().await?, id).await
    }

    /// The key of that digest.
    pub async fn key_by_digest(&self, digest: &KeyDigest) -> Result<Option<ApiKeyRecord>, StoreError> {
        key_by_digest(&mut *self.readers.acquire().await?, digest).await
    }

    /// A user's keys, oldest first.
    pub async fn keys_of(&self, user: UserId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        keys_of(&mut *self.readers.acquire().await?, user).await
    }

    /// Was a key of that digest deleted here before?
    pub async fn was_deleted(&self, digest: &KeyDigest) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT key_id FROM deleted_keys WHERE digest = $1")
            .bind(digest.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.is_some())
    }

    /// The newest revision of the change feed.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(super::feed::position(&mut *self.readers.acquire().await?).await?.revision)
    }
}

pub(super) async fn customer(
    connection: &mut AnyConnection,
    handle: &CustomerHandle,
) -> Result<Option<CustomerRecord>, StoreError> {
    sqlx::query("SELECT * FROM visible_customers WHERE handle = $1")
        .bind(handle.as_str())
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(CustomerRecord::from_row)
        .transpose()
}

pub(super) async fn customer_by_id(
    connection: &mut AnyConnection,
    id: CustomerId,
) -> Result<Option<CustomerRecord>, StoreError> {
    sqlx::query("SELECT * FROM visible_customers WHERE id = $1")
        .bind(id.0)
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(CustomerRecord::from_row)
        .transpose()
}

pub(super) async fn user(
    connection: &mut AnyConnection,
    name: &UserName,
) -> Result<Option<UserRecord>, StoreError> {
    sqlx::query(
        "SELECT u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list FROM visible_users u \
         JOIN visible_customers c ON c.id = u.customer_id WHERE c.handle = $1 AND u.login = $2",
    )
    .bind(name.customer.as_str())
    .bind(name.login.as_str())
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(UserRecord::from_row)
    .transpose()
}

pub(super) async fn user_by_id(
    connection: &mut AnyConnection,
    id: UserId,
) -> Result<Option<UserRecord>, StoreError> {
    sqlx::query(
        "SELECT u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list FROM visible_users u \
         JOIN visible_customers c ON c.id = u.customer_id WHERE u.id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(UserRecord::from_row)
    .transpose()
}

pub(super) async fn users_of(
    connection: &mut AnyConnection,
    customer: CustomerId,
) -> Result<Vec<UserRecord>, StoreError> {
    sqlx::query(
        "SELECT u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list FROM visible_users u \
         JOIN visible_customers c ON c.id = u.customer_id WHERE u.customer_id = $1 ORDER BY u.login",
    )
    .bind(customer.0)
    .fetch_all(connection)
    .await?
    .iter()
    .map(UserRecord::from_row)
    .collect()
}

pub(super) async fn key(
    connection: &mut AnyConnection,
    id: KeyId,
) -> Result<Option<ApiKeyRecord>, StoreError> {
    sqlx::query("SELECT * FROM visible_keys WHERE id = $1")
        .bind(id.to_stored())
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(key_from_row)
        .transpose()
}

pub(super) async fn key_by_digest(
    connection: &mut AnyConnection,
    digest: &KeyDigest,
) -> Result<Option<ApiKeyRecord>, StoreError> {
    sqlx::query("SELECT * FROM visible_keys WHERE digest = $1")
        .bind(digest.0.as_slice())
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(key_from_row)
        .transpose()
}

pub(super) async fn keys_of(
    connection: &mut AnyConnection,
    user: UserId,
) -> Result<Vec<ApiKeyRecord>, StoreError> {
    sqlx::query("SELECT * FROM visible_keys WHERE user_id = $1 ORDER BY created_at, id")
        .bind(user.0)
        .fetch_all(connection)
        .await?
        .iter()
        .map(key_from_row)
        .collect()
}
