//! What credentials did, and from where they were let in last: written in batches, without change rows, and let go
//! after 30 days.
//!
//! Whatever a page tells is a sum that is kept: of each credential, user and customer by the hour for two days, and by
//! the day for 30, so that no page adds up what thousands of keys did. Both tables have a bound: sums have one number of
//! rows for all, of which the oldest hours go first, then the oldest days, and none that a quota is reckoned by; addresses
//! have ten rows a credential and entrance. Reading is `usage_queries`'. Callers: `app`, which writes what the doors counted, and `auth`.

use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use super::engine::{Dialect, Kind, rows};
use super::{Store, StoreError};
use crate::model::{
    AccessPoint, ClientIp, CustomerId, KeyId, QuotaMoment, QuotaOwner, QuotaPeriod, Recognised, Service,
    Timestamp, UserId,
};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
pub const USAGE_ROWS_PER_COMMIT: usize = 500;
/// How long usage is kept.
pub const USAGE_KEPT_SECONDS: i64 = 30 * 24 * SECONDS_PER_HOUR;
/// Rows let go at once, from each table.
pub const USAGE_LET_GO_AT_ONCE: u64 = 2_000;
/// Addresses that are kept of a credential at an entrance.
const KEPT_ADDRESSES: i64 = 10;
/// How long hours are kept; days are for as long as everything.
const HOURS_KEPT: i64 = 48;
/// Sums kept at most, some 200 MiB with their index.
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

/// Whose sums a count goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageSubject {
    /// Those of all that a customer's users did.
    Customer(CustomerId),
    /// Those of all that a user's credentials did.
    User(UserId),
    /// A credential's own.
    Credential(Recognised),
}

/// What was done at one door in one hour, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageCount {
    /// Whose sums it goes into, and no others.
    pub whose: UsageSubject,
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
    /// Adds `counts` to the sums, in one commit; for at most [`USAGE_ROWS_PER_COMMIT`]. Who was deleted meanwhile is left
    /// out, and for nobody else: what a deleted key did is its user's use all the same.
    pub async fn add_usage(&self, counts: &[UsageCount]) -> Result<(), StoreError> {
        if counts.is_empty() {
            return Ok(());
        }
        let statement = format!(
            "{}, lengths (length) AS (VALUES (1), (24)) \
             INSERT INTO usage_sums (kind, subject_id, length, hour, service, requests, refusals) \
             SELECT kind, subject_id, length, hour - hour % length, service, SUM(requests), SUM(refusals) \
             FROM given g CROSS JOIN lengths WHERE CASE kind \
             WHEN 'key' THEN EXISTS (SELECT 1 FROM api_keys k WHERE k.id = g.subject_id) \
             WHEN 'customer' THEN EXISTS (SELECT 1 FROM customers c WHERE c.id = g.subject_id) \
             ELSE EXISTS (SELECT 1 FROM users u WHERE u.id = g.subject_id) END \
             GROUP BY kind, subject_id, length, hour - hour % length, service \
             ON CONFLICT (kind, subject_id, length, hour, service) DO UPDATE \
             SET requests = usage_sums.requests + excluded.requests, \
             refusals = usage_sums.refusals + excluded.refusals",
            self.dialect().given(&[
                ("kind", Kind::Text),
                ("subject_id", Kind::Integer),
                ("hour", Kind::Integer),
                ("service", Kind::Text),
                ("requests", Kind::Integer),
                ("refusals", Kind::Integer),
            ])
        );
        let given = rows(counts.iter().map(count_as_row));
        self.keep_book(sqlx::query(AssertSqlSafe(statement)).bind(given)).await?;
        Ok(())
    }

    /// Notes where credentials were let in from, in one commit; for at most [`USAGE_ROWS_PER_COMMIT`]. Of each
    /// credential the ten latest addresses at each entrance stay.
    pub async fn note_addresses(&self, seen: &[SeenAddress]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let given = self.dialect().given(&[
            ("kind", Kind::Text),
            ("subject_id", Kind::Integer),
            ("entrance", Kind::Text),
            ("address", Kind::Text),
            ("used_at", Kind::Integer),
        ]);
        let rows = rows(seen.iter().map(address_as_row));
        let insert = format!(
            "{given}INSERT INTO usage_addresses (kind, subject_id, entrance, address, used_at) \
             SELECT kind, subject_id, entrance, address, MAX(used_at) FROM given g WHERE CASE kind \
             WHEN 'key' THEN EXISTS (SELECT 1 FROM api_keys k WHERE k.id = g.subject_id) \
             ELSE EXISTS (SELECT 1 FROM users u WHERE u.id = g.subject_id) END \
             GROUP BY kind, subject_id, entrance, address \
             ON CONFLICT (kind, subject_id, entrance, address) DO UPDATE \
             SET used_at = CASE WHEN usage_addresses.used_at > excluded.used_at THEN usage_addresses.used_at \
             ELSE excluded.used_at END"
        );
        let trim = format!(
            "{given}DELETE FROM usage_addresses WHERE (kind, subject_id, entrance, address) IN ( \
             SELECT kind, subject_id, entrance, address FROM ( \
             SELECT a.kind, a.subject_id, a.entrance, a.address, ROW_NUMBER() OVER ( \
             PARTITION BY a.kind, a.subject_id, a.entrance ORDER BY a.used_at DESC, a.address) AS place \
             FROM (SELECT DISTINCT kind, subject_id, entrance FROM given) t CROSS JOIN usage_addresses a \
             WHERE a.kind = t.kind AND a.subject_id = t.subject_id AND a.entrance = t.entrance) placed \
             WHERE place > $2)"
        );
        self.in_time(async {
            let mut transaction = self.begin_bookkeeping().await?;
            sqlx::query(AssertSqlSafe(insert)).bind(&rows).execute(&mut *transaction).await?;
            sqlx::query(AssertSqlSafe(trim))
                .bind(&rows)
                .bind(KEPT_ADDRESSES)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Lets go of days that are older than 30 at `now`, of hours that are older than 48, and of the oldest sums beyond the
    /// bound, but for the days of this month of whoever has a quota. Answers how many rows went, from whichever lost most;
    /// at most 2,000 of each at once.
    pub async fn let_usage_go(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.in_time(self.let_usage_go_beyond(KEPT_ROWS, now)).await
    }

    async fn let_usage_go_beyond(&self, kept_rows: i64, now: Timestamp) -> Result<u64, StoreError> {
        let until = now.plus_seconds(-USAGE_KEPT_SECONDS);
        let at_once = i64::try_from(USAGE_LET_GO_AT_ONCE).unwrap_or(i64::MAX);
        let hour = UsageHour::of(now);
        let too_old = async |length, before: UsageHour| {
            let gone = sqlx::query(
                "DELETE FROM usage_sums WHERE (kind, subject_id, length, hour, service) IN ( \
                 SELECT kind, subject_id, length, hour, service FROM usage_sums \
                 WHERE length = $1 AND hour < $2 ORDER BY hour LIMIT $3)",
            )
            .bind(length)
            .bind(before.0)
            .bind(at_once);
            self.keep_book(gone).await
        };
        let hours = too_old(1, hour.plus(-HOURS_KEPT)).await?;
        // A day goes when its last hour is too old.
        let days = too_old(24, UsageHour::of(until).plus(-23)).await?;
        let kept: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM usage_sums").fetch_one(&self.readers).await?;
        let beyond = sqlx::query(
            "DELETE FROM usage_sums WHERE (kind, subject_id, length, hour, service) IN ( \
             SELECT kind, subject_id, length, hour, service FROM usage_sums s WHERE NOT (length = 24 AND hour >= $1 \
             AND EXISTS (SELECT 1 FROM quotas q WHERE q.kind = s.kind AND q.subject_id = s.subject_id)) \
             ORDER BY length, hour LIMIT $2)",
        )
        .bind(UsageHour::of(QuotaMoment::of(now).starts_at(QuotaPeriod::Month)).0)
        .bind(kept.saturating_sub(kept_rows).clamp(0, at_once));
        let beyond = self.keep_book(beyond).await?;
        let addresses = sqlx::query(
            "DELETE FROM usage_addresses WHERE (kind, subject_id, entrance, address) IN ( \
             SELECT kind, subject_id, entrance, address FROM usage_addresses \
             WHERE used_at <= $1 ORDER BY used_at LIMIT $2)",
        )
        .bind(until.unix_milliseconds())
        .bind(at_once);
        let addresses = self.keep_book(addresses).await?;
        // Bookkeeping had them in hand when their keys were deleted.
        let left_over = sqlx::query(
            "DELETE FROM key_last_used WHERE key_id IN (SELECT d.key_id FROM deleted_keys d \
             JOIN key_last_used l ON l.key_id = d.key_id ORDER BY d.key_id LIMIT $1)",
        )
        .bind(at_once);
        let left_over = self.keep_book(left_over).await?;
        Ok(hours.max(days).max(beyond).max(addresses).max(left_over))
    }
}

/// Lets go of all that a deleted key did, but for its part in its user's sums; what bookkeeping has in hand goes by its age, or
/// with [`Store::let_usage_go`].
pub(super) async fn delete_of_key(connection: &mut AnyConnection, key: KeyId) -> Result<(), StoreError> {
    let last_used = "key_last_used WHERE key_id = $1";
    let tables = [("key_id", last_used), (SUM, SUMS_OF_KEY), (ADDRESS, ADDRESSES_OF_KEY)];
    delete_what_is_at_rest(connection, &tables, key.to_stored()).await
}

/// Lets go of all that a deleted user did, but for its part in its customer's sums; likewise.
pub(super) async fn delete_of_user(connection: &mut AnyConnection, user: UserId) -> Result<(), StoreError> {
    delete_what_is_at_rest(connection, &[(SUM, SUMS_OF_USER), (ADDRESS, ADDRESSES_OF_USER)], user.0).await
}

/// The primary keys, and the rows of one key or user.
const SUM: &str = "kind, subject_id, length, hour, service";
const ADDRESS: &str = "kind, subject_id, entrance, address";
const SUMS_OF_KEY: &str = "usage_sums WHERE kind = 'key' AND subject_id = $1";
const ADDRESSES_OF_KEY: &str = "usage_addresses WHERE kind = 'key' AND subject_id = $1";
const SUMS_OF_USER: &str = "usage_sums WHERE kind IN ('password', 'session', 'user') AND subject_id = $1";
const ADDRESSES_OF_USER: &str = "usage_addresses WHERE kind IN ('password', 'session') AND subject_id = $1";

async fn delete_what_is_at_rest(
    connection: &mut AnyConnection,
    tables: &[(&str, &str)],
    subject: i64,
) -> Result<(), StoreError> {
    let but_those_in_hand = Dialect::of(connection).but_those_in_hand();
    for (primary_key, rows) in tables {
        let table = rows.split(' ').next().unwrap_or_default();
        let statement = format!(
            "DELETE FROM {table} WHERE ({primary_key}) IN (SELECT {primary_key} FROM {rows}{but_those_in_hand})"
        );
        sqlx::query(AssertSqlSafe(statement)).bind(subject).execute(&mut *connection).await?;
    }
    Ok(())
}

impl UsageSubject {
    /// Whose quota counts it, if there is one.
    pub const fn quota_owner(self) -> Option<QuotaOwner> {
        match self {
            Self::Customer(id) => Some(QuotaOwner::Customer(id)),
            Self::User(id) => Some(QuotaOwner::User(id)),
            Self::Credential(Recognised::Key(id)) => Some(QuotaOwner::Key(id)),
            Self::Credential(Recognised::Password(_) | Recognised::Session(_)) => None,
        }
    }

    /// Where its rows stand in the store: what is written in this order touches each page of it once.
    pub const fn place(self) -> (&'static str, i64) {
        match self {
            Self::Customer(id) => ("customer", id.0),
            Self::User(id) => ("user", id.0),
            Self::Credential(whose) => stored_subject(whose),
        }
    }
}

fn count_as_row(count: &UsageCount) -> Value {
    let (kind, id) = count.whose.place();
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
        AccessPoints, AllowList, ApiKeyRecord, KeyDigest, MfaRequirement, Permissions, QuotaTerms,
    };
    use crate::store::testing::CredentialUse;
    use crate::store::{KeyUse, NewCustomer, NewUser, UsageLength, UsageOf, UsageSum};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    struct World {
        _folder: tempfile::TempDir,
        store: Store,
        customer: CustomerId,
        user: UserId,
        key: ApiKeyRecord,
    }

    async fn world() -> World {
        let (folder, store) = crate::store::testing::empty_store().await;
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

    fn used(whose: Recognised, service: Service, hour: UsageHour, requests: u64) -> CredentialUse {
        CredentialUse { whose, service, hour, requests, refusals: 1 }
    }

    fn seen(whose: Recognised, address: &str, seconds: i64) -> SeenAddress {
        let address = ClientIp::new(address.parse().unwrap());
        SeenAddress { whose, entrance: AccessPoint::Api, address, at: NOW.plus_seconds(seconds) }
    }

    /// How many sums there are since `since`, and the requests and refusals of them all.
    async fn done(store: &Store, whose: UsageOf, length: UsageLength, since: UsageHour) -> (usize, u64, u64) {
        let sums = store.usage(whose, length, since..UsageHour(i64::MAX)).await.unwrap();
        let all = |of: fn(&UsageSum) -> u64| sums.iter().map(of).sum();
        (sums.len(), all(|sum| sum.requests), all(|sum| sum.refusals))
    }

    async fn rows(store: &Store) -> (i64, i64) {
        let sums = sqlx::query_scalar("SELECT COUNT(*) FROM usage_sums").fetch_one(&store.readers);
        let addresses = sqlx::query_scalar("SELECT COUNT(*) FROM usage_addresses").fetch_one(&store.readers);
        (sums.await.unwrap(), addresses.await.unwrap())
    }

    #[test]
    fn an_hour_begins_at_its_full_hour() {
        let hour = UsageHour::of("2027-01-15T08:59:59Z".parse().unwrap());
        assert_eq!(hour.starts_at().to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(hour.plus(-9).starts_at().to_string(), "2027-01-14T23:00:00Z");
        assert_eq!(UsageHour::of(hour.starts_at()), hour);
    }

    #[tokio::test]
    async fn counts_add_up_by_hour_and_day_and_a_user_and_a_customer_have_those_of_their_credentials() {
        let World { store, customer, user, key, .. } = &world().await;
        let (hour, by_key) = (UsageHour::of(NOW), Recognised::Key(key.id));
        let gone = Recognised::Key(KeyId::from_random(7));
        let uses = [
            used(by_key, Service::Api, hour.plus(-1), 5),
            used(by_key, Service::Api, hour, 10),
            used(by_key, Service::IsProxy, hour, 20),
            used(Recognised::Password(*user), Service::Api, hour, 100),
            used(Recognised::Session(*user), Service::Api, hour, 200),
            used(gone, Service::Api, hour, 1_000),
            used(Recognised::Password(UserId(99)), Service::Api, hour, 1_000),
        ];
        for _ in 0..2 {
            store.add_uses(&uses).await;
        }
        let day = hour.plus(-8);
        let (of_key, of_user) = (UsageOf::Key(key.id), UsageOf::User(*user));
        assert_eq!(done(store, of_key, UsageLength::Hour, hour.plus(-1)).await, (3, 70, 6));
        assert_eq!(done(store, of_key, UsageLength::Hour, hour).await, (2, 60, 4));
        assert_eq!(done(store, of_key, UsageLength::Day, day).await, (2, 70, 6));
        for whose in [of_user, UsageOf::Customer(*customer)] {
            assert_eq!(done(store, whose, UsageLength::Hour, hour.plus(-1)).await, (3, 670, 10));
            assert_eq!(done(store, whose, UsageLength::Day, day).await, (2, 670, 10));
        }
        for length in [UsageLength::Hour, UsageLength::Day] {
            let busiest = store.busiest_users(*customer, length, day..hour.plus(1), 5).await.unwrap();
            assert_eq!(busiest, [("alex".parse().unwrap(), 670, 10)]);
        }
        let totals = store.credential_totals(*user, day..hour).await.unwrap();
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
    async fn what_is_too_old_goes_and_beyond_the_bound_the_oldest_hours_first_but_no_day_of_a_quota() {
        let World { store, user, .. } = &world().await;
        let (hour, whose) = (UsageHour::of(NOW), Recognised::Password(*user));
        let uses: Vec<_> = (-760..=0).map(|n| used(whose, Service::Api, hour.plus(n), 1)).collect();
        store.add_uses(&uses).await;
        let old = [seen(whose, "192.0.2.1", -USAGE_KEPT_SECONDS), seen(whose, "192.0.2.2", 0)];
        store.note_addresses(&old).await.unwrap();
        // 712 hours, each of the password, the user and the customer.
        assert_eq!(store.let_usage_go(NOW).await.unwrap(), USAGE_LET_GO_AT_ONCE);
        assert_eq!(store.let_usage_go(NOW).await.unwrap(), 712 * 3 - USAGE_LET_GO_AT_ONCE);
        assert_eq!(store.let_usage_go(NOW).await.unwrap(), 0);
        let of_user = UsageOf::User(*user);
        assert_eq!(done(store, of_user, UsageLength::Hour, hour.plus(-999)).await, (49, 49, 49));
        // The last 30 days, of which the first began before: from the 16th on.
        assert_eq!(done(store, of_user, UsageLength::Day, hour.plus(-999)).await, (31, 729, 729));
        assert_eq!(rows(store).await, ((49 + 31) * 3, 1));
        assert_eq!(store.let_usage_go_beyond(100, NOW).await.unwrap(), 140);
        assert_eq!(done(store, of_user, UsageLength::Hour, hour.plus(-2)).await.0, 3);
        assert_eq!(done(store, of_user, UsageLength::Day, hour.plus(-999)).await.0, 31);
        let mut change = store.mutate().await.unwrap();
        let terms = QuotaTerms::new(None, Some(1_000)).unwrap();
        change.set_quota(QuotaOwner::User(*user), Some(terms)).await.unwrap();
        change.commit().await.unwrap();
        // The 15 days of January that its quota of the month is reckoned by.
        assert_eq!(store.let_usage_go_beyond(0, NOW).await.unwrap(), 85);
        assert_eq!(rows(store).await.0, 15);
        assert_eq!(done(store, of_user, UsageLength::Day, hour.plus(-999)).await.0, 15);
        assert_eq!(store.let_usage_go_beyond(0, NOW).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_key_or_a_user_did_goes_with_it() {
        let World { store, customer, user, key, .. } = &world().await;
        let hour = UsageHour::of(NOW);
        let credentials = [Recognised::Key(key.id), Recognised::Password(*user), Recognised::Session(*user)];
        for whose in credentials {
            store.add_uses(&[used(whose, Service::Api, hour, 1)]).await;
            store.note_addresses(&[seen(whose, "192.0.2.1", 0)]).await.unwrap();
        }
        // By hour and day: of each, of the user and of the customer.
        assert_eq!(rows(store).await, (10, 3));
        let mut change = store.mutate().await.unwrap();
        change.delete_key(key, NOW).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(rows(store).await, (8, 2));
        let mut change = store.mutate().await.unwrap();
        change.delete_user(*user, NOW).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(rows(store).await, (2, 0));
        // What was not written by then is its customer's all the same.
        let subjects = [
            UsageSubject::Credential(Recognised::Password(*user)),
            UsageSubject::User(*user),
            UsageSubject::Customer(*customer),
        ];
        let late = |whose| UsageCount { whose, service: Service::Api, hour, requests: 5, refusals: 0 };
        store.add_usage(&subjects.map(late)).await.unwrap();
        assert_eq!(rows(store).await, (2, 0));
        let of_customer = UsageOf::Customer(*customer);
        assert_eq!(done(store, of_customer, UsageLength::Hour, hour).await, (1, 8, 3));
    }
}
