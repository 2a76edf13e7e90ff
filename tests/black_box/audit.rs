//! The audit trail: what stands in it, that nothing changes without it, and that tampering shows.

mod chain;
mod contents;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection};

use crate::harness::Installation;

/// Rows of `audit list --json` with these arguments.
fn listed(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let all = [&["audit", "list", "--json"], arguments].concat();
    let lines = installation.cli(&all).expect_success();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the rows say, in their order.
fn sentences(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["description"].as_str().unwrap()).collect()
}

/// Does to the store's file what somebody does who holds it and knows no key.
pub fn tamper(installation: &Installation, statements: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let path = installation.path("data/latchkey.db");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
