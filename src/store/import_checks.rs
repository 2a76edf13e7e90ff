//! Look-ups in batches, for imports: one statement for thousands of names or digests.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::Row;

use super::import::hex;
use super::{Store, StoreError, UserRecord};
use crate::model::{CustomerHandle, CustomerId, KeyDigest, UserName};

/// Where a digest is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOrigin {
    /// A key that exists.
    Exists,
    /// A key that was deleted.
    Deleted,
}

impl Store {
    /// Which of `digests` are known, by their place in the slice.
    pub async fn known_digests(
        &self,
        digests: &[KeyDigest],
    ) -> Result<Vec<(usize, DigestOrigin)>, StoreError> {
        let asked: Vec<Value> = digests.iter().map(|digest| json!(hex(&digest.0))).collect();
        sqlx::query(
            "SELECT j.key AS place, FALSE AS deleted FROM json_each(?1) j JOIN visible_keys k ON k.digest = unhex(j.value) \
             UNION ALL \
             SELECT j.key, TRUE FROM json_each(?1) j JOIN deleted_keys d ON d.digest = unhex(j.value)",
        )
        .bind(Value::from(asked).to_string())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            let origin = if row.try_get("deleted")? { DigestOrigin::Deleted } else { DigestOrigin::Exists };
            Ok((place(row.try_get("place")?)?, origin))
        })
        .collect()
    }

    /// The users among `names` that exist, with their place in the slice.
    pub async fn users_by_name(&self, names: &[UserName]) -> Result<Vec<(usize, UserRecord)>, StoreError> {
        let asked: Vec<Value> =
            names.iter().map(|name| json!([name.customer.as_str(), name.login.as_str()])).collect();
        sqlx::query(
            "SELECT j.key AS place, u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list \
             FROM json_each(?) j JOIN visible_customers c ON c.handle = j.value ->> 0 \
             JOIN visible_users u ON u.customer_id = c.id AND u.login = j.value ->> 1",
        )
        .bind(Value::from(asked).to_string())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| Ok((place(row.try_get("place")?)?, UserRecord::from_row(row)?)))
        .collect()
    }

    /// The customers among `handles` that exist.
    pub async fn customers_by_handle(
        &self,
        handles: &[CustomerHandle],
    ) -> Result<HashMap<CustomerHandle, CustomerId>, StoreError> {
        let asked: Vec<Value> = handles.iter().map(|handle| json!(handle.as_str())).collect();
        sqlx::query(
            "SELECT c.handle, c.id FROM json_each(?) j JOIN visible_customers c ON c.handle = j.value",
        )
        .bind(Value::from(asked).to_string())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            let handle: &str = row.try_get("handle")?;
            let handle = handle.parse().map_err(|_| StoreError::Corrupt("customer handle"))?;
            Ok((handle, CustomerId(row.try_get("id")?)))
        })
        .collect()
    }
}

fn place(stored: i64) -> Result<usize, StoreError> {
    usize::try_from(stored).map_err(|_| StoreError::Corrupt("place"))
}
