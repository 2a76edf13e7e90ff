//! A store that is lost, and what becomes of it where something goes wrong on the way.

use super::*;
use crate::store::tombstones::Tombstone;

#[tokio::test]
async fn s98_where_the_store_is_lost_the_file_beside_it_knows_what_was_deleted() {
    let world = World::new().await;
    let backup = world.back_up().await;
    let mut change = world.store.mutate().await.unwrap();
    change.delete_key(&key(1, world.alex), NOW).await.unwrap();
    change.use_recovery_code(world.alex, &code('a')).await.unwrap();
    change.delete_user(world.bo, NOW).await.unwrap();
    change.commit().await.unwrap();
    world.store.close().await;
    let StoreLocation::Sqlite(path) = world.location() else { panic!() };
    for revival in [Revival::Refused, Revival::Accepted] {
        std::fs::remove_file(&path).unwrap();
        let image = world.image().await;
        let new = NewStore::create(&path).await.unwrap();
        image.put_into(&new.store, order(revival, Present::Lost)).await.unwrap();
        assert!(!path.exists(), "it is not there before it is whole");
        new.publish().await.unwrap();
        image.remove().await;
        let store = Store::open(&world.location()).await.unwrap();
        let lost = World { folder: tempfile::tempdir().unwrap(), store, ..world_ids(&world) };
        let (keys, codes) = (lost.keys().await, lost.codes().await);
        match revival {
            Revival::Refused => {
                assert_eq!(keys, [2, 3, 4]);
                assert_eq!(codes, ["$argon2id$b", "$argon2id$c"]);
                assert!(lost.store.was_deleted(&KeyDigest([1; 32])).await.unwrap());
                assert_eq!(lost.store.audit_end().await.unwrap().sequence, 2);
            }
            Revival::Accepted => {
                assert_eq!((keys, codes.len()), (vec![1, 2, 3, 4, 5], 3));
                lost.store.note_deletions().await.unwrap();
                assert!(tombstones::read(&path).unwrap().is_empty());
            }
        }
        lost.store.close().await;
    }
    let left: Vec<_> = std::fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part") || name.contains(".copy"))
        .collect();
    assert!(left.is_empty() && backup.exists(), "{left:?}");
}

fn world_ids(world: &World) -> World {
    let (acme, alex, bo) = (world.acme, world.alex, world.bo);
    World { folder: tempfile::tempdir().unwrap(), store: world.store.clone(), acme, alex, bo }
}

/// A new store at the place of the world's, which is removed, with what is dead by now revived in it, and no name yet.
async fn revived(world: &World) -> (NewStore, std::path::PathBuf) {
    world.back_up().await;
    let mut change = world.store.mutate().await.unwrap();
    change.delete_key(&key(1, world.alex), NOW).await.unwrap();
    change.commit().await.unwrap();
    world.store.close().await;
    let StoreLocation::Sqlite(path) = world.location() else { panic!() };
    std::fs::remove_file(&path).unwrap();
    let image = world.image().await;
    assert_eq!(image.known_deletions().unwrap(), Some(1));
    let new = NewStore::create(&path).await.unwrap();
    image.put_into(&new.store, order(Revival::Accepted, Present::Lost)).await.unwrap();
    image.remove().await;
    (new, path)
}

#[tokio::test]
async fn s98_what_a_restore_revives_is_dead_until_the_store_is_there() {
    let world = World::new().await;
    let (new, path) = revived(&world).await;
    // Somebody has put a file in the place.
    std::fs::write(&path, "").unwrap();
    new.publish().await.unwrap_err();
    std::fs::remove_file(&path).unwrap();
    let dead = tombstones::read(&path).unwrap();
    assert!(dead.contains(&Tombstone::Key(KeyDigest([1; 32]))), "{dead:?}");
}

#[tokio::test]
async fn a_new_store_whose_log_was_not_folded_into_its_file_does_not_get_its_name() {
    let world = World::new().await;
    let (new, path) = revived(&world).await;
    // Keeps the engine from doing so, as a full disk does.
    let mut holder = new.store.pinned_connection().await.unwrap();
    let mut looking = holder.begin_with("BEGIN").await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut *looking).await.unwrap();
    let refused = new.publish().await.unwrap_err().to_string();
    assert!(refused.contains("the engine's log could not be put into it"), "{refused}");
    assert!(!path.exists());
}
