//! Several gateways over one database: what is changed by one holds at all, and all go on when the database does not.

mod clocks;
mod copy;
mod database_away;
mod deletions;
mod failover;
mod faults;
mod held_transactions;
mod many_deletions;
mod quotas;
mod shared_state;
mod starting_without;

use tempfile::TempDir;

use crate::harness::{Installation, PostgresServer, TestGateway};

/// Gateways that share a database and a master key.
struct Fleet {
    server: PostgresServer,
    database: String,
    gateways: Vec<TestGateway>,
    _folder: TempDir,
}

impl Fleet {
    fn start(count: usize) -> Self {
        Self::configured(count, |_| {})
    }

    /// Gateways with a change to the usual configuration.
    fn configured(count: usize, change: impl Fn(&mut serde_json::Value)) -> Self {
        let server = PostgresServer::start();
        let database = server.new_database();
        let folder = TempDir::new().unwrap();
        let master_key = folder.path().join("master.key");
        let gateways = (0..count)
            .map(|_| {
                let shared = |config: &mut serde_json::Value| {
                    config["store"]["url"] = database.clone().into();
                    config["master_key_file"] = master_key.to_str().unwrap().into();
                    change(config);
                };
                Installation::configured(shared).serve()
            })
            .collect();
        Self { server, database, gateways, _folder: folder }
    }
}
