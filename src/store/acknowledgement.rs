//! Who follows the change feed, and how far each has come: what lets a deleting command say "it is dead everywhere".
//!
//! Each gateway keeps a locked file beside the store; the operating system unlocks it when the process ends, however it
//! ends, so that a dead gateway is never waited for.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Row;
use tokio::time::Instant;

use super::{Store, StoreError};
use crate::model::{Revision, Timestamp};

/// How often a waiting command looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Acknowledgements of this many last revisions are kept.
const KEPT_REVISIONS: i64 = 10_000;

/// A gateway's answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It has the change, and ended what was open by it.
    Applied {
        /// The gateway's name.
        gateway: String,
        /// Sessions that it ended.
        ended_sessions: u64,
    },
    /// It is running and did not answer in time.
    Silent {
        /// The gateway's name.
        gateway: String,
    },
}

/// A running gateway's place in the store; dropping it lets others see that it is gone.
#[derive(Debug)]
pub struct GatewayRegistration {
    id: String,
    lock_path: PathBuf,
    _locked: File,
}

impl Store {
    /// Notes that a gateway called `name` follows the feed; `id` must be random. Clears away those that died.
    pub async fn register_gateway(
        &self,
        id: String,
        name: &str,
        applied: Revision,
        now: Timestamp,
    ) -> Result<GatewayRegistration, StoreError> {
        self.forget_dead_gateways().await?;
        let lock_path = lock_path(&self.path, &id);
        let file_error = |source| StoreError::File { path: lock_path.clone(), source };
        let locked = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(file_error)?;
        locked.lock().map_err(file_error)?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO gateways (id, name, started_at) VALUES (?, ?, ?)")
            .bind(&id)
            .bind(name)
            .bind(now.unix_milliseconds())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO feed_acks (gateway_id, revision, ended_sessions) VALUES (?, ?, 0)")
            .bind(&id)
            .bind(applied.0)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(GatewayRegistration { id, lock_path, _locked: locked })
    }

    /// Reports that a gateway has applied everything up to `revision` and ended `ended_sessions` by it.
    pub async fn acknowledge(
        &self,
        gateway: &GatewayRegistration,
        revision: Revision,
        ended_sessions: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT OR REPLACE INTO feed_acks (gateway_id, revision, ended_sessions) VALUES (?, ?, ?)",
        )
        .bind(&gateway.id)
        .bind(revision.0)
        .bind(i64::try_from(ended_sessions).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM feed_acks WHERE gateway_id = ? AND revision < ?")
            .bind(&gateway.id)
            .bind(revision.0.saturating_sub(KEPT_REVISIONS))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes a gateway that ends out of the list.
    pub async fn unregister_gateway(&self, gateway: GatewayRegistration) -> Result<(), StoreError> {
        self.forget_gateway(&gateway.id).await?;
        std::fs::remove_file(&gateway.lock_path)
            .map_err(|source| StoreError::File { path: gateway.lock_path.clone(), source })
    }

    /// Waits until every running gateway has applied `revision`, at most for `patience`, and tells who did what.
    pub async fn await_acknowledgements(
        &self,
        revision: Revision,
        patience: Duration,
    ) -> Result<Vec<Acknowledgement>, StoreError> {
        let give_up = Instant::now() + patience;
        let mut looked_for_dead = false;
        loop {
            let answers = self.acknowledgements(revision).await?;
            let waiting = answers.iter().any(|answer| matches!(answer, Acknowledgement::Silent { .. }));
            if !waiting || Instant::now() >= give_up {
                return Ok(answers);
            }
            if !looked_for_dead {
                self.forget_dead_gateways().await?;
                looked_for_dead = true;
                continue;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Each gateway's first acknowledgement that covers `revision`.
    async fn acknowledgements(&self, revision: Revision) -> Result<Vec<Acknowledgement>, StoreError> {
        sqlx::query(
            "SELECT g.name, (SELECT a.ended_sessions FROM feed_acks a WHERE a.gateway_id = g.id AND a.revision >= ? \
             ORDER BY a.revision LIMIT 1) AS ended FROM gateways g ORDER BY g.started_at, g.id",
        )
        .bind(revision.0)
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            let gateway = row.try_get("name")?;
            Ok(match row.try_get::<Option<i64>, _>("ended")? {
                Some(ended) => Acknowledgement::Applied { gateway, ended_sessions: ended.unsigned_abs() },
                None => Acknowledgement::Silent { gateway },
            })
        })
        .collect()
    }

    async fn forget_dead_gateways(&self) -> Result<(), StoreError> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM gateways").fetch_all(&self.readers).await?;
        for id in ids {
            let lock_path = lock_path(&self.path, &id);
            if is_unlocked(&lock_path)
                .map_err(|source| StoreError::File { path: lock_path.clone(), source })?
            {
                self.forget_gateway(&id).await?;
                // A second command may have been quicker; gone is gone.
                drop(std::fs::remove_file(&lock_path));
            }
        }
        Ok(())
    }

    async fn forget_gateway(&self, id: &str) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM gateways WHERE id = ?").bind(id).execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM feed_acks WHERE gateway_id = ?").bind(id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn lock_path(store: &Path, gateway_id: &str) -> PathBuf {
    let mut name = store.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".gateway-{gateway_id}"));
    store.with_file_name(name)
}

fn is_unlocked(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1);

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn a_running_gateway_is_waited_for_and_says_what_it_ended() {
        let (_folder, store) = store().await;
        let gateway = store.register_gateway("a1".into(), "door", Revision(0), NOW).await.unwrap();
        let silent = store.await_acknowledgements(Revision(3), Duration::ZERO).await.unwrap();
        assert_eq!(silent, [Acknowledgement::Silent { gateway: "door".into() }]);
        store.acknowledge(&gateway, Revision(5), 2).await.unwrap();
        let applied = store.await_acknowledgements(Revision(3), Duration::ZERO).await.unwrap();
        assert_eq!(applied, [Acknowledgement::Applied { gateway: "door".into(), ended_sessions: 2 }]);
        store.unregister_gateway(gateway).await.unwrap();
        assert_eq!(store.await_acknowledgements(Revision(9), Duration::ZERO).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_dead_gateway_is_not_waited_for() {
        let (_folder, store) = store().await;
        let gateway = store.register_gateway("a1".into(), "door", Revision(0), NOW).await.unwrap();
        let lock_path = gateway.lock_path.clone();
        drop(gateway);
        assert_eq!(store.await_acknowledgements(Revision(3), Duration::from_mins(1)).await.unwrap(), []);
        assert!(!lock_path.exists());
    }
}
