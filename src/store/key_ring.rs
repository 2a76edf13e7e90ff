//! The wrapped data keys; no master key that opens them is here.
//!
//! While a master key is rotated each data key is there twice: as the present one wraps it, and as the next one does.
//! Wrapping, and who may rotate, is `auth`'s, the only caller.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Mutation, Store, StoreError};
use crate::model::Timestamp;

/// A data key, encrypted with a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// What it is for; also bound into the encryption.
    pub purpose: String,
    /// The encrypted key.
    pub wrapped: Vec<u8>,
}

const PRESENT: &str = "SELECT purpose, wrapped FROM key_ring WHERE id = 1 ORDER BY purpose";
const NEXT: &str = "SELECT purpose, wrapped FROM next_key_ring WHERE id = 1 ORDER BY purpose";
const ALL: &str = "SELECT purpose, wrapped FROM key_ring WHERE id = 1 UNION ALL \
                   SELECT purpose, wrapped FROM next_key_ring WHERE id = 1";

impl Store {
    /// The key ring, as every master key wraps it that opens the store; empty in a new store.
    pub async fn key_ring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        wrapped_keys(&mut *self.readers.acquire().await?, ALL).await
    }
}

impl Mutation {
    /// The key ring as the present master key wraps it.
    pub async fn present_key_ring(&mut self) -> Result<Vec<WrappedKey>, StoreError> {
        wrapped_keys(self.connection(), PRESENT).await
    }

    /// The key ring as the next master key wraps it; empty where none is to take the present one's place.
    pub async fn next_key_ring(&mut self) -> Result<Vec<WrappedKey>, StoreError> {
        wrapped_keys(self.connection(), NEXT).await
    }

    /// Adds a data key. A second first start finds the purpose taken and fails with [`StoreError::Exists`].
    pub async fn insert_wrapped_key(&mut self, key: &WrappedKey, now: Timestamp) -> Result<(), StoreError> {
        let statement = "INSERT INTO key_ring (purpose, id, wrapped, created_at) VALUES ($1, 1, $2, $3)";
        self.write_wrapped_key(statement, key, now).await
    }

    /// Lets a further master key open the store, which `keys` are wrapped by.
    pub async fn set_next_key_ring(&mut self, keys: &[WrappedKey], now: Timestamp) -> Result<(), StoreError> {
        self.drop_next_key_ring().await?;
        for key in keys {
            let statement =
                "INSERT INTO next_key_ring (purpose, id, wrapped, created_at) VALUES ($1, 1, $2, $3)";
            self.write_wrapped_key(statement, key, now).await?;
        }
        Ok(())
    }

    /// Lets the master key alone open the store that `keys` are wrapped by: every data key that there is.
    pub async fn set_key_ring(&mut self, keys: &[WrappedKey]) -> Result<(), StoreError> {
        for key in keys {
            sqlx::query("UPDATE key_ring SET wrapped = $1 WHERE purpose = $2 AND id = 1")
                .bind(&key.wrapped)
                .bind(&key.purpose)
                .execute(self.connection())
                .await?;
        }
        self.drop_next_key_ring().await
    }

    /// Lets the present master key alone open the store.
    pub async fn drop_next_key_ring(&mut self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM next_key_ring").execute(self.connection()).await?;
        Ok(())
    }

    async fn write_wrapped_key(
        &mut self,
        statement: &'static str,
        key: &WrappedKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(statement)
            .bind(&key.purpose)
            .bind(&key.wrapped)
            .bind(now.unix_milliseconds())
            .execute(self.connection())
            .await
            .map_err(|error| super::mutation::exists(error, || format!("the {} key", key.purpose)))?;
        Ok(())
    }
}

async fn wrapped_keys(
    connection: &mut AnyConnection,
    statement: &'static str,
) -> Result<Vec<WrappedKey>, StoreError> {
    let rows = sqlx::query(statement).fetch_all(connection).await?;
    let key =
        |row: &AnyRow| Ok(WrappedKey { purpose: row.try_get("purpose")?, wrapped: row.try_get("wrapped")? });
    rows.iter().map(key).collect()
}
