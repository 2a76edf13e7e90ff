//! Stores for tests: a file of its own each, or, where `LATCHKEY_TEST_DATABASES` names a `PostgreSQL` server, a database of
//! its own each, so that the same tests show that both engines do the same.

use std::path::Path;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use super::{Store, UsageCount, UsageHour, UsageSubject};
use crate::config::StoreLocation;
use crate::crypto::random;
use crate::model::{Recognised, Service, UserId};

/// Names a database of a server on which databases may be made: `postgres://…`.
const SERVER_VARIABLE: &str = "LATCHKEY_TEST_DATABASES";

/// A new, empty store. The folder must be kept for as long as it is used.
pub(crate) async fn empty_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(&new_location(folder.path()).await).await.unwrap();
    (folder, store)
}

/// Where a new store is to be made.
pub(crate) async fn new_location(folder: &Path) -> StoreLocation {
    match std::env::var(SERVER_VARIABLE) {
        Ok(server) => StoreLocation::Postgres(new_database(&server).await.parse().unwrap()),
        Err(_) => StoreLocation::Sqlite(folder.join("data/latchkey.db")),
    }
}

/// Makes a database beside the one that `server` names; its URL. It goes with the server.
async fn new_database(server: &str) -> String {
    let mut url: url::Url = server.parse().unwrap();
    let name = format!("t{:016x}", random::bits().unwrap());
    let options: sqlx::postgres::PgConnectOptions = server.parse().unwrap();
    let mut connection = options.disable_statement_logging().connect().await.unwrap();
    let statement = format!("CREATE DATABASE {name}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    url.set_path(&format!("/{name}"));
    url.into()
}

/// What a credential did at one door in one hour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialUse {
    pub(crate) whose: Recognised,
    pub(crate) service: Service,
    pub(crate) hour: UsageHour,
    pub(crate) requests: u64,
    pub(crate) refusals: u64,
}

impl Store {
    /// Writes what credentials did as a gateway does: into their own sums, their users' and their customers'.
    pub(crate) async fn add_uses(&self, uses: &[CredentialUse]) {
        let mut counts = Vec::new();
        for CredentialUse { whose, service, hour, requests, refusals } in uses.iter().copied() {
            let count = |whose| UsageCount { whose, service, hour, requests, refusals };
            counts.push(count(UsageSubject::Credential(whose)));
            if let Some(user) = self.user_of(whose).await {
                let customer = self.user_by_id(user).await.unwrap().unwrap().customer;
                counts.extend([UsageSubject::User(user), UsageSubject::Customer(customer)].map(count));
            }
        }
        for counts in counts.chunks(super::USAGE_ROWS_PER_COMMIT) {
            self.add_usage(counts).await.unwrap();
        }
    }

    async fn user_of(&self, whose: Recognised) -> Option<UserId> {
        match whose {
            Recognised::Key(id) => self.key(id).await.unwrap().map(|key| key.user),
            Recognised::Password(id) | Recognised::Session(id) => {
                self.user_by_id(id).await.unwrap().map(|user| user.id)
            }
        }
    }
}
