//! The quotas of customers, users and keys, and what of them is used, which is a sum of `usage`.
//!
//! Judges nothing: at a door the index's counters do (`index::quotas`). Callers: the index, `app`, which looks at what all
//! gateways have written, and the use cases of `auth`.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::usage::UsageHour;
use super::{Mutation, Store, StoreError, Subject};
use crate::model::{CustomerId, KeyId, QuotaMoment, QuotaOwner, QuotaPeriod, QuotaTerms, UserId};

/// Requests that were let in, as all gateways have written them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaSums {
    /// Within a day.
    pub day: u64,
    /// Within a month.
    pub month: u64,
}

impl QuotaSums {
    /// Within a period.
    pub const fn of(self, period: QuotaPeriod) -> u64 {
        match period {
            QuotaPeriod::Day => self.day,
            QuotaPeriod::Month => self.month,
        }
    }
}

impl Store {
    /// The quota of `owner`, if it has one.
    pub async fn quota(&self, owner: QuotaOwner) -> Result<Option<QuotaTerms>, StoreError> {
        of(&mut *self.readers.acquire().await?, owner).await
    }

    /// What is used of every quota in the day and the month of `moment`; who used nothing is left out.
    pub async fn quota_sums(
        &self,
        moment: QuotaMoment,
    ) -> Result<HashMap<QuotaOwner, QuotaSums>, StoreError> {
        let mut all = HashMap::new();
        let look = |owner, sums| {
            all.insert(owner, sums);
        };
        self.each_quota_sum(moment, look).await?;
        Ok(all)
    }

    /// The same, handed to `look` one by one: there may be a million.
    pub async fn each_quota_sum(
        &self,
        moment: QuotaMoment,
        mut look: impl FnMut(QuotaOwner, QuotaSums) + Send,
    ) -> Result<(), StoreError> {
        let [day, month] = QuotaPeriod::ALL.map(|period| Hours::of(moment, period));
        let mut rows = sqlx::query(
            "SELECT q.kind, q.subject_id, \
             CAST(SUM(CASE WHEN s.hour >= $1 AND s.hour < $2 THEN s.requests ELSE 0 END) AS BIGINT) AS in_day, \
             CAST(SUM(s.requests) AS BIGINT) AS in_month \
             FROM quotas q CROSS JOIN usage_sums s WHERE s.kind = q.kind AND s.subject_id = q.subject_id \
             AND s.length = 24 AND s.hour >= $3 AND s.hour < $4 GROUP BY q.kind, q.subject_id",
        )
        .bind(day.first)
        .bind(day.end)
        .bind(month.first)
        .bind(month.end)
        .fetch(&self.readers);
        while let Some(row) = rows.try_next().await? {
            look(owner_from_row(&row)?, sums_from_row(&row)?);
        }
        Ok(())
    }

    /// The requests of `owner`, who need not have a quota, in the day and the month of `moment`.
    pub async fn requests_of(&self, owner: QuotaOwner, moment: QuotaMoment) -> Result<QuotaSums, StoreError> {
        requests_of(&mut *self.readers.acquire().await?, owner, moment).await
    }
}

impl Mutation {
    /// The quota of `owner`, as it stands inside this change.
    pub async fn quota(&mut self, owner: QuotaOwner) -> Result<Option<QuotaTerms>, StoreError> {
        of(self.connection(), owner).await
    }

    /// Gives `owner` a quota in the place of what it had; `None`: takes it away.
    pub async fn set_quota(
        &mut self,
        owner: QuotaOwner,
        terms: Option<QuotaTerms>,
    ) -> Result<(), StoreError> {
        let Some(terms) = terms else {
            delete(self.connection(), owner).await?;
            return self.touch_owner(owner).await;
        };
        let (kind, id) = stored(owner);
        let limit = |period| terms.limit(period).and_then(|limit| i64::try_from(limit.get()).ok());
        // Of another quota it is told anew that most of it is used.
        sqlx::query(
            "INSERT INTO quotas (kind, subject_id, day, month) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (kind, subject_id) DO UPDATE \
             SET day = excluded.day, month = excluded.month, told_day = 0, told_month = 0",
        )
        .bind(kind)
        .bind(id)
        .bind(limit(QuotaPeriod::Day))
        .bind(limit(QuotaPeriod::Month))
        .execute(self.connection())
        .await?;
        self.touch_owner(owner).await
    }

    /// Notes that it is told in this period that most of a quota is used; `false`: another gateway has told it, or the
    /// quota is gone.
    pub async fn claim_quota_telling(
        &mut self,
        owner: QuotaOwner,
        period: QuotaPeriod,
        number: u32,
    ) -> Result<bool, StoreError> {
        let (kind, id) = stored(owner);
        let statement = match period {
            QuotaPeriod::Day => {
                "UPDATE quotas SET told_day = $1 WHERE kind = $2 AND subject_id = $3 AND told_day <> $1 \
                 AND day IS NOT NULL"
            }
            QuotaPeriod::Month => {
                "UPDATE quotas SET told_month = $1 WHERE kind = $2 AND subject_id = $3 AND told_month <> $1 \
                 AND month IS NOT NULL"
            }
        };
        let claimed =
            sqlx::query(statement).bind(i64::from(number)).bind(kind).bind(id).execute(self.connection());
        Ok(claimed.await?.rows_affected() > 0)
    }

    async fn touch_owner(&mut self, owner: QuotaOwner) -> Result<(), StoreError> {
        match owner {
            QuotaOwner::Customer(id) => self.touch(Subject::Customer(id)),
            QuotaOwner::User(id) => self.touch(Subject::User(id)),
            QuotaOwner::Key(id) => {
                if let Some(key) = self.key(id).await? {
                    self.touch(Subject::Key(key.digest));
                }
            }
        }
        Ok(())
    }
}

/// Every quota, for a whole load.
pub(super) async fn all(
    connection: &mut AnyConnection,
) -> Result<HashMap<QuotaOwner, QuotaTerms>, StoreError> {
    sqlx::query("SELECT kind, subject_id, day, month FROM quotas")
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((owner_from_row(row)?, terms_from_row(row)?)))
        .collect()
}

/// The quota of `owner`, if it has one.
pub(super) async fn of(
    connection: &mut AnyConnection,
    owner: QuotaOwner,
) -> Result<Option<QuotaTerms>, StoreError> {
    let (kind, id) = stored(owner);
    sqlx::query("SELECT day, month FROM quotas WHERE kind = $1 AND subject_id = $2")
        .bind(kind)
        .bind(id)
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(terms_from_row)
        .transpose()
}

/// What `owner` used in the day and the month of `moment`.
pub(super) async fn requests_of(
    connection: &mut AnyConnection,
    owner: QuotaOwner,
    moment: QuotaMoment,
) -> Result<QuotaSums, StoreError> {
    let (kind, id) = stored(owner);
    let [day, month] = QuotaPeriod::ALL.map(|period| Hours::of(moment, period));
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(CASE WHEN hour >= $1 AND hour < $2 THEN requests ELSE 0 END), 0) AS BIGINT) AS in_day, \
         CAST(COALESCE(SUM(requests), 0) AS BIGINT) AS in_month FROM usage_sums \
         WHERE kind = $3 AND subject_id = $4 AND length = 24 AND hour >= $5 AND hour < $6",
    )
    .bind(day.first)
    .bind(day.end)
    .bind(kind)
    .bind(id)
    .bind(month.first)
    .bind(month.end)
    .fetch_one(connection)
    .await?;
    sums_from_row(&row)
}

/// Takes the quota of `owner` away, if it has one.
pub(super) async fn delete(connection: &mut AnyConnection, owner: QuotaOwner) -> Result<(), StoreError> {
    let (kind, id) = stored(owner);
    sqlx::query("DELETE FROM quotas WHERE kind = $1 AND subject_id = $2")
        .bind(kind)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// A period, as hours are stored. It has an end: what a clock that was ahead has written is no use of the present.
#[derive(Clone, Copy)]
struct Hours {
    first: i64,
    end: i64,
}

impl Hours {
    fn of(moment: QuotaMoment, period: QuotaPeriod) -> Self {
        Self {
            first: UsageHour::of(moment.starts_at(period)).0,
            end: UsageHour::of(moment.ends_at(period)).0,
        }
    }
}

/// As in the sums of `usage`.
const fn stored(owner: QuotaOwner) -> (&'static str, i64) {
    match owner {
        QuotaOwner::Customer(id) => ("customer", id.0),
        QuotaOwner::User(id) => ("user", id.0),
        QuotaOwner::Key(id) => ("key", id.to_stored()),
    }
}

pub(super) fn owner_from_row(row: &AnyRow) -> Result<QuotaOwner, StoreError> {
    let id = row.try_get("subject_id")?;
    match row.try_get::<&str, _>("kind")? {
        "customer" => Ok(QuotaOwner::Customer(CustomerId(id))),
        "user" => Ok(QuotaOwner::User(UserId(id))),
        "key" => Ok(QuotaOwner::Key(KeyId::from_stored(id))),
        _ => Err(StoreError::Corrupt("kind of quota")),
    }
}

pub(super) fn terms_from_row(row: &AnyRow) -> Result<QuotaTerms, StoreError> {
    let limit = |column| -> Result<Option<u64>, StoreError> {
        let stored: Option<i64> = row.try_get(column)?;
        Ok(stored.map(unsigned))
    };
    QuotaTerms::new(limit("day")?, limit("month")?).map_err(|_| StoreError::Corrupt("quota"))
}

pub(super) fn sums_from_row(row: &AnyRow) -> Result<QuotaSums, StoreError> {
    Ok(QuotaSums { day: unsigned(row.try_get("in_day")?), month: unsigned(row.try_get("in_month")?) })
}

/// A number that is never negative, as the engines keep it.
fn unsigned(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccessPoints, MfaRequirement, Permissions, Recognised, Service, Timestamp};
    use crate::store::testing::CredentialUse;
    use crate::store::{NewCustomer, NewUser};

    /// 2027-01-15T08:00:00Z.
    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    async fn store_with_a_user() -> (tempfile::TempDir, Store, CustomerId, UserId) {
        let (folder, store) = crate::store::testing::empty_store().await;
        let mut change = store.mutate().await.unwrap();
        let customer =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&customer).await.unwrap();
        let user = NewUser {
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
        let user = change.insert_user(&user).await.unwrap();
        change.commit().await.unwrap();
        (folder, store, customer, user)
    }

    fn terms(day: Option<u64>, month: Option<u64>) -> QuotaTerms {
        QuotaTerms::new(day, month).unwrap()
    }

    async fn use_it(store: &Store, user: UserId, at: &str, requests: u64) {
        let made = CredentialUse {
            whose: Recognised::Password(user),
            service: Service::Api,
            hour: UsageHour::of(at.parse().unwrap()),
            requests,
            refusals: 1,
        };
        store.add_uses(&[made]).await;
    }

    #[tokio::test]
    async fn what_is_used_is_what_was_let_in_in_the_present_day_and_month() {
        let (_folder, store, customer, user) = store_with_a_user().await;
        let (of_user, of_customer) = (QuotaOwner::User(user), QuotaOwner::Customer(customer));
        let mut change = store.mutate().await.unwrap();
        change.set_quota(of_user, Some(terms(Some(10), None))).await.unwrap();
        change.set_quota(of_customer, Some(terms(None, Some(1_000)))).await.unwrap();
        change.commit().await.unwrap();
        let sums = async |at: &str| store.quota_sums(QuotaMoment::of(at.parse().unwrap())).await.unwrap();
        assert!(sums("2027-01-15T08:00:00Z").await.is_empty());
        for (at, requests) in
            [("2026-12-31T23:00:00Z", 1_000), ("2027-01-01T00:00:00Z", 100), ("2027-01-15T23:00:00Z", 7)]
        {
            use_it(&store, user, at, requests).await;
        }
        let both = |day, month| {
            let sums = QuotaSums { day, month };
            HashMap::from([(of_user, sums), (of_customer, sums)])
        };
        assert_eq!(sums("2027-01-15T08:00:00Z").await, both(7, 107));
        assert_eq!(sums("2027-01-16T00:00:00Z").await, both(0, 107));
        assert!(sums("2027-02-01T00:00:00Z").await.is_empty());
        let moment = QuotaMoment::of(NOW);
        assert_eq!(store.requests_of(of_user, moment).await.unwrap(), QuotaSums { day: 7, month: 107 });
        let nobody = QuotaOwner::Key(KeyId::from_random(1));
        assert_eq!(store.requests_of(nobody, moment).await.unwrap(), QuotaSums::default());
    }

    #[tokio::test]
    async fn s83_what_a_clock_that_was_ahead_has_written_is_no_use_of_the_present() {
        let (_folder, store, _, user) = store_with_a_user().await;
        let owner = QuotaOwner::User(user);
        let mut change = store.mutate().await.unwrap();
        change.set_quota(owner, Some(terms(Some(10), Some(100)))).await.unwrap();
        change.commit().await.unwrap();
        for (at, requests) in [
            ("2027-01-15T07:00:00Z", 1),
            ("2027-01-16T07:00:00Z", 10),
            ("2027-02-01T00:00:00Z", 100),
            ("2037-01-15T08:00:00Z", 1_000),
        ] {
            use_it(&store, user, at, requests).await;
        }
        let (now, sums) = (QuotaMoment::of(NOW), QuotaSums { day: 1, month: 11 });
        assert_eq!(store.quota_sums(now).await.unwrap(), HashMap::from([(owner, sums)]));
        assert_eq!(store.requests_of(owner, now).await.unwrap(), sums);
    }

    #[tokio::test]
    async fn a_quota_is_replaced_and_goes_with_its_owner() {
        let (_folder, store, customer, user) = store_with_a_user().await;
        let (of_user, of_customer) = (QuotaOwner::User(user), QuotaOwner::Customer(customer));
        let mut change = store.mutate().await.unwrap();
        change.set_quota(of_user, Some(terms(Some(10), Some(20)))).await.unwrap();
        change.set_quota(of_user, Some(terms(None, Some(30)))).await.unwrap();
        change.set_quota(of_customer, Some(terms(Some(5), None))).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(store.quota(of_user).await.unwrap(), Some(terms(None, Some(30))));
        let mut change = store.mutate().await.unwrap();
        change.delete_user(user, NOW).await.unwrap();
        change.delete_customer(customer).await.unwrap();
        change.commit().await.unwrap();
        assert!(all(&mut store.readers.acquire().await.unwrap()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn that_most_is_used_is_told_by_one_and_once_a_period() {
        let (_folder, store, _, user) = store_with_a_user().await;
        let owner = QuotaOwner::User(user);
        let mut change = store.mutate().await.unwrap();
        change.set_quota(owner, Some(terms(Some(10), None))).await.unwrap();
        for (period, number, claimed) in [
            (QuotaPeriod::Day, 7, true),
            (QuotaPeriod::Day, 7, false),
            (QuotaPeriod::Day, 8, true),
            (QuotaPeriod::Month, 1, false),
        ] {
            assert_eq!(change.claim_quota_telling(owner, period, number).await.unwrap(), claimed);
        }
        change.set_quota(owner, Some(terms(Some(20), None))).await.unwrap();
        assert!(change.claim_quota_telling(owner, QuotaPeriod::Day, 8).await.unwrap());
        change.set_quota(owner, None).await.unwrap();
        assert!(!change.claim_quota_telling(owner, QuotaPeriod::Day, 9).await.unwrap());
        change.commit().await.unwrap();
    }
}
