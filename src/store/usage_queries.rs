//! Reading what credentials did; nothing here changes anything.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::engine::{Kind, rows};
use super::usage::{self, SeenAddress, UsageHour};
use super::{Store, StoreError};
use crate::model::{ClientIp, CustomerId, KeyId, Login, Recognised, Service, Timestamp, UserId};

/// Of whom sums are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageOf {
    /// One key.
    Key(KeyId),
    /// A user: its password, its sessions, and all keys that it had.
    User(UserId),
    /// A customer: all users that it had.
    Customer(CustomerId),
}

/// The time that a sum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageLength {
    /// Sums of an hour each; they reach back two days.
    Hour,
    /// Sums of a day each; they reach back 30.
    Day,
}

/// What was done at one door in one hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSum {
    /// The hour, or the first one of the day.
    pub hour: UsageHour,
    /// The door.
    pub service: Service,
    /// Requests that were let in.
    pub requests: u64,
    /// Requests and logins that were refused.
    pub refusals: u64,
}

/// What one credential did at one door, in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialTotal {
    /// Whose credential it is.
    pub whose: Recognised,
    /// The door.
    pub service: Service,
    /// Requests that were let in.
    pub requests: u64,
    /// Requests and logins that were refused.
    pub refusals: u64,
}

impl Store {
    /// What `whose` did in the hours of `within`, by the hour or by the day, oldest first.
    pub async fn usage(
        &self,
        whose: UsageOf,
        length: UsageLength,
        within: Range<UsageHour>,
    ) -> Result<Vec<UsageSum>, StoreError> {
        let (kind, id) = match whose {
            UsageOf::Key(id) => ("key", id.to_stored()),
            UsageOf::User(id) => ("user", id.0),
            UsageOf::Customer(id) => ("customer", id.0),
        };
        sqlx::query(
            "SELECT hour, service, requests, refusals FROM usage_sums \
             WHERE kind = $1 AND subject_id = $2 AND length = $3 AND hour >= $4 AND hour < $5 \
             ORDER BY hour, service",
        )
        .bind(kind)
        .bind(id)
        .bind(length.hours())
        .bind(within.start.0)
        .bind(within.end.0)
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| sum_from_row(row, UsageHour(row.try_get("hour")?)))
        .collect()
    }

    /// The present users of a customer who did most in the hours of `within`, by sums of `length`, with their requests
    /// and refusals; those that did nothing are left out.
    pub async fn busiest_users(
        &self,
        customer: CustomerId,
        length: UsageLength,
        within: Range<UsageHour>,
        count: u32,
    ) -> Result<Vec<(Login, u64, u64)>, StoreError> {
        sqlx::query(
            "SELECT u.login, CAST(SUM(s.requests) AS BIGINT) AS requests, CAST(SUM(s.refusals) AS BIGINT) AS refusals \
             FROM visible_users u CROSS JOIN usage_sums s \
             WHERE s.kind = 'user' AND s.subject_id = u.id AND s.length = $1 AND s.hour >= $2 AND s.hour < $3 \
             AND u.customer_id = $4 GROUP BY u.id, u.login \
             ORDER BY SUM(s.requests) + SUM(s.refusals) DESC, u.login LIMIT $5",
        )
        .bind(length.hours())
        .bind(within.start.0)
        .bind(within.end.0)
        .bind(customer.0)
        .bind(i64::from(count))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            let login = row.try_get::<String, _>("login")?.parse();
            let figure = |name| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0));
            Ok((login.map_err(|_| StoreError::Corrupt("login"))?, figure("requests")?, figure("refusals")?))
        })
        .collect()
    }

    /// What each credential that a user has did in the days of `within`; those that did nothing are left out.
    pub async fn credential_totals(
        &self,
        user: UserId,
        within: Range<UsageHour>,
    ) -> Result<Vec<CredentialTotal>, StoreError> {
        sqlx::query(
            "SELECT kind, subject_id, service, CAST(SUM(requests) AS BIGINT) AS requests, \
             CAST(SUM(refusals) AS BIGINT) AS refusals FROM ( \
             SELECT kind, subject_id, service, requests, refusals FROM usage_sums \
             WHERE kind IN ('password', 'session') AND subject_id = $1 AND length = 24 AND hour >= $2 \
             AND hour < $3 \
             UNION ALL \
             SELECT s.kind, s.subject_id, s.service, s.requests, s.refusals FROM visible_keys k \
             CROSS JOIN usage_sums s WHERE s.kind = 'key' AND s.subject_id = k.id AND s.length = 24 AND s.hour >= $2 \
             AND s.hour < $3 \
             AND k.user_id = $1) done GROUP BY kind, subject_id, service ORDER BY kind, subject_id, service",
        )
        .bind(user.0)
        .bind(within.start.0)
        .bind(within.end.0)
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            let UsageSum { service, requests, refusals, .. } = sum_from_row(row, UsageHour(0))?;
            let whose = usage::subject(row.try_get("kind")?, row.try_get("subject_id")?)?;
            Ok(CredentialTotal { whose, service, requests, refusals })
        })
        .collect()
    }

    /// From where a key was let in since `since`, newest first; ten addresses an entrance.
    pub async fn addresses_of_key(
        &self,
        key: KeyId,
        since: Timestamp,
    ) -> Result<Vec<SeenAddress>, StoreError> {
        sqlx::query(
            "SELECT * FROM usage_addresses WHERE kind = 'key' AND subject_id = $1 AND used_at > $2 \
             ORDER BY used_at DESC, address",
        )
        .bind(key.to_stored())
        .bind(since.unix_milliseconds())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(address_from_row)
        .collect()
    }

    /// From where a user's password, sessions and present keys were let in since `since`, newest first; ten addresses
    /// a credential and entrance.
    pub async fn addresses_of_user(
        &self,
        user: UserId,
        since: Timestamp,
    ) -> Result<Vec<SeenAddress>, StoreError> {
        sqlx::query(
            "SELECT * FROM (SELECT a.* FROM usage_addresses a \
             WHERE a.kind IN ('password', 'session') AND a.subject_id = $1 AND a.used_at > $2 \
             UNION ALL \
             SELECT a.* FROM visible_keys k CROSS JOIN usage_addresses a \
             WHERE a.kind = 'key' AND a.subject_id = k.id AND a.used_at > $2 AND k.user_id = $1) seen \
             ORDER BY used_at DESC, address",
        )
        .bind(user.0)
        .bind(since.unix_milliseconds())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(address_from_row)
        .collect()
    }

    /// When each of `users` last came in with whatever it was, in one query; who did not is left out.
    pub async fn last_seen(
        &self,
        users: impl Iterator<Item = UserId>,
    ) -> Result<HashMap<UserId, Timestamp>, StoreError> {
        let statement = format!(
            "{}SELECT user_id, MAX(at) AS at FROM ( \
             SELECT a.subject_id AS user_id, a.used_at AS at FROM given g CROSS JOIN usage_addresses a \
             WHERE a.kind IN ('password', 'session') AND a.subject_id = g.id \
             UNION ALL \
             SELECT k.user_id, l.used_at FROM given g CROSS JOIN visible_keys k CROSS JOIN key_last_used l \
             WHERE k.user_id = g.id AND l.key_id = k.id) seen GROUP BY user_id",
            self.dialect().given(&[("id", Kind::Integer)])
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(users.map(|user| json!([user.0]))))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| {
                let at = Timestamp::from_unix_milliseconds(row.try_get("at")?);
                Ok((UserId(row.try_get("user_id")?), at))
            })
            .collect()
    }
}

impl UsageLength {
    const fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
        }
    }
}

fn sum_from_row(row: &AnyRow, hour: UsageHour) -> Result<UsageSum, StoreError> {
    let count = |column| {
        let stored: i64 = row.try_get(column)?;
        u64::try_from(stored).map_err(|_| StoreError::Corrupt("count"))
    };
    Ok(UsageSum {
        hour,
        service: row.try_get::<&str, _>("service")?.parse().map_err(|_| StoreError::Corrupt("service"))?,
        requests: count("requests")?,
        refusals: count("refusals")?,
    })
}

fn address_from_row(row: &AnyRow) -> Result<SeenAddress, StoreError> {
    let address = row.try_get::<&str, _>("address")?.parse().map_err(|_| StoreError::Corrupt("address"))?;
    Ok(SeenAddress {
        whose: usage::subject(row.try_get("kind")?, row.try_get("subject_id")?)?,
        entrance: usage::entrance(row.try_get("entrance")?)?,
        address: ClientIp::new(address),
        at: Timestamp::from_unix_milliseconds(row.try_get("used_at")?),
    })
}
