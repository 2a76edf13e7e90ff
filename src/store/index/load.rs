//! Reading the whole store into a new generation of the index.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::AnyConnection;
use sqlx::{Connection, Row};

use super::Generation;
use super::entry::UserState;
use super::quotas::Metering;
use crate::model::{CustomerId, QuotaOwner, QuotaTerms, UserId};
use crate::store::api_sessions::session_from_row;
use crate::store::feed::{self, Position};
use crate::store::records::{CustomerRecord, allow_list, flag, key_from_row, requirement, small_set};
use crate::store::{Store, StoreError, quotas};

/// Everything, as it stands at one revision, and all quotas.
pub(super) async fn generation(
    store: &Store,
) -> Result<(Generation, HashMap<QuotaOwner, QuotaTerms>, Position), StoreError> {
    // A connection of its own: a reader would keep the pages that it saw, and nobody asks for them again.
    let mut connection = store.pinned_connection().await?;
    let mut transaction = connection.begin_with(store.dialect().begin_read()).await?;
    let position = feed::position(&mut transaction).await?;
    // Counted first, so that the tables are made as large as they must be.
    let (keys, users, customers): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM api_keys), (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM customers)",
    )
    .fetch_one(&mut *transaction)
    .await?;
    let room = |rows| usize::try_from(rows).unwrap_or(0);
    let generation = Generation::with_room(room(keys), room(users), room(customers))?;
    let quotas = quotas::all(&mut transaction).await?;
    load_customers(&mut transaction, &generation, &quotas).await?;
    load_users(&mut transaction, &generation, &quotas).await?;
    load_keys(&mut transaction, &generation, &quotas).await?;
    load_sessions(&mut transaction, &generation).await?;
    transaction.rollback().await?;
    connection.close().await?;
    Ok((generation, quotas, position))
}

fn metering(quotas: &HashMap<QuotaOwner, QuotaTerms>, owner: QuotaOwner) -> Metering {
    if quotas.contains_key(&owner) { Metering::On } else { Metering::Off }
}

async fn load_customers(
    connection: &mut AnyConnection,
    into: &Generation,
    quotas: &HashMap<QuotaOwner, QuotaTerms>,
) -> Result<(), StoreError> {
    let mut rows = sqlx::query("SELECT * FROM visible_customers").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let record = CustomerRecord::from_row(&row)?;
        into.put_customer(&record, metering(quotas, QuotaOwner::Customer(record.id)));
    }
    Ok(())
}

async fn load_users(
    connection: &mut AnyConnection,
    into: &Generation,
    quotas: &HashMap<QuotaOwner, QuotaTerms>,
) -> Result<(), StoreError> {
    // Only what the hot path needs: the full record would double the time of a large load.
    let mut rows = sqlx::query(
        "SELECT id, customer_id, login, active, access_points, \
         CASE WHEN password_ends_at IS NULL AND NOT link_required THEN password_hash END, password_version, password_off_by_key, \
         mfa_forced, mfa_active, allow_list FROM visible_users",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let id = UserId(row.try_get(0)?);
        let hash: Option<String> = row.try_get(5)?;
        let state = UserState {
            active: flag(&row, 3)?,
            access_points: crate::model::AccessPoints::from_stored(small_set(row.try_get(4)?)?),
            password_hash: hash.map(|hash| Arc::new(crate::crypto::PasswordHash::from_stored(hash))),
            password_version: row.try_get(6)?,
            password_off_by_key: flag(&row, 7)?,
            mfa: requirement(flag(&row, 8)?),
            mfa_active: flag(&row, 9)?,
            allow_list: allow_list(row.try_get(10)?)?,
            metering: metering(quotas, QuotaOwner::User(id)),
        };
        into.add_user(id, CustomerId(row.try_get(1)?), row.try_get(2)?, into.shared_state(state))?;
    }
    Ok(())
}

async fn load_keys(
    connection: &mut AnyConnection,
    into: &Generation,
    quotas: &HashMap<QuotaOwner, QuotaTerms>,
) -> Result<(), StoreError> {
    // Equal lists are read once and shared: thousands of keys tend to have the same one.
    let mut lists = HashMap::new();
    let mut rows = sqlx::query("SELECT * FROM visible_keys").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut record = key_from_row(&row)?;
        if !record.allow_list.is_empty() {
            let written: String = row.try_get("allow_list")?;
            record.allow_list = lists.entry(written).or_insert(record.allow_list).clone();
        }
        into.put_key(&record, metering(quotas, QuotaOwner::Key(record.id)))?;
    }
    Ok(())
}

async fn load_sessions(connection: &mut AnyConnection, into: &Generation) -> Result<(), StoreError> {
    let mut rows = sqlx::query("SELECT * FROM api_sessions").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        into.put_session(&session_from_row(&row)?)?;
    }
    Ok(())
}
