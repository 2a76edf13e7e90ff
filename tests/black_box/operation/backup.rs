//! `latchkey store backup` and `restore`, beside gateways that go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::audit::tamper;
use crate::harness::{Installation, Key, Request, TestGateway, wait_for};

fn embedded() -> TestGateway {
    TestGateway::configured(|config| config["store"]["url"] = "sqlite:data/latchkey.db".into())
}

/// Uses `key` on three connections all the while that `story` goes on, and answers how often; it must always be let in.
pub fn while_used(gateway: &TestGateway, key: &Key, story: impl FnOnce()) -> usize {
    let (over, used) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut wire = gateway.connect("api");
                while !over.load(Ordering::Relaxed) {
                    let request = Request::get("/").authorization(&key.authorization());
                    assert_eq!(wire.exchange(&request).status, 200);
                    used.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Also where the story fails, so that its failure is told.
        let story = std::panic::catch_unwind(std::panic::AssertUnwindSafe(story));
        over.store(true, Ordering::Relaxed);
        story.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
    });
    used.into_inner()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// Copies a store's file, and its log where there is one.
fn copy_store(from: &Path, to: &Path) {
    for ending in ["", "-wal"].into_iter().filter(|ending| beside(from, ending).exists()) {
        fs::copy(beside(from, ending), beside(to, ending)).unwrap();
    }
}

/// Removes a store's file, and what the engine has put beside it.
fn remove_store(path: &Path) {
    for ending in ["", "-wal", "-shm"].into_iter().filter(|ending| beside(path, ending).exists()) {
        fs::remove_file(beside(path, ending)).unwrap();
    }
}

/// Subjects of a kind, from the JSON of a restore.
fn subjects<'a>(restored: &'a Value, kind: &str, effect: &str) -> Vec<&'a str> {
    let differences = restored["differences"].as_array().unwrap().iter();
    let wanted = differences.filter(|found| found["kind"] == kind && found["effect"] == effect);
    wanted.map(|found| found["subject"].as_str().unwrap()).collect()
}

#[test]
fn s98_a_store_is_backed_up_and_put_back_under_load_and_what_was_deleted_stays_dead() {
    let gateway = embedded();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let [kept, deleted, disabled] = [(); 3].map(|()| gateway.create_key("acme/admin"));
    let used = while_used(&gateway, &kept, || {
        let made = gateway.cli(&["store", "backup", "lk.backup", "--json"]);
        assert!(made.stderr.contains("1 customer, 2 users, 3 keys as of revision "), "{made:?}");
        assert!(made.stderr.contains("the master key is not in it"), "{made:?}");
        let made = made.json();
        let file = fs::metadata(gateway.path("lk.backup")).unwrap();
        assert_eq!((file.permissions().mode() & 0o777, &made["bytes"]), (0o600, &file.len().into()));

        gateway.delete_key(&deleted);
        gateway.cli(&["key", "disable", &disabled.id]).expect_success();
        gateway.cli(&["user", "delete", "acme/alex", "--yes"]).expect_success();
        gateway.cli(&["allow", "add", "user:acme/admin", "127.0.0.0/8"]).expect_success();
        let new = gateway.create_key("acme/admin");
        assert_eq!(gateway.api_get("/", &new.authorization()).status, 200);

        let refused = gateway.cli(&["store", "restore", "lk.backup"]);
        assert!(
            refused.stderr.contains("stays as it is now (--accept-revival brings it back"),
            "{refused:?}"
        );
        assert!(refused.expect_failure(2).contains("give --yes to agree"));
        let told = gateway.cli(&["store", "restore", "lk.backup", "--dry-run", "--json"]).json();
        assert_eq!(subjects(&told, "user_deleted", "kept"), ["acme/alex"]);
        assert_eq!(subjects(&told, "user_allow_list", "given_back"), ["acme/admin"]);
        let told = gateway.cli(&["store", "restore", "lk.backup", "--dry-run"]).expect_success();
        assert!(told.contains(&format!("{} of acme/admin  made since", new.id)), "{told}");
        assert_eq!(gateway.api_get("/", &new.authorization()).status, 200, "nothing was changed");

        let restored = gateway.cli(&["store", "restore", "lk.backup", "--yes", "--json"]);
        assert!(restored.stderr.contains("in force at the gateway with pid "), "{restored:?}");
        let restored = restored.json();
        assert_eq!(subjects(&restored, "key_deleted", "kept"), [format!("{} of acme/admin", deleted.id)]);
        assert_eq!(subjects(&restored, "key_disabled", "kept").len(), 1);
        assert_eq!(subjects(&restored, "user_deleted", "kept"), ["acme/alex"]);
        assert_eq!(subjects(&restored, "user_allow_list", "given_back"), ["acme/admin"]);
        assert_eq!(subjects(&restored, "key_made", "taken_away"), [format!("{} of acme/admin", new.id)]);
        for dead in [&deleted, &disabled, &new] {
            gateway.api_get("/", &dead.authorization()).assert_refusal(401, "AuthenticationError");
        }
    });
    assert!(used > 20, "the key was used {used} times");
    // The trail was not put back.
    gateway.cli(&["audit", "verify"]).expect_success();
    let trail = gateway.cli(&["audit", "list"]).expect_success();
    for told in [
        "backed the store up to lk.backup",
        "deleted user ",
        "restored the store from lk.backup",
        "put acme back to a backup of the store; back is: acme/admin (user_allow_list); gone is: key_",
    ] {
        assert!(trail.contains(told), "{told}: {trail}");
    }
    // Deletions go on as ever.
    gateway.delete_key(&kept);
    gateway.api_get("/", &kept.authorization()).assert_refusal(401, "AuthenticationError");
}

#[test]
fn s98_what_was_deleted_comes_back_where_that_is_accepted_and_each_of_it_is_named() {
    let gateway = embedded();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let deleted = gateway.create_key("acme/admin");
    gateway.cli(&["store", "backup", "lk.backup"]).expect_success();
    gateway.delete_key(&deleted);
    gateway.cli(&["user", "deactivate", "acme/alex"]).expect_success();
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    let restored = gateway.cli(&["store", "restore", "lk.backup", "--accept-revival", "--yes"]);
    for told in [
        "comes back as it was in the backup:".to_owned(),
        format!("{} of acme/admin  deleted since", deleted.id),
        "acme/alex  deactivated since".to_owned(),
    ] {
        assert!(restored.stderr.contains(&told), "{told}: {restored:?}");
    }
    restored.expect_success();
    assert_eq!(gateway.api_get("/", &deleted.authorization()).status, 200);
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    let trail = gateway.cli(&["audit", "list", "--event", "store.restored"]).expect_success();
    assert!(trail.contains("with what was dead: ") && trail.contains(&deleted.id), "{trail}");
    // It is alive for good, also for a gateway that is started now.
    let gateway = gateway.kill().serve();
    assert_eq!(gateway.api_get("/", &deleted.authorization()).status, 200);
}

#[test]
fn s98_s99_a_lost_store_is_made_anew_by_its_master_key_alone() {
    let gateway = embedded();
    gateway.create_customer("acme");
    let [kept, deleted] = [(); 2].map(|()| gateway.create_key("acme/admin"));
    gateway.cli(&["store", "backup", "lk.backup"]).expect_success();
    gateway.delete_key(&deleted);
    let (_, _, installation) = gateway.stop();
    let store = installation.path("data/latchkey.db");
    remove_store(&store);

    let right = fs::read(installation.path("master.key")).unwrap();
    fs::write(installation.path("master.key"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n").unwrap();
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_failure(1);
    assert!(refused.contains("the backup was made under another master key"), "{refused}");
    fs::remove_file(installation.path("master.key")).unwrap();
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_failure(1);
    assert!(refused.contains("master.key is missing"), "{refused}");
    assert!(!installation.path("master.key").exists() && !installation.path("data/latchkey.db").exists());
    fs::write(installation.path("master.key"), right).unwrap();
    fs::set_permissions(installation.path("master.key"), fs::Permissions::from_mode(0o600)).unwrap();

    // What is left of the store that is lost would be taken for a part of the new one.
    fs::write(beside(&store, "-wal"), "").unwrap();
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_failure(1);
    assert!(refused.contains("latchkey.db-wal is left of the store that is lost"), "{refused}");
    remove_store(&store);

    installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_success();
    let left: Vec<_> = fs::read_dir(installation.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part") || name.contains(".copy"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let gateway = installation.serve();
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    // What was deleted is known from the file beside the store.
    gateway.api_get("/", &deleted.authorization()).assert_refusal(401, "AuthenticationError");
    gateway.cli(&["audit", "verify"]).expect_success();
}

#[test]
fn s98_a_lost_store_beside_which_nothing_tells_of_deletions_is_made_anew_only_where_that_is_accepted() {
    let gateway = embedded();
    gateway.create_customer("acme");
    let deleted = gateway.create_key("acme/admin");
    gateway.cli(&["store", "backup", "lk.backup"]).expect_success();
    gateway.delete_key(&deleted);
    let (_, _, installation) = gateway.stop();
    let store = installation.path("data/latchkey.db");
    remove_store(&store);
    let told = installation.cli(&["store", "restore", "lk.backup", "--dry-run"]);
    let known = "known from the file of tombstones beside it alone, which tells of 1 deletion";
    assert!(told.stderr.contains(known), "{told:?}");
    fs::remove_file(beside(&store, ".tombstones")).unwrap();
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]);
    assert!(refused.stderr.contains("nothing is known of what was deleted since"), "{refused:?}");
    let refused = refused.expect_failure(1);
    assert!(refused.contains("latchkey.db.tombstones is missing, which alone tells"), "{refused}");
    assert!(!store.exists());
    installation.cli(&["store", "restore", "lk.backup", "--accept-revival", "--yes"]).expect_success();
    let trail = installation.cli(&["audit", "list", "--event", "store.restored"]).expect_success();
    assert!(
        trail.contains("restored the store from lk.backup, not knowing what was deleted since"),
        "{trail}"
    );
    let gateway = installation.serve();
    assert_eq!(gateway.api_get("/", &deleted.authorization()).status, 200);
}

#[test]
fn a_backup_that_a_restore_would_refuse_is_a_failure() {
    let installation =
        Installation::configured(|config| config["store"]["url"] = "sqlite:data/latchkey.db".into());
    installation.create_customer("acme");
    let change =
        "DROP TRIGGER audit_keeps_words; UPDATE audit SET actor = 'operator:nobody' WHERE sequence = 1";
    tamper(&installation, change);
    let made = installation.cli(&["store", "backup", "lk.backup", "--json"]);
    assert!(made.stdout.contains("\"audit_head\":null"), "{made:?}");
    let refused = made.expect_failure(1);
    assert!(refused.contains("a restore will refuse the backup lk.backup: row 1 "), "{refused}");
    assert!(installation.path("lk.backup").exists());
    let refused = installation.cli(&["store", "restore", "lk.backup", "--yes"]).expect_failure(1);
    assert!(refused.contains("the backup's audit trail is not whole"), "{refused}");
}

#[test]
fn a_backup_takes_no_files_place_and_what_is_none_is_not_restored() {
    let installation =
        Installation::configured(|config| config["store"]["url"] = "sqlite:data/latchkey.db".into());
    installation.create_customer("acme");
    installation.cli(&["store", "backup", "lk.backup"]).expect_success();
    let refused = installation.cli(&["store", "backup", "lk.backup"]).expect_failure(1);
    assert!(refused.contains("lk.backup exists already"), "{refused}");
    fs::write(installation.path("note.txt"), "no backup").unwrap();
    let refused = installation.cli(&["store", "restore", "note.txt", "--yes"]).expect_failure(1);
    assert!(refused.contains("note.txt is no backup of a Latchkey store"), "{refused}");

    let other = Installation::configured(|config| {
        config["store"]["url"] = "sqlite:data/latchkey.db".into();
        config["master_key_file"] = installation.path("master.key").to_str().unwrap().into();
    });
    other.create_customer("beta");
    let theirs = installation.path("lk.backup");
    let refused = other.cli(&["store", "restore", theirs.to_str().unwrap(), "--yes"]).expect_failure(1);
    assert!(refused.contains("the backup is of another installation"), "{refused}");
    assert!(other.cli(&["customer", "list"]).expect_success().contains("beta"));
}

#[test]
fn s98_a_store_that_was_put_back_by_hand_revives_no_deleted_key_and_no_deleted_user() {
    let gateway = embedded();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    let [kept, deleted] = [(); 2].map(|()| gateway.create_key("acme/admin"));
    let (_, _, installation) = gateway.stop();
    let store = installation.path("data/latchkey.db");
    let by_hand = installation.path("by-hand.db");
    copy_store(&store, &by_hand);
    installation.delete_key(&deleted);
    installation.cli(&["user", "delete", "acme/alex", "--yes"]).expect_success();
    remove_store(&store);
    copy_store(&by_hand, &store);
    let gateway = installation.serve();
    let log = wait_for("the gateway to tell of it", || {
        Some(gateway.process().log()).filter(|log| log.contains("the store was put back by hand"))
    });
    assert!(log.contains("acme/alex"), "{log}");
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    gateway.api_get("/", &deleted.authorization()).assert_refusal(401, "AuthenticationError");
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    assert!(!gateway.cli(&["user", "list"]).expect_success().contains("acme/alex"));
}
