//! Tests of snapshots: written, journalled and loaded on the real disk.

use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::crypto::KeyRing;
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, KeyDigest, KeyId, MfaRequirement, Permissions, QuotaMoment,
    QuotaOwner, QuotaPeriod, QuotaTerms, UserId,
};
use crate::store::index::Metering;
use crate::store::{NewCustomer, NewUser, QuotaSums, Store, testing};

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

struct World {
    folder: tempfile::TempDir,
    store: Store,
    index: Index,
    keeper: SnapshotKeeper,
    key_ring: Arc<KeyRing>,
    alex: UserId,
}

fn key(number: u8, user: UserId) -> ApiKeyRecord {
    ApiKeyRecord {
        id: KeyId::from_random(u64::from(number)),
        user,
        digest: KeyDigest([number; 32]),
        last_characters: "abcd".into(),
        description: "test".into(),
        scope: "api".parse().unwrap(),
        enabled: number != 9,
        expires_at: (number == 2).then(|| NOW.plus_seconds(60)),
        allow_list: if number == 3 { "192.0.2.0/24".parse().unwrap() } else { AllowList::default() },
        created_at: NOW,
    }
}

/// `acme/alex` with keys 1 to 3 and the disabled 9, and `acme/bo` with key 4; all in the index.
async fn world() -> World {
    let (folder, store) = testing::empty_store().await;
    let mut change = store.mutate().await.unwrap();
    let new = NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
    let customer = change.insert_customer(&new).await.unwrap();
    let mut users = Vec::new();
    for login in ["alex", "bo"] {
        let new = NewUser {
            customer,
            login: login.parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: Some(crate::crypto::PasswordHash::from_stored("$argon2id$".into())),
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: NOW,
        };
        users.push(change.insert_user(&new).await.unwrap());
    }
    let [alex, bo] = users[..] else { panic!() };
    for (number, user) in [(1, alex), (2, alex), (3, alex), (9, alex), (4, bo)] {
        change.insert_key(&key(number, user), "").await.unwrap();
    }
    change.commit().await.unwrap();
    let key_ring =
        KeyRing::fill(|purpose| Ok::<_, std::convert::Infallible>([purpose as u8 + 1; 32])).unwrap();
    let key_ring = Arc::new(key_ring);
    let path = folder.path().join("latchkey.snapshot");
    let keeper = SnapshotKeeper::new(path, Arc::clone(&key_ring)).unwrap();
    let index = Index::load(&store).await.unwrap().with_clock(Clock::given(NOW));
    World { folder, store, index, keeper, key_ring, alex }
}

fn facts() -> SnapshotFacts {
    let wrapped = |byte| WrappedKey { purpose: "check".into(), wrapped: vec![byte; 3] };
    SnapshotFacts { key_ring: vec![wrapped(1), wrapped(2)], relying_party: Some("example.com".into()) }
}

impl World {
    fn path(&self) -> PathBuf {
        self.folder.path().join("latchkey.snapshot")
    }

    fn journals(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_str().unwrap().ends_with(".changes")).collect()
    }

    fn load(&self) -> Result<Index, SnapshotError> {
        Ok(Snapshot::open(&self.path(), NOW.plus_seconds(60), 3_600)?.load(&self.key_ring)?.0)
    }
}

/// Which of the keys 1 to 9 an index has.
fn keys(index: &Index) -> Vec<u8> {
    (1..=9).filter(|number| index.lookup_key(&KeyDigest([*number; 32])).is_some()).collect()
}

#[tokio::test]
async fn what_is_loaded_judges_keys_as_the_index_did_and_knows_no_password() {
    let world = world().await;
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    let loaded = world.load().unwrap();
    assert_eq!((loaded.size(), keys(&loaded)), (world.index.size(), vec![1, 2, 3, 4, 9]));
    for number in [1, 2, 3, 4, 9] {
        let [was, is] =
            [&world.index, &loaded].map(|index| index.lookup_key(&KeyDigest([number; 32])).unwrap());
        assert_eq!((is.id, is.scope, is.enabled), (was.id, was.scope, was.enabled));
        assert_eq!((is.expires_at, &is.allow_list), (was.expires_at, &was.allow_list));
        assert_eq!((is.user.id(), is.user.login()), (was.user.id(), was.user.login()));
        assert_eq!(is.user.state().active, was.user.state().active);
    }
    let alex = loaded.lookup_user("acme/alex").unwrap();
    assert!(alex.state().password_hash.is_none());
    // Nothing follows from where it stands: everything is loaded afresh.
    let mut connection = world.store.pinned_connection().await.unwrap();
    let behind = crate::store::feed::after(&mut connection, loaded.position()).await.unwrap();
    assert!(behind.is_none());
    loaded.resynchronise(&world.store).await.unwrap();
    assert_eq!(loaded.position(), world.index.position());
}

#[tokio::test]
async fn it_tells_the_wrapped_keys_of_the_moment_at_which_it_was_written() {
    let world = world().await;
    world.keeper.write(&world.index, NOW, SnapshotFacts::default()).unwrap();
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    let opened = Snapshot::open(&world.path(), NOW, 60).unwrap();
    assert_eq!(SnapshotFacts { key_ring: opened.key_ring, relying_party: opened.relying_party }, facts());
}

#[tokio::test]
async fn s80_what_was_changed_since_lets_in_nobody() {
    let world = world().await;
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    world
        .keeper
        .note(&[Subject::Key(KeyDigest([1; 32])), Subject::ApiSession(crate::model::SessionDigest([7; 32]))])
        .unwrap();
    assert_eq!(keys(&world.load().unwrap()), [2, 3, 4, 9]);
    world.keeper.note(&[Subject::User(world.alex)]).unwrap();
    let loaded = world.load().unwrap();
    assert!(!loaded.user(world.alex).unwrap().state().active);
    assert!(loaded.lookup_user("acme/bo").unwrap().state().active);
    let customer = world.store.user_by_id(world.alex).await.unwrap().unwrap().customer;
    world.keeper.note(&[Subject::Customer(customer)]).unwrap();
    assert!(!world.load().unwrap().lookup_user("acme/bo").unwrap().state().active);
    // A new snapshot knows what became of it all.
    world.keeper.write(&world.index, NOW.plus_seconds(1), facts()).unwrap();
    assert_eq!(keys(&world.load().unwrap()), [1, 2, 3, 4, 9]);
    world.keeper.note(&[Subject::Everything]).unwrap();
    assert!(matches!(world.load(), Err(SnapshotError::Damaged { .. })));
    assert_eq!(world.journals().len(), 1, "no journal of an earlier one is left");
}

#[tokio::test]
async fn s80_where_a_new_one_does_not_get_its_name_changes_are_noted_beside_the_one_before() {
    let world = world().await;
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    let nowhere = world.folder.path().join("nowhere");
    assert!(matches!(world.keeper.put_in_place(&nowhere, "next"), Err(SnapshotError::File { .. })));
    world.keeper.note(&[Subject::Key(KeyDigest([1; 32]))]).unwrap();
    assert_eq!(keys(&world.load().unwrap()), [2, 3, 4, 9]);
    world.keeper.write(&world.index, NOW.plus_seconds(1), facts()).unwrap();
    assert_eq!(world.journals().len(), 1);
}

#[tokio::test]
async fn s80_one_that_is_old_of_the_future_cut_off_or_of_other_keys_is_of_no_use() {
    let world = world().await;
    assert!(matches!(world.load(), Err(SnapshotError::Missing(_))));
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    let path = world.path();
    for (age, usable) in [(-1, false), (0, true), (3_599, true), (3_600, false)] {
        let opened = Snapshot::open(&path, NOW.plus_seconds(age), 3_600);
        assert_eq!(opened.is_ok(), usable, "{age} s: {opened:?}");
    }
    let other = KeyRing::fill(|_| Ok::<_, std::convert::Infallible>([99; 32])).unwrap();
    let opened = Snapshot::open(&path, NOW, 3_600).unwrap();
    assert!(matches!(opened.load(&Arc::new(other)), Err(SnapshotError::Damaged { .. })));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(world.load().is_err(), "{length} of {} bytes", whole.len());
    }
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert!(world.load().is_err(), "a bit was turned");
    std::fs::write(&path, whole).unwrap();
    assert!(world.load().is_ok());
    // A journal that is missing, or whose last line was cut off, says that something was changed.
    world.keeper.note(&[Subject::Key(KeyDigest([1; 32]))]).unwrap();
    let journal = world.journals().pop().unwrap();
    let text = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &text[..20]).unwrap();
    assert!(world.load().is_err());
    std::fs::remove_file(&journal).unwrap();
    assert!(world.load().is_err());
}

#[tokio::test]
async fn s80_one_whose_head_or_journal_was_changed_is_of_no_use() {
    let world = world().await;
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    world.keeper.note(&[Subject::Key(KeyDigest([1; 32])), Subject::User(world.alex)]).unwrap();
    let require_each_refused = |path: &Path, parts: &[(&str, &str)]| {
        let whole = std::fs::read(path).unwrap();
        for (part, other) in parts {
            assert_eq!(part.len(), other.len());
            let at = whole.windows(part.len()).position(|found| found == part.as_bytes());
            let at = at.unwrap_or_else(|| panic!("no {part}"));
            let mut changed = whole.clone();
            changed[at..at + part.len()].copy_from_slice(other.as_bytes());
            std::fs::write(path, changed).unwrap();
            let refused = world.load().unwrap_err();
            assert!(matches!(refused, SnapshotError::Damaged { .. }), "{part}: {refused}");
        }
        std::fs::write(path, whole).unwrap();
        assert!(world.load().is_ok());
    };
    require_each_refused(
        &world.path(),
        &[("1800000000000", "1800000001000"), ("example.com", "example.org"), ("[1,1,1]", "[1,1,2]")],
    );
    let user = format!("user {}", world.alex.0);
    let another = format!("user {}", (world.alex.0 + 1) % 10);
    let journal = world.journals().pop().unwrap();
    require_each_refused(&journal, &[(&user, &another), ("key 01", "key 11"), ("key ", "kex ")]);
    // A line of another snapshot's journal is none of this one's.
    let line = std::fs::read_to_string(&journal).unwrap();
    world.keeper.write(&world.index, NOW.plus_seconds(1), facts()).unwrap();
    std::fs::write(world.journals().pop().unwrap(), line).unwrap();
    assert!(matches!(world.load(), Err(SnapshotError::Damaged { .. })));
}

#[tokio::test]
async fn one_of_another_version_is_told_as_such() {
    let world = world().await;
    let head = r#"{"format":1,"id":"00","written_at":1800000000000,"key_ring":[],"relying_party":null}"#;
    std::fs::write(world.path(), format!("{head}\n")).unwrap();
    assert!(matches!(world.load(), Err(SnapshotError::OtherVersion { format: 1, .. })));
    std::fs::write(world.path(), "{\"format\":3,\"more\":true}\n").unwrap();
    let refused = world.load().unwrap_err().to_string();
    assert!(refused.contains("its format is 3, and this version reads 2"), "{refused}");
}

#[tokio::test]
async fn it_is_for_its_owner_only_and_shows_no_digest() {
    use std::os::unix::fs::MetadataExt;
    let world = world().await;
    // What stands where it is written is neither followed nor written into.
    let elsewhere = world.folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "another's").unwrap();
    std::os::unix::fs::symlink(&elsewhere, world.path().with_extension("snapshot.new")).unwrap();
    world.keeper.write(&world.index, NOW, facts()).unwrap();
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "another's");
    assert!(std::fs::symlink_metadata(world.path()).unwrap().is_file());
    world.keeper.note(&[Subject::User(world.alex)]).unwrap();
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("latchkey.snapshot") {
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }
    let bytes = std::fs::read(world.path()).unwrap();
    for secret in [&[1; 32][..], b"acme", b"alex", b"argon2"] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{secret:?}");
    }
}

#[tokio::test]
async fn what_is_used_of_quotas_is_known_where_the_store_is_away() {
    let world = world().await;
    let (of_user, of_key) = (QuotaOwner::User(world.alex), QuotaOwner::Key(KeyId::from_random(1)));
    let mut change = world.store.mutate().await.unwrap();
    change.set_quota(of_user, Some(QuotaTerms::new(Some(5), None).unwrap())).await.unwrap();
    change.set_quota(of_key, Some(QuotaTerms::new(None, Some(2)).unwrap())).await.unwrap();
    change.commit().await.unwrap();
    world.index.resynchronise(&world.store).await.unwrap();
    let moment = QuotaMoment::of(NOW);
    for _ in 0..4 {
        world.index.quotas().take(&[of_user], moment).unwrap();
    }
    world.keeper.write(&world.index, NOW, SnapshotFacts::default()).unwrap();
    let loaded = world.load().unwrap();
    let key = loaded.lookup_key(&KeyDigest([1; 32])).unwrap();
    assert_eq!((key.metering, key.user.state().metering), (Metering::On, Metering::On));
    assert_eq!(key.user.customer().state().metering, Metering::Off);
    let sums = QuotaSums { day: 4, month: 0 };
    assert_eq!(loaded.quotas().used(of_user, moment), Some(sums));
    assert!(loaded.quotas().take(&[of_key, of_user], moment).is_ok());
    assert_eq!(loaded.quotas().take(&[of_key, of_user], moment), Err((of_user, QuotaPeriod::Day)));
}
