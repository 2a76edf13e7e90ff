//! Look-ups in batches, for imports: one statement for thousands of names or digests.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::engine::{Kind, hex, rows};
use super::records::flag;
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
        let statement = format!(
            "{}SELECT g.place, FALSE AS deleted FROM given g JOIN visible_keys k ON k.digest = g.digest \
             UNION ALL \
             SELECT g.place, TRUE FROM given g JOIN deleted_keys d ON d.digest = g.digest",
            self.dialect().given(&[("digest", Kind::Bytes)])
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(digests.iter().map(|digest| json!([hex(&digest.0)]))))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| {
                let origin = if flag(row, "deleted")? { DigestOrigin::Deleted } else { DigestOrigin::Exists };
                Ok((place(row.try_get("place")?)?, origin))
            })
            .collect()
    }

    /// The users among `names` that exist, with their place in the slice.
    pub async fn users_by_name(&self, names: &[UserName]) -> Result<Vec<(usize, UserRecord)>, StoreError> {
        let statement = format!(
            "{}SELECT g.place, u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list \
             FROM given g JOIN visible_customers c ON c.handle = g.customer_handle \
             JOIN visible_users u ON u.customer_id = c.id AND u.login = g.user_login",
            self.dialect().given(&[("customer_handle", Kind::Text), ("user_login", Kind::Text)])
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(names.iter().map(|name| json!([name.customer.as_str(), name.login.as_str()]))))
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
        let statement = format!(
            "{}SELECT c.handle, c.id FROM given g JOIN visible_customers c ON c.handle = g.asked",
            self.dialect().given(&[("asked", Kind::Text)])
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(handles.iter().map(|handle| json!([handle.as_str()]))))
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
