//! Lasting facts about a store.

use super::{Mutation, Store, StoreError};

/// A fact about a store that outlives every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMark {
    /// Made by `latchkey demo`: its credentials were printed, so it is served on loopback addresses only (S103).
    Demo,
}

impl StoreMark {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
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
        sqlx::query("INSERT INTO store_marks (mark) VALUES ($1) ON CONFLICT (mark) DO NOTHING")
            .bind(mark.as_str())
            .execute(self.connection())
            .await?;
        Ok(())
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
