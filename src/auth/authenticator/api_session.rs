//! API sessions at the doors: judged from memory at each request, opened and closed through the keeper.
//!
//! State and address are asked again each time, by the same rules as for everything else; nothing about a session is
//! taken for granted because it was opened once (PROTOCOL section 3, point 7).

use super::{Authenticator, IndexAge, STALE, Standing};
use crate::auth::api_sessions::{Outcome, SessionFault, Wish};
use crate::auth::attempt::{Attempt, Credential, PresentedKey};
use crate::auth::decision::{AuthMethod, Decision, Denial, DenialReason, Permit, Proof, Refusal};
use crate::auth::policy::{Circumstances, Entrance};
use crate::crypto::is_session_key;
use crate::model::{ClientIp, Recognised, Secret, Service, SessionDigest};
use crate::store::SessionUse;
use crate::store::index::{FoundSession, Metering};

/// A use is remembered to the second, so that a busy session is not written at each request.
const REMEMBER_USE_EVERY_SECONDS: i64 = 1;

impl Authenticator {
    pub(super) fn authenticate_session(
        &self,
        PresentedKey(text): PresentedKey<'_>,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Permit, Denial> {
        if !is_session_key(text) {
            return Err(unauthenticated(DenialReason::UnknownSession));
        }
        let digest = self.key_ring.digest.digest_session(text);
        let session =
            self.index.lookup_session(digest).ok_or(unauthenticated(DenialReason::UnknownSession))?;
        let now = self.clock.now();
        let metering = self
            .judge_session(&session, Circumstances { client_ip: Some(client_ip), now })
            .map_err(|denial| denial.of(Recognised::Session(session.user.id()), &session.user))?;
        if session.last_used_at.plus_seconds(REMEMBER_USE_EVERY_SECONDS) <= now {
            self.index.remember_session_use(SessionUse { session: digest, at: now });
        }
        let permit =
            Permit::new(session.user, AuthMethod::Session, Proof::Session(digest), service, client_ip);
        Ok(permit.with_metering(metering))
    }

    fn judge_session(&self, session: &FoundSession, at: Circumstances) -> Result<Metering, Denial> {
        if self.session_lifetime.is_over(session.opened_at, session.last_used_at, at.now) {
            return Err(unauthenticated(DenialReason::SessionExpired));
        }
        if session.user.state().password_version != session.password_version {
            return Err(unauthenticated(DenialReason::UnknownSession));
        }
        self.judge(Entrance::ApiSession, &session.user, at)
    }

    /// Would the session be let in now, and until when if it is not used again?
    pub(super) fn session_standing(&self, session: SessionDigest, at: Circumstances) -> Standing {
        match self.index.lookup_session(session) {
            Some(found) if self.judge_session(&found, at).is_ok() => {
                Standing::Admitted(Some(self.session_lifetime.end(found.opened_at, found.last_used_at)))
            }
            _ => Standing::Ended,
        }
    }

    /// Opens an API session for who was let in by password; answers its key, which is shown once.
    pub async fn open_api_session(&self, permit: &Permit) -> Result<Secret<String>, SessionFault> {
        let Proof::Password(password_version) = permit.proof() else {
            return Err(SessionFault::Denied(of_another_kind(permit)));
        };
        let wish = Wish::Open { user: permit.user().id(), password_version };
        match self.session_orders.carry_out(wish).await? {
            Outcome::Opened(key) => Ok(key),
            Outcome::PasswordEnded | Outcome::Closed => {
                Err(SessionFault::Denied(unauthenticated(DenialReason::WrongPassword)))
            }
        }
    }

    /// Judges whoever wants to close the API session that it presents, which counts as no request: nobody must have to leave
    /// a session open because a quota is used up. Any other credential is judged as at every request.
    pub async fn authenticate_closing(&self, attempt: Attempt<'_>) -> Decision {
        let Attempt { credential: Credential::Session(key), service, client_ip } = attempt else {
            return self.authenticate(attempt).await;
        };
        if self.index_age() == IndexAge::TooOld {
            return Decision::Deny(STALE);
        }
        match self.authenticate_session(key, service, client_ip) {
            Ok(permit) => Decision::Allow(permit),
            Err(denial) => {
                let denial = self.count_failure(denial, client_ip);
                self.usage.count_refusal(denial, service);
                Decision::Deny(denial)
            }
        }
    }

    /// Ends the API session that was presented; no thread lets it in any more once this returns.
    pub async fn close_api_session(&self, permit: &Permit) -> Result<(), SessionFault> {
        let Proof::Session(session) = permit.proof() else {
            return Err(SessionFault::Denied(of_another_kind(permit)));
        };
        self.session_orders.carry_out(Wish::Close(session)).await?;
        Ok(())
    }
}

const fn unauthenticated(reason: DenialReason) -> Denial {
    Denial::new(Refusal::Unauthenticated, reason)
}

/// A right credential, and not the one that is asked for here.
fn of_another_kind(permit: &Permit) -> Denial {
    Denial::new(Refusal::Forbidden, DenialReason::CredentialKind).of(permit.recognised(), permit.user())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ExhaustedQuota;
    use crate::auth::testing::{NOW, PASSWORD, World};
    use crate::config::Limits;
    use crate::crypto::hash_password;
    use crate::model::{MfaRequirement, QuotaOwner, QuotaTerms, Timestamp};
    use crate::store::{Index, Subject};

    async fn world(limits: Limits) -> World {
        let mut world = World::new(limits).await;
        world.keep_sessions().await;
        world
    }

    impl World {
        async fn password_permit(&self) -> Permit {
            match self.password(PASSWORD, Service::Api).await {
                Decision::Allow(permit) => permit,
                Decision::Deny(denial) => panic!("{denial:?}"),
            }
        }

        async fn opened(&self) -> Secret<String> {
            self.authenticator.open_api_session(&self.password_permit().await).await.unwrap()
        }

        async fn session(&self, key: &Secret<String>) -> Result<Permit, Denial> {
            let credential = Credential::Session(PresentedKey(key.expose().as_bytes()));
            match self.attempt(credential, Service::Api).await {
                Decision::Allow(permit) => Ok(permit),
                Decision::Deny(denial) => Err(denial),
            }
        }

        async fn reason(&self, key: &Secret<String>) -> Option<DenialReason> {
            self.session(key).await.err().map(|denial| denial.reason)
        }

        fn at(&self, seconds: i64) -> Timestamp {
            self.clock.set(NOW.plus_seconds(seconds));
            NOW.plus_seconds(seconds)
        }
    }

    #[tokio::test]
    async fn a_session_lets_in_until_it_is_closed_and_what_it_opened_ends_with_it() {
        let world = world(Limits::default()).await;
        let (one, other) = (world.opened().await, world.opened().await);
        let permit = world.session(&one).await.unwrap();
        assert_eq!((permit.customer(), permit.login(), permit.key_id()), ("acme", "alex", None));
        assert_eq!(permit.method().as_str(), "session");
        assert_eq!(permit.recognised(), Recognised::Session(world.user));
        let stream = world.authenticator.open_session(&permit);
        let untouched = world.authenticator.open_session(&world.session(&other).await.unwrap());
        assert!(!stream.is_ended());
        world.authenticator.close_api_session(&permit).await.unwrap();
        assert_eq!(world.reason(&one).await, Some(DenialReason::UnknownSession));
        stream.ended().await;
        assert!(!untouched.is_ended());
        assert_eq!(world.reason(&other).await, None);
        // Once more, by somebody who asked at the same time: it stays gone.
        world.authenticator.close_api_session(&permit).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_session_is_refused_alike_and_counts_as_a_failure() {
        let limits = Limits { failed_credentials_per_address: 3, ..Limits::default() };
        let world = world(limits).await;
        let key = world.opened().await;
        for wrong in ["", "short", "ABCDEFGHIJ0123456789"] {
            let denial = world.session(&Secret::new(wrong.into())).await.unwrap_err();
            assert_eq!(denial, unauthenticated(DenialReason::UnknownSession), "{wrong:?}");
        }
        let lower = Secret::new(key.expose().to_ascii_lowercase());
        let denial = world.session(&lower).await.unwrap_err();
        assert!(matches!(denial.refusal, Refusal::TooManyFailures { .. }), "{denial:?}");
        world.session(&key).await.expect("a right one is never refused for failures");
    }

    #[tokio::test]
    async fn a_session_ends_after_its_idle_time_and_its_total_time() {
        let world = world(Limits::default()).await;
        let key = world.opened().await;
        let mut now = 0;
        while now < 43_200 {
            world.at(now);
            assert_eq!(world.reason(&key).await, None, "after {now} s");
            now += 1_790;
        }
        world.at(43_200);
        assert_eq!(world.reason(&key).await, Some(DenialReason::SessionExpired));
        let idle = world.opened().await;
        world.at(43_200 + 1_800);
        assert_eq!(world.reason(&idle).await, Some(DenialReason::SessionExpired));
    }

    #[tokio::test]
    async fn s83_a_clock_that_is_set_back_ends_sessions() {
        let world = world(Limits::default()).await;
        let key = world.opened().await;
        world.at(-3_600);
        assert_eq!(world.reason(&key).await, Some(DenialReason::SessionExpired));
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_session_that_opened_it_and_uses_of_the_session_prolong_it() {
        let world = world(Limits::default()).await;
        let key = world.opened().await;
        let stream = world.authenticator.open_session(&world.session(&key).await.unwrap());
        world.at(1_500);
        world.session(&key).await.unwrap();
        world.at(1_900);
        assert_eq!(world.authenticator.end_expired_sessions(), 0, "used meanwhile");
        world.at(3_300);
        assert_eq!(world.authenticator.end_expired_sessions(), 1);
        assert!(stream.is_ended());
    }

    #[tokio::test]
    async fn the_session_that_was_unused_longest_makes_room_for_a_further_one() {
        let world = world(Limits { api_sessions_per_user: 3, ..Limits::default() }).await;
        let mut keys = Vec::new();
        for second in 0..3 {
            world.at(second);
            keys.push(world.opened().await);
        }
        world.at(10);
        // Known in memory only so far.
        world.session(&keys[0]).await.unwrap();
        keys.push(world.opened().await);
        for (number, key) in keys.iter().enumerate() {
            let expected = (number == 1).then_some(DenialReason::UnknownSession);
            assert_eq!(world.reason(key).await, expected, "session {number}");
        }
    }

    /// What the rules answer 401 for is ended for good, by the store; what they answer 403 for is not.
    #[tokio::test]
    async fn s22_s23_exactly_the_sessions_that_the_rules_answer_401_are_ended() {
        type Edit = fn(&mut crate::store::UserRecord);
        let edits: [(Edit, Edit, Option<Refusal>); 6] = [
            (|user| user.active = false, |user| user.active = true, Some(Refusal::Unauthenticated)),
            (
                |user| user.password_off_by_key = true,
                |user| user.password_off_by_key = false,
                Some(Refusal::Unauthenticated),
            ),
            (|user| user.mfa_active = true, |user| user.mfa_active = false, Some(Refusal::Unauthenticated)),
            (
                |user| user.mfa = MfaRequirement::Required,
                |user| user.mfa = MfaRequirement::Optional,
                Some(Refusal::Unauthenticated),
            ),
            (
                |user| user.access_points = "console,isproxy".parse().unwrap(),
                |user| user.access_points = "api".parse().unwrap(),
                Some(Refusal::Forbidden),
            ),
            (
                |user| user.allow_list = "198.51.100.0/24".parse().unwrap(),
                |user| user.allow_list = "192.0.2.0/24".parse().unwrap(),
                Some(Refusal::Forbidden),
            ),
        ];
        let world = world(Limits::default()).await;
        for (number, (take, give_back, refusal)) in edits.into_iter().enumerate() {
            let key = world.opened().await;
            let stream = world.authenticator.open_session(&world.session(&key).await.unwrap());
            world.change_user(take).await;
            let denial = world.session(&key).await.err();
            assert_eq!(denial.map(|denial| denial.refusal), refusal, "{number}");
            // One that is gone is nobody's any more.
            let whose = (refusal == Some(Refusal::Forbidden)).then_some(Recognised::Session(world.user));
            assert_eq!(denial.and_then(|denial| denial.recognised), whose, "{number}");
            world.authenticator.end_revoked_sessions(&[Subject::User(world.user)]);
            assert!(stream.is_ended(), "edit {number}");
            world.change_user(give_back).await;
            let revived = world.session(&key).await.is_ok();
            assert_eq!(revived, refusal == Some(Refusal::Forbidden), "edit {number}");
        }
    }

    #[tokio::test]
    async fn a_new_password_ends_sessions_at_once() {
        let world = world(Limits::default()).await;
        let key = world.opened().await;
        let mut change = world.store.mutate().await.unwrap();
        let hash = hash_password(&Secret::new("another".into())).unwrap();
        change.set_password(world.user, &hash, None).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        assert_eq!(world.reason(&key).await, Some(DenialReason::UnknownSession));
    }

    #[tokio::test]
    async fn r8_s22_a_password_that_ends_while_a_session_is_being_opened_opens_none() {
        let world = world(Limits::default()).await;
        let permit = world.password_permit().await;
        world.add_key("isproxy").await;
        world.change_user(|user| user.password_off_by_key = true).await;
        let refused = world.authenticator.open_api_session(&permit).await.unwrap_err();
        assert_eq!(refused, SessionFault::Denied(unauthenticated(DenialReason::WrongPassword)));
        world.change_user(|user| user.password_off_by_key = false).await;
        assert!(Index::load(&world.store).await.unwrap().session_uses_since(NOW).is_empty());
    }

    #[tokio::test]
    async fn a_password_opens_sessions_and_only_a_session_closes_itself() {
        let world = world(Limits::default()).await;
        let password = world.password_permit().await;
        let session = world.session(&world.opened().await).await.unwrap();
        let (text, _) = world.add_key("api").await;
        let Decision::Allow(key) = world.key(&text, Service::Api).await else { panic!() };
        let refused = |permit| Some(SessionFault::Denied(of_another_kind(permit)));
        for permit in [&session, &key] {
            assert_eq!(world.authenticator.open_api_session(permit).await.err(), refused(permit));
        }
        for permit in [&password, &key] {
            assert_eq!(world.authenticator.close_api_session(permit).await.err(), refused(permit));
        }
    }

    #[tokio::test]
    async fn a_used_up_quota_keeps_no_session_open_and_closing_one_counts_as_no_request() {
        let world = world(Limits::default()).await;
        let (key, other) = (world.opened().await, world.opened().await);
        let closing = async |key: &Secret<String>| {
            let credential = Credential::Session(PresentedKey(key.expose().as_bytes()));
            let client_ip = ClientIp::new("192.0.2.1".parse().unwrap());
            let attempt = Attempt { credential, service: Service::Api, client_ip };
            match world.authenticator.authenticate_closing(attempt).await {
                Decision::Allow(permit) => Ok(permit),
                Decision::Deny(denial) => Err(denial),
            }
        };
        world.authenticator.collect_usage();
        let terms = QuotaTerms::new(Some(1), None).unwrap();
        let mut change = world.store.mutate().await.unwrap();
        change.set_quota(QuotaOwner::User(world.user), Some(terms)).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        world.authenticator.close_api_session(&closing(&other).await.unwrap()).await.unwrap();
        assert_eq!(world.reason(&key).await, None, "the one request that may be made");
        let used_up = DenialReason::QuotaExhausted(ExhaustedQuota::UserDay);
        assert_eq!(world.reason(&key).await, Some(used_up));
        world.authenticator.close_api_session(&closing(&key).await.unwrap()).await.unwrap();
        let again = closing(&key).await.unwrap_err();
        assert_eq!(again.reason, DenialReason::UnknownSession);
        let counted = world.authenticator.collect_usage().uses;
        assert_eq!(counted.iter().map(|used| used.requests).sum::<u32>(), 1, "{counted:?}");
        world.authenticator.set_index_age(IndexAge::TooOld);
        assert_eq!(closing(&key).await.unwrap_err().reason, DenialReason::StoreStale);
    }

    #[tokio::test]
    async fn without_a_keeper_sessions_are_unavailable_and_open_ones_go_on() {
        let mut world = World::new(Limits::default()).await;
        let permit = world.password_permit().await;
        world.keeper = None;
        let refused = world.authenticator.open_api_session(&permit).await.unwrap_err();
        assert_eq!(refused, SessionFault::Unavailable);
    }
}
