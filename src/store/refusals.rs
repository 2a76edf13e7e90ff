//! Refusals that are kept for `latchkey explain`: written in batches, without change rows, and let go after a day.
//!
//! The number of rows has a bound, because peers decide how many there are; the oldest go first.

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::engine::{Kind, rows};
use super::records::flag;
use super::{Store, StoreError};
use crate::model::{ClientIp, KeyId, Recognised, Timestamp, UserId};
use crate::telemetry::{KeptRefusal, RequestId};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
const ROWS_PER_COMMIT: usize = 500;
/// How long a refusal is kept (DESIGN section 4).
pub const REFUSALS_KEPT_SECONDS: i64 = 24 * 60 * 60;
/// Rows kept at most, some 60 MiB; a flood of 200 a second fills them in 40 minutes.
const KEPT_ROWS: i64 = 500_000;
/// Rows let go at once; more than one commit brings, so that a backlog shrinks.
const LET_GO_AT_ONCE: i64 = 2_000;
/// A session of the line protocol may be refused any number of times; so many are shown.
const SHOWN_OF_ONE_REQUEST: i64 = 20;

impl Store {
    /// Keeps refusals, oldest first.
    pub async fn keep_refusals(&self, refusals: &[KeptRefusal]) -> Result<(), StoreError> {
        for batch in refusals.chunks(ROWS_PER_COMMIT) {
            let statement = format!(
                "{}INSERT INTO refusals (request_id, refused_at, service, listener, client_ip, via, method, target, \
                 status, reason, key_id, user_id, session_user_id) SELECT request_id, refused_at, service, listener, \
                 client_ip, via, method, target, status, reason, key_id, user_id, session_user_id FROM given \
                 ORDER BY place",
                self.dialect().given(&COLUMNS)
            );
            let given = rows(batch.iter().map(as_row));
            self.keep_book(sqlx::query(AssertSqlSafe(statement)).bind(given)).await?;
        }
        Ok(())
    }

    /// Lets go of the oldest refusals: those older than a day at `now`, and those beyond the bound. Writes nothing
    /// where there are none; answers how many went, at most 2,000 at once.
    pub async fn let_refusals_go(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.in_time(self.let_refusals_go_beyond(KEPT_ROWS, now)).await
    }

    async fn let_refusals_go_beyond(&self, kept_rows: i64, now: Timestamp) -> Result<u64, StoreError> {
        let until = now.plus_seconds(-REFUSALS_KEPT_SECONDS).unix_milliseconds();
        let any = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM (SELECT number, refused_at FROM refusals ORDER BY number LIMIT 1) oldest \
             WHERE refused_at <= $1 OR number <= (SELECT MAX(number) FROM refusals) - $2)",
        )
        .bind(until)
        .bind(kept_rows)
        .fetch_one(&self.readers)
        .await?;
        if !flag(&any, 0)? {
            return Ok(0);
        }
        let gone = sqlx::query(
            "DELETE FROM refusals WHERE number IN (SELECT number FROM refusals ORDER BY number LIMIT $1) \
             AND (refused_at <= $2 OR number <= (SELECT MAX(number) FROM refusals) - $3)",
        )
        .bind(LET_GO_AT_ONCE)
        .bind(until)
        .bind(kept_rows);
        self.keep_book(gone).await
    }

    /// The refusals of a request that are not older than a day at `now`, oldest first; of an `IsProxy` session the
    /// first 20.
    pub async fn refusals_of(&self, id: RequestId, now: Timestamp) -> Result<Vec<KeptRefusal>, StoreError> {
        sqlx::query(
            "SELECT * FROM refusals WHERE request_id = $1 AND refused_at > $2 ORDER BY number LIMIT $3",
        )
        .bind(id.to_stored())
        .bind(now.plus_seconds(-REFUSALS_KEPT_SECONDS).unix_milliseconds())
        .bind(SHOWN_OF_ONE_REQUEST)
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(from_row)
        .collect()
    }
}

/// What stands in a row that [`as_row`] makes.
const COLUMNS: [(&str, Kind); 13] = [
    ("request_id", Kind::Integer),
    ("refused_at", Kind::Integer),
    ("service", Kind::Text),
    ("listener", Kind::Text),
    ("client_ip", Kind::Text),
    ("via", Kind::Text),
    ("method", Kind::Text),
    ("target", Kind::Text),
    ("status", Kind::Integer),
    ("reason", Kind::Text),
    ("key_id", Kind::Integer),
    ("user_id", Kind::Integer),
    ("session_user_id", Kind::Integer),
];

fn as_row(refusal: &KeptRefusal) -> Value {
    let (key_id, user_id, session_user_id) = match refusal.recognised {
        Some(Recognised::Key(id)) => (Some(id.to_stored()), None, None),
        Some(Recognised::Password(id)) => (None, Some(id.0), None),
        Some(Recognised::Session(id)) => (None, None, Some(id.0)),
        None => (None, None, None),
    };
    json!([
        refusal.request_id.to_stored(),
        refusal.at.unix_milliseconds(),
        refusal.service.as_str(),
        refusal.listener,
        refusal.client_ip.to_string(),
        refusal.via.map(|via| via.to_string()),
        refusal.method,
        refusal.target,
        refusal.status,
        refusal.reason,
        key_id,
        user_id,
        session_user_id,
    ])
}

fn from_row(row: &AnyRow) -> Result<KeptRefusal, StoreError> {
    let key_id: Option<i64> = row.try_get("key_id")?;
    let user_id: Option<i64> = row.try_get("user_id")?;
    let session_user_id: Option<i64> = row.try_get("session_user_id")?;
    Ok(KeptRefusal {
        request_id: RequestId::from_stored(row.try_get("request_id")?),
        at: Timestamp::from_unix_milliseconds(row.try_get("refused_at")?),
        service: row.try_get::<&str, _>("service")?.parse().map_err(|_| StoreError::Corrupt("service"))?,
        listener: row.try_get("listener")?,
        client_ip: address(row.try_get("client_ip")?)?,
        via: row.try_get::<Option<&str>, _>("via")?.map(address).transpose()?,
        method: row.try_get("method")?,
        target: row.try_get("target")?,
        status: status(row.try_get("status")?)?,
        reason: row.try_get("reason")?,
        recognised: key_id
            .map(|id| Recognised::Key(KeyId::from_stored(id)))
            .or(user_id.map(|id| Recognised::Password(UserId(id))))
            .or(session_user_id.map(|id| Recognised::Session(UserId(id)))),
    })
}

fn status(stored: i64) -> Result<u16, StoreError> {
    u16::try_from(stored).map_err(|_| StoreError::Corrupt("status"))
}

fn address(stored: &str) -> Result<ClientIp, StoreError> {
    stored.parse().map(ClientIp::new).map_err(|_| StoreError::Corrupt("address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Service;
    use crate::telemetry::RequestIds;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    async fn store() -> (tempfile::TempDir, Store) {
        let (folder, store) = crate::store::testing::empty_store().await;
        (folder, store)
    }

    fn refusal(request_id: RequestId, at: Timestamp) -> KeptRefusal {
        KeptRefusal {
            request_id,
            at,
            service: Service::Api,
            listener: "api".to_owned(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            via: None,
            method: "GET".to_owned(),
            target: "/v2/domains".to_owned(),
            status: 401,
            reason: "unknown_key".to_owned(),
            recognised: None,
        }
    }

    async fn rows(store: &Store) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM refusals").fetch_one(&store.readers).await.unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_read_as_it_was_written_and_changes_nothing_for_gateways() {
        let (_folder, store) = store().await;
        let before = store.revision().await.unwrap();
        let ids = RequestIds::new(7);
        let (api, session) = (ids.next_id(), ids.next_id());
        let by_key = KeptRefusal {
            recognised: Some(Recognised::Key(KeyId::from_random(u64::MAX))),
            via: Some(ClientIp::new("2001:db8::1".parse().unwrap())),
            target: "/künde/\"'\\".to_owned(),
            ..refusal(api, NOW)
        };
        let first = KeptRefusal {
            service: Service::IsProxy,
            recognised: Some(Recognised::Password(UserId(3))),
            status: 0,
            ..refusal(session, NOW)
        };
        let second = KeptRefusal { service: Service::IsProxy, ..refusal(session, NOW.plus_seconds(1)) };
        let third = KeptRefusal { recognised: Some(Recognised::Session(UserId(3))), ..refusal(session, NOW) };
        let kept = [&by_key, &first, &second, &third].map(KeptRefusal::clone);
        store.keep_refusals(&kept).await.unwrap();
        assert_eq!(store.refusals_of(api, NOW).await.unwrap(), [by_key]);
        assert_eq!(store.refusals_of(session, NOW).await.unwrap(), [first, second, third]);
        assert_eq!(store.refusals_of(ids.next_id(), NOW).await.unwrap(), []);
        assert_eq!(store.revision().await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_refusal_goes_after_a_day() {
        let (_folder, store) = store().await;
        let ids = RequestIds::new(7);
        let (old, young) = (ids.next_id(), ids.next_id());
        store.keep_refusals(&[refusal(old, NOW), refusal(young, NOW.plus_seconds(60))]).await.unwrap();
        let nearly = NOW.plus_seconds(REFUSALS_KEPT_SECONDS - 1);
        assert_eq!(store.let_refusals_go(nearly).await.unwrap(), 0);
        assert_eq!(store.refusals_of(old, nearly).await.unwrap().len(), 1);
        let day_later = NOW.plus_seconds(REFUSALS_KEPT_SECONDS);
        assert_eq!(store.refusals_of(old, day_later).await.unwrap(), [], "not told, although still there");
        assert_eq!(store.let_refusals_go(day_later).await.unwrap(), 1);
        assert_eq!(store.refusals_of(young, day_later).await.unwrap().len(), 1);
        assert_eq!(rows(&store).await, 1);
    }

    #[tokio::test]
    async fn beyond_the_bound_the_oldest_go_first_and_not_all_at_once() {
        let (_folder, store) = store().await;
        let ids = RequestIds::new(7);
        let many: Vec<KeptRefusal> = (0..2_600).map(|_| refusal(ids.next_id(), NOW)).collect();
        store.keep_refusals(&many).await.unwrap();
        assert_eq!(store.let_refusals_go_beyond(2_600, NOW).await.unwrap(), 0);
        assert_eq!(store.let_refusals_go_beyond(100, NOW).await.unwrap(), 2_000);
        assert_eq!(store.let_refusals_go_beyond(100, NOW).await.unwrap(), 500);
        assert_eq!(store.let_refusals_go_beyond(100, NOW).await.unwrap(), 0);
        assert_eq!(rows(&store).await, 100);
        assert_eq!(store.refusals_of(many[2_499].request_id, NOW).await.unwrap(), []);
        assert_eq!(store.refusals_of(many[2_500].request_id, NOW).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_session_that_is_refused_again_and_again_is_shown_in_part() {
        let (_folder, store) = store().await;
        let id = RequestIds::new(7).next_id();
        let many: Vec<KeptRefusal> = (0..30).map(|second| refusal(id, NOW.plus_seconds(second))).collect();
        store.keep_refusals(&many).await.unwrap();
        assert_eq!(store.refusals_of(id, NOW).await.unwrap(), many[..20]);
    }
}
