//! What credentials did, by the hour, and from where they were let in last: written in batches, without change rows,
//! and let go after 30 days.
//!
//! Both tables have a bound: hours have one number of rows for all, of which the oldest go first; addresses have ten
//! rows a credential and entrance. Reading is `usage_queries`'. Callers: `app`, which writes what the doors counted, and
//! `auth`.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{Store, StoreError};
use crate::model::{AccessPoint, ClientIp, KeyId, Recognised, Service, Timestamp, UserId};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
pub const USAGE_ROWS_PER_COMMIT: usize = 500;
/// How long usage is kept.
pub const USAGE_KEPT_SECONDS: i64 = 30 * 24 * SECONDS_PER_HOUR;
/// Rows let go at once, from each table.
pub const USAGE_LET_GO_AT_ONCE: u64 = 2_000;
/// Addresses that are kept of a credential at an entrance.
const KEPT_ADDRESSES: i64 = 10;
/// Hours kept at most, some 200 MiB with their index.
const KEPT_ROWS: i64 = 2_000_000;
const SECONDS_PER_HOUR: i64 = 3_600;

/// An hour, counted from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageHour(pub(super) i64);

impl UsageHour {
    /// The hour that holds `at`.
    pub const fn of(at: Timestamp) -> Self {
        Self(at.unix_seconds().div_euclid(SECONDS_PER_HOUR))
    }

    /// The hour so many hours later, or earlier.
    #[must_use]
    pub const fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// Its first moment.
    pub const fn starts_at(self) -> Timestamp {
        Timestamp::from_unix_milliseconds(0).plus_seconds(self.0.saturating_mul(SECONDS_PER_HOUR))
    }
}

/// What one credential did at one door in one hour, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageCount {
    /// Whose credential it was.
    pub whose: Recognised,
    /// At which door.
    pub service: Service,
    /// In which hour.
    pub hour: UsageHour,
    /// Requests that were let in.
    pub requests: u64,
    /// Requests and logins that were refused.
    pub refusals: u64,
}

/// From where a credential was let in, and when it last was from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenAddress {
    /// Whose credential it was.
    pub whose: Recognised,
    /// Where it was let in.
    pub entrance: AccessPoint,
    /// From where.
    pub address: ClientIp,
    /// Exact to about a minute.
    pub at: Timestamp,
}

impl Store {
    /// Adds `counts` to what is known, in one commit; for at most [`USAGE_ROWS_PER_COMMIT`]. A credential that was
    /// deleted meanwhile is left out.
    pub async fn add_usage(&self, counts: &[UsageCount]) -> Result<(), StoreError> {
        if counts.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO usage_hours (kind, subject_id, hour, service, requests, refusals) \
             SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5 \
             FROM json_each(?) j WHERE CASE j.value ->> 0 \
             WHEN 'key' THEN EXISTS (SELECT 1 FROM api_keys WHERE id = j.value ->> 1) \
             ELSE EXISTS (SELECT 1 FROM users WHERE id = j.value ->> 1) END ORDER BY j.key \
             ON CONFLICT (kind, subject_id, hour, service) DO UPDATE \
             SET requests = requests + excluded.requests, refusals = refusals + excluded.refusals",
        )
        .bind(counts.iter().map(count_as_row).collect::<Value>().to_string())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Notes where credentials were let in from, in one commit; for at most [`USAGE_ROWS_PER_COMMIT`]. Of each
    /// credential the ten latest addresses at each entrance stay.
    pub async fn note_addresses(&self, seen: &[SeenAddress]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let rows = seen.iter().map(address_as_row).collect::<Value>().to_string();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO usage_addresses (kind, subject_id, entrance, address, used_at) \
             SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4 \
             FROM json_each(?) j WHERE CASE j.value ->> 0 \
             WHEN 'key' THEN EXISTS (SELECT 1 FROM api_keys WHERE id = j.value ->> 1) \
             ELSE EXISTS (SELECT 1 FROM users WHERE id = j.value ->> 1) END ORDER BY j.key \
             ON CONFLICT (kind, subject_id, entrance, address) DO UPDATE \
             SET used_at = MAX(used_at, excluded.used_at)",
        )
        .bind(&rows)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM usage_addresses WHERE (kind, subject_id, entrance, address) IN ( \
             SELECT kind, subject_id, entrance, address FROM ( \
             SELECT a.kind, a.subject_id, a.entrance, a.address, ROW_NUMBER() OVER ( \
             PARTITION BY a.kind, a.subject_id, a.entrance ORDER BY a.used_at DESC, a.address) AS place \
             FROM (SELECT DISTINCT value ->> 0 AS kind, value ->> 1 AS subject_id, value ->> 2 AS entrance \
             FROM json_each(?)) t CROSS JOIN usage_addresses a \
             ON a.kind = t.kind AND a.subject_id = t.subject_id AND a.entrance = t.entrance) WHERE place > ?)",
        )
        .bind(&rows)
        .bind(KEPT_ADDRESSES)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets go of what is older than 30 days at `now`, and of the oldest hours beyond the bound. Answers how many rows
    /// went, from the table that lost more; at most 2,000 at once.
    pub async fn let_usage_go(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.let_usage_go_beyond(KEPT_ROWS, now).await
    }

    async fn let_usage_go_beyond(&self, kept_rows: i64, now: Timestamp) -> Result<u64, StoreError> {
        let until = now.plus_seconds(-USAGE_KEPT_SECONDS);
        let at_once = i64::try_from(USAGE_LET_GO_AT_ONCE).unwrap_or(i64::MAX);
        let hours = sqlx::query(
            "DELETE FROM usage_hours WHERE number IN (SELECT number FROM usage_hours ORDER BY number LIMIT ?) \
             AND (hour < ? OR number <= (SELECT MAX(number) FROM usage_hours) - ?)",
        )
        .bind(at_once)
        .bind(UsageHour::of(until).0)
        .bind(kept_rows)
        .execute(&self.writer)
        .await?;
        let addresses = sqlx::query(
            "DELETE FROM usage_addresses WHERE (kind, subject_id, entrance, address) IN ( \
             SELECT kind, subject_id, entrance, address FROM usage_addresses \
             WHERE used_at <= ? ORDER BY used_at LIMIT ?)",
        )
        .bind(until.unix_milliseconds())
        .bind(at_once)
        .execute(&self.writer)
        .await?;
        Ok(hours.rows_affected().max(addresses.rows_affected()))
    }
}

/// Lets go of all that a deleted key did.
pub(super) async fn delete_of_key(connection: &mut SqliteConnection, key: KeyId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM usage_hours WHERE kind = 'key' AND subject_id = ?",
        "DELETE FROM usage_addresses WHERE kind = 'key' AND subject_id = ?",
    ] {
        sqlx::query(statement).bind(key.to_stored()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lets go of all that a deleted user's password and sessions did.
pub(super) async fn delete_of_user(
    connection: &mut SqliteConnection,
    user: UserId,
) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM usage_hours WHERE kind IN ('password', 'session') AND subject_id = ?",
        "DELETE FROM usage_addresses WHERE kind IN ('password', 'session') AND subject_id = ?",
    ] {
        sqlx::query(statement).bind(user.0).execute(&mut *connection).await?;
    }
    Ok(())
}

fn count_as_row(count: &UsageCount) -> Value {
    let (kind, id) = stored_subject(count.whose);
    json!([kind, id, count.hour.0, count.service.as_str(), count.requests, count.refusals])
}

fn address_as_row(seen: &SeenAddress) -> Value {
    let (kind, id) = stored_subject(seen.whose);
    let at = seen.at.unix_milliseconds();
    json!([kind, id, stored_entrance(seen.entrance), seen.address.to_string(), at])
}

const fn stored_subject(whose: Recognised) -> (&'static str, i64) {
    match whose {
        Recognised::Key(id) => ("key", id.to_stored()),
        Recognised::Password(id) => ("password", id.0),
        Recognised::Session(id) => ("session", id.0),
    }
}

pub(super) fn subject(kind: &str, id: i64) -> Result<Recognised, StoreError> {
    match kind {
        "key" => Ok(Recognised::Key(KeyId::from_stored(id))),
        "password" => Ok(Recognised::Password(UserId(id))),
        "session" => Ok(Recognised::Session(UserId(id))),
        _ => Err(StoreError::Corrupt("kind of usage")),
    }
}

const fn stored_entrance(entrance: AccessPoint) -> &'static str {
    match entrance {
        AccessPoint::Console => "console",
        AccessPoint::Api => "api",
        AccessPoint::IsProxy => "isproxy",
    }
}

pub(super) fn entrance(stored: &str) -> Result<AccessPoint, StoreError> {
    match stored {
        "console" => Ok(AccessPoint::Console),
        "api" => Ok(AccessPoint::Api),
        "isproxy" => Ok(AccessPoint::IsProxy),
        _ => Err(StoreError::Corrupt("entrance")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AccessPoints, AllowList, ApiKeyRecord, CustomerId, KeyDigest, MfaRequirement, Permissions,
    };
    use crate::store::{HourOfUse, KeyUse, NewCustomer, NewUser};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    struct World {
        _folder: tempfile::TempDir,
        store: Store,
        customer: CustomerId,
        user: UserId,
        key: ApiKeyRecord,
    }

    async fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        let mut change = store.mutate().await.unwrap();
        let customer =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&customer).await.unwrap();
        let owner = NewUser {
            customer,
            login: "alex".parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: None,
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: NOW,
        };
        let user = change.insert_user(&owner).await.unwrap();
        let key = ApiKeyRecord {
            id: KeyId::from_random(u64::MAX),
            user,
            digest: KeyDigest([1; 32]),
            last_characters: "abcd".into(),
            description: "CI".into(),
            scope: "api".parse().unwrap(),
            enabled: true,
            expires_at: None,
            allow_list: AllowList::default(),
            created_at: NOW,
        };
        change.insert_key(&key, "").await.unwrap();
        change.commit().await.unwrap();
        World { _folder: folder, store, customer, user, key }
    }

    fn count(whose: Recognised, service: Service, hour: UsageHour, requests: u64) -> UsageCount {
        UsageCount { whose, service, hour, requests, refusals: 1 }
    }

    fn seen(whose: Recognised, address: &str, seconds: i64) -> SeenAddress {
        let address = ClientIp::new(address.parse().unwrap());
        SeenAddress { whose, entrance: AccessPoint::Api, address, at: NOW.plus_seconds(seconds) }
    }

    fn sums(hours: &[HourOfUse]) -> (usize, u64, u64) {
        let sum = |of: fn(&HourOfUse) -> u64| hours.iter().map(of).sum();
        (hours.len(), sum(|hour| hour.requests), sum(|hour| hour.refusals))
    }

    async fn rows(store: &Store) -> (i64, i64) {
        let hours = sqlx::query_scalar("SELECT COUNT(*) FROM usage_hours").fetch_one(&store.readers);
        let addresses = sqlx::query_scalar("SELECT COUNT(*) FROM usage_addresses").fetch_one(&store.readers);
        (hours.await.unwrap(), addresses.await.unwrap())
    }

    #[test]
    fn an_hour_begins_at_its_full_hour() {
        let hour = UsageHour::of("2027-01-15T08:59:59Z".parse().unwrap());
        assert_eq!(hour.starts_at().to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(hour.plus(-9).starts_at().to_string(), "2027-01-14T23:00:00Z");
        assert_eq!(UsageHour::of(hour.starts_at()), hour);
    }

    #[tokio::test]
    async fn counts_add_up_by_the_hour_and_a_user_has_those_of_its_keys_too() {
        let World { store, customer, user, key, .. } = &world().await;
        let (hour, by_key) = (UsageHour::of(NOW), Recognised::Key(key.id));
        let gone = Recognised::Key(KeyId::from_random(7));
        let counts = [
            count(by_key, Service::Api, hour.plus(-1), 5),
            count(by_key, Service::Api, hour, 10),
            count(by_key, Service::IsProxy, hour, 20),
            count(Recognised::Password(*user), Service::Api, hour, 100),
            count(Recognised::Session(*user), Service::Api, hour, 200),
            count(gone, Service::Api, hour, 1_000),
            count(Recognised::Password(UserId(99)), Service::Api, hour, 1_000),
        ];
        for _ in 0..2 {
            store.add_usage(&counts).await.unwrap();
        }
        assert_eq!(sums(&store.usage_of_key(key.id, hour.plus(-1)).await.unwrap()), (3, 70, 6));
        assert_eq!(sums(&store.usage_of_key(key.id, hour).await.unwrap()), (2, 60, 4));
        assert_eq!(sums(&store.usage_of_user(*user, hour.plus(-1)).await.unwrap()), (3, 670, 10));
        assert_eq!(sums(&store.usage_of_customer(*customer, hour.plus(-1)).await.unwrap()), (3, 670, 10));
        let totals = store.credential_totals(*user, hour.plus(-1)).await.unwrap();
        let of = |whose, service| {
            let total = totals.iter().find(|total| (total.whose, total.service) == (whose, service));
            total.map(|total| total.requests)
        };
        assert_eq!(of(by_key, Service::Api), Some(30));
        assert_eq!(of(Recognised::Session(*user), Service::Api), Some(400));
        assert_eq!(totals.len(), 4);
    }

    #[tokio::test]
    async fn ten_addresses_of_a_credential_stay_the_latest_first() {
        let World { store, user, key, .. } = &world().await;
        let (by_key, by_password) = (Recognised::Key(key.id), Recognised::Password(*user));
        let many: Vec<_> = (0..15).map(|n| seen(by_key, &format!("192.0.2.{n}"), n)).collect();
        store.note_addresses(&many).await.unwrap();
        store.note_addresses(&[seen(by_key, "192.0.2.7", 60), seen(by_key, "192.0.2.7", 50)]).await.unwrap();
        store.note_addresses(&[seen(by_password, "2001:db8::1", 30)]).await.unwrap();
        let kept = store.addresses_of_key(key.id, NOW.plus_seconds(-1)).await.unwrap();
        let ends: Vec<_> = kept.iter().map(|seen| seen.address.to_string()).collect();
        assert_eq!((ends.len(), ends[0].as_str(), ends[1].as_str()), (10, "192.0.2.7", "192.0.2.14"));
        assert_eq!(kept[0].at, NOW.plus_seconds(60));
        let all = store.addresses_of_user(*user, NOW.plus_seconds(-1)).await.unwrap();
        assert_eq!((all.len(), all[1].whose, all[1].entrance), (11, by_password, AccessPoint::Api));
        assert_eq!(store.addresses_of_user(*user, NOW.plus_seconds(40)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_user_was_last_seen_with_the_latest_of_all_its_credentials() {
        let World { store, user, key, .. } = &world().await;
        let last =
            async || store.last_seen([*user, UserId(99)].into_iter()).await.unwrap().get(user).copied();
        assert_eq!(last().await, None);
        store.note_addresses(&[seen(Recognised::Session(*user), "192.0.2.1", 5)]).await.unwrap();
        assert_eq!(last().await, Some(NOW.plus_seconds(5)));
        let client_ip = ClientIp::new("192.0.2.1".parse().unwrap());
        let used = KeyUse { key: key.id, at: NOW.plus_seconds(9), service: Service::Api, client_ip };
        store.note_key_uses(&[used]).await.unwrap();
        assert_eq!(last().await, Some(NOW.plus_seconds(9)));
    }

    #[tokio::test]
    async fn what_is_30_days_old_goes_and_what_is_beyond_the_bound_the_oldest_first() {
        let World { store, user, .. } = &world().await;
        let (hour, whose) = (UsageHour::of(NOW), Recognised::Password(*user));
        let counts: Vec<_> = (-722..=0).map(|n| count(whose, Service::Api, hour.plus(n), 1)).collect();
        for batch in counts.chunks(USAGE_ROWS_PER_COMMIT) {
            store.add_usage(batch).await.unwrap();
        }
        let old = [seen(whose, "192.0.2.1", -USAGE_KEPT_SECONDS), seen(whose, "192.0.2.2", 0)];
        store.note_addresses(&old).await.unwrap();
        assert_eq!(store.let_usage_go(NOW).await.unwrap(), 2);
        assert_eq!(rows(store).await, (721, 1));
        assert_eq!(store.let_usage_go(NOW).await.unwrap(), 0);
        assert_eq!(store.let_usage_go_beyond(100, NOW).await.unwrap(), 621);
        assert_eq!(sums(&store.usage_of_user(*user, hour.plus(-99)).await.unwrap()).0, 100);
    }

    #[tokio::test]
    async fn what_a_key_or_a_user_did_goes_with_it() {
        let World { store, user, key, .. } = &world().await;
        let hour = UsageHour::of(NOW);
        let credentials = [Recognised::Key(key.id), Recognised::Password(*user), Recognised::Session(*user)];
        for whose in credentials {
            store.add_usage(&[count(whose, Service::Api, hour, 1)]).await.unwrap();
            store.note_addresses(&[seen(whose, "192.0.2.1", 0)]).await.unwrap();
        }
        assert_eq!(rows(store).await, (3, 3));
        let mut change = store.mutate().await.unwrap();
        change.delete_key(key, NOW).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(rows(store).await, (2, 2));
        let mut change = store.mutate().await.unwrap();
        change.delete_user(*user, NOW).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(rows(store).await, (0, 0));
    }
}
