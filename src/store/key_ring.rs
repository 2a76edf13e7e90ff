//! The wrapped data keys; the master key that opens them is not here.

use sqlx::Row;

use super::{Mutation, Store, StoreError};
use crate::model::Timestamp;

/// A data key, encrypted with the master key.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    /// What it is for; also bound into the encryption.
    pub purpose: String,
    /// The encrypted key.
    pub wrapped: Vec<u8>,
}

impl Store {
    /// The key ring; empty in a new store.
    pub async fn key_ring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        sqlx::query("SELECT purpose, wrapped FROM key_ring WHERE id = 1 ORDER BY purpose")
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| Ok(WrappedKey { purpose: row.try_get("purpose")?, wrapped: row.try_get("wrapped")? }))
            .collect()
    }
}

impl Mutation {
    /// Adds a data key. A second first start finds the purpose taken and fails with [`StoreError::Exists`].
    pub async fn insert_wrapped_key(&mut self, key: &WrappedKey, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO key_ring (purpose, id, wrapped, created_at) VALUES ($1, 1, $2, $3)")
            .bind(&key.purpose)
            .bind(&key.wrapped)
            .bind(now.unix_milliseconds())
            .execute(self.connection())
            .await
            .map_err(|error| super::mutation::exists(error, || format!("the {} key", key.purpose)))?;
        Ok(())
    }
}
