//! API sessions in the store: opened and ended in mutations, their last use written in batches without change rows.
//!
//! Every commit that touches a user or customer ends the sessions whose password opens the API no more
//! (`lost_api_sessions` in the schema), so that no use case can forget them and nothing revives them.

use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::engine::{Kind, hex, rows};
use super::records::session_digest;
use super::{Mutation, Store, StoreError, Subject};
use crate::model::{ApiSessionRecord, SessionBounds, SessionDigest, Timestamp, UserId};

/// Rows of one commit, so that the writer's lock is held for milliseconds.
const ROWS_PER_COMMIT: usize = 500;

/// The last use of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionUse {
    /// Which session.
    pub session: SessionDigest,
    /// When.
    pub at: Timestamp,
}

impl Mutation {
    /// A user's sessions, as they stand inside this change; their last use may be newer than is stored.
    pub async fn api_sessions_of(&mut self, user: UserId) -> Result<Vec<ApiSessionRecord>, StoreError> {
        sqlx::query("SELECT * FROM api_sessions WHERE user_id = $1")
            .bind(user.0)
            .fetch_all(self.connection())
            .await?
            .iter()
            .map(session_from_row)
            .collect()
    }

    /// Adds a session; answers whether it stands: not where the password that opened it opens the API no more.
    pub async fn insert_api_session(&mut self, session: &ApiSessionRecord) -> Result<bool, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO api_sessions (digest, user_id, password_version, opened_at, last_used_at) \
             SELECT $1, id, $2, $3, $4 FROM visible_users WHERE id = $5",
        )
        .bind(session.digest.0.as_slice())
        .bind(session.password_version)
        .bind(session.opened_at.unix_milliseconds())
        .bind(session.last_used_at.unix_milliseconds())
        .bind(session.user.0)
        .execute(self.connection())
        .await?
        .rows_affected();
        self.touch(Subject::ApiSession(session.digest));
        Ok(inserted > 0 && !self.end_lost_sessions_of(session.user).await?.contains(&session.digest))
    }

    /// Ends a session; one that is gone already stays gone.
    pub async fn delete_api_session(&mut self, session: SessionDigest) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM api_sessions WHERE digest = $1")
            .bind(session.0.as_slice())
            .execute(self.connection())
            .await?;
        self.touch(Subject::ApiSession(session));
        Ok(())
    }

    /// Ends the sessions that are over by `bounds`.
    pub async fn delete_api_sessions_beyond(&mut self, bounds: SessionBounds) -> Result<(), StoreError> {
        let ended = sqlx::query_scalar(
            "DELETE FROM api_sessions WHERE opened_at <= $1 OR last_used_at <= $2 OR opened_at > $3 \
             OR last_used_at > $3 RETURNING digest",
        )
        .bind(bounds.opened_until.unix_milliseconds())
        .bind(bounds.used_until.unix_milliseconds())
        .bind(bounds.later_than.unix_milliseconds())
        .fetch_all(self.connection())
        .await?;
        self.touch_sessions(&digests(&ended)?);
        Ok(())
    }

    /// Ends all sessions of a user that is being deleted.
    pub(super) async fn delete_api_sessions_of(&mut self, user: UserId) -> Result<(), StoreError> {
        let ended = sqlx::query_scalar("DELETE FROM api_sessions WHERE user_id = $1 RETURNING digest")
            .bind(user.0)
            .fetch_all(self.connection())
            .await?;
        self.touch_sessions(&digests(&ended)?);
        Ok(())
    }

    /// Ends the sessions that the `touched` users and customers have lost.
    pub(super) async fn end_lost_sessions(&mut self, touched: &[Subject]) -> Result<(), StoreError> {
        for subject in touched {
            match *subject {
                Subject::User(id) => drop(self.end_lost_sessions_of(id).await?),
                Subject::Customer(id) => {
                    let ended = sqlx::query_scalar(
                        "DELETE FROM api_sessions WHERE digest IN \
                         (SELECT digest FROM lost_api_sessions WHERE customer_id = $1) RETURNING digest",
                    )
                    .bind(id.0)
                    .fetch_all(self.connection())
                    .await?;
                    self.touch_sessions(&digests(&ended)?);
                }
                Subject::Everything => end_all_lost_sessions(self.connection()).await?,
                Subject::Key(_) | Subject::ApiSession(_) => {}
            }
        }
        Ok(())
    }

    async fn end_lost_sessions_of(&mut self, user: UserId) -> Result<Vec<SessionDigest>, StoreError> {
        let ended = sqlx::query_scalar(
            "DELETE FROM api_sessions WHERE digest IN \
             (SELECT digest FROM lost_api_sessions WHERE user_id = $1) RETURNING digest",
        )
        .bind(user.0)
        .fetch_all(self.connection())
        .await?;
        let ended = digests(&ended)?;
        self.touch_sessions(&ended);
        Ok(ended)
    }

    fn touch_sessions(&mut self, sessions: &[SessionDigest]) {
        for session in sessions {
            self.touch(Subject::ApiSession(*session));
        }
    }
}

/// Ends whatever any user has lost; the change must be announced as [`Subject::Everything`].
pub(super) async fn end_all_lost_sessions(connection: &mut AnyConnection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM api_sessions WHERE digest IN (SELECT digest FROM lost_api_sessions)")
        .execute(connection)
        .await?;
    Ok(())
}

/// The session of that digest.
pub(super) async fn by_digest(
    connection: &mut AnyConnection,
    session: SessionDigest,
) -> Result<Option<ApiSessionRecord>, StoreError> {
    sqlx::query("SELECT * FROM api_sessions WHERE digest = $1")
        .bind(session.0.as_slice())
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(session_from_row)
        .transpose()
}

impl Store {
    /// Notes uses; one that is older than what is stored, or of a session that has ended, changes nothing.
    pub async fn note_session_uses(&self, uses: &[SessionUse]) -> Result<(), StoreError> {
        for batch in uses.chunks(ROWS_PER_COMMIT) {
            let statement = format!(
                "{}UPDATE api_sessions SET last_used_at = g.used_at FROM given g \
                 WHERE api_sessions.digest = g.digest AND last_used_at < g.used_at",
                self.dialect().given(&[("digest", Kind::Bytes), ("used_at", Kind::Integer)])
            );
            let given = rows(batch.iter().map(as_row));
            self.keep_book(sqlx::query(AssertSqlSafe(statement)).bind(given)).await?;
        }
        Ok(())
    }

    /// The last uses at or after `since`, by whichever gateway.
    pub async fn session_uses_since(&self, since: Timestamp) -> Result<Vec<SessionUse>, StoreError> {
        sqlx::query("SELECT digest, last_used_at FROM api_sessions WHERE last_used_at >= $1")
            .bind(since.unix_milliseconds())
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| {
                let at = Timestamp::from_unix_milliseconds(row.try_get("last_used_at")?);
                Ok(SessionUse { session: session_digest(row.try_get("digest")?)?, at })
            })
            .collect()
    }
}

fn as_row(used: &SessionUse) -> Value {
    json!([hex(&used.session.0), used.at.unix_milliseconds()])
}

fn digests(stored: &[Vec<u8>]) -> Result<Vec<SessionDigest>, StoreError> {
    stored.iter().map(|digest| session_digest(digest)).collect()
}

pub(super) fn session_from_row(row: &AnyRow) -> Result<ApiSessionRecord, StoreError> {
    Ok(ApiSessionRecord {
        digest: session_digest(row.try_get("digest")?)?,
        user: UserId(row.try_get("user_id")?),
        password_version: row.try_get("password_version")?,
        opened_at: Timestamp::from_unix_milliseconds(row.try_get("opened_at")?),
        last_used_at: Timestamp::from_unix_milliseconds(row.try_get("last_used_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{DigestKey, PasswordHash};
    use crate::model::{AccessPoints, CustomerId, MfaRequirement, Permissions, SessionLifetime};
    use crate::store::{ImportedKey, Index, NewCustomer, NewUser};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    struct World {
        _folder: tempfile::TempDir,
        store: Store,
        customer: CustomerId,
        users: [UserId; 2],
    }

    /// Customer `acme` with `acme/alex` and `acme/bo`; each has a session, of digest 1 and 2.
    async fn world() -> World {
        let (folder, store) = crate::store::testing::empty_store().await;
        let mut change = store.mutate().await.unwrap();
        let new =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&new).await.unwrap();
        let user = |login: &str| NewUser {
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
        let alex = change.insert_user(&user("alex")).await.unwrap();
        let bo = change.insert_user(&user("bo")).await.unwrap();
        assert!(change.insert_api_session(&session(1, alex)).await.unwrap());
        assert!(change.insert_api_session(&session(2, bo)).await.unwrap());
        change.commit().await.unwrap();
        World { _folder: folder, store, customer, users: [alex, bo] }
    }

    fn session(number: u8, user: UserId) -> ApiSessionRecord {
        ApiSessionRecord {
            digest: SessionDigest([number; 32]),
            user,
            password_version: 1,
            opened_at: NOW,
            last_used_at: NOW,
        }
    }

    impl World {
        /// The first bytes of the digests of all sessions.
        async fn sessions(&self) -> Vec<u8> {
            let index = Index::load(&self.store).await.unwrap();
            let mut found: Vec<u8> = index
                .session_uses_since(Timestamp::from_unix_milliseconds(0))
                .iter()
                .map(|used| used.session.0[0])
                .collect();
            found.sort_unstable();
            found
        }

        async fn change_alex(&self, edit: impl FnOnce(&mut crate::store::UserRecord)) {
            let mut change = self.store.mutate().await.unwrap();
            let mut alex = change.user(&"acme/alex".parse().unwrap()).await.unwrap().unwrap();
            edit(&mut alex);
            change.update_user(&alex).await.unwrap();
            change.commit().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_takes_a_users_password_away_ends_the_users_sessions_for_good() {
        type Edit = fn(&mut crate::store::UserRecord);
        let edits: [(Edit, Edit); 4] = [
            (|user| user.active = false, |user| user.active = true),
            (|user| user.password_off_by_key = true, |user| user.password_off_by_key = false),
            (|user| user.mfa_active = true, |user| user.mfa_active = false),
            (|user| user.mfa = MfaRequirement::Required, |user| user.mfa = MfaRequirement::Optional),
        ];
        for (number, (take, give_back)) in edits.into_iter().enumerate() {
            let world = world().await;
            world.change_alex(|user| user.full_name = "Alex".into()).await;
            world.change_alex(|user| user.access_points = "console".parse().unwrap()).await;
            assert_eq!(world.sessions().await, [1, 2], "these end nothing");
            world.change_alex(take).await;
            world.change_alex(give_back).await;
            assert_eq!(world.sessions().await, [2], "edit {number}");
        }
    }

    #[tokio::test]
    async fn a_customers_demand_for_mfa_ends_the_sessions_of_all_its_users() {
        let world = world().await;
        for mfa in [MfaRequirement::Optional, MfaRequirement::Required] {
            let mut change = world.store.mutate().await.unwrap();
            change.set_customer_mfa(world.customer, mfa).await.unwrap();
            change.commit().await.unwrap();
            let left = if mfa == MfaRequirement::Optional { vec![1, 2] } else { vec![] };
            assert_eq!(world.sessions().await, left);
        }
    }

    #[tokio::test]
    async fn a_change_of_more_than_can_be_named_ends_sessions_as_well() {
        let world = world().await;
        let mut change = world.store.mutate().await.unwrap();
        for number in 0..2_000_u16 {
            let handle = format!("customer-{number}").parse().unwrap();
            let new = NewCustomer { handle, mfa: MfaRequirement::Optional, created_at: NOW };
            change.insert_customer(&new).await.unwrap();
        }
        change.set_customer_mfa(world.customer, MfaRequirement::Required).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(world.sessions().await, [0_u8; 0]);
    }

    #[tokio::test]
    async fn a_new_password_ends_what_the_old_one_opened_and_opens_nothing_for_it() {
        let world = world().await;
        let mut change = world.store.mutate().await.unwrap();
        let hash = PasswordHash::from_stored("$argon2id$".into());
        change.set_password(world.users[0], &hash, None).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(world.sessions().await, [2]);
        let mut change = world.store.mutate().await.unwrap();
        assert!(!change.insert_api_session(&session(3, world.users[0])).await.unwrap(), "of the old one");
        let renewed = ApiSessionRecord { password_version: 2, ..session(4, world.users[0]) };
        assert!(change.insert_api_session(&renewed).await.unwrap());
        change.commit().await.unwrap();
        assert_eq!(world.sessions().await, [2, 4]);
    }

    #[tokio::test]
    async fn a_session_that_loses_its_password_while_it_is_opened_never_stands() {
        let world = world().await;
        world.change_alex(|user| user.password_off_by_key = true).await;
        let mut change = world.store.mutate().await.unwrap();
        assert!(!change.insert_api_session(&session(3, world.users[0])).await.unwrap());
        assert!(!change.insert_api_session(&session(4, UserId(999))).await.unwrap(), "nobody");
        change.commit().await.unwrap();
        world.change_alex(|user| user.password_off_by_key = false).await;
        assert_eq!(world.sessions().await, [2]);
    }

    #[tokio::test]
    async fn an_import_ends_the_sessions_of_those_whose_password_it_ends() {
        let world = world().await;
        let import = world.store.begin_import(NOW).await.unwrap();
        let key = ImportedKey {
            id: crate::model::KeyId::from_random(1),
            user: world.users[0],
            digest: crate::model::KeyDigest([9; 32]),
            last_characters: "wxyz".into(),
        };
        import.add_keys(&[key], "api".parse().unwrap()).await.unwrap();
        assert_eq!(world.sessions().await, [1, 2]);
        import.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
        assert_eq!(world.sessions().await, [2]);
    }

    #[tokio::test]
    async fn sessions_go_with_their_user() {
        let world = world().await;
        let mut change = world.store.mutate().await.unwrap();
        change.delete_user(world.users[1], NOW).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(world.sessions().await, [1]);
    }

    #[tokio::test]
    async fn uses_are_written_forwards_only_and_what_is_over_is_removed() {
        let world = world().await;
        let of = |number, seconds| SessionUse {
            session: SessionDigest([number; 32]),
            at: NOW.plus_seconds(seconds),
        };
        world.store.note_session_uses(&[of(1, 600), of(2, -600), of(9, 600)]).await.unwrap();
        assert_eq!(world.store.session_uses_since(NOW.plus_seconds(600)).await.unwrap(), [of(1, 600)]);
        assert_eq!(world.store.session_uses_since(NOW).await.unwrap().len(), 2);
        let lifetime = SessionLifetime { idle_seconds: 1_800, total_seconds: 43_200 };
        for (seconds, left) in [(1_799, vec![1, 2]), (1_800, vec![1]), (2_400, vec![])] {
            let mut change = world.store.mutate().await.unwrap();
            let bounds = lifetime.bounds(NOW.plus_seconds(seconds));
            change.delete_api_sessions_beyond(bounds).await.unwrap();
            change.commit().await.unwrap();
            assert_eq!(world.sessions().await, left, "after {seconds} s");
        }
    }

    #[tokio::test]
    async fn s83_sessions_of_the_future_are_removed() {
        let world = world().await;
        let mut change = world.store.mutate().await.unwrap();
        let lifetime = SessionLifetime { idle_seconds: 1_800, total_seconds: 43_200 };
        change.delete_api_sessions_beyond(lifetime.bounds(NOW.plus_seconds(-3_600))).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(world.sessions().await, [0_u8; 0]);
    }
}
