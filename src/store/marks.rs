//! Lasting facts about a store.

use sqlx::AnyConnection;

use super::{Mutation, Store, StoreError};

/// A fact about a store that outlives every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMark {
    /// Made by `latchkey demo`: its credentials were printed, so it is served on loopback addresses only (S103).
    Demo,
    /// Copied to another store, which is the one that is changed from then on.
    Moved,
    /// Being filled by a copy, or left over from one that did not come to its end: may lack anything.
    Unfinished,
}

impl StoreMark {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Moved => "moved",
            Self::Unfinished => "unfinished",
        }
    }
}

impl Store {
    /// Does the store carry `mark`?
    pub async fn is_marked(&self, mark: StoreMark) -> Result<bool, StoreError> {
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM store_marks WHERE mark = $1")
            .bind(mark.as_str())
            .fetch_one(&self.readers)
            .await?;
        Ok(found != 0)
    }
}

impl Mutation {
    /// Marks the store for good.
    pub async fn mark(&mut self, mark: StoreMark) -> Result<(), StoreError> {
        set(self.connection(), mark).await
    }
}

/// Marks the store within a transaction that holds the writer's lock.
pub(super) async fn set(connection: &mut AnyConnection, mark: StoreMark) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO store_marks (mark) VALUES ($1) ON CONFLICT (mark) DO NOTHING")
        .bind(mark.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a mark away within a transaction that holds the writer's lock.
pub(super) async fn clear(connection: &mut AnyConnection, mark: StoreMark) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM store_marks WHERE mark = $1").bind(mark.as_str()).execute(connection).await?;
    Ok(())
}

/// Fails with [`StoreError::Moved`] where nobody would see a change, and with [`StoreError::BeingCopied`] where a copy is
/// not yet whole.
pub(super) async fn require_open_to_changes(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let closed: Option<String> =
        sqlx::query_scalar("SELECT mark FROM store_marks WHERE mark IN ($1, $2) LIMIT 1")
            .bind(StoreMark::Moved.as_str())
            .bind(StoreMark::Unfinished.as_str())
            .fetch_optional(connection)
            .await?;
    match closed.as_deref() {
        None => Ok(()),
        Some(mark) if mark == StoreMark::Moved.as_str() => Err(StoreError::Moved),
        Some(_) => Err(StoreError::BeingCopied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_stays() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        assert!(!store.is_marked(StoreMark::Demo).await.unwrap());
        for _ in 0..2 {
            let mut change = store.mutate().await.unwrap();
            change.mark(StoreMark::Demo).await.unwrap();
            change.commit().await.unwrap();
        }
        assert!(store.is_marked(StoreMark::Demo).await.unwrap());
    }
}
