//! Stores for tests: a file of its own each, or, where `LATCHKEY_TEST_DATABASES` names a `PostgreSQL` server, a database of
//! its own each, so that the same tests show that both engines do the same.

use std::path::Path;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use super::Store;
use crate::config::StoreLocation;
use crate::crypto::random;

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
