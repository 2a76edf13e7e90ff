//! The store as a whole: how it stands, and copying it into another one.
//!
//! Operators alone may do either. How a copy is made and checked is `store`'s. Called by the command line.

use super::audit::{Event, EventKind};
use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use crate::config::StoreLocation;
use crate::store::{AfterCopy, CopyOrder, CopyProgress, CopyReport, Schema, StoreError, StoreStatus};

impl ControlPlane {
    /// What the store holds, and who follows it.
    pub async fn store_status(&self) -> Result<StoreStatus, ControlError> {
        self.require(Action::Operate).await?;
        Ok(self.store.status().await?)
    }

    /// What opening the store made of its schema.
    pub async fn store_schema(&self) -> Result<Schema, ControlError> {
        self.require(Action::Operate).await?;
        // A command never awaits a store: it has opened one, or failed.
        self.store.schema().ok_or(ControlError::Store(StoreError::Corrupt("schema")))
    }

    /// Copies the store into the empty one at `to`, whose audit trail goes on from this one's with the copy as its next
    /// row. The same master key opens both.
    pub async fn copy_store(
        &self,
        to: &StoreLocation,
        after: AfterCopy,
        progress: &mut impl FnMut(CopyProgress),
    ) -> Result<CopyReport, ControlError> {
        self.require(Action::Operate).await?;
        // Locations are shown without their passwords.
        let event = Event::new(EventKind::StoreCopied).with("from", self.store.location()).with("to", to);
        let told = [event.entry(&self.actor, self.clock.now())];
        let order = CopyOrder { after, told: &told, audit_key: &self.key_ring.audit };
        Ok(self.store.copy_to(to, order, progress).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::plane;
    use super::*;
    use crate::store::{AuditFilter, Store};

    #[tokio::test]
    async fn s100_the_trail_of_a_copy_is_whole_and_tells_of_the_copy() {
        let (folder, plane) = plane().await;
        let to = crate::store::testing::new_location(&folder.path().join("copy")).await;
        let head = plane.audit_head().await.unwrap();
        let report = plane.copy_store(&to, AfterCopy::Close, &mut |_| {}).await.unwrap();
        assert!(report.tables.iter().any(|table| table.name == "users" && table.rows == 2), "{report:?}");

        let copy = ControlPlane { store: Store::open(&to).await.unwrap(), ..plane.clone() };
        let checked = copy.verify_audit(Some(head), &mut |_| {}).await.unwrap().unwrap();
        assert_eq!(checked.sequence(), head.sequence() + 1);
        let rows = copy.store.oldest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
        assert_eq!(rows.last().unwrap().entry.event, "store.copied");

        let refused = plane.delete_user(&"acme/alex".parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, ControlError::Store(StoreError::Moved)), "{refused}");
        copy.delete_user(&"acme/alex".parse().unwrap()).await.unwrap();
    }
}
