//! The audit trail's rows: appended in the change that they tell of. Read back in `audit_reading`.
//!
//! Each row's `mac` covers the row and the `mac` before it, so that the trail cannot be changed unnoticed by anybody who
//! holds the store alone. The writer's lock puts the rows in one order, whoever writes. What an event means is `auth`'s.

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Mutation, StoreError};
use crate::crypto::DigestKey;
use crate::model::{CustomerId, KeyDigest, Timestamp, UserId};

/// Where a trail ends: what the next row is chained to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEnd {
    /// The newest row's number; 0 of an empty trail.
    pub sequence: i64,
    /// The newest row's `mac`; zeros of an empty trail.
    pub mac: [u8; 32],
}

impl AuditEnd {
    /// Of a trail without rows.
    pub const EMPTY: Self = Self { sequence: 0, mac: [0; 32] };
}

/// What one row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// Whose trail it belongs to; `None`: nobody's but the operator's.
    pub customer: Option<CustomerId>,
    /// Who did it, for example `operator:root` or `acme/alex`.
    pub actor: String,
    /// The actor's row, where it is a user.
    pub actor_id: Option<UserId>,
    /// Where it was done: `console`, `management`, `command line`, `api`, `isproxy`, `gateway`.
    pub entrance: String,
    /// From which address; empty: from none.
    pub client_ip: String,
    /// The kind of event.
    pub event: String,
    /// What it was done to, by name.
    pub subject: String,
    /// The subject's row, where it is a user.
    pub subject_id: Option<UserId>,
    /// Further facts: a JSON object of texts.
    pub details: String,
}

/// A row as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place: rows are numbered from 1 without gaps.
    pub sequence: i64,
    /// What it tells.
    pub entry: AuditEntry,
    /// Covers the entry, its place, and the row before it.
    pub mac: [u8; 32],
}

impl AuditEntry {
    /// What stands in the row `sequence` after a row with `previous`.
    ///
    /// Every field is preceded by its length, so that nothing can be moved from one to the next.
    pub fn mac(&self, key: &DigestKey, sequence: i64, previous: &[u8; 32]) -> [u8; 32] {
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(previous);
        text.extend_from_slice(&sequence.to_be_bytes());
        text.extend_from_slice(&self.at.unix_milliseconds().to_be_bytes());
        for id in [self.customer.map(|id| id.0), self.actor_id.map(|id| id.0), self.subject_id.map(|id| id.0)]
        {
            text.extend_from_slice(&id.unwrap_or(i64::MIN).to_be_bytes());
        }
        let fields =
            [&self.actor, &self.entrance, &self.client_ip, &self.event, &self.subject, &self.details];
        for field in fields {
            text.extend_from_slice(&(field.len() as u64).to_be_bytes());
            text.extend_from_slice(field.as_bytes());
        }
        let KeyDigest(mac) = key.digest(&text);
        mac
    }
}

impl AuditRow {
    pub(super) fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let mac: &[u8] = row.try_get("mac")?;
        let user = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(UserId));
        Ok(Self {
            sequence: row.try_get("sequence")?,
            entry: AuditEntry {
                at: Timestamp::from_unix_milliseconds(row.try_get("at")?),
                customer: row.try_get::<Option<i64>, _>("customer_id")?.map(CustomerId),
                actor: row.try_get("actor")?,
                actor_id: user("actor_id")?,
                entrance: row.try_get("entrance")?,
                client_ip: row.try_get("client_ip")?,
                event: row.try_get("event")?,
                subject: row.try_get("subject")?,
                subject_id: user("subject_id")?,
                details: row.try_get("details")?,
            },
            // One of another length is no row's; zeros are none either, so that checking the chain names the row.
            mac: mac.try_into().unwrap_or_default(),
        })
    }
}

impl Mutation {
    /// Appends rows to the trail; they become durable with the change.
    pub async fn append_audit(&mut self, entries: &[AuditEntry], key: &DigestKey) -> Result<(), StoreError> {
        append(self.connection(), entries, key).await
    }
}

/// Appends rows within a transaction that holds the writer's lock.
pub(super) async fn append(
    connection: &mut AnyConnection,
    entries: &[AuditEntry],
    key: &DigestKey,
) -> Result<(), StoreError> {
    let AuditEnd { mut sequence, mut mac } = last_row(connection).await?;
    for entry in entries {
        sequence += 1;
        mac = entry.mac(key, sequence, &mac);
        sqlx::query(
            "INSERT INTO audit (sequence, at, customer_id, actor, actor_id, entrance, client_ip, event, subject, \
             subject_id, details, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(sequence)
        .bind(entry.at.unix_milliseconds())
        .bind(entry.customer.map(|id| id.0))
        .bind(&entry.actor)
        .bind(entry.actor_id.map(|id| id.0))
        .bind(&entry.entrance)
        .bind(&entry.client_ip)
        .bind(&entry.event)
        .bind(&entry.subject)
        .bind(entry.subject_id.map(|id| id.0))
        .bind(&entry.details)
        .bind(mac.as_slice())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The number and the `mac` of the newest row.
pub(super) async fn last_row(connection: &mut AnyConnection) -> Result<AuditEnd, StoreError> {
    let row = sqlx::query("SELECT sequence, mac FROM audit ORDER BY sequence DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(AuditEnd::EMPTY) };
    let mac: &[u8] = row.try_get("mac")?;
    let mac = mac.try_into().map_err(|_| StoreError::Corrupt("audit trail"))?;
    Ok(AuditEnd { sequence: row.try_get("sequence")?, mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_unix_milliseconds(1_800_000_000_000),
            customer: Some(CustomerId(1)),
            actor: "acme/alex".into(),
            actor_id: Some(UserId(2)),
            entrance: "console".into(),
            client_ip: "192.0.2.7".into(),
            event: "key.created".into(),
            subject: "acme/alex".into(),
            subject_id: Some(UserId(2)),
            details: "{}".into(),
        }
    }

    #[test]
    fn s100_the_mac_covers_every_field_its_place_and_the_row_before() {
        let key = DigestKey::new([7; 32]);
        let mac = entry().mac(&key, 5, &AuditEnd::EMPTY.mac);
        let others = [
            AuditEntry { at: Timestamp::from_unix_milliseconds(1), ..entry() },
            AuditEntry { customer: None, ..entry() },
            AuditEntry { actor: "acme/ale".into(), entrance: "xconsole".into(), ..entry() },
            AuditEntry { actor_id: Some(UserId(3)), ..entry() },
            AuditEntry { client_ip: String::new(), ..entry() },
            AuditEntry { event: "key.deleted".into(), ..entry() },
            AuditEntry { subject: "acme/admin".into(), ..entry() },
            AuditEntry { subject_id: None, ..entry() },
            AuditEntry { details: "{\"a\":\"b\"}".into(), ..entry() },
        ];
        for other in others {
            assert_ne!(other.mac(&key, 5, &AuditEnd::EMPTY.mac), mac, "{other:?}");
        }
        assert_ne!(entry().mac(&key, 6, &AuditEnd::EMPTY.mac), mac);
        assert_ne!(entry().mac(&key, 5, &mac), mac);
        assert_ne!(entry().mac(&DigestKey::new([8; 32]), 5, &AuditEnd::EMPTY.mac), mac);
        assert_eq!(entry().mac(&key, 5, &AuditEnd::EMPTY.mac), mac);
    }
}
