//! Lists of quotas with what is used of each, in one statement: of everybody, of one customer, or of one of its users.
//!
//! What one customer's list costs depends on that customer alone: its users and keys are found by index, and the quota and
//! the sums of each by theirs. Called by the use cases of `auth`.

use sqlx::Row;
use sqlx::any::AnyRow;
use sqlx::query::Query;

use super::quotas::{QuotaSums, owner_from_row, sums_from_row, terms_from_row};
use super::usage::UsageHour;
use super::{Store, StoreError};
use crate::model::{CustomerId, QuotaMoment, QuotaOwner, QuotaPeriod, QuotaTerms, UserId};

/// A quota, whose it is, and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedQuota {
    /// Whose it is.
    pub owner: QuotaOwner,
    /// The customer's handle.
    pub customer: String,
    /// The login name of the user, or of the key's user; `None` for a customer.
    pub login: Option<String>,
    /// What the key is for; `None`: it is no key's.
    pub description: Option<String>,
    /// How much may be used.
    pub terms: QuotaTerms,
    /// What is used of it.
    pub sums: QuotaSums,
}

/// A part of a list of quotas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedQuotas {
    /// By customer and login name, the customer's own first, then a user's, then those of the user's keys.
    pub quotas: Vec<ListedQuota>,
    /// How many there are in all; unknown, and 0, where the part lies beyond the end.
    pub matching: usize,
}

/// Whose quotas are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotasOf {
    /// All.
    Everybody,
    /// A customer's, and those of its users and their keys.
    Customer(CustomerId),
    /// A customer's, and those of one of its users and its keys.
    User(CustomerId, UserId),
}

/// A part of the quotas that `$whose` selects, with their sums. `$1` to `$4` are the first hours of the day, of the next day,
/// of the month and of the next month, `$5` says how many are wanted, `$6` how many are left out before them.
macro_rules! part_of {
    ($whose:expr) => {
        concat!(
            "SELECT l.kind, l.subject_id, l.day, l.month, l.handle, l.login, l.description, l.matching, \
             CAST(COALESCE((SELECT SUM(s.requests) FROM usage_sums s WHERE s.kind = l.kind \
             AND s.subject_id = l.subject_id AND s.length = 24 AND s.hour >= $1 AND s.hour < $2), 0) AS BIGINT) AS in_day, \
             CAST(COALESCE((SELECT SUM(s.requests) FROM usage_sums s WHERE s.kind = l.kind \
             AND s.subject_id = l.subject_id AND s.length = 24 AND s.hour >= $3 AND s.hour < $4), 0) AS BIGINT) AS in_month \
             FROM (SELECT w.*, COUNT(*) OVER () AS matching FROM (",
            $whose,
            ") w ORDER BY w.handle, w.login, w.place, w.subject_id LIMIT $5 OFFSET $6) l \
             ORDER BY l.handle, l.login, l.place, l.subject_id"
        )
    };
}

/// Everybody's, found by the quotas themselves.
const OF_EVERYBODY: &str = part_of!(
    "SELECT CASE q.kind WHEN 'key' THEN 1 ELSE 0 END AS place, q.kind, q.subject_id, q.day, q.month, c.handle, \
     COALESCE(u.login, '') AS login, COALESCE(k.description, '') AS description FROM quotas q \
     LEFT JOIN visible_keys k ON q.kind = 'key' AND k.id = q.subject_id \
     LEFT JOIN visible_users u \
     ON u.id = CASE q.kind WHEN 'key' THEN k.user_id WHEN 'user' THEN q.subject_id END \
     JOIN visible_customers c \
     ON c.id = CASE q.kind WHEN 'customer' THEN q.subject_id ELSE u.customer_id END"
);

/// Those of the customer `$7`, of its users as far as `$users` selects them, and of their keys. `CROSS JOIN` keeps the embedded
/// engine from beginning with everybody's quotas.
macro_rules! within_customer {
    ($users:literal) => {
        concat!(
            "SELECT 0 AS place, q.kind, q.subject_id, q.day, q.month, c.handle, '' AS login, '' AS description \
             FROM visible_customers c CROSS JOIN quotas q \
             WHERE c.id = $7 AND q.kind = 'customer' AND q.subject_id = c.id \
             UNION ALL SELECT 0, q.kind, q.subject_id, q.day, q.month, c.handle, u.login, '' \
             FROM visible_customers c CROSS JOIN visible_users u CROSS JOIN quotas q \
             WHERE c.id = $7 AND u.customer_id = c.id",
            $users,
            " AND q.kind = 'user' AND q.subject_id = u.id \
             UNION ALL SELECT 1, q.kind, q.subject_id, q.day, q.month, c.handle, u.login, k.description \
             FROM visible_customers c CROSS JOIN visible_users u CROSS JOIN visible_keys k CROSS JOIN quotas q \
             WHERE c.id = $7 AND u.customer_id = c.id",
            $users,
            " AND k.user_id = u.id AND q.kind = 'key' AND q.subject_id = k.id"
        )
    };
}

const OF_CUSTOMER: &str = part_of!(within_customer!(""));
const OF_USER: &str = part_of!(within_customer!(" AND u.id = $8"));

impl Store {
    /// All quotas `among` those that there are, with what is used in the day and the month of `moment`.
    pub async fn quotas(&self, among: QuotasOf, moment: QuotaMoment) -> Result<Vec<ListedQuota>, StoreError> {
        Ok(self.list_quotas(among, (0, u32::MAX), moment).await?.quotas)
    }

    /// At most `limit` of the quotas `among` those that there are, behind the first `offset`.
    pub async fn list_quotas(
        &self,
        among: QuotasOf,
        (offset, limit): (u32, u32),
        moment: QuotaMoment,
    ) -> Result<ListedQuotas, StoreError> {
        let (statement, whose) = match among {
            QuotasOf::Everybody => (OF_EVERYBODY, vec![]),
            QuotasOf::Customer(customer) => (OF_CUSTOMER, vec![customer.0]),
            QuotasOf::User(customer, user) => (OF_USER, vec![customer.0, user.0]),
        };
        let bounds = QuotaPeriod::ALL.map(|period| [moment.starts_at(period), moment.ends_at(period)]);
        let hours = bounds.into_iter().flatten().map(|bound| UsageHour::of(bound).0);
        let numbers = hours.chain([i64::from(limit), i64::from(offset)]).chain(whose);
        let query = numbers.fold(sqlx::query(statement), Query::bind);
        let rows = query.fetch_all(&self.readers).await?;
        let matching: i64 = rows.first().map_or(Ok(0), |row| row.try_get("matching"))?;
        Ok(ListedQuotas {
            quotas: rows.iter().map(ListedQuota::from_row).collect::<Result<_, _>>()?,
            matching: usize::try_from(matching).map_err(|_| StoreError::Corrupt("count"))?,
        })
    }
}

impl ListedQuota {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let owner = owner_from_row(row)?;
        let text = |column: &str| -> Result<String, StoreError> { Ok(row.try_get(column)?) };
        let (login, description) = (text("login")?, text("description")?);
        Ok(Self {
            owner,
            customer: text("handle")?,
            login: (!matches!(owner, QuotaOwner::Customer(_))).then_some(login),
            description: matches!(owner, QuotaOwner::Key(_)).then_some(description),
            terms: terms_from_row(row)?,
            sums: sums_from_row(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::config::StoreLocation;
    use crate::model::{
        AccessPoints, AllowList, ApiKeyRecord, KeyDigest, KeyId, MfaRequirement, Permissions, Timestamp,
    };
    use crate::store::{NewCustomer, NewUser};

    /// 2027-01-15T08:00:00Z.
    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn key(number: u8, user: UserId) -> ApiKeyRecord {
        ApiKeyRecord {
            id: KeyId::from_random(u64::from(number)),
            user,
            digest: KeyDigest([number; 32]),
            last_characters: "abcd".into(),
            description: format!("key {number}"),
            scope: "api".parse().unwrap(),
            enabled: true,
            expires_at: None,
            allow_list: AllowList::default(),
            created_at: NOW,
        }
    }

    /// A customer with a quota, with two users that have one, of whom the first has two keys that have one.
    async fn add_customer(store: &Store, handle: &str, first_key: u8) -> (CustomerId, [UserId; 2]) {
        let terms = QuotaTerms::new(Some(10), None).ok();
        let mut change = store.mutate().await.unwrap();
        let customer =
            NewCustomer { handle: handle.parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&customer).await.unwrap();
        change.set_quota(QuotaOwner::Customer(customer), terms).await.unwrap();
        let mut users = Vec::new();
        for login in ["alex", "kim"] {
            let user = NewUser {
                customer,
                login: login.parse().unwrap(),
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
            change.set_quota(QuotaOwner::User(user), terms).await.unwrap();
            users.push(user);
        }
        for number in [first_key, first_key + 1] {
            let key = key(number, users[0]);
            change.insert_key(&key, "").await.unwrap();
            change.set_quota(QuotaOwner::Key(key.id), terms).await.unwrap();
        }
        change.commit().await.unwrap();
        (customer, [users[0], users[1]])
    }

    #[tokio::test]
    async fn each_sees_the_own_with_what_is_used_and_a_list_is_cut_into_parts() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (acme, [alex, kim]) = add_customer(&store, "acme", 1).await;
        let (beta, _) = add_customer(&store, "beta", 11).await;
        let moment = QuotaMoment::of(NOW);
        for (kind, id, at, requests) in [
            ("key", key(1, alex).id.to_stored(), "2027-01-15T00:00:00Z", 3_i64),
            ("user", alex.0, "2027-01-15T00:00:00Z", 3),
            ("user", kim.0, "2026-12-31T00:00:00Z", 50),
            ("user", kim.0, "2027-01-02T00:00:00Z", 4),
            ("user", kim.0, "2027-02-01T00:00:00Z", 60),
            ("customer", acme.0, "2027-01-02T00:00:00Z", 4),
            ("customer", acme.0, "2027-01-15T00:00:00Z", 3),
            ("customer", acme.0, "2027-01-16T00:00:00Z", 70),
        ] {
            sqlx::query("INSERT INTO usage_sums VALUES ($1, $2, 24, $3, 'api', $4, 1)")
                .bind(kind)
                .bind(id)
                .bind(UsageHour::of(at.parse().unwrap()).0)
                .bind(requests)
                .execute(&store.writer)
                .await
                .unwrap();
        }
        let told = |listed: &[ListedQuota]| -> Vec<_> {
            let text = |quota: &ListedQuota| {
                let ListedQuota { customer, login, description, sums, .. } = quota;
                let (login, description) = (login.as_deref(), description.as_deref());
                let names = [Some(customer.as_str()), login, description];
                let names: Vec<&str> = names.into_iter().flatten().collect();
                format!("{} {}/{}", names.join(" "), sums.day, sums.month)
            };
            listed.iter().map(text).collect()
        };
        let of_acme = store.quotas(QuotasOf::Customer(acme), moment).await.unwrap();
        let lines =
            ["acme 3/77", "acme alex 3/3", "acme alex key 1 3/3", "acme alex key 2 0/0", "acme kim 0/4"];
        assert_eq!(told(&of_acme), lines);
        let of_alex = store.quotas(QuotasOf::User(acme, alex), moment).await.unwrap();
        assert_eq!(told(&of_alex), lines[..4]);
        let of_kim = store.quotas(QuotasOf::User(acme, kim), moment).await.unwrap();
        assert_eq!(told(&of_kim), [lines[0], lines[4]]);
        assert_eq!(store.quotas(QuotasOf::User(beta, kim), moment).await.unwrap().len(), 1);
        assert!(store.quotas(QuotasOf::Customer(CustomerId(beta.0 + 1)), moment).await.unwrap().is_empty());
        let all = store.quotas(QuotasOf::Everybody, moment).await.unwrap();
        assert_eq!((told(&all[..5]), all.len()), (told(&of_acme), 10));
        let part = async |offset| {
            let part = store.list_quotas(QuotasOf::Customer(acme), (offset, 2), moment).await.unwrap();
            (told(&part.quotas), part.matching)
        };
        assert_eq!(part(2).await, (told(&of_acme[2..4]), 5));
        assert_eq!(part(4).await, (told(&of_acme[4..]), 5));
        assert_eq!(part(5).await, (vec![], 0));
    }

    #[tokio::test]
    async fn the_quotas_of_one_customer_are_found_without_walking_over_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let location = StoreLocation::Sqlite(folder.path().join("data/latchkey.db"));
        let store = Store::open_or_create(&location).await.unwrap();
        for (statement, ids) in [(OF_CUSTOMER, 7), (OF_USER, 8)] {
            let query = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let query = (0..ids).fold(query, |query, _| query.bind(1_i64));
            for row in query.fetch_all(&store.readers).await.unwrap() {
                let step: String = row.try_get("detail").unwrap();
                // What was found is walked over, and no table.
                let walks_over_found = ["SCAN l", "SCAN w", "SCAN (subquery"];
                let is_found = walks_over_found.iter().any(|found| step.starts_with(found));
                assert!(!step.starts_with("SCAN") || is_found, "{step}");
            }
        }
    }
}
