//! When keys were last used: written in batches, without change rows.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::engine::{Kind, rows};
use super::{Store, StoreError};
use crate::model::{ClientIp, KeyId, Service, Timestamp};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
const ROWS_PER_COMMIT: usize = 500;
/// A use that is noted for so much later than the present one is of a clock that was ahead: uses wait for seconds.
const CLOCK_AHEAD_MILLISECONDS: i64 = 3_600_000;

/// One use of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// Which key.
    pub key: KeyId,
    /// When.
    pub at: Timestamp,
    /// At which door.
    pub service: Service,
    /// From where.
    pub client_ip: ClientIp,
}

impl Store {
    /// Notes uses, oldest first; a key that was deleted meanwhile is left out. What another gateway has noted of later stays.
    pub async fn note_key_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        // Those of one key stay in order, and each page of the table is written once.
        let mut uses = uses.to_vec();
        uses.sort_by_key(|used| used.key.to_stored());
        for batch in uses.chunks(ROWS_PER_COMMIT) {
            // One statement a commit: a busy gateway notes thousands of keys a minute.
            let statement = format!(
                "{}INSERT INTO key_last_used (key_id, used_at, service, address) \
                 SELECT k.id, g.used_at, g.service, g.address FROM given g JOIN api_keys k ON k.id = g.key_id \
                 WHERE TRUE ON CONFLICT (key_id) DO UPDATE \
                 SET used_at = excluded.used_at, service = excluded.service, address = excluded.address \
                 WHERE key_last_used.used_at <= excluded.used_at OR key_last_used.used_at > excluded.used_at + $2",
                self.dialect().given(&[
                    ("key_id", Kind::Integer),
                    ("used_at", Kind::Integer),
                    ("service", Kind::Text),
                    ("address", Kind::Text),
                ])
            );
            let given = rows(latest(batch).map(as_row));
            let query = sqlx::query(AssertSqlSafe(statement)).bind(given).bind(CLOCK_AHEAD_MILLISECONDS);
            self.keep_book(query).await?;
        }
        Ok(())
    }
}

/// The last use of each key: a statement may write a row once only.
fn latest(uses: &[KeyUse]) -> impl Iterator<Item = &KeyUse> {
    uses.iter().map(|used| (used.key, used)).collect::<HashMap<_, _>>().into_values()
}

fn as_row(used: &KeyUse) -> Value {
    json!([
        used.key.to_stored(),
        used.at.unix_milliseconds(),
        used.service.as_str(),
        used.client_ip.to_string()
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AllowList, ApiKeyRecord, KeyDigest, MfaRequirement};
    use crate::store::{NewCustomer, NewUser};

    #[tokio::test]
    async fn the_newest_use_stays_in_whatever_order_it_comes_and_a_deleted_key_has_none() {
        let now = Timestamp::from_unix_milliseconds(1_800_000_000_000);
        let (_folder, store) = crate::store::testing::empty_store().await;
        let mut change = store.mutate().await.unwrap();
        let customer =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: now };
        let customer = change.insert_customer(&customer).await.unwrap();
        let owner = NewUser {
            customer,
            login: "alex".parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: crate::model::Permissions::default(),
            access_points: crate::model::AccessPoints::ALL,
            password_hash: None,
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: now,
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
            created_at: now,
        };
        change.insert_key(&key, "").await.unwrap();
        change.commit().await.unwrap();
        let use_of = |key, seconds, service| KeyUse {
            key,
            at: now.plus_seconds(seconds),
            service,
            client_ip: ClientIp::new("2001:db8::7".parse().unwrap()),
        };
        let gone = KeyId::from_random(7);
        let noted = [
            use_of(key.id, 1, Service::Api),
            use_of(gone, 1, Service::Api),
            use_of(key.id, 2, Service::IsProxy),
        ];
        store.note_key_uses(&noted).await.unwrap();
        let last = store.listed_key(key.id).await.unwrap().unwrap().last_use.unwrap();
        assert_eq!((last.at, last.service.as_str()), (now.plus_seconds(2), "isproxy"));
        assert_eq!(last.address, "2001:db8::7");
        // Noted by other gateways: a batch that was late, and one of a clock that was ten years ahead.
        let last = async || store.listed_key(key.id).await.unwrap().unwrap().last_use.unwrap().at;
        store.note_key_uses(&[use_of(key.id, 1, Service::Api)]).await.unwrap();
        assert_eq!(last().await, now.plus_seconds(2));
        store.note_key_uses(&[use_of(key.id, 315_360_000, Service::Api)]).await.unwrap();
        store.note_key_uses(&[use_of(key.id, 3, Service::Api)]).await.unwrap();
        assert_eq!(last().await, now.plus_seconds(3));
        let rows: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM key_last_used").fetch_one(&store.readers).await.unwrap();
        assert_eq!(rows, 1, "a deleted key has no row");
    }
}
