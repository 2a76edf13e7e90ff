//! Backups and restores of stores in files of their own.

mod administrators;
mod lost;
mod returning;

use tempfile::TempDir;

use super::*;
use crate::crypto::{PasswordHash, RecoveryHash};
use crate::model::{
    AccessPoints, ApiKeyRecord, CustomerId, KeyDigest, KeyId, MethodKind, MfaRequirement, Permission,
    Permissions, Timestamp, UserId,
};
use crate::store::{Index, NewCustomer, NewMethod, NewUser, StoreMark, UserRecord};

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);
static KEY: DigestKey = DigestKey::new([7; 32]);

struct World {
    folder: TempDir,
    store: Store,
    acme: CustomerId,
    alex: UserId,
    bo: UserId,
}

fn user(customer: CustomerId, login: &str) -> NewUser {
    NewUser {
        customer,
        login: login.parse().unwrap(),
        full_name: login.into(),
        email: String::new(),
        language: "en".into(),
        administrator: login == "bo",
        permissions: Permissions::default(),
        access_points: AccessPoints::ALL,
        password_hash: Some(PasswordHash::from_stored("$argon2id$first".into())),
        password_ends_at: None,
        mfa: MfaRequirement::Optional,
        created_at: NOW,
    }
}

fn key(number: u8, user: UserId) -> ApiKeyRecord {
    ApiKeyRecord {
        id: KeyId::from_random(u64::from(number)),
        user,
        digest: KeyDigest([number; 32]),
        last_characters: "wxyz".into(),
        description: "test".into(),
        scope: "api".parse().unwrap(),
        enabled: true,
        expires_at: None,
        allow_list: crate::model::AllowList::default(),
        created_at: NOW,
    }
}

fn code(letter: char) -> RecoveryHash {
    RecoveryHash::from_stored(format!("$argon2id${letter}"))
}

impl World {
    /// `acme/alex` with keys 1 to 4, an app and the codes a to c, and `acme/bo` with key 5.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = StoreLocation::Sqlite(folder.path().join("latchkey.db"));
        let store = Store::open_or_create(&location).await.unwrap();
        let mut change = store.mutate().await.unwrap();
        let new =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let acme = change.insert_customer(&new).await.unwrap();
        let alex = change.insert_user(&user(acme, "alex")).await.unwrap();
        let bo = change.insert_user(&user(acme, "bo")).await.unwrap();
        for number in 1..=4 {
            change.insert_key(&key(number, alex), "").await.unwrap();
        }
        change.insert_key(&key(5, bo), "").await.unwrap();
        let app = NewMethod {
            user: alex,
            kind: MethodKind::App,
            name: "Phone",
            secret: b"sealed",
            credential_id: None,
            last_step: Some(10),
            created_at: NOW,
        };
        change.insert_mfa_method(&app).await.unwrap();
        change.replace_recovery_set(alex, &['a', 'b', 'c'].map(code), NOW).await.unwrap();
        change.append_audit(&[entry("customer.created", "acme", None)], &KEY).await.unwrap();
        change.commit().await.unwrap();
        Self { folder, store, acme, alex, bo }
    }

    fn location(&self) -> StoreLocation {
        self.store.location()
    }

    async fn back_up(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("backup");
        self.store.back_up(&path, &mut |_, _| {}).await.unwrap().publish().await.unwrap();
        path
    }

    async fn back_up_again(&self) {
        std::fs::remove_file(self.folder.path().join("backup")).unwrap();
        self.back_up().await;
    }

    async fn image(&self) -> Image {
        let path = self.folder.path().join("backup");
        Image::of(&path, &self.location(), &mut |_, _| {}).await.unwrap()
    }

    async fn restore(&self, revival: Revival) -> Restored {
        let image = self.image().await;
        let restored = image.put_into(&self.store, order(revival, Present::Kept)).await.unwrap();
        image.remove().await;
        self.store.note_deletions().await.unwrap();
        restored
    }

    async fn user(&self, id: UserId) -> UserRecord {
        self.store.user_by_id(id).await.unwrap().unwrap()
    }

    /// Which of the keys 1 to 9 let in.
    async fn keys(&self) -> Vec<u8> {
        let index = Index::load(&self.store).await.unwrap();
        let lets_in =
            |number: &u8| index.lookup_key(&KeyDigest([*number; 32])).is_some_and(|found| found.enabled);
        (1..=9).filter(lets_in).collect()
    }

    async fn codes(&self) -> Vec<String> {
        let set = self.store.recovery_set_of(self.alex).await.unwrap();
        let hashes = set.map(|set| set.hashes).unwrap_or_default();
        let mut codes: Vec<String> = hashes.iter().map(|hash| hash.as_stored().to_owned()).collect();
        codes.sort();
        codes
    }
}

fn entry(event: &str, subject: &str, subject_id: Option<UserId>) -> AuditEntry {
    AuditEntry {
        at: NOW,
        customer: None,
        actor: "operator:root".into(),
        actor_id: None,
        entrance: "command line".into(),
        client_ip: String::new(),
        event: event.into(),
        subject: subject.into(),
        subject_id,
        details: "{}".into(),
    }
}

fn order(
    revival: Revival,
    present: Present,
) -> RestoreOrder<'static, impl FnOnce(&[Difference]) -> Vec<AuditEntry>> {
    let tell = |_: &[Difference]| vec![entry("store.restored", "", None)];
    RestoreOrder { revival, present, agreed: None, tell, audit_key: &KEY, now: NOW }
}

fn kinds(differences: &[Difference]) -> Vec<DifferenceKind> {
    differences.iter().map(|found| found.kind).collect()
}

/// Deletes key 1, disables 2, lets 3 end, makes 6; uses code a; changes and takes what else there is.
async fn change_everything(world: &World) {
    let mut change = world.store.mutate().await.unwrap();
    change.delete_key(&key(1, world.alex), NOW).await.unwrap();
    change.update_key(&ApiKeyRecord { enabled: false, ..key(2, world.alex) }).await.unwrap();
    change.update_key(&ApiKeyRecord { expires_at: Some(NOW), ..key(3, world.alex) }).await.unwrap();
    let listed = ApiKeyRecord { allow_list: "192.0.2.0/24".parse().unwrap(), ..key(4, world.alex) };
    change.update_key(&listed).await.unwrap();
    change.insert_key(&key(6, world.bo), "").await.unwrap();
    assert!(change.use_recovery_code(world.alex, &code('a')).await.unwrap());
    let mut method = change.mfa_methods_of(world.alex).await.unwrap().remove(0);
    method.last_step = Some(20);
    change.update_mfa_method(&method).await.unwrap();
    let second = PasswordHash::from_stored("$argon2id$second".into());
    change.set_password(world.alex, &second, None).await.unwrap();
    let bo = change.user_by_id(world.bo).await.unwrap().unwrap();
    let bo = UserRecord {
        active: false,
        administrator: false,
        permissions: [Permission::ViewAudit].into_iter().collect(),
        mfa: MfaRequirement::Required,
        full_name: "Bo II".into(),
        ..bo
    };
    change.update_user(&bo).await.unwrap();
    change.insert_user(&user(world.acme, "newcomer")).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test]
async fn s98_what_died_since_stays_dead_and_the_rest_is_as_it_was() {
    let world = World::new().await;
    world.back_up().await;
    change_everything(&world).await;
    let revision = world.store.revision().await.unwrap();
    let end = world.store.audit_end().await.unwrap();
    let restored = world.restore(Revival::Refused).await;
    assert_eq!(
        kinds(&restored.differences),
        [
            DifferenceKind::KeyDeleted,
            DifferenceKind::UserDeactivated,
            DifferenceKind::KeyDisabled,
            DifferenceKind::KeyEndsSooner,
            DifferenceKind::PasswordChanged,
            DifferenceKind::MfaRequired,
            DifferenceKind::RecoveryCodes,
            DifferenceKind::NoAdministrator,
            DifferenceKind::Rights,
            DifferenceKind::KeyAllowList,
            DifferenceKind::UserMade,
            DifferenceKind::KeyMade,
        ]
    );
    let subject =
        |kind| restored.differences.iter().find(|found| found.kind == kind).unwrap().subject.clone();
    assert_eq!(subject(DifferenceKind::KeyDeleted), format!("{} of acme/alex", key(1, world.alex).id));
    assert_eq!(subject(DifferenceKind::RecoveryCodes), "acme/alex: 1");
    assert_eq!(world.keys().await, [3, 4, 5]);
    assert!(world.store.was_deleted(&KeyDigest([1; 32])).await.unwrap());
    let third = world.store.key_by_digest(&KeyDigest([3; 32])).await.unwrap().unwrap();
    assert_eq!(third.expires_at, Some(NOW));
    assert_eq!(world.codes().await, ["$argon2id$b", "$argon2id$c"]);
    let (alex, bo) = (world.user(world.alex).await, world.user(world.bo).await);
    assert_eq!(alex.password_hash, Some(PasswordHash::from_stored("$argon2id$second".into())));
    assert!(alex.mfa_active && alex.password_version > 2);
    assert!(!bo.active && bo.mfa == MfaRequirement::Required && bo.administrator && bo.full_name == "bo");
    let method = world.store.mfa_methods_of(world.alex).await.unwrap().remove(0);
    assert_eq!(method.last_step, Some(20));
    // The trail goes on, and every gateway loads afresh.
    assert_eq!(world.store.audit_end().await.unwrap().sequence, end.sequence + 1);
    assert!(restored.revision > revision);
    let mut change = world.store.mutate().await.unwrap();
    assert_eq!(change.insert_user(&user(world.acme, "newer")).await.unwrap(), UserId(4), "no number twice");
}

#[tokio::test]
async fn s98_what_died_since_comes_back_where_that_is_accepted_and_a_used_code_of_an_app_does_not() {
    let world = World::new().await;
    world.back_up().await;
    change_everything(&world).await;
    world.restore(Revival::Accepted).await;
    assert_eq!(world.keys().await, [1, 2, 3, 4, 5]);
    assert!(!world.store.was_deleted(&KeyDigest([1; 32])).await.unwrap());
    assert_eq!(world.codes().await, ["$argon2id$a", "$argon2id$b", "$argon2id$c"]);
    let (alex, bo) = (world.user(world.alex).await, world.user(world.bo).await);
    assert_eq!(alex.password_hash, Some(PasswordHash::from_stored("$argon2id$first".into())));
    assert!(alex.password_version > 2 && bo.active && bo.mfa == MfaRequirement::Optional);
    let method = world.store.mfa_methods_of(world.alex).await.unwrap().remove(0);
    assert_eq!(method.last_step, Some(20));
    // It is alive for every later restore, too.
    assert!(world.restore(Revival::Refused).await.differences.is_empty());
    assert_eq!(world.keys().await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn s98_users_and_customers_that_were_deleted_stay_deleted_with_all_that_is_theirs() {
    let world = World::new().await;
    world.back_up().await;
    let mut change = world.store.mutate().await.unwrap();
    change.delete_user(world.bo, NOW).await.unwrap();
    change.append_audit(&[entry("user.deleted", "acme/bo", Some(world.bo))], &KEY).await.unwrap();
    change.commit().await.unwrap();
    let found = world.restore(Revival::Refused).await.differences;
    assert_eq!(
        kinds(&found),
        [DifferenceKind::UserDeleted, DifferenceKind::KeyDeleted, DifferenceKind::NoAdministrator]
    );
    assert!(world.store.user_by_id(world.bo).await.unwrap().is_none());
    let mut change = world.store.mutate().await.unwrap();
    change.delete_user(world.alex, NOW).await.unwrap();
    change.delete_customer(world.acme).await.unwrap();
    let deleted = AuditEntry { customer: Some(world.acme), ..entry("customer.deleted", "acme", None) };
    change.append_audit(&[deleted], &KEY).await.unwrap();
    change.commit().await.unwrap();
    let found = world.restore(Revival::Refused).await.differences;
    assert_eq!(found[0].kind, DifferenceKind::CustomerDeleted);
    assert!(world.store.customers().await.unwrap().is_empty() && world.keys().await.is_empty());
    world.restore(Revival::Accepted).await;
    assert_eq!(world.keys().await, [1, 2, 3, 4, 5]);
    assert!(world.user(world.bo).await.administrator);
}

#[tokio::test]
async fn what_differs_is_told_without_changing_anything() {
    let world = World::new().await;
    world.back_up().await;
    change_everything(&world).await;
    let before = world.keys().await;
    let image = world.image().await;
    let told = image.compare(&world.store, Present::Kept).await.unwrap();
    assert_eq!(told.len(), 12);
    assert_eq!(image.compare(&world.store, Present::Kept).await.unwrap(), told);
    assert_eq!(world.keys().await, before);
    image.remove().await;
}

#[tokio::test]
async fn sessions_and_links_are_in_no_backup_and_end_with_a_restore() {
    let world = World::new().await;
    for statement in [
        "INSERT INTO api_sessions (digest, user_id, password_version, opened_at, last_used_at) \
         VALUES (randomblob(32), 1, 1, 5, 5)",
        "INSERT INTO links (user_id, digest, purpose, expires_at) VALUES (1, randomblob(32), 'password', 5)",
    ] {
        sqlx::query(statement).execute(&world.store.writer).await.unwrap();
    }
    let counted = "SELECT (SELECT COUNT(*) FROM api_sessions) + (SELECT COUNT(*) FROM links)";
    let backup = world.back_up().await;
    let mut file = BackupFile::open(&backup).await.unwrap();
    let kept: i64 = sqlx::query_scalar(counted).fetch_one(&mut file.connection).await.unwrap();
    assert_eq!(kept, 0);
    world.restore(Revival::Refused).await;
    let left: i64 = sqlx::query_scalar(counted).fetch_one(&world.store.readers).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_up_to_date_and_one_of_a_newer_refused() {
    let world = World::new().await;
    let backup = world.back_up().await;
    let edit = async |statement: &'static str| {
        let options: sqlx::any::AnyConnectOptions = sqlite::url_of(&backup, "rw").parse().unwrap();
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    edit("DROP TABLE next_key_ring; DELETE FROM _sqlx_migrations WHERE version = 10").await;
    assert!(world.restore(Revival::Refused).await.differences.is_empty());
    edit("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 9").await;
    let refused = Image::of(&backup, &world.location(), &mut |_, _| {}).await.unwrap_err();
    let RestoreError::Backup(BackupError::Newer { found: 9999, known, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(known, sqlite::newest_schema());
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_the_store_left_as_it_is() {
    let world = World::new().await;
    let path = world.folder.path().join("backup");
    let of = async || Image::of(&path, &world.location(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(of().await, RestoreError::Backup(BackupError::File { .. })));
    for text in ["", "no database at all, and long enough to be one at first sight: it has no such head"] {
        std::fs::write(&path, text).unwrap();
        let refused = of().await;
        assert!(matches!(refused, RestoreError::Backup(BackupError::NotAStore(_))), "{refused}");
    }
    std::fs::remove_file(&path).unwrap();
    world.back_up().await;
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    of().await;
    std::fs::write(&path, whole).unwrap();
    let mut change = world.store.mutate().await.unwrap();
    change.mark(StoreMark::Moved).await.unwrap();
    change.commit().await.unwrap();
    let image = world.image().await;
    let refused = image.put_into(&world.store, order(Revival::Refused, Present::Kept)).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Store(StoreError::Moved)), "{refused}");
    assert_eq!(world.keys().await, [1, 2, 3, 4, 5]);
}
