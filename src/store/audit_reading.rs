//! Reading the audit trail: by filters, from either end, and its newest row. Who may see what is `auth`'s.

use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::any::{AnyArguments, AnyRow};

use super::audit::{AuditEnd, AuditRow, last_row};
use super::engine::{Kind, rows};
use super::{Store, StoreError};
use crate::model::{CustomerId, Timestamp, UserId};

/// Which rows of the trail are wanted.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// Only what was done by, or to, whoever has this name in the trail.
    pub name: Option<String>,
    /// Only this kind of event.
    pub event: Option<String>,
    /// Only events that are, or are not, among these.
    pub among: Option<(Vec<&'static str>, Among)>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before, and not at.
    pub until: Option<Timestamp>,
    /// Only rows behind this one.
    pub after: i64,
    /// Only rows before this one.
    pub before: i64,
}

/// Are the events named, or all the others?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those that are named.
    These,
    /// Those that are not.
    Others,
}

impl Default for AuditFilter {
    /// Every row.
    fn default() -> Self {
        Self {
            customer: None,
            name: None,
            event: None,
            among: None,
            since: None,
            until: None,
            after: i64::MIN,
            before: i64::MAX,
        }
    }
}

type Query = sqlx::query::Query<'static, sqlx::Any, AnyArguments>;

impl Store {
    /// At most `count` rows, newest first.
    pub async fn newest_audit_rows(
        &self,
        filter: &AuditFilter,
        count: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.audit_rows_of(self.filtered(filter, "ORDER BY sequence DESC LIMIT $10", count)).await
    }

    /// At most `count` rows, oldest first.
    pub async fn oldest_audit_rows(
        &self,
        filter: &AuditFilter,
        count: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.audit_rows_of(self.filtered(filter, "ORDER BY sequence LIMIT $10", count)).await
    }

    /// What asks for the rows that `filter` wants, in an order and with a limit that `order` names.
    fn filtered(&self, filter: &AuditFilter, order: &str, count: u32) -> Query {
        // Two conditions, because the planner takes the customer's index only where it must be one.
        let customer = if filter.customer.is_some() { "customer_id = $4" } else { "$4 IS NULL" };
        let statement = format!(
            "{}SELECT * FROM audit WHERE sequence > $2 AND sequence < $3 AND {customer} \
             AND ($5 IS NULL OR subject = $5 OR actor = $5 OR substr(actor, 1, length($5) + 4) = $5 || ' by ') \
             AND ($6 IS NULL OR event = $6) AND ($7 IS NULL OR at >= $7) AND ($8 IS NULL OR at < $8) \
             AND ($9 IS NULL OR (event IN (SELECT g.named FROM given g)) = $9) {order}",
            self.dialect().given(&[("named", Kind::Text)])
        );
        let (among, events) = match &filter.among {
            Some((events, among)) => (Some(*among == Among::These), events.as_slice()),
            None => (None, [].as_slice()),
        };
        sqlx::query(AssertSqlSafe(statement))
            .bind(rows(events.iter().map(|event| json!([event]))))
            .bind(filter.after)
            .bind(filter.before)
            .bind(filter.customer.map(|id| id.0))
            .bind(filter.name.clone())
            .bind(filter.event.clone())
            .bind(filter.since.map(Timestamp::unix_milliseconds))
            .bind(filter.until.map(Timestamp::unix_milliseconds))
            .bind(among)
            .bind(i64::from(count))
    }

    /// The newest rows of what a user did, or what was done to it, newest first.
    pub async fn audit_rows_of_user(&self, user: UserId, count: u32) -> Result<Vec<AuditRow>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM audit WHERE sequence IN \
             (SELECT sequence FROM (SELECT sequence FROM audit WHERE subject_id = $1 ORDER BY sequence DESC LIMIT $2) s \
             UNION SELECT sequence FROM \
             (SELECT sequence FROM audit WHERE actor_id = $1 ORDER BY sequence DESC LIMIT $2) a) \
             ORDER BY sequence DESC LIMIT $2",
        );
        self.audit_rows_of(query.bind(user.0).bind(i64::from(count))).await
    }

    /// The newest row's number and `mac`; of an empty trail what its first row will be chained to.
    pub async fn audit_end(&self) -> Result<AuditEnd, StoreError> {
        last_row(&mut *self.readers.acquire().await?).await
    }

    async fn audit_rows_of(&self, query: Query) -> Result<Vec<AuditRow>, StoreError> {
        let rows: Vec<AnyRow> = query.fetch_all(&self.readers).await?;
        rows.iter().map(AuditRow::from_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::DigestKey;
    use crate::store::AuditEntry;

    fn entry(at: i64, customer: i64, actor: &str, event: &str, subject: &str) -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_unix_milliseconds(at),
            customer: (customer > 0).then_some(CustomerId(customer)),
            actor: actor.into(),
            actor_id: (actor == "acme/alex").then_some(UserId(2)),
            entrance: "console".into(),
            client_ip: String::new(),
            event: event.into(),
            subject: subject.into(),
            subject_id: (subject == "acme/alex").then_some(UserId(2)),
            details: "{}".into(),
        }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let (folder, store) = crate::store::testing::empty_store().await;
        let entries = [
            entry(10, 1, "operator:root", "customer.created", "acme"),
            entry(20, 1, "acme/admin", "user.created", "acme/alex"),
            entry(30, 2, "operator:root", "customer.created", "other"),
            entry(40, 1, "acme/alex", "key.created", "acme/kim"),
            entry(50, 1, "acme/alex by key_0c1x8n4t7q2vz", "sign_in.failed", "acme/admin"),
            entry(60, 0, "gateway", "configuration.refused", ""),
        ];
        let mut change = store.mutate().await.unwrap();
        change.append_audit(&entries, &DigestKey::new([7; 32])).await.unwrap();
        change.commit().await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn rows_are_found_by_every_filter_from_either_end() {
        let (_folder, store) = store().await;
        let acme = AuditFilter { customer: Some(CustomerId(1)), ..AuditFilter::default() };
        let failures = vec!["sign_in.failed", "configuration.refused"];
        let at = |at| Some(Timestamp::from_unix_milliseconds(at));
        let cases = [
            (AuditFilter::default(), vec![1, 2, 3, 4, 5, 6]),
            (acme.clone(), vec![1, 2, 4, 5]),
            (AuditFilter { name: Some("acme/alex".into()), ..acme.clone() }, vec![2, 4, 5]),
            (AuditFilter { name: Some("acme/ale".into()), ..acme.clone() }, vec![]),
            (AuditFilter { event: Some("customer.created".into()), ..acme.clone() }, vec![1]),
            (AuditFilter { event: Some("customer.created".into()), ..AuditFilter::default() }, vec![1, 3]),
            (AuditFilter { among: Some((failures.clone(), Among::These)), ..acme.clone() }, vec![5]),
            (
                AuditFilter { among: Some((failures, Among::Others)), ..AuditFilter::default() },
                vec![1, 2, 3, 4],
            ),
            (AuditFilter { since: at(20), until: at(40), ..AuditFilter::default() }, vec![2, 3]),
            (AuditFilter { after: 1, before: 5, ..acme }, vec![2, 4]),
        ];
        for (filter, expected) in cases {
            let numbers = |rows: Vec<AuditRow>| rows.iter().map(|row| row.sequence).collect::<Vec<_>>();
            assert_eq!(numbers(store.oldest_audit_rows(&filter, 100).await.unwrap()), expected, "{filter:?}");
            let newest = numbers(store.newest_audit_rows(&filter, 100).await.unwrap());
            assert_eq!(newest.into_iter().rev().collect::<Vec<_>>(), expected, "{filter:?}");
        }
        let two = store.newest_audit_rows(&AuditFilter::default(), 2).await.unwrap();
        assert_eq!((two[0].sequence, two.len()), (6, 2));
    }

    #[tokio::test]
    async fn a_users_newest_rows_are_what_it_did_and_what_was_done_to_it() {
        let (_folder, store) = store().await;
        let numbers = async |count| {
            let rows = store.audit_rows_of_user(UserId(2), count).await.unwrap();
            rows.iter().map(|row| row.sequence).collect::<Vec<_>>()
        };
        assert_eq!((numbers(5).await, numbers(1).await), (vec![4, 2], vec![4]));
        let end = store.audit_end().await.unwrap();
        assert_eq!(end.sequence, 6);
        assert_eq!(end.mac, store.newest_audit_rows(&AuditFilter::default(), 1).await.unwrap()[0].mac);
    }

    #[tokio::test]
    async fn s88_rows_of_the_trail_are_neither_changed_nor_removed() {
        let (_folder, store) = store().await;
        for statement in ["DELETE FROM audit WHERE sequence = 6", "UPDATE audit SET actor = 'nobody'"] {
            let error = sqlx::query(statement).execute(&store.writer).await.unwrap_err().to_string();
            assert!(error.contains("append-only"), "{error}");
        }
    }
}
