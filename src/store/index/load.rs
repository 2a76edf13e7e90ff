//! Reading the whole store into a new generation of the index.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};

use super::entry::{CustomerEntry, KeyEntry, UserEntry, UserState};
use super::{DigestBits, Generation, split};
use crate::model::{CustomerId, Revision, UserId};
use crate::store::api_sessions::session_from_row;
use crate::store::records::{CustomerRecord, allow_list, key_from_row, requirement, small_set};
use crate::store::{Store, StoreError, feed};

/// Everything, as it stands at one revision.
pub(super) async fn generation(store: &Store) -> Result<(Generation, Revision), StoreError> {
    let mut transaction = store.readers.begin().await?;
    let revision = feed::head(&mut transaction).await?;
    let keys: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys").fetch_one(&mut *transaction).await?;
    let generation = Generation {
        keys: DashMap::with_capacity_and_hasher(usize::try_from(keys).unwrap_or(0), DigestBits),
        ..Generation::default()
    };
    load_customers(&mut transaction, &generation).await?;
    load_users(&mut transaction, &generation).await?;
    load_keys(&mut transaction, &generation).await?;
    load_sessions(&mut transaction, &generation).await?;
    transaction.rollback().await?;
    Ok((generation, revision))
}

async fn load_customers(connection: &mut SqliteConnection, into: &Generation) -> Result<(), StoreError> {
    let mut rows = sqlx::query("SELECT * FROM visible_customers").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let record = CustomerRecord::from_row(&row)?;
        into.customers.insert(record.id, Arc::new(CustomerEntry::new(&record)));
    }
    Ok(())
}

async fn load_users(connection: &mut SqliteConnection, into: &Generation) -> Result<(), StoreError> {
    // Only what the hot path needs: the full record would double the time of a large load.
    let mut rows = sqlx::query(
        "SELECT id, customer_id, login, active, access_points, \
         CASE WHEN password_ends_at IS NULL AND NOT link_required THEN password_hash END, password_version, password_off_by_key, \
         mfa_forced, mfa_active, allow_list FROM visible_users",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let id = UserId(row.try_get(0)?);
        let customer = into.customers.get(&CustomerId(row.try_get(1)?)).map(|entry| Arc::clone(&entry));
        let customer = customer.ok_or(StoreError::Corrupt("user without a customer"))?;
        let hash: Option<String> = row.try_get(5)?;
        let state = UserState {
            active: row.try_get(3)?,
            access_points: crate::model::AccessPoints::from_stored(small_set(row.try_get(4)?)?),
            password_hash: hash.map(|hash| Arc::new(crate::crypto::PasswordHash::from_stored(hash))),
            password_version: row.try_get(6)?,
            password_off_by_key: row.try_get(7)?,
            mfa: requirement(row.try_get(8)?),
            mfa_active: row.try_get(9)?,
            allow_list: allow_list(row.try_get(10)?)?,
        };
        let entry = Arc::new(UserEntry::new(id, customer, row.try_get(2)?, state));
        into.users_by_name.insert(entry.full_name(), Arc::clone(&entry));
        into.users.insert(id, entry);
    }
    Ok(())
}

async fn load_keys(connection: &mut SqliteConnection, into: &Generation) -> Result<(), StoreError> {
    // Equal lists are read once and shared: thousands of keys tend to have the same one.
    let mut lists = HashMap::new();
    let mut rows = sqlx::query("SELECT * FROM visible_keys").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut record = key_from_row(&row)?;
        if !record.allow_list.is_empty() {
            let written: String = row.try_get("allow_list")?;
            record.allow_list = lists.entry(written).or_insert(record.allow_list).clone();
        }
        let user = into.users.get(&record.user).map(|entry| Arc::clone(&entry));
        let user = user.ok_or(StoreError::Corrupt("key without a user"))?;
        let (place, rest) = split(&record.digest);
        into.keys.insert(place, KeyEntry::new(&record, rest, user));
    }
    Ok(())
}

async fn load_sessions(connection: &mut SqliteConnection, into: &Generation) -> Result<(), StoreError> {
    let mut rows = sqlx::query("SELECT * FROM api_sessions").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        into.put_session(&session_from_row(&row)?)?;
    }
    Ok(())
}
