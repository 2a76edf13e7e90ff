//! Lines on their way into the file beside the store: committed with what they tell of, so that none is ever missed.
//!
//! They go into the file under the writer's lock, in the order of their commits, whichever process made them.

use std::collections::HashSet;
use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Tombstone, Word, append, path_of, read, take};
use crate::store::engine::{Dialect, Kind, rows};
use crate::store::open::Place;
use crate::store::records::digest;
use crate::store::{ROWS_PER_BATCH, Store, StoreError};

/// Puts a line for each of `tombstones` on its way, in the transaction of `connection`, which is the embedded engine's.
pub(in crate::store) async fn put(
    connection: &mut AnyConnection,
    word: Word,
    tombstones: &[Tombstone],
) -> Result<(), StoreError> {
    let insert = format!(
        "{}INSERT INTO unnoted_tombstones (line) SELECT line FROM given ORDER BY place",
        Dialect::Sqlite.given(&[("line", Kind::Text)])
    );
    for batch in tombstones.chunks(ROWS_PER_BATCH) {
        let lines = rows(batch.iter().map(|tombstone| json!([tombstone.line(word)])));
        sqlx::query(AssertSqlSafe(insert.clone())).bind(lines).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Takes every line that is on its way into the file beside the store at `store`, in the transaction of `connection`, which
/// must hold the writer's lock. Where that comes to nothing, they are written twice, which harms nobody.
pub(in crate::store) async fn note(connection: &mut AnyConnection, store: &Path) -> Result<(), StoreError> {
    loop {
        let next: Vec<(i64, String)> =
            sqlx::query_as("SELECT place, line FROM unnoted_tombstones ORDER BY place LIMIT $1")
                .bind(i64::try_from(ROWS_PER_BATCH).unwrap_or(i64::MAX))
                .fetch_all(&mut *connection)
                .await?;
        let Some((last, _)) = next.last() else { return Ok(()) };
        let last = *last;
        let lines: Vec<String> = next.into_iter().map(|(_, line)| line).collect();
        append(store, &lines)?;
        sqlx::query("DELETE FROM unnoted_tombstones WHERE place <= $1")
            .bind(last)
            .execute(&mut *connection)
            .await?;
    }
}

/// What is on its way.
pub(super) async fn unnoted(connection: &mut AnyConnection) -> Result<Vec<(Word, Tombstone)>, StoreError> {
    let lines: Vec<String> = sqlx::query_scalar("SELECT line FROM unnoted_tombstones ORDER BY place")
        .fetch_all(connection)
        .await?;
    Ok(lines.iter().filter_map(|line| Tombstone::parse(line)).collect())
}

/// Puts on its way, in the transaction of `to`, what `store` knows as deleted, whose transaction is `from`: a copy of it
/// has a file of its own.
pub(in crate::store) async fn copy_into(
    to: &mut AnyConnection,
    store: &Store,
    from: &mut AnyConnection,
) -> Result<(), StoreError> {
    let mut dead = HashSet::new();
    if let Place::File(file) = &*store.place {
        dead = read(file.path())?;
        for (word, tombstone) in unnoted(from).await? {
            take(&mut dead, word, tombstone);
        }
    }
    let mut keys = sqlx::query("SELECT digest FROM deleted_keys").fetch(from);
    while let Some(row) = keys.try_next().await? {
        dead.insert(Tombstone::Key(digest(row.try_get("digest")?)?));
    }
    put(to, Word::Deleted, &dead.into_iter().collect::<Vec<_>>()).await
}

impl Store {
    /// Takes what was deleted into the file beside the embedded store, where a commit could not do so.
    pub async fn note_deletions(&self) -> Result<(), StoreError> {
        let Place::File(file) = &*self.place else { return Ok(()) };
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM (SELECT 1 FROM unnoted_tombstones LIMIT 1) AS found")
                .fetch_one(&self.readers)
                .await?;
        if count == 0 {
            return Ok(());
        }
        let mut writing = self.begin_write().await?;
        note(&mut writing, file.path()).await?;
        writing.commit().await?;
        Ok(())
    }

    /// Sees to it that there is a file beside the embedded store, and that it tells all that the store does: of a store that
    /// is lost, one that is missing would tell nothing. A new one knows of the deleted keys alone.
    pub(super) async fn require_noted(&self) -> Result<(), StoreError> {
        let Place::File(file) = &*self.place else { return Ok(()) };
        let is_missing = !path_of(file.path()).exists();
        if is_missing {
            let mut writing = self.begin_write().await?;
            sqlx::query(
                "INSERT INTO unnoted_tombstones (line) SELECT 'key ' || lower(hex(digest)) FROM deleted_keys",
            )
            .execute(&mut *writing)
            .await?;
            writing.commit().await?;
        }
        self.note_deletions().await?;
        if is_missing { append(file.path(), &[]) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::config::StoreLocation;
    use crate::crypto::RecoveryHash;
    use crate::model::{
        AccessPoints, AllowList, ApiKeyRecord, KeyDigest, KeyId, MfaRequirement, Permissions, Timestamp,
        UserId,
    };
    use crate::store::tombstones::Born;
    use crate::store::{NewCustomer, NewUser};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    async fn open(folder: &TempDir) -> (Store, std::path::PathBuf) {
        let path = folder.path().join("latchkey.db");
        (Store::open_or_create(&StoreLocation::Sqlite(path.clone())).await.unwrap(), path)
    }

    fn key(user: UserId) -> ApiKeyRecord {
        ApiKeyRecord {
            id: KeyId::from_random(1),
            user,
            digest: KeyDigest([1; 32]),
            last_characters: "wxyz".into(),
            description: "test".into(),
            scope: "api".parse().unwrap(),
            enabled: true,
            expires_at: None,
            allow_list: AllowList::default(),
            created_at: NOW,
        }
    }

    /// `acme/alex` with a key.
    async fn user_with_key(store: &Store) -> UserId {
        let mut change = store.mutate().await.unwrap();
        let acme =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let alex = NewUser {
            customer: change.insert_customer(&acme).await.unwrap(),
            login: "alex".parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: "en".into(),
            administrator: true,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: None,
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: NOW,
        };
        let alex = change.insert_user(&alex).await.unwrap();
        change.insert_key(&key(alex), "").await.unwrap();
        change.commit().await.unwrap();
        alex
    }

    #[tokio::test]
    async fn s98_a_deletion_that_could_not_be_noted_is_noted_with_the_next_one_and_at_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = open(&folder).await;
        let alex = user_with_key(&store).await;
        let codes = ['a', 'b'].map(|letter| RecoveryHash::from_stored(format!("$argon2id${letter}")));
        let mut change = store.mutate().await.unwrap();
        change.replace_recovery_set(alex, &codes, NOW).await.unwrap();
        change.commit().await.unwrap();
        let [first, second] = [&codes[0], &codes[1]].map(Tombstone::of_code);
        let user = Tombstone::User(Born { id: alex, created_at: NOW.unix_milliseconds() });

        // Nothing can be written to a folder.
        std::fs::create_dir(path_of(&path)).unwrap();
        let mut change = store.mutate().await.unwrap();
        change.use_recovery_code(alex, &codes[0]).await.unwrap();
        change.commit().await.unwrap();
        assert!(store.note_deletions().await.is_err());
        std::fs::remove_dir(path_of(&path)).unwrap();
        let mut change = store.mutate().await.unwrap();
        change.use_recovery_code(alex, &codes[1]).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(read(&path).unwrap(), HashSet::from([first, second]));

        std::fs::rename(path_of(&path), folder.path().join("kept")).unwrap();
        std::fs::create_dir(path_of(&path)).unwrap();
        let mut change = store.mutate().await.unwrap();
        change.delete_user(alex, NOW).await.unwrap();
        change.commit().await.unwrap();
        std::fs::remove_dir(path_of(&path)).unwrap();
        std::fs::rename(folder.path().join("kept"), path_of(&path)).unwrap();
        assert_eq!(read(&path).unwrap(), HashSet::from([first, second]));
        store.close().await;
        let (store, _) = open(&folder).await;
        assert!(store.risen().await.unwrap().users.is_empty());
        let key = Tombstone::Key(KeyDigest([1; 32]));
        assert_eq!(read(&path).unwrap(), HashSet::from([first, second, user, key]));
    }

    #[tokio::test]
    async fn a_file_that_is_missing_is_made_at_a_start_and_knows_of_the_deleted_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = open(&folder).await;
        let alex = user_with_key(&store).await;
        store.risen().await.unwrap();
        assert_eq!(std::fs::metadata(path_of(&path)).unwrap().len(), 0);
        let mut change = store.mutate().await.unwrap();
        change.delete_key(&key(alex), NOW).await.unwrap();
        change.commit().await.unwrap();
        std::fs::remove_file(path_of(&path)).unwrap();
        store.risen().await.unwrap();
        assert_eq!(read(&path).unwrap(), HashSet::from([Tombstone::Key(KeyDigest([1; 32]))]));
    }

    #[tokio::test]
    async fn lines_stand_in_the_order_of_their_commits() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = open(&folder).await;
        let key = [Tombstone::Key(KeyDigest([1; 32]))];
        for (words, is_dead) in
            [([Word::Deleted, Word::Revived], false), ([Word::Revived, Word::Deleted], true)]
        {
            for word in words {
                let mut writing = store.begin_write().await.unwrap();
                put(&mut writing, word, &key).await.unwrap();
                writing.commit().await.unwrap();
            }
            store.note_deletions().await.unwrap();
            assert_eq!(read(&path).unwrap().contains(&key[0]), is_dead);
        }
    }
}
