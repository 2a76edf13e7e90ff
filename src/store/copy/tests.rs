//! A store that is copied, to the other engine where one is given to the tests, and back.

use std::path::Path;

use sqlx::Row;

use super::*;
use crate::model::{
    AllowList, ApiKeyRecord, CustomerId, KeyDigest, KeyId, MfaRequirement, Permissions, Timestamp, UserId,
};
use crate::store::engine::Kind;
use crate::store::testing::new_location;
use crate::store::tombstones::{Born, Tombstone};
use crate::store::{Index, NewCustomer, NewUser, NoticeRecord, StoreFact};

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);
static KEY: DigestKey = DigestKey::new([7; 32]);
/// Tables that are not copied, and why not is told in `tables`.
const LEFT_BEHIND: [&str; 14] = [
    "_sqlx_migrations",
    "api_sessions",
    "ceremonies",
    "changes",
    "console_sessions",
    "failed_passwords",
    "feed_acks",
    "feed_head",
    "gateways",
    "imports",
    "links",
    "refusals",
    "unnoted_tombstones",
    "used_tokens",
];

async fn embedded(path: &Path) -> Store {
    Store::open_or_create(&StoreLocation::Sqlite(path.to_owned())).await.unwrap()
}

fn order(after: AfterCopy) -> CopyOrder<'static> {
    CopyOrder { after, told: &[], audit_key: &KEY }
}

async fn copy_quietly(from: &Store, to: &StoreLocation, after: AfterCopy) -> Result<CopyReport, CopyError> {
    from.copy_to(to, order(after), &mut |_| {}).await
}

fn digest(number: u64) -> KeyDigest {
    let mut digest = [0xab; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    KeyDigest(digest)
}

fn key(number: u64, user: UserId) -> ApiKeyRecord {
    ApiKeyRecord {
        id: KeyId::from_random(number),
        user,
        digest: digest(number),
        last_characters: "wxyz".into(),
        description: "CI \"of\" \\u0000 the shop, ünïcode".into(),
        scope: "api".parse().unwrap(),
        enabled: !number.is_multiple_of(2),
        expires_at: number.is_multiple_of(3).then_some(NOW),
        allow_list: "192.0.2.0/24".parse().unwrap(),
        created_at: NOW,
    }
}

fn user(customer: CustomerId, login: &str) -> NewUser {
    NewUser {
        customer,
        login: login.parse().unwrap(),
        full_name: "Älex".into(),
        email: String::new(),
        language: "en".into(),
        administrator: login == "admin",
        permissions: Permissions::from_stored(0),
        access_points: crate::model::AccessPoints::ALL,
        password_hash: Some(crate::crypto::PasswordHash::from_stored("$argon2id$x".into())),
        password_ends_at: None,
        mfa: MfaRequirement::Optional,
        created_at: NOW,
    }
}

/// Makes customer `acme` with two users, 2,500 keys and something in every other table; answers the first key's user. A
/// third user, the newest of all, was deleted.
async fn fill_world(store: &Store) -> UserId {
    let mut change = store.mutate().await.unwrap();
    let new = NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Required, created_at: NOW };
    let acme = change.insert_customer(&new).await.unwrap();
    change.set_customer_allow_list(acme, &AllowList::default()).await.unwrap();
    let alex = change.insert_user(&user(acme, "alex")).await.unwrap();
    change.insert_user(&user(acme, "admin")).await.unwrap();
    let gone = change.insert_user(&user(acme, "gone")).await.unwrap();
    for number in 0..2_500 {
        change.insert_key(&key(number, alex), "acme/admin").await.unwrap();
    }
    change.insert_key(&key(5_000, gone), "acme/admin").await.unwrap();
    change.delete_user(gone, NOW).await.unwrap();
    let notice = NoticeRecord { at: NOW, event: "mfa.reset".into(), client_ip: "192.0.2.7".into() };
    change.insert_notice(alex, &notice).await.unwrap();
    change.fix_fact(StoreFact::RelyingParty, "example.com").await.unwrap();
    change.mark(StoreMark::Demo).await.unwrap();
    let entry = AuditEntry {
        at: NOW,
        customer: Some(acme),
        actor: "operator:root".into(),
        actor_id: None,
        entrance: "command line".into(),
        client_ip: String::new(),
        event: "user.deleted".into(),
        subject: "acme/gone".into(),
        subject_id: Some(gone),
        details: r#"{"text":"a \u0000 b"}"#.into(),
    };
    change.append_audit(&[entry.clone(), entry], &KEY).await.unwrap();
    change.commit().await.unwrap();
    for statement in [
        "INSERT INTO key_ring (purpose, id, wrapped, created_at) VALUES ('audit', 1, x'00ff', 5), ('Audit', 1, x'', 6)",
        "INSERT INTO next_key_ring (purpose, id, wrapped, created_at) VALUES ('audit', 1, x'01', 7)",
        "INSERT INTO key_last_used (key_id, used_at, service, address) VALUES (-9223372036854775808, 5, 'api', '::1')",
        "INSERT INTO mfa_methods (id, user_id, kind, name, secret, credential_id, last_step, failures, burst, \
         burst_began_at, created_at, last_used_at) VALUES (7, 1, 'app', 'Phone', x'01', NULL, 9, 0, 0, 0, 5, NULL)",
        "INSERT INTO recovery_sets (user_id, failures, burst, burst_began_at, created_at) VALUES (1, 0, 0, 0, 5)",
        "INSERT INTO recovery_codes (user_id, hash) VALUES (1, 'b'), (1, 'A'), (1, 'a'), (1, 'é')",
        "INSERT INTO usage_sums (kind, subject_id, length, hour, service, requests, refusals) \
         VALUES ('user', 1, 24, 500000, 'api', 5, 0), ('key', 1, 1, 500000, 'isproxy', 2, 1)",
        "INSERT INTO quotas (kind, subject_id, day, month, told_month) VALUES ('user', 1, NULL, 500, 24325), ('key', 1, 5, 6, 0)",
        "INSERT INTO usage_addresses (kind, subject_id, entrance, address, used_at) VALUES ('key', 1, 'api', '::1', 5)",
        "UPDATE users SET full_name = 'a' || char(0) || 'b' WHERE login = 'admin'",
    ] {
        sqlx::query(statement).execute(&store.writer).await.unwrap();
    }
    alex
}

async fn tallies(store: &Store) -> Vec<Tally> {
    transfer::read_all(store, &mut |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_copy_and_its_copy_back_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let source = embedded(&folder.path().join("source.db")).await;
    let alex = fill_world(&source).await;
    let there = new_location(&folder.path().join("there")).await;
    let mut steps = Vec::new();
    let report = source
        .copy_to(&there, order(AfterCopy::LeaveOpen), &mut |progress| steps.push(progress))
        .await
        .unwrap();
    let rows = |name: &str| report.tables.iter().find(|table| table.name == name).unwrap().rows;
    assert_eq!((rows("customers"), rows("users"), rows("api_keys"), rows("audit")), (1, 2, 2_500, 2));
    assert_eq!((rows("deleted_keys"), rows("recovery_codes"), rows("store_marks")), (1, 4, 1));
    assert!(report.tables.iter().all(|table| table.rows > 0), "{report:?}");
    for step in [CopyStep::Writing, CopyStep::Checking] {
        let last = steps.iter().rfind(|told| told.step == step && told.table == "api_keys").unwrap();
        assert_eq!((last.done, last.of), (2_500, 2_500));
    }

    let copy = Store::open(&there).await.unwrap();
    assert_eq!(tallies(&copy).await, tallies(&source).await);
    let index = Index::load(&copy).await.unwrap();
    assert!(index.lookup_key(&digest(1)).is_some() && index.lookup_key(&digest(5_000)).is_none());
    assert!(index.user(alex).is_some());
    assert_eq!(*index.applied().borrow(), report.revision);
    assert!(copy.is_marked(StoreMark::Demo).await.unwrap());

    let back = StoreLocation::Sqlite(folder.path().join("back.db"));
    copy_quietly(&copy, &back, AfterCopy::Close).await.unwrap();
    let back = Store::open(&back).await.unwrap();
    assert_eq!(tallies(&back).await, tallies(&source).await);
    assert!(!back.is_marked(StoreMark::Moved).await.unwrap());
}

#[tokio::test]
async fn s98_a_copy_knows_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let source = embedded(&folder.path().join("source.db")).await;
    fill_world(&source).await;
    let there = new_location(&folder.path().join("there")).await;
    copy_quietly(&source, &there, AfterCopy::Close).await.unwrap();
    let back = folder.path().join("back.db");
    let copy = Store::open(&there).await.unwrap();
    copy_quietly(&copy, &StoreLocation::Sqlite(back.clone()), AfterCopy::Close).await.unwrap();
    let dead = tombstones::read(&back).unwrap();
    assert!(dead.contains(&Tombstone::Key(digest(5_000))), "{dead:?}");
    // A database knows of the keys alone.
    let knows_all = !copy.is_shared();
    let gone = Born { id: UserId(3), created_at: NOW.unix_milliseconds() };
    assert_eq!(dead.contains(&Tombstone::User(gone)), knows_all, "{dead:?}");
}

#[tokio::test]
async fn no_number_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let source = embedded(&folder.path().join("source.db")).await;
    fill_world(&source).await;
    let there = new_location(&folder.path().join("there")).await;
    copy_quietly(&source, &there, AfterCopy::Close).await.unwrap();
    let copy = Store::open(&there).await.unwrap();
    let acme = copy.customers().await.unwrap()[0].id;
    let mut change = copy.mutate().await.unwrap();
    // The third was deleted, and the audit trail names it.
    assert_eq!(change.insert_user(&user(acme, "newest")).await.unwrap(), UserId(4));
    change.commit().await.unwrap();
}

#[tokio::test]
async fn what_was_moved_takes_no_changes_and_what_was_left_open_does() {
    let folder = tempfile::tempdir().unwrap();
    let (_source_folder, source) = crate::store::testing::empty_store().await;
    let open = new_location(&folder.path().join("open")).await;
    copy_quietly(&source, &open, AfterCopy::LeaveOpen).await.unwrap();
    drop(source.mutate().await.unwrap());
    let there = new_location(&folder.path().join("there")).await;
    copy_quietly(&source, &there, AfterCopy::Close).await.unwrap();
    assert!(matches!(source.mutate().await, Err(StoreError::Moved)));
    assert!(matches!(source.begin_import(NOW).await, Err(StoreError::Moved)));
    assert!(source.customers().await.unwrap().is_empty(), "looks go on");
    drop(Store::open(&there).await.unwrap().mutate().await.unwrap());
}

#[tokio::test]
async fn a_store_that_is_not_empty_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (_source_folder, source) = crate::store::testing::empty_store().await;
    let full = new_location(&folder.path().join("full")).await;
    let target = Store::open_or_create(&full).await.unwrap();
    let mut change = target.mutate().await.unwrap();
    let new = NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
    change.insert_customer(&new).await.unwrap();
    change.commit().await.unwrap();
    let refused = copy_quietly(&source, &full, AfterCopy::Close).await.unwrap_err();
    assert!(matches!(refused, CopyError::NotEmpty { table: "customers", .. }), "{refused}");
    assert!(refused.to_string().contains(&full.to_string()), "{refused}");
    drop(target.mutate().await.unwrap());
    drop(source.mutate().await.unwrap());
}

#[tokio::test]
async fn a_copy_that_differs_is_told_and_nothing_is_served_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let source = embedded(&folder.path().join("source.db")).await;
    fill_world(&source).await;
    let path = folder.path().join("copy.db");
    let target = embedded(&path).await;
    let trigger = "CREATE TRIGGER spoils AFTER INSERT ON users BEGIN UPDATE users SET email = 'x'; END";
    sqlx::raw_sql(trigger).execute(&target.writer).await.unwrap();
    target.close().await;
    let location = StoreLocation::Sqlite(path);
    let refused = copy_quietly(&source, &location, AfterCopy::Close).await.unwrap_err();
    assert!(matches!(refused, CopyError::Differs { table: "users", read: 2, found: 2, .. }), "{refused}");
    drop(source.mutate().await.unwrap());
    let opened = Store::open(&location).await;
    assert!(matches!(opened, Err(StoreError::Unfinished(named)) if named == location));
    let again = copy_quietly(&source, &location, AfterCopy::Close).await.unwrap_err();
    assert!(matches!(again, CopyError::Store(StoreError::Unfinished(_))), "{again}");
}

#[tokio::test]
async fn what_an_import_has_staged_is_not_copied_and_a_running_one_is_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let (_source_folder, source) = crate::store::testing::empty_store().await;
    let import = source.begin_import(NOW).await.unwrap();
    import.add_customers(&["staged".parse().unwrap()]).await.unwrap();
    let there = new_location(&folder.path().join("there")).await;
    let refused = copy_quietly(&source, &there, AfterCopy::Close).await.unwrap_err();
    assert!(matches!(refused, CopyError::Store(StoreError::ImportRuns)), "{refused}");
    drop(import);
    let report = copy_quietly(&source, &there, AfterCopy::Close).await.unwrap();
    assert!(report.tables.iter().all(|table| table.rows == 0), "{report:?}");
}

/// Name and type of every column of a table.
async fn columns_of(store: &Store, table: &str) -> Vec<(String, String)> {
    let statement = match store.dialect() {
        Dialect::Sqlite => format!("SELECT name, type FROM pragma_table_info('{table}')"),
        Dialect::Postgres => format!(
            "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns \
             WHERE table_schema = 'latchkey' AND table_name = '{table}'"
        ),
    };
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1).to_lowercase())).collect()
}

async fn tables_of(store: &Store) -> Vec<String> {
    let statement = match store.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        Dialect::Postgres => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
             WHERE table_schema = 'latchkey' AND table_type = 'BASE TABLE'"
        }
    };
    sqlx::query_scalar(statement).fetch_all(&store.readers).await.unwrap()
}

#[tokio::test]
async fn every_column_of_every_table_is_copied_or_left_behind_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let given = new_location(folder.path()).await;
    let stores =
        [embedded(&folder.path().join("embedded.db")).await, Store::open_or_create(&given).await.unwrap()];
    for store in stores {
        for table in tables_of(&store).await {
            let known =
                LEFT_BEHIND.contains(&table.as_str()) || TABLES.iter().any(|copied| copied.name == table);
            assert!(known, "table {table} is neither copied nor left behind");
        }
        for table in &TABLES {
            let mut there = columns_of(&store, table.name).await;
            there.retain(|(name, _)| name != "import_id");
            there.sort();
            let mut described: Vec<_> = table
                .columns
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), type_of(store.dialect(), *kind).to_owned()))
                .collect();
            described.sort();
            assert_eq!(described, there, "table {}", table.name);
        }
    }
}

const fn type_of(dialect: Dialect, kind: Kind) -> &'static str {
    match (dialect, kind) {
        (Dialect::Sqlite, Kind::Integer | Kind::Flag) => "integer",
        (Dialect::Sqlite, Kind::Bytes) => "blob",
        (Dialect::Postgres, Kind::Integer) => "bigint",
        (Dialect::Postgres, Kind::Flag) => "boolean",
        (Dialect::Postgres, Kind::Bytes) => "bytea",
        (_, Kind::Text) => "text",
    }
}
