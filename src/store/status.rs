//! How a store stands: what it holds, how large it is, and which gateways follow it.
//!
//! Looks only, and changes nothing. Called by `auth` for the command line.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::acknowledgement::{is_unlocked, lock_path};
use super::open::Place;
use super::sqlite::log_path;
use super::{Store, StoreError, StoreMark, feed};
use crate::config::StoreLocation;
use crate::model::{Revision, Timestamp};

/// How a store stands at one moment.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// Where it is; shown without a password.
    pub location: StoreLocation,
    /// Was it copied to another one, so that it takes no changes any more?
    pub moved: bool,
    /// Does another master key open it as well, which is to take the present one's place?
    pub rotates_master_key: bool,
    /// The newest revision.
    pub revision: Revision,
    /// Customers.
    pub customers: u64,
    /// Users of all customers.
    pub users: u64,
    /// API keys of all users.
    pub keys: u64,
    /// Open API sessions.
    pub api_sessions: u64,
    /// What it takes on the disk, in bytes.
    pub size_bytes: u64,
    /// The gateways that follow it, the oldest first.
    pub gateways: Vec<FollowingGateway>,
}

/// A gateway that follows a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowingGateway {
    /// What people call it.
    pub name: String,
    /// When it was started.
    pub since: Timestamp,
    /// The newest revision that it has confirmed.
    pub applied: Revision,
    /// How many revisions it has not confirmed.
    pub behind: u64,
    /// How long ago it was heard of; `None` beside the embedded store, where a gateway runs or is not listed.
    pub heard_of: Option<Duration>,
}

impl Store {
    /// How it stands now.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        let moved = self.is_marked(StoreMark::Moved).await?;
        let mut reading = self.begin_read().await?;
        let revision = feed::position(&mut reading).await?.revision;
        let (customers, users, keys, api_sessions, wraps): (i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM visible_customers), (SELECT COUNT(*) FROM visible_users), \
             (SELECT COUNT(*) FROM visible_keys), (SELECT COUNT(*) FROM api_sessions), \
             (SELECT COUNT(*) FROM next_key_ring)",
        )
        .fetch_one(&mut *reading)
        .await?;
        let (gateways, size_bytes) = match &*self.place {
            Place::File(file) => {
                let size = size_of(file.path())
                    .map_err(|source| StoreError::File { path: file.path().to_owned(), source })?;
                (gateways_beside(file.path(), &mut reading, revision).await?, size)
            }
            Place::Server(_) => {
                let size: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
                    .fetch_one(&mut *reading)
                    .await?;
                (gateways_of_database(&mut reading, revision).await?, size.unsigned_abs())
            }
        };
        reading.rollback().await?;
        Ok(StoreStatus {
            location: self.location(),
            moved,
            rotates_master_key: wraps != 0,
            revision,
            customers: customers.unsigned_abs(),
            users: users.unsigned_abs(),
            keys: keys.unsigned_abs(),
            api_sessions: api_sessions.unsigned_abs(),
            size_bytes,
            gateways,
        })
    }
}

/// The file, and the log beside it of what is not yet in it.
fn size_of(path: &Path) -> io::Result<u64> {
    let log = match std::fs::metadata(log_path(path)) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(std::fs::metadata(path)?.len() + log)
}

/// Those that run; one whose file is unlocked has ended, however it did.
async fn gateways_beside(
    store: &Path,
    reading: &mut AnyConnection,
    head: Revision,
) -> Result<Vec<FollowingGateway>, StoreError> {
    let rows = sqlx::query(
        "SELECT g.id, g.name, g.started_at, (SELECT MAX(a.revision) FROM feed_acks a WHERE a.gateway_id = g.id) AS applied \
         FROM gateways g ORDER BY g.started_at, g.id",
    )
    .fetch_all(reading)
    .await?;
    let mut gateways = Vec::with_capacity(rows.len());
    for row in &rows {
        let path = lock_path(store, row.try_get("id")?);
        if is_unlocked(&path).map_err(|source| StoreError::File { path, source })? {
            continue;
        }
        gateways.push(gateway(row, head, None)?);
    }
    Ok(gateways)
}

/// Those that may still let somebody in; how long ago each was heard of tells whether it runs.
async fn gateways_of_database(
    reading: &mut AnyConnection,
    head: Revision,
) -> Result<Vec<FollowingGateway>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, started_at, applied, silent_ms FROM (SELECT g.*, \
         CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - g.seen_at AS silent_ms, \
         (SELECT MAX(a.revision) FROM feed_acks a WHERE a.gateway_id = g.id) AS applied FROM gateways g) AS seen \
         WHERE silent_ms <= trusted_ms ORDER BY started_at, id",
    )
    .fetch_all(reading)
    .await?;
    rows.iter()
        .map(|row| {
            let silent: i64 = row.try_get("silent_ms")?;
            let silent = Duration::from_millis(u64::try_from(silent).unwrap_or(0));
            gateway(row, head, Some(silent))
        })
        .collect()
}

fn gateway(
    row: &sqlx::any::AnyRow,
    head: Revision,
    heard_of: Option<Duration>,
) -> Result<FollowingGateway, StoreError> {
    let applied = row.try_get::<Option<i64>, _>("applied")?.unwrap_or(0);
    Ok(FollowingGateway {
        name: row.try_get("name")?,
        since: Timestamp::from_unix_milliseconds(row.try_get("started_at")?),
        applied: Revision(applied),
        behind: u64::try_from(head.0.saturating_sub(applied)).unwrap_or(0),
        heard_of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewCustomer, NewGateway};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    #[tokio::test]
    async fn a_status_tells_what_there_is_and_who_is_behind() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let new = NewGateway { id: "a1".into(), name: "door".into(), trusted: Duration::from_mins(1) };
        let registered = store.register_gateway(new, Revision(0), NOW).await.unwrap();
        let mut change = store.mutate().await.unwrap();
        let new = NewCustomer {
            handle: "acme".parse().unwrap(),
            mfa: crate::model::MfaRequirement::Optional,
            created_at: NOW,
        };
        change.insert_customer(&new).await.unwrap();
        let revision = change.commit().await.unwrap();

        let status = store.status().await.unwrap();
        assert_eq!((status.revision, status.customers, status.keys), (revision, 1, 0));
        assert!(status.size_bytes > 10_000 && !status.moved, "{status:?}");
        let [gateway] = &status.gateways[..] else { panic!("{status:?}") };
        assert_eq!((gateway.name.as_str(), gateway.since, gateway.behind), ("door", NOW, 1));
        let is_shared = matches!(status.location, StoreLocation::Postgres(_));
        assert_eq!(gateway.heard_of.is_some(), is_shared);

        store.acknowledge(&registered, revision, 0).await.unwrap();
        let gateways = store.status().await.unwrap().gateways;
        assert_eq!((gateways[0].applied, gateways[0].behind), (revision, 0));
        store.unregister_gateway(registered).await.unwrap();
        assert_eq!(store.status().await.unwrap().gateways, []);
    }

    #[tokio::test]
    async fn a_gateway_that_died_beside_an_embedded_store_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let location = StoreLocation::Sqlite(folder.path().join("latchkey.db"));
        let store = Store::open_or_create(&location).await.unwrap();
        let new = NewGateway { id: "a1".into(), name: "door".into(), trusted: Duration::from_mins(1) };
        drop(store.register_gateway(new, Revision(0), NOW).await.unwrap());
        assert_eq!(store.status().await.unwrap().gateways, []);
    }
}
