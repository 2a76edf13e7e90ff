//! The decision for both doors, from memory.
//!
//! For an API key: form and tag, digest, look-up, rules; no wait, no hash, no allocation. For a password: address,
//! hash on its own threads, then the same rules, so that time tells nothing (PROTOCOL section 3, point 6).

mod api_session;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::api_sessions::SessionOrders;
use super::attempt::{Attempt, Credential, PresentedKey};
use super::decision::{AuthMethod, Decision, Denial, DenialReason, Permit, Proof, Refusal};
use super::live_sessions::{LiveSession, LiveSessions, Standing};
use super::password_check::{PasswordChecker, PasswordCheckerError, QueueFull};
use super::policy::{Circumstances, Entrance, KeyFacts, UserFacts, Verdict, judge, refusal_for};
use super::throttle::FailureThrottle;
use crate::clock::Clock;
use crate::config::{Limits, Policy};
use crate::crypto::{KeyRing, recognise_key};
use crate::model::{ClientIp, KeyDigest, MfaState, Recognised, Secret, Service, SessionLifetime, Timestamp};
use crate::store::index::{CustomerState, FoundKey, UserEntry, UserState};
use crate::store::{Index, KeyUse, Subject};

/// A key's use is noted at most this often.
const NOTE_USE_EVERY_SECONDS: i64 = 60;

/// Judges credentials from memory; shared by all door threads.
#[derive(Debug)]
pub struct Authenticator {
    index: Arc<Index>,
    key_ring: Arc<KeyRing>,
    policy: ArcSwap<Policy>,
    clock: Clock,
    passwords: PasswordChecker,
    throttle: FailureThrottle,
    live_sessions: LiveSessions,
    key_uses: mpsc::Sender<KeyUse>,
    session_orders: SessionOrders,
    session_lifetime: SessionLifetime,
}

/// What an [`Authenticator`] is made of.
#[derive(Debug)]
pub struct AuthenticatorParts {
    /// What it answers from.
    pub index: Arc<Index>,
    /// Digest and tag keys.
    pub key_ring: Arc<KeyRing>,
    /// Rules an operator chose.
    pub policy: Policy,
    /// Bounds of failures and of the password queue.
    pub limits: Arc<Limits>,
    /// The time.
    pub clock: Clock,
    /// Takes uses of keys, to be written in batches; when it is full a use goes unnoted.
    pub key_uses: mpsc::Sender<KeyUse>,
    /// Opens and closes API sessions.
    pub session_orders: SessionOrders,
    /// Threads that hash passwords: half the cores, at least one.
    pub password_threads: usize,
}

/// An authenticator could not be made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AuthenticatorError(#[from] PasswordCheckerError);

impl Authenticator {
    /// Starts the hashing threads.
    pub fn new(parts: AuthenticatorParts) -> Result<Self, AuthenticatorError> {
        let queue = usize::try_from(parts.limits.password_queue).unwrap_or(usize::MAX);
        Ok(Self {
            passwords: PasswordChecker::start(parts.password_threads, queue)?,
            throttle: FailureThrottle::new(parts.limits.failed_credentials_per_address),
            live_sessions: LiveSessions::default(),
            index: parts.index,
            key_ring: parts.key_ring,
            policy: ArcSwap::from_pointee(parts.policy),
            clock: parts.clock,
            key_uses: parts.key_uses,
            session_orders: parts.session_orders,
            session_lifetime: parts.limits.session_lifetime(),
        })
    }

    /// Judges by `policy` and counts against `limits` from now on. Where the policy has changed, open sessions are judged
    /// again; answers how many that ended. `limits.password_queue` and
    /// those of API sessions stay what they were at the start.
    pub fn reconfigure(&self, policy: &Policy, limits: &Limits) -> u64 {
        self.throttle.set_limit(limits.failed_credentials_per_address);
        if **self.policy.load() == *policy {
            return 0;
        }
        self.policy.store(Arc::new(policy.clone()));
        self.end_revoked_sessions(&[Subject::Everything])
    }

    /// Judges one attempt. For an API key or session it never waits.
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Decision {
        let Attempt { credential, service, client_ip } = attempt;
        let decision = match credential {
            Credential::ApiKey(key) => self.authenticate_key(key, service, client_ip),
            Credential::Session(key) => self.authenticate_session(key, service, client_ip),
            Credential::Password { user, password } => {
                self.authenticate_password(user, password, service, client_ip).await
            }
        };
        match decision {
            Ok(permit) => Decision::Allow(permit),
            Err(denial) => Decision::Deny(self.count_failure(denial, client_ip)),
        }
    }

    /// Refuses a request without a readable credential, and counts it as a failure of the address.
    pub fn refuse_unreadable(&self, client_ip: ClientIp) -> Denial {
        let denial = Denial::new(Refusal::Unauthenticated, DenialReason::NoCredential);
        self.count_failure(denial, client_ip)
    }

    /// Registers a session, or a stream that outlives an ordinary request, and judges it anew; it is told when it must
    /// end.
    pub fn open_session(&self, permit: &Permit) -> LiveSession {
        self.live_sessions.register(permit, |permit| self.standing(permit))
    }

    /// Ends the open sessions that changes about `subjects` no longer let in; answers how many that were.
    pub fn end_revoked_sessions(&self, subjects: &[Subject]) -> u64 {
        self.live_sessions.sweep(subjects, |permit| self.standing(permit))
    }

    /// Ends the open sessions whose key's time is over; to be called at least once a second.
    pub fn end_expired_sessions(&self) -> u64 {
        self.live_sessions.end_expired(self.clock.now(), |permit| self.standing(permit))
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        self.live_sessions.count()
    }

    fn authenticate_key(
        &self,
        PresentedKey(text): PresentedKey<'_>,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Permit, Denial> {
        let unknown = |reason| Denial::new(Refusal::Unauthenticated, reason);
        recognise_key(text, &self.key_ring.tag).map_err(|_| unknown(DenialReason::MalformedKey))?;
        let digest = self.key_ring.digest.digest(text);
        let key = self.index.lookup_key(&digest).ok_or(unknown(DenialReason::UnknownKey))?;
        let now = self.clock.now();
        self.judge_key(&key, service, Circumstances { client_ip: Some(client_ip), now })
            .map_err(|denial| denial.of(Recognised::Key(key.id)))?;
        self.note_use(&key, digest, service, client_ip, now);
        Ok(Permit::new(key.user, AuthMethod::ApiKey(key.id), Proof::Key(digest), service, client_ip))
    }

    async fn authenticate_password(
        &self,
        name: &str,
        password: Secret<String>,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Permit, Denial> {
        if let Some(retry_after_seconds) = self.throttle.wait(client_ip) {
            let refusal = Refusal::TooManyFailures { retry_after_seconds };
            return Err(Denial::new(refusal, DenialReason::TooManyFailures));
        }
        let user = self.index.lookup_user(name);
        let recognised = user.as_ref().map(|user| Recognised::Password(user.id()));
        let refused = |reason| Denial { refusal: Refusal::Unauthenticated, reason, recognised };
        // Read before hashing: whoever changes the password meanwhile ends this attempt.
        let before = user.as_ref().map(|user| Arc::clone(&user.state()));
        let version = before.as_ref().map_or(0, |state| state.password_version);
        let memo = user.as_ref().map(|user| self.passwords.memo(user.id(), version, &password));
        // The rules come first here, so that a refused password is hashed every time, remembered or not.
        let remembered =
            user.as_ref().is_some_and(|user| self.judge_password(user, service, client_ip).is_ok())
                && memo.is_some_and(|memo| self.passwords.remembers(&memo));
        if !remembered {
            let hash = before.and_then(|state| state.password_hash.clone());
            match self.passwords.check(password, hash).await {
                Ok(true) => {}
                Ok(false) if user.is_none() => return Err(refused(DenialReason::UnknownUser)),
                Ok(false) => return Err(refused(DenialReason::WrongPassword)),
                Err(QueueFull) => {
                    return Err(Denial {
                        refusal: Refusal::Busy,
                        ..refused(DenialReason::PasswordQueueFull)
                    });
                }
            }
        }
        // Looked up again: the user may have been changed, or deleted and loaded anew, while we hashed.
        let user =
            user.and_then(|user| self.index.user(user.id())).ok_or(refused(DenialReason::UnknownUser))?;
        if user.state().password_version != version {
            return Err(refused(DenialReason::WrongPassword));
        }
        self.judge_password(&user, service, client_ip).map_err(|denial| Denial { recognised, ..denial })?;
        if let Some(memo) = memo.filter(|_| !remembered) {
            self.passwords.remember(memo);
        }
        Ok(Permit::new(user, AuthMethod::Password, Proof::Password(version), service, client_ip))
    }

    fn judge_key(&self, key: &FoundKey, service: Service, at: Circumstances) -> Result<(), Denial> {
        let facts = KeyFacts {
            enabled: key.enabled,
            expires_at: key.expires_at,
            scope: key.scope,
            list: &key.allow_list,
        };
        self.judge(Entrance::Key(service, &facts), &key.user, at)
    }

    fn judge_password(&self, user: &UserEntry, service: Service, client_ip: ClientIp) -> Result<(), Denial> {
        let entrance = match service {
            Service::Api => Entrance::ApiPassword,
            Service::IsProxy => Entrance::IsProxyPassword,
        };
        self.judge(entrance, user, Circumstances { client_ip: Some(client_ip), now: self.clock.now() })
    }

    fn judge(&self, entrance: Entrance<'_>, user: &UserEntry, at: Circumstances) -> Result<(), Denial> {
        let (state, customer) = (user.state(), user.customer().state());
        match judge(entrance, &user_facts(&state, &customer), at, &self.policy.load()) {
            Verdict::Allowed => Ok(()),
            Verdict::Refused(reason) => Err(Denial::new(refusal_for(entrance, reason), reason)),
            // The doors have no place for a second factor.
            Verdict::AllowedWithFactor | Verdict::SetUpPageOnly => {
                Err(Denial::new(Refusal::Unauthenticated, DenialReason::MfaNotSetUp))
            }
        }
    }

    /// Would what opened a session be let in now? Looked up anew: the permit's own entries may be of an older load.
    fn standing(&self, permit: &Permit) -> Standing {
        let at = Circumstances { client_ip: Some(permit.client_ip()), now: self.clock.now() };
        match permit.proof() {
            Proof::Key(digest) => match self.index.lookup_key(&digest) {
                Some(key) if self.judge_key(&key, permit.service(), at).is_ok() => {
                    Standing::Admitted(key.expires_at)
                }
                _ => Standing::Ended,
            },
            Proof::Password(version) => match self.index.user(permit.user().id()) {
                Some(user)
                    if user.state().password_version == version
                        && self.judge_password(&user, permit.service(), permit.client_ip()).is_ok() =>
                {
                    Standing::Admitted(None)
                }
                _ => Standing::Ended,
            },
            Proof::Session(session) => self.session_standing(session, at),
        }
    }

    /// Counts what may be a guess; a credential that proved right, and a full queue, are none.
    fn count_failure(&self, denial: Denial, client_ip: ClientIp) -> Denial {
        if denial.refusal != Refusal::Unauthenticated {
            return denial;
        }
        match self.throttle.record_failure(client_ip) {
            Some(retry_after_seconds) => {
                Denial { refusal: Refusal::TooManyFailures { retry_after_seconds }, ..denial }
            }
            None => denial,
        }
    }

    fn note_use(
        &self,
        key: &FoundKey,
        digest: KeyDigest,
        service: Service,
        client_ip: ClientIp,
        now: Timestamp,
    ) {
        if key.noted_use.plus_seconds(NOTE_USE_EVERY_SECONDS) > now && key.noted_use <= now {
            return;
        }
        if self.key_uses.try_send(KeyUse { key: key.id, at: now, service, client_ip }).is_ok() {
            self.index.remember_noted_use(&digest, now);
        }
    }
}

fn user_facts<'a>(state: &'a UserState, customer: &'a CustomerState) -> UserFacts<'a> {
    UserFacts {
        active: state.active,
        access_points: state.access_points,
        mfa: MfaState::derive(state.mfa_active, state.mfa, customer.mfa),
        password_off_by_key: state.password_off_by_key,
        customer_list: &customer.allow_list,
        user_list: &state.allow_list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, PASSWORD, World};
    use crate::crypto::hash_password;
    use crate::model::MfaRequirement;

    fn permit(decision: Decision) -> Permit {
        match decision {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }

    fn reason(decision: Decision) -> DenialReason {
        match decision {
            Decision::Allow(permit) => panic!("{permit:?}"),
            Decision::Deny(denial) => denial.reason,
        }
    }

    #[tokio::test]
    async fn a_key_lets_in_and_says_whose_it_is() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("api").await;
        let permit = permit(world.key(&text, Service::Api).await);
        assert_eq!((permit.customer(), permit.login(), permit.key_id()), ("acme", "alex", Some(record.id)));
        assert_eq!(permit.method().as_str(), "api-key");
        assert_eq!(reason(world.key(&text, Service::IsProxy).await), DenialReason::ScopeMissing);
        assert_eq!(reason(world.key("lk1_wrong", Service::Api).await), DenialReason::MalformedKey);
        assert_eq!(reason(world.key(&"x".repeat(44), Service::Api).await), DenialReason::UnknownKey);
    }

    #[tokio::test]
    async fn a_refusal_tells_whose_credential_it_was_only_where_it_was_recognised() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("isproxy").await;
        let (key, user) = (Some(Recognised::Key(record.id)), Some(Recognised::Password(world.user)));
        let recognised = |decision| match decision {
            Decision::Allow(permit) => Some(permit.recognised()),
            Decision::Deny(denial) => denial.recognised,
        };
        assert_eq!(recognised(world.key(&text, Service::IsProxy).await), key);
        assert_eq!(recognised(world.key(&text, Service::Api).await), key);
        assert_eq!(recognised(world.key(&format!("{text}x"), Service::Api).await), None);
        assert_eq!(recognised(world.password(PASSWORD, Service::Api).await), user);
        assert_eq!(recognised(world.password("wrong", Service::Api).await), user);
        world.change_user(|user| user.active = false).await;
        assert_eq!(recognised(world.password(PASSWORD, Service::Api).await), user);
        assert_eq!(recognised(world.key(&text, Service::IsProxy).await), key);
    }

    #[tokio::test]
    async fn a_stricter_policy_ends_the_sessions_that_it_would_not_let_in() {
        let world = World::new(Limits::default()).await;
        world.change_user(|user| user.password_off_by_key = true).await;
        let (text, _) = world.add_key("isproxy").await;
        let open = async |decision| world.authenticator.open_session(&permit(decision));
        let by_password = open(world.password(PASSWORD, Service::IsProxy).await).await;
        let by_key = open(world.key(&text, Service::IsProxy).await).await;
        let stricter = Policy { key_ends_password_at_isproxy: true, ..Policy::default() };
        assert_eq!(world.authenticator.reconfigure(&Policy::default(), &Limits::default()), 0);
        assert!(!by_password.is_ended());
        assert_eq!(world.authenticator.reconfigure(&stricter, &Limits::default()), 1);
        assert!(by_password.is_ended() && !by_key.is_ended());
        let refused = world.password(PASSWORD, Service::IsProxy).await;
        assert_eq!(reason(refused), DenialReason::PasswordOffByKey);
    }

    #[tokio::test]
    async fn r20_a_deleted_key_is_refused_and_its_session_ends() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("isproxy").await;
        let (_, other) = world.add_key("isproxy").await;
        let session = world.authenticator.open_session(&permit(world.key(&text, Service::IsProxy).await));
        assert!(!session.is_ended());
        let mut change = world.store.mutate().await.unwrap();
        change.delete_key(&record, NOW).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        assert_eq!(
            world.authenticator.end_revoked_sessions(&[Subject::Key(other.digest)]),
            0,
            "another key's change"
        );
        assert_eq!(world.authenticator.end_revoked_sessions(&[Subject::Key(record.digest)]), 1);
        session.ended().await;
        assert_eq!(reason(world.key(&text, Service::IsProxy).await), DenialReason::UnknownKey);
        assert_eq!(world.authenticator.open_sessions(), 1);
        drop(session);
        assert_eq!(world.authenticator.open_sessions(), 0);
    }

    #[tokio::test]
    async fn a_session_that_registers_after_the_sweep_is_ended_at_once() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("isproxy").await;
        let permit = permit(world.key(&text, Service::IsProxy).await);
        let mut change = world.store.mutate().await.unwrap();
        change.delete_key(&record, NOW).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        world.authenticator.end_revoked_sessions(&[Subject::Key(record.digest)]);
        assert!(world.authenticator.open_session(&permit).is_ended());
    }

    #[tokio::test]
    async fn a_session_ends_when_its_keys_time_is_over() {
        let world = World::new(Limits::default()).await;
        let (text, mut record) = world.add_key("isproxy").await;
        record.expires_at = Some(NOW.plus_seconds(60));
        let mut change = world.store.mutate().await.unwrap();
        change.update_key(&record).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        let session = world.authenticator.open_session(&permit(world.key(&text, Service::IsProxy).await));
        assert_eq!(world.authenticator.end_expired_sessions(), 0);
        world.clock.set(NOW.plus_seconds(60));
        assert_eq!(world.authenticator.end_expired_sessions(), 1);
        assert!(session.is_ended());
        assert_eq!(reason(world.key(&text, Service::IsProxy).await), DenialReason::KeyExpired);
    }

    #[tokio::test]
    async fn a_password_lets_in_until_a_rule_stops_it() {
        let world = World::new(Limits::default()).await;
        assert_eq!(permit(world.password(PASSWORD, Service::Api).await).method(), AuthMethod::Password);
        // Remembered now; the rules are asked all the same.
        permit(world.password(PASSWORD, Service::Api).await);
        assert_eq!(reason(world.password("wrong", Service::Api).await), DenialReason::WrongPassword);
        world.change_user(|user| user.password_off_by_key = true).await;
        assert_eq!(reason(world.password(PASSWORD, Service::Api).await), DenialReason::PasswordOffByKey);
        permit(world.password(PASSWORD, Service::IsProxy).await);
        world.change_user(|user| user.mfa = MfaRequirement::Required).await;
        assert_eq!(
            reason(world.password(PASSWORD, Service::IsProxy).await),
            DenialReason::PasswordOffByRequiredMfa
        );
        world.change_user(|user| user.active = false).await;
        assert_eq!(reason(world.password(PASSWORD, Service::IsProxy).await), DenialReason::UserInactive);
    }

    #[tokio::test]
    async fn a_session_opened_by_password_ends_with_that_password() {
        let world = World::new(Limits::default()).await;
        let session =
            world.authenticator.open_session(&permit(world.password(PASSWORD, Service::IsProxy).await));
        let mut change = world.store.mutate().await.unwrap();
        change
            .set_password(world.user, &hash_password(&Secret::new("another".into())).unwrap())
            .await
            .unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        assert_eq!(world.authenticator.end_revoked_sessions(&[Subject::User(world.user)]), 1);
        assert!(session.is_ended());
        assert_eq!(reason(world.password(PASSWORD, Service::IsProxy).await), DenialReason::WrongPassword);
    }

    #[tokio::test]
    async fn s44_too_many_failures_are_told_to_wait_and_a_valid_key_never() {
        let world = World::new(Limits { failed_credentials_per_address: 2, ..Limits::default() }).await;
        let (text, _) = world.add_key("api").await;
        let refusal = |decision| match decision {
            Decision::Deny(denial) => denial.refusal,
            Decision::Allow(permit) => panic!("{permit:?}"),
        };
        assert_eq!(refusal(world.key("nothing like a key", Service::Api).await), Refusal::Unauthenticated);
        assert_eq!(refusal(world.key("nothing like a key", Service::Api).await), Refusal::Unauthenticated);
        assert!(matches!(
            refusal(world.key("nothing like a key", Service::Api).await),
            Refusal::TooManyFailures { .. }
        ));
        assert!(matches!(
            refusal(world.password(PASSWORD, Service::Api).await),
            Refusal::TooManyFailures { .. }
        ));
        permit(world.key(&text, Service::Api).await);
    }

    #[tokio::test]
    async fn a_use_is_noted_once_a_minute() {
        let mut world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("api").await;
        for _ in 0..3 {
            permit(world.key(&text, Service::Api).await);
        }
        world.clock.set(NOW.plus_seconds(61));
        permit(world.key(&text, Service::Api).await);
        let mut noted = Vec::new();
        while let Ok(used) = world.uses.try_recv() {
            noted.push((used.key, used.at));
        }
        assert_eq!(noted, [(record.id, NOW), (record.id, NOW.plus_seconds(61))]);
    }
}
