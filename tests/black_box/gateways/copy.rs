//! `latchkey store`: a store that moves into a database, and back into a file.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Installation, Key, PASSWORD, PostgresServer, TestGateway};

/// A gateway on the store at `url`, with another one's master key; `key` is a secret there, too.
fn serve(url: &str, master_key: &Path, key: &Key) -> TestGateway {
    let gateway = Installation::configured(|config: &mut Value| {
        config["store"]["url"] = url.into();
        config["master_key_file"] = master_key.to_str().unwrap().into();
    })
    .serve();
    gateway.secrets().note("key", &key.text);
    gateway
}

#[test]
fn a_store_moves_into_a_database_and_back_and_keys_users_and_trail_go_with_it() {
    let server = PostgresServer::start();
    let database = server.new_database();
    let old = TestGateway::configured(|config| config["store"]["url"] = "sqlite:data/latchkey.db".into());
    old.create_customer("acme");
    let alex = old.create_user("acme/alex");
    let key = old.create_key("acme/admin");
    let master_key = old.path("master.key");

    let copied = old.cli(&["store", "copy", "--to", &database]);
    assert!(copied.stderr.contains("this store takes no changes any more"), "{copied:?}");
    let tables = copied.expect_success();
    assert!(tables.lines().any(|line| line.split_whitespace().eq(["api_keys", "1"])), "{tables}");
    // Keys go on at the old one, and nobody can change anything there that the copy would miss.
    assert_eq!(old.api_get("/", &key.authorization()).status, 200);
    let refused = old.cli(&["user", "deactivate", "acme/alex"]).expect_failure(1);
    assert!(refused.contains("this store was copied to another one; point `store.url` at that"), "{refused}");
    let status = old.cli(&["store", "status", "--json"]).json();
    assert_eq!((&status["engine"], &status["moved"]), (&"sqlite".into(), &true.into()), "{status}");
    let refused = old.cli(&["store", "copy", "--to", &database]).expect_failure(1);
    assert!(refused.contains("is not empty: its table `key_ring` has rows"), "{refused}");

    let new = serve(&database, &master_key, &key);
    assert_eq!(new.api_get("/", &key.authorization()).status, 200);
    assert_eq!(new.api_get("/", &alex.authorization()).status, 200);
    let verified = new.cli(&["audit", "verify"]);
    assert!(verified.stderr.contains("the audit trail is whole"), "{verified:?}");
    let trail = new.cli(&["audit", "list", "--event", "store.copied"]).expect_success();
    assert!(trail.contains("copied the store from "), "{trail}");
    new.cli(&["user", "update", "acme/alex", "--name", "Alex"]).expect_success();

    new.cli(&["store", "copy", "--to", "sqlite:back.db"]).expect_success();
    let file = new.path("back.db");
    let back = serve(&format!("sqlite:{}", file.display()), &master_key, &key);
    assert_eq!(back.api_get("/", &key.authorization()).status, 200);
    back.cli(&["audit", "verify"]).expect_success();
    back.delete_key(&key);
    back.api_get("/", &key.authorization()).assert_refusal(401, "AuthenticationError");
}

#[test]
fn a_status_tells_what_a_shared_store_holds_and_how_far_its_gateways_are() {
    let server = PostgresServer::start();
    let database = server.new_database();
    let gateway = TestGateway::configured(|config| config["store"]["url"] = database.clone().into());
    gateway.create_customer("acme");
    gateway.create_key("acme/admin");
    let status = gateway.cli(&["store", "status", "--json"]).json();
    for (member, value) in [("customers", 1), ("users", 1), ("keys", 1), ("api_sessions", 0)] {
        assert_eq!(status[member], value, "{status}");
    }
    assert_eq!(status["engine"], "postgres", "{status}");
    assert!(status["size_bytes"].as_u64() > Some(1_000_000), "{status}");
    let [follower] = &status["gateways"].as_array().unwrap()[..] else { panic!("{status}") };
    assert_eq!((&follower["behind"], &follower["applied_revision"]), (&0.into(), &status["revision"]));
    assert!(follower["heard_of_ms_ago"].as_u64().is_some_and(|ago| ago < 10_000), "{status}");
    let told = gateway.cli(&["store", "status"]).expect_success();
    assert!(told.contains(follower["name"].as_str().unwrap()), "{told}");
}

#[test]
fn a_databases_own_tools_back_it_up_and_restore_it() {
    let server = PostgresServer::start();
    let database = server.new_database();
    let installation = Installation::configured(|config| config["store"]["url"] = database.clone().into());
    installation.create_customer("acme");
    let refused = installation.cli(&["store", "backup", "lk.backup"]).expect_failure(1);
    assert!(refused.contains("pg_dump") && refused.contains("--leave-open"), "{refused}");
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_failure(1);
    assert!(refused.contains("pg_restore"), "{refused}");
}

#[test]
fn a_copy_into_nowhere_is_a_wrong_usage_and_a_password_is_not_repeated() {
    let installation = Installation::new();
    for url in ["data.db", "sqlite:", "mysql://lk@db/lk"] {
        let refused = installation.cli(&["store", "copy", "--to", url]).expect_failure(2);
        assert!(refused.contains("write `sqlite:data/latchkey.db`"), "{refused}");
    }
    let url = format!("postgres://lk:{PASSWORD}@127.0.0.1");
    let refused = installation.cli(&["store", "copy", "--to", &url]).expect_failure(2);
    assert!(refused.contains("names no database") && !refused.contains(PASSWORD), "{refused}");
}
