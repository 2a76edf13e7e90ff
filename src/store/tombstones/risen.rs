//! What lives in the embedded store although the file beside it says that it was deleted: the store was put back by hand.
//!
//! The file is read line by line, and looked up in batches: it grows for ever, and nearly all of it is dead indeed. Called by
//! `auth::risen`, where a gateway is started.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::outbox::unnoted;
use super::{Born, Tombstone, Word, checksum_of, lines};
use crate::crypto::RecoveryHash;
use crate::model::{ApiKeyRecord, CustomerId, KeyDigest, UserId};
use crate::store::engine::{Kind, rows};
use crate::store::open::Place;
use crate::store::{DigestOrigin, ROWS_PER_BATCH, Store, StoreError};

/// What lives although it was deleted.
#[derive(Clone, Debug, Default)]
pub struct Risen {
    /// Customers.
    pub customers: Vec<CustomerId>,
    /// Users, those of the customers among them.
    pub users: Vec<UserId>,
    /// Keys, those of the users among them.
    pub keys: Vec<ApiKeyRecord>,
    /// Recovery codes, with their user; those of the users are not among them.
    pub codes: Vec<(UserId, RecoveryHash)>,
}

/// A file that is being read.
#[derive(Debug, Default)]
struct Reading {
    /// Said to be dead, and not looked up yet.
    next: HashSet<Tombstone>,
    /// Said to be dead, and alive.
    risen: HashSet<Tombstone>,
    /// Checksums of dead codes, which the engine cannot make.
    codes: HashSet<[u8; 32]>,
    /// The highest numbers that anybody had.
    highest_user: i64,
    highest_customer: i64,
}

impl Reading {
    fn take(&mut self, word: Word, tombstone: Tombstone) {
        match tombstone {
            Tombstone::User(born) => self.highest_user = self.highest_user.max(born.id.0),
            Tombstone::Customer(born) => self.highest_customer = self.highest_customer.max(born.id.0),
            Tombstone::Key(_) | Tombstone::RecoveryCode(_) => {}
        }
        match (word, tombstone) {
            (Word::Deleted, Tombstone::RecoveryCode(code)) => {
                self.codes.insert(code);
            }
            (Word::Revived, Tombstone::RecoveryCode(code)) => {
                self.codes.remove(&code);
            }
            (Word::Deleted, _) => {
                self.next.insert(tombstone);
            }
            (Word::Revived, _) => {
                self.next.remove(&tombstone);
                self.risen.remove(&tombstone);
            }
        }
    }
}

impl Store {
    /// What lives although it was deleted; beside that, adds to the file what it has missed. Nothing in a shared database.
    pub async fn risen(&self) -> Result<Risen, StoreError> {
        let Place::File(file) = &*self.place else { return Ok(Risen::default()) };
        // A full disk keeps no gateway from being started.
        if let Err(error) = self.require_noted().await {
            tracing::warn!(%error, "deletions could not be noted for a restore yet");
        }
        let mut reading = Reading::default();
        for line in lines(file.path())? {
            let (word, tombstone) = line?;
            reading.take(word, tombstone);
            if reading.next.len() >= ROWS_PER_BATCH {
                self.look_up(&mut reading).await?;
            }
        }
        for (word, tombstone) in unnoted(&mut *self.readers.acquire().await?).await? {
            reading.take(word, tombstone);
        }
        self.look_up(&mut reading).await?;
        self.skip_numbers("users", reading.highest_user).await?;
        self.skip_numbers("customers", reading.highest_customer).await?;
        let mut risen = Risen { codes: self.codes_among(&reading.codes).await?, ..Risen::default() };
        for tombstone in reading.risen {
            match tombstone {
                Tombstone::Key(digest) => risen.keys.extend(self.key_by_digest(&digest).await?),
                Tombstone::User(Born { id, .. }) => risen.users.push(id),
                Tombstone::Customer(Born { id, .. }) => risen.customers.push(id),
                Tombstone::RecoveryCode(_) => {}
            }
        }
        risen.customers.sort_unstable();
        risen.users.sort_unstable();
        risen.keys.sort_unstable_by_key(|key| key.id.to_stored());
        Ok(risen)
    }

    /// Sees to it that `table` gives out no number again that somebody had who was deleted, as one that was put back by hand
    /// would: the audit trail and the file name them by it.
    async fn skip_numbers(&self, table: &'static str, highest: i64) -> Result<(), StoreError> {
        let given_out: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1")
            .bind(table)
            .fetch_optional(&self.readers)
            .await?;
        if given_out.unwrap_or(0) >= highest {
            return Ok(());
        }
        let mut writing = self.begin_write().await?;
        sqlx::query(
            "INSERT INTO sqlite_sequence (name, seq) SELECT $1, 0 \
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = $1)",
        )
        .bind(table)
        .execute(&mut *writing)
        .await?;
        sqlx::query("UPDATE sqlite_sequence SET seq = MAX(seq, $2) WHERE name = $1")
            .bind(table)
            .bind(highest)
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(())
    }

    /// Which of the next lines tell of what lives.
    async fn look_up(&self, reading: &mut Reading) -> Result<(), StoreError> {
        let (mut keys, mut users, mut customers) = (Vec::new(), Vec::new(), Vec::new());
        for tombstone in reading.next.drain() {
            match tombstone {
                Tombstone::Key(digest) => keys.push(digest),
                Tombstone::User(born) => users.push(born),
                Tombstone::Customer(born) => customers.push(born),
                Tombstone::RecoveryCode(_) => {}
            }
        }
        reading.risen.extend(self.keys_that_exist(&keys).await?.into_iter().map(Tombstone::Key));
        let numbers = users.iter().map(|born| (born.id.0, born.created_at));
        for (id, created_at) in self.rows_that_exist("visible_users", numbers).await? {
            reading.risen.insert(Tombstone::User(Born { id: UserId(id), created_at }));
        }
        let numbers = customers.iter().map(|born| (born.id.0, born.created_at));
        for (id, created_at) in self.rows_that_exist("visible_customers", numbers).await? {
            reading.risen.insert(Tombstone::Customer(Born { id: CustomerId(id), created_at }));
        }
        Ok(())
    }

    async fn keys_that_exist(&self, digests: &[KeyDigest]) -> Result<Vec<KeyDigest>, StoreError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.known_digests(digests).await?.into_iter();
        let existing = known.filter(|(_, origin)| *origin == DigestOrigin::Exists);
        Ok(existing.filter_map(|(place, _)| digests.get(place).copied()).collect())
    }

    /// The rows of `view` that have one of these numbers, and were made when it says.
    async fn rows_that_exist(
        &self,
        view: &str,
        born: impl ExactSizeIterator<Item = (i64, i64)>,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        if born.len() == 0 {
            return Ok(Vec::new());
        }
        let statement = format!(
            "{}SELECT v.id, v.created_at FROM given g JOIN {view} v ON v.id = g.id AND v.created_at = g.made_at",
            self.dialect().given(&[("id", Kind::Integer), ("made_at", Kind::Integer)])
        );
        let born = rows(born.map(|(id, created_at)| json!([id, created_at])));
        let found = sqlx::query(AssertSqlSafe(statement)).bind(born).fetch_all(&self.readers).await?;
        found.iter().map(|row| Ok((row.try_get("id")?, row.try_get("created_at")?))).collect()
    }

    /// The codes that are good, and whose checksums are among `dead`.
    async fn codes_among(&self, dead: &HashSet<[u8; 32]>) -> Result<Vec<(UserId, RecoveryHash)>, StoreError> {
        let mut found = Vec::new();
        if dead.is_empty() {
            return Ok(found);
        }
        let mut codes = sqlx::query("SELECT user_id, hash FROM recovery_codes").fetch(&self.readers);
        while let Some(row) = codes.try_next().await? {
            let hash = RecoveryHash::from_stored(row.try_get("hash")?);
            if dead.contains(&checksum_of(&hash)) {
                found.push((UserId(row.try_get("user_id")?), hash));
            }
        }
        Ok(found)
    }
}
