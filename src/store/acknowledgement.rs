//! Who follows the change feed, and how far each has come: what lets a deleting command say "it is dead everywhere".
//!
//! Beside the embedded store each gateway keeps a locked file; the operating system unlocks it when the process ends, however
//! it ends, so that a dead gateway is never waited for. In a shared database a gateway that is not heard of may be dead or
//! only cut off, and then it goes on deciding from what it knows: it is named as silent until it would let nobody in any
//! more (`policy.max_staleness`), and not waited for once it was not heard of for some seconds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AnyConnection, Connection, Row};
use tokio::time::Instant;

use super::new_file::with_ending;
use super::open::Place;
use super::records::flag;
use super::{Store, StoreError};
use crate::model::{Revision, Timestamp};

/// How often a waiting command looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Acknowledgements of this many last revisions are kept.
const KEPT_REVISIONS: i64 = 10_000;
/// The time of a shared database, in milliseconds since 1970: the gateways' own clocks may differ.
macro_rules! database_now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

/// The two halves of the question how far gateways have come; between them stands whether one was heard of lately.
macro_rules! acknowledged {
    () => {
        "SELECT g.name, (SELECT a.ended_sessions FROM feed_acks a WHERE a.gateway_id = g.id AND a.revision >= $1 \
         ORDER BY a.revision LIMIT 1) AS ended, "
    };
}
macro_rules! of_gateways {
    () => {
        "FROM gateways g ORDER BY g.started_at, g.id"
    };
}

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
    name: String,
    started_at: Timestamp,
    trusted: Duration,
    presence: Presence,
}

/// What shows that a gateway runs.
#[derive(Debug)]
enum Presence {
    /// A file that it keeps locked.
    LockedFile { path: PathBuf, _locked: File },
    /// Its row, in which it notes that it is there.
    Row,
}

/// How a gateway is registered.
#[derive(Clone, Debug)]
pub struct NewGateway {
    /// Drawn at random.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How long it goes on deciding when it is cut off from the store.
    pub trusted: Duration,
}

impl Store {
    /// Notes that a gateway follows the feed and has applied `applied`. Clears away those that died.
    pub async fn register_gateway(
        &self,
        new: NewGateway,
        applied: Revision,
        now: Timestamp,
    ) -> Result<GatewayRegistration, StoreError> {
        self.forget_dead_gateways().await?;
        let presence = match &*self.place {
            Place::File(file) => lock_presence(lock_path(file.path(), &new.id))?,
            Place::Server(_) => Presence::Row,
        };
        let registration = GatewayRegistration { presence, ..Self::register_later(new, now) };
        self.insert_gateway(&mut *self.writer.acquire().await?, &registration).await?;
        self.acknowledge(&registration, applied, 0).await?;
        Ok(registration)
    }

    /// A gateway that is started while its shared store is away, and registered once it is there.
    pub fn register_later(new: NewGateway, now: Timestamp) -> GatewayRegistration {
        let NewGateway { id, name, trusted } = new;
        GatewayRegistration { id, name, started_at: now, trusted, presence: Presence::Row }
    }

    async fn insert_gateway(
        &self,
        connection: &mut AnyConnection,
        gateway: &GatewayRegistration,
    ) -> Result<(), StoreError> {
        let query = match &*self.place {
            Place::File(_) => sqlx::query("INSERT INTO gateways (id, name, started_at) VALUES ($1, $2, $3)"),
            Place::Server(_) => sqlx::query(concat!(
                "INSERT INTO gateways (id, name, started_at, trusted_ms, seen_at) VALUES ($1, $2, $3, $4, ",
                database_now!(),
                ") ON CONFLICT (id) DO NOTHING"
            )),
        };
        let query = query.bind(&gateway.id).bind(&gateway.name).bind(gateway.started_at.unix_milliseconds());
        let query = match &*self.place {
            Place::File(_) => query,
            Place::Server(_) => query.bind(milliseconds(gateway.trusted)),
        };
        query.execute(connection).await?;
        Ok(())
    }

    /// Notes in a shared database that the gateway is there, and how long it goes on when it is cut off from now on; one that
    /// was taken for gone is there again. Answers what the database's clock says.
    ///
    /// By the follower's own connection: on no other may it wait behind anybody.
    pub(super) async fn note_presence(
        &self,
        connection: &mut AnyConnection,
        gateway: &GatewayRegistration,
        trusted: Duration,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut transaction = connection.begin_with(self.dialect().begin_unordered()).await?;
        let noted: Option<i64> = sqlx::query_scalar(concat!(
            "UPDATE gateways SET trusted_ms = $2, seen_at = ",
            database_now!(),
            " WHERE id = $1 RETURNING seen_at"
        ))
        .bind(&gateway.id)
        .bind(milliseconds(trusted))
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if noted.is_none() {
            self.insert_gateway(connection, gateway).await?;
        }
        Ok(noted.map(Timestamp::from_unix_milliseconds))
    }

    /// Reports that a gateway has applied everything up to `revision` and ended `ended_sessions` by it.
    pub async fn acknowledge(
        &self,
        gateway: &GatewayRegistration,
        revision: Revision,
        ended_sessions: u64,
    ) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        self.acknowledge_by(&mut connection, gateway, revision, ended_sessions).await
    }

    /// The same by the follower's own connection.
    pub(super) async fn acknowledge_by(
        &self,
        connection: &mut AnyConnection,
        gateway: &GatewayRegistration,
        revision: Revision,
        ended_sessions: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = connection.begin_with(self.dialect().begin_unordered()).await?;
        sqlx::query(
            "INSERT INTO feed_acks (gateway_id, revision, ended_sessions) VALUES ($1, $2, $3) \
             ON CONFLICT (gateway_id, revision) DO UPDATE SET ended_sessions = excluded.ended_sessions",
        )
        .bind(&gateway.id)
        .bind(revision.0)
        .bind(i64::try_from(ended_sessions).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM feed_acks WHERE gateway_id = $1 AND revision < $2")
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
        match &gateway.presence {
            Presence::LockedFile { path, .. } => {
                std::fs::remove_file(path).map_err(|source| StoreError::File { path: path.clone(), source })
            }
            Presence::Row => Ok(()),
        }
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
            let waiting = answers.iter().any(|answer| answer.is_waited_for);
            if !waiting || Instant::now() >= give_up {
                return Ok(answers.into_iter().map(|answer| answer.told).collect());
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
    async fn acknowledgements(&self, revision: Revision) -> Result<Vec<Answer>, StoreError> {
        let query = match &*self.place {
            Place::File(_) => sqlx::query(concat!(acknowledged!(), "TRUE AS heard_of ", of_gateways!())),
            Place::Server(_) => sqlx::query(concat!(
                acknowledged!(),
                "g.seen_at > ",
                database_now!(),
                " - 3000 AS heard_of ",
                of_gateways!()
            )),
        };
        query
            .bind(revision.0)
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| {
                let gateway = row.try_get("name")?;
                Ok(match row.try_get::<Option<i64>, _>("ended")? {
                    Some(ended) => Answer {
                        told: Acknowledgement::Applied { gateway, ended_sessions: ended.unsigned_abs() },
                        is_waited_for: false,
                    },
                    None => Answer {
                        told: Acknowledgement::Silent { gateway },
                        is_waited_for: flag(row, "heard_of")?,
                    },
                })
            })
            .collect()
    }

    async fn forget_dead_gateways(&self) -> Result<(), StoreError> {
        let file = match &*self.place {
            Place::File(file) => file,
            Place::Server(_) => {
                sqlx::query(concat!(
                    "DELETE FROM gateways WHERE seen_at < ",
                    database_now!(),
                    " - trusted_ms"
                ))
                .execute(&self.writer)
                .await?;
                return Ok(());
            }
        };
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM gateways").fetch_all(&self.readers).await?;
        for id in ids {
            let lock_path = lock_path(file.path(), &id);
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
        let mut transaction = self.begin_write().await?;
        sqlx::query("DELETE FROM gateways WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM feed_acks WHERE gateway_id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// What is known of a gateway's answer.
struct Answer {
    told: Acknowledgement,
    is_waited_for: bool,
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn lock_presence(path: PathBuf) -> Result<Presence, StoreError> {
    let file_error = |source| StoreError::File { path: path.clone(), source };
    let locked =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(file_error)?;
    locked.lock().map_err(file_error)?;
    Ok(Presence::LockedFile { path, _locked: locked })
}

pub(super) fn lock_path(store: &Path, gateway_id: &str) -> PathBuf {
    with_ending(store, &format!(".gateway-{gateway_id}"))
}

/// Has the gateway of that file ended?
pub(super) fn is_unlocked(path: &Path) -> io::Result<bool> {
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

    fn gateway() -> NewGateway {
        NewGateway { id: "a1".into(), name: "door".into(), trusted: Duration::from_mins(1) }
    }

    #[tokio::test]
    async fn a_running_gateway_is_waited_for_and_says_what_it_ended() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let gateway = store.register_gateway(gateway(), Revision(0), NOW).await.unwrap();
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
        let folder = tempfile::tempdir().unwrap();
        let location = crate::config::StoreLocation::Sqlite(folder.path().join("latchkey.db"));
        let store = Store::open_or_create(&location).await.unwrap();
        let gateway = store.register_gateway(gateway(), Revision(0), NOW).await.unwrap();
        let Presence::LockedFile { path, .. } = &gateway.presence else { panic!() };
        let lock_path = path.clone();
        drop(gateway);
        assert_eq!(store.await_acknowledgements(Revision(3), Duration::from_mins(1)).await.unwrap(), []);
        assert!(!lock_path.exists());
    }
}
