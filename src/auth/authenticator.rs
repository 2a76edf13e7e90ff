//! The decision for both doors, from memory.
//!
//! For an API key: form and tag, digest, look-up, rules; no wait, no hash, no allocation. For a password: address,
//! hash on its own threads, then the same rules, so that time tells nothing (PROTOCOL section 3, point 6).

mod api_session;
mod console_password;
mod manage_key;

pub(super) use console_password::ConsolePassword;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::api_sessions::SessionOrders;
use super::attempt::{Attempt, Credential, PresentedKey};
use super::decision::{AuthMethod, Decision, Denial, DenialReason, Permit, Proof, Refusal};
use super::live_sessions::{LiveSession, LiveSessions, OpenSessions, OpenedBy, Standing};
use super::password_check::{PasswordChecker, PasswordCheckerError, QueueFull, hash_of_nobody};
use super::password_turns::PasswordTurns;
use super::policy::{Circumstances, Entrance, KeyFacts, UserFacts, Verdict, judge, refusal_for};
use super::quotas;
use super::rate_limit::{Quota, RateLimit, TermsChange};
use super::shared_failures::SharedFailures;
use super::throttle::{CountedPassword, FailureThrottle};
use super::usage_meter::{CollectedUsage, UsageMeter};
use crate::clock::Clock;
use crate::config::{Limits, Policy};
use crate::crypto::{DigestKey, KeyRing, random, recognise_key};
use crate::model::{
    ClientIp, KeyDigest, MfaState, Recognised, Revision, Secret, Service, SessionLifetime, Timestamp,
};
use crate::store::index::{CustomerState, FoundKey, Metering, UserEntry, UserState};
use crate::store::{Index, KeyUse, Subject};

/// A key's use is noted at most this often.
const NOTE_USE_EVERY_SECONDS: i64 = 60;

/// How long somebody who made a change waits for this gateway to have it.
const APPLIED_WITHIN: Duration = Duration::from_secs(1);

/// A password that cannot be hashed now.
const BUSY: Denial = Denial::new(Refusal::Busy, DenialReason::PasswordQueueFull);

/// Nobody knows any more who may come in.
const STALE: Denial = Denial::new(Refusal::Busy, DenialReason::StoreStale);

/// How far what is in memory may be behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexAge {
    /// Not so far that it matters.
    Fresh,
    /// Further than `policy.max_staleness`: what was revoked meanwhile is not known (S80).
    TooOld,
}

/// Does a quota count the requests of somebody?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotasInForce {
    /// None does.
    None,
    /// One does, or several: each request has to be taken from them.
    Some,
}

/// Judges credentials from memory; shared by all door threads.
#[derive(Debug)]
pub struct Authenticator {
    index: Arc<Index>,
    index_is_too_old: AtomicBool,
    key_ring: Arc<KeyRing>,
    policy: ArcSwap<Policy>,
    clock: Clock,
    passwords: PasswordChecker,
    /// One lane is the console's, so that no flood at the doors keeps an administrator out (S94).
    console_passwords: PasswordChecker,
    password_turns: PasswordTurns,
    throttle: FailureThrottle,
    rate_limit: RateLimit,
    live_sessions: LiveSessions,
    usage: UsageMeter,
    key_uses: mpsc::Sender<KeyUse>,
    session_orders: SessionOrders,
    shared_failures: Option<SharedFailures>,
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
    /// Counts failed passwords for all gateways of a shared store.
    pub shared_failures: Option<SharedFailures>,
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
        let throttle_key = DigestKey::new(random::bytes().map_err(PasswordCheckerError::from)?);
        let queue = usize::try_from(parts.limits.password_queue).unwrap_or(usize::MAX);
        let nobody = hash_of_nobody()?;
        Ok(Self {
            passwords: PasswordChecker::start(parts.password_threads, queue, Arc::clone(&nobody))?,
            console_passwords: PasswordChecker::start(1, queue, nobody)?,
            password_turns: PasswordTurns::new(queue),
            throttle: FailureThrottle::new(&parts.limits, throttle_key),
            rate_limit: RateLimit::new(&parts.limits),
            live_sessions: LiveSessions::default(),
            usage: UsageMeter::default(),
            index: parts.index,
            index_is_too_old: AtomicBool::new(false),
            key_ring: parts.key_ring,
            policy: ArcSwap::from_pointee(parts.policy),
            clock: parts.clock,
            key_uses: parts.key_uses,
            session_orders: parts.session_orders,
            shared_failures: parts.shared_failures,
            session_lifetime: parts.limits.session_lifetime(),
        })
    }

    /// Judges by `policy` and counts against `limits` from now on. Where the policy has changed, open sessions are judged
    /// again; answers how many that ended. `limits.password_queue` and
    /// those of API sessions stay what they were at the start.
    pub fn reconfigure(&self, policy: &Policy, limits: &Limits) -> u64 {
        self.throttle.set_limits(limits);
        if self.rate_limit.set_limits(limits) == TermsChange::Other {
            // What a key used by other terms could keep it waiting for days.
            self.index.reset_meters();
        }
        if **self.policy.load() == *policy {
            return 0;
        }
        self.policy.store(Arc::new(policy.clone()));
        self.end_revoked_sessions(&[Subject::Everything])
    }

    /// The rules that are in force.
    pub fn policy(&self) -> Policy {
        Policy::clone(&self.policy.load())
    }

    /// Lets nobody in while the index is too old, and ends what is open; answers how many that were.
    pub fn set_index_age(&self, age: IndexAge) -> u64 {
        self.index_is_too_old.store(age == IndexAge::TooOld, Ordering::Relaxed);
        match age {
            IndexAge::Fresh => 0,
            IndexAge::TooOld => self.end_revoked_sessions(&[Subject::Everything]),
        }
    }

    /// How old the index counts as.
    pub fn index_age(&self) -> IndexAge {
        if self.index_is_too_old.load(Ordering::Relaxed) { IndexAge::TooOld } else { IndexAge::Fresh }
    }

    /// Waits until this gateway decides by `revision`, a second at most: a store that is away must keep nobody waiting.
    pub async fn applied(&self, revision: Revision) {
        let mut applied = self.index.applied();
        let reached = applied.wait_for(|applied| *applied >= revision);
        // Either way the answer is given; the follower goes on catching up.
        let _ = tokio::time::timeout(APPLIED_WITHIN, reached).await;
    }

    /// Judges one attempt. For an API key or session it never waits.
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Decision {
        let Attempt { credential, service, client_ip } = attempt;
        let judged = match credential {
            Credential::ApiKey(key) => {
                return self.authenticate_key(key, service, client_ip, self.clock.now());
            }
            _ if self.index_age() == IndexAge::TooOld => return Decision::Deny(STALE),
            Credential::Session(key) => {
                let judged = self.authenticate_session(key, service, client_ip);
                judged.map_err(|denial| self.count_failure(denial, client_ip))
            }
            Credential::Password { user, password } => {
                // Boxed, so that a key, which never waits, has no room to keep for it.
                Box::pin(self.authenticate_password(user, password, service, client_ip)).await
            }
        };
        self.decide(judged, service)
    }

    /// Judges an attempt with an API key, at once; it came at `now`.
    pub fn authenticate_key(
        &self,
        key: PresentedKey<'_>,
        service: Service,
        client_ip: ClientIp,
        now: Timestamp,
    ) -> Decision {
        if self.index_age() == IndexAge::TooOld {
            return Decision::Deny(STALE);
        }
        let judged = self.judge_presented(key, service, client_ip, now);
        self.decide(judged.map_err(|denial| self.count_failure(denial, client_ip)), service)
    }

    /// Takes who was let in from quotas, and counts the use.
    fn decide(&self, judged: Result<Permit, Denial>, service: Service) -> Decision {
        match judged.and_then(|permit| self.take_from_quotas(permit)) {
            Ok(permit) => {
                self.usage.count_admission(&permit);
                Decision::Allow(permit)
            }
            Err(denial) => {
                self.usage.count_refusal(denial, service);
                Decision::Deny(denial)
            }
        }
    }

    /// Counts `requests` of an `IsProxy` session in the usage of its credential.
    pub fn count_requests(&self, permit: &Permit, requests: u32) {
        if requests > 0 {
            self.usage.count_requests(permit, requests);
        }
    }

    /// Whether requests of an `IsProxy` session have to be taken from quotas that there are now, whenever it began.
    pub fn quotas_in_force(&self, permit: &Permit) -> QuotasInForce {
        if quotas::are_in_force(&self.index, permit) { QuotasInForce::Some } else { QuotasInForce::None }
    }

    /// Takes a request of an `IsProxy` session from the quotas that there are now, whenever it began.
    pub fn take_request_from_quotas(&self, permit: &Permit) -> Result<(), Denial> {
        quotas::take(&self.index, permit, self.clock.now())
            .inspect_err(|denial| self.usage.count_refusal(*denial, permit.service()))
    }

    /// Takes a request of an `IsProxy` session from its key's limit; how long to wait before it may be sent.
    pub fn take_request_in_turn(&self, permit: &Permit) -> Duration {
        let Proof::Key(digest) = permit.proof() else { return Duration::ZERO };
        // A key that is gone has no limit; its session is about to end.
        self.index.meter_request(&digest, |meter| self.rate_limit.take_in_turn(meter)).unwrap_or_default()
    }

    /// Refuses a request without a readable credential, and counts it as a failure of the address.
    pub fn refuse_unreadable(&self, client_ip: ClientIp) -> Denial {
        let denial = Denial::new(Refusal::Unauthenticated, DenialReason::NoCredential);
        self.count_failure(denial, client_ip)
    }

    /// Refuses a credential that came in clear where that is refused, without judging it. A key that exists is named:
    /// whoever listened on the way has it now, and the audit trail must tell which one to replace (PROTOCOL section 2).
    pub fn refuse_exposed(&self, credential: &Credential<'_>) -> Denial {
        let denial = Denial::new(Refusal::Forbidden, DenialReason::PlaintextCredential);
        let Credential::ApiKey(PresentedKey(text)) = credential else { return denial };
        if recognise_key(text, &self.key_ring.tag).is_err() {
            return denial;
        }
        let key = self.index.lookup_key(&self.key_ring.digest.digest(text));
        key.map_or(denial, |key| denial.of(Recognised::Key(key.id), &key.user))
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

    /// Takes out what was counted since the last time; for one caller, every few seconds.
    pub fn collect_usage(&self) -> CollectedUsage {
        self.usage.collect()
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        self.live_sessions.count()
    }

    /// What `whose` credentials have open at this gateway now. Walks over all that is open: for a page, not for a door.
    pub fn open_sessions_of(&self, whose: OpenedBy) -> OpenSessions {
        self.live_sessions.count_of(whose)
    }

    fn judge_presented(
        &self,
        PresentedKey(text): PresentedKey<'_>,
        service: Service,
        client_ip: ClientIp,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        let unknown = |reason| Denial::new(Refusal::Unauthenticated, reason);
        recognise_key(text, &self.key_ring.tag).map_err(|_| unknown(DenialReason::MalformedKey))?;
        let digest = self.key_ring.digest.digest(text);
        let key = self.index.lookup_key(&digest).ok_or(unknown(DenialReason::UnknownKey))?;
        let recognised = Recognised::Key(key.id);
        let metering = self
            .judge_key(&key, service, Circumstances { client_ip: Some(client_ip), now })
            .map_err(|denial| denial.of(recognised, &key.user))?;
        let quota = self.take_request(&digest, service).map_err(|denial| denial.of(recognised, &key.user))?;
        self.note_use(&key, digest, service, client_ip, now);
        let permit =
            Permit::new(key.user, AuthMethod::ApiKey(key.id), Proof::Key(digest), service, client_ip);
        Ok(permit.with_quota(quota).with_metering(metering))
    }

    /// Takes a request of the API from the quotas of whoever has any. At `IsProxy` requests count, and not what logs in
    /// for them.
    fn take_from_quotas(&self, permit: Permit) -> Result<Permit, Denial> {
        if permit.metering() == Metering::On && permit.service() == Service::Api {
            quotas::take(&self.index, &permit, self.clock.now())?;
        }
        Ok(permit)
    }

    /// Takes a request from the key's limit. At `IsProxy` its requests count, and not what logs in for them.
    fn take_request(&self, digest: &KeyDigest, service: Service) -> Result<Option<Quota>, Denial> {
        if service != Service::Api || !self.rate_limit.is_on() {
            return Ok(None);
        }
        self.index.meter_request(digest, |meter| self.rate_limit.take(meter)).unwrap_or(Ok(None))
    }

    /// First the throttles, then what is remembered, then the hash. It is counted as failed before it is hashed, so
    /// that many at once are not all hashed.
    async fn authenticate_password(
        &self,
        name: &str,
        password: Secret<String>,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Permit, Denial> {
        // Looked up for a refusal only, so that `explain` knows whose password it was.
        let of_user = |denial: Denial| match self.index.lookup_user(name) {
            Some(user) => denial.of(Recognised::Password(user.id()), &user),
            None => denial,
        };
        self.throttle.admit_password(client_ip, name).map_err(of_user)?;
        if let Some(permit) = self.recall_password(name, &password, service, client_ip) {
            self.throttle.forget_name(name);
            return Ok(permit);
        }
        let turn = self.password_turns.take(self.passwords.attempt_digest(name, &password)).await;
        let _turn = turn.map_err(|QueueFull| of_user(BUSY))?;
        let counted = self.count_password(client_ip, name).await.map_err(of_user)?;
        let judged = self.check_password(name, password, service, client_ip).await;
        match judged {
            Ok(_) => counted.let_in(),
            Err(denial) if denial.refusal == Refusal::Busy => counted.not_hashed(),
            // It stays counted.
            Err(_) => {}
        }
        judged
    }

    /// Counts a password as failed, here and at every gateway of a shared store, unless it must wait.
    async fn count_password<'t>(
        &'t self,
        client_ip: ClientIp,
        name: &'t str,
    ) -> Result<CountedPassword<'t>, Denial> {
        let counted = self.throttle.count_password(client_ip, name)?;
        let (Some(shared), Some(rules)) = (&self.shared_failures, self.throttle.shared_rules()) else {
            return Ok(counted);
        };
        match shared.count(client_ip, name, rules).await {
            Ok(count) => Ok(counted.also_in_the_store(count)),
            Err(denial) => {
                counted.not_hashed();
                Err(denial)
            }
        }
    }

    /// Lets a password in that did so within the last minute, and would again.
    fn recall_password(
        &self,
        name: &str,
        password: &Secret<String>,
        service: Service,
        client_ip: ClientIp,
    ) -> Option<Permit> {
        let user = self.index.lookup_user(name)?;
        let version = user.state().password_version;
        let memo = self.passwords.memo(user.id(), version, password);
        // The rules come first, so that a refused password is hashed every time, remembered or not.
        // A password that opens no door for now, because it is to be replaced or takes a link, is not remembered either.
        user.state().password_hash.as_ref()?;
        let metering = self.judge_password(&user, service, client_ip).ok()?;
        self.passwords.remembers(&memo).then(|| {
            Permit::new(user, AuthMethod::Password, Proof::Password(version), service, client_ip)
                .with_metering(metering)
        })
    }

    async fn check_password(
        &self,
        name: &str,
        password: Secret<String>,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Permit, Denial> {
        // Whoever had the turn before may have sent the same.
        if let Some(permit) = self.recall_password(name, &password, service, client_ip) {
            return Ok(permit);
        }
        let user = self.index.lookup_user(name);
        let whose = user.clone();
        let of_user = |denial: Denial| match &whose {
            Some(user) => denial.of(Recognised::Password(user.id()), user),
            None => denial,
        };
        let refused = |reason| of_user(Denial::new(Refusal::Unauthenticated, reason));
        // Read before hashing: whoever changes the password meanwhile ends this attempt.
        let before = user.as_ref().map(|user| Arc::clone(&user.state()));
        let version = before.as_ref().map_or(0, |state| state.password_version);
        let memo = user.as_ref().map(|user| self.passwords.memo(user.id(), version, &password));
        let hash = before.and_then(|state| state.password_hash.clone());
        match self.passwords.check(password, hash).await {
            Ok(true) => {}
            Ok(false) if user.is_none() => return Err(refused(DenialReason::UnknownUser)),
            Ok(false) => return Err(refused(DenialReason::WrongPassword)),
            Err(QueueFull) => return Err(of_user(BUSY)),
        }
        // Looked up again: the user may have been changed, or deleted and loaded anew, while we hashed.
        let user =
            user.and_then(|user| self.index.user(user.id())).ok_or(refused(DenialReason::UnknownUser))?;
        if user.state().password_version != version {
            return Err(refused(DenialReason::WrongPassword));
        }
        let metering = self.judge_password(&user, service, client_ip).map_err(of_user)?;
        if let Some(memo) = memo {
            self.passwords.remember(memo);
        }
        let permit = Permit::new(user, AuthMethod::Password, Proof::Password(version), service, client_ip);
        Ok(permit.with_metering(metering))
    }

    /// Whether anybody's quota counts requests by it is answered beside.
    fn judge_key(&self, key: &FoundKey, service: Service, at: Circumstances) -> Result<Metering, Denial> {
        let facts = KeyFacts {
            enabled: key.enabled,
            expires_at: key.expires_at,
            scope: key.scope,
            list: &key.allow_list,
        };
        Ok(self.judge(Entrance::Key(service, &facts), &key.user, at)?.or(key.metering))
    }

    fn judge_password(
        &self,
        user: &UserEntry,
        service: Service,
        client_ip: ClientIp,
    ) -> Result<Metering, Denial> {
        let entrance = match service {
            Service::Api => Entrance::ApiPassword,
            Service::IsProxy => Entrance::IsProxyPassword,
        };
        self.judge(entrance, user, Circumstances { client_ip: Some(client_ip), now: self.clock.now() })
    }

    /// Whether a quota of user or customer counts requests is answered beside.
    fn judge(&self, entrance: Entrance<'_>, user: &UserEntry, at: Circumstances) -> Result<Metering, Denial> {
        let (state, customer) = (user.state(), user.customer().state());
        match judge(entrance, &user_facts(&state, &customer), at, &self.policy.load()) {
            Verdict::Allowed => Ok(state.metering.or(customer.metering)),
            Verdict::Refused(reason) => Err(Denial::new(refusal_for(entrance, reason), reason)),
            // The doors have no place for a second factor.
            Verdict::AllowedWithFactor | Verdict::SetUpPageOnly => {
                Err(Denial::new(Refusal::Unauthenticated, DenialReason::MfaNotSetUp))
            }
        }
    }

    /// Would what opened a session be let in now? Looked up anew: the permit's own entries may be of an older load.
    fn standing(&self, permit: &Permit) -> Standing {
        if self.index_age() == IndexAge::TooOld {
            return Standing::Ended;
        }
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
        match self.throttle.count_failure(client_ip) {
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
    async fn s80_by_what_is_too_old_nobody_is_let_in_and_what_is_open_ends() {
        let world = World::new(Limits::default()).await;
        let (text, _) = world.add_key("api,isproxy").await;
        let session = world.authenticator.open_session(&permit(world.key(&text, Service::IsProxy).await));
        assert_eq!(world.authenticator.set_index_age(IndexAge::TooOld), 1);
        assert!(session.is_ended());
        for decision in [
            world.key(&text, Service::Api).await,
            world.key("wrong", Service::Api).await,
            world.password(PASSWORD, Service::Api).await,
        ] {
            assert!(matches!(&decision, Decision::Deny(denial) if denial.refusal == Refusal::Busy));
            assert_eq!(reason(decision), DenialReason::StoreStale);
        }
        world.authenticator.set_index_age(IndexAge::Fresh);
        permit(world.key(&text, Service::Api).await);
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
    async fn what_is_open_is_told_by_key_user_and_customer_with_what_opened_it() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("isproxy").await;
        let (_, other) = world.add_key("isproxy").await;
        let by_key = permit(world.key(&text, Service::IsProxy).await);
        let by_password = permit(world.password(PASSWORD, Service::IsProxy).await);
        let of = |whose| world.authenticator.open_sessions_of(whose);
        let open: Vec<_> =
            [&by_key, &by_key, &by_password].map(|permit| world.authenticator.open_session(permit)).into();
        let key = of(OpenedBy::Key(record.id));
        assert_eq!((key.isproxy.by_key, key.total()), (2, 2));
        assert_eq!(of(OpenedBy::Key(other.id)), OpenSessions::default());
        let user = of(OpenedBy::User(world.user));
        assert_eq!((user.isproxy.by_password, user.isproxy.total(), user.api.total()), (1, 3, 0));
        assert_eq!(of(OpenedBy::Customer(by_key.user().customer().id())), user);
        drop(open);
        assert_eq!(of(OpenedBy::User(world.user)).total(), 0);
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
            .set_password(world.user, &hash_password(&Secret::new("another".into())).unwrap(), None)
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

    fn refusal(decision: Decision) -> Refusal {
        match decision {
            Decision::Deny(denial) => denial.refusal,
            Decision::Allow(permit) => panic!("{permit:?}"),
        }
    }

    #[tokio::test]
    async fn s44_passwords_for_a_name_are_delayed_alike_whether_it_is_a_users_or_not_and_keys_never() {
        let world = World::new(Limits { failed_passwords_per_user: 2, ..Limits::default() }).await;
        let (text, _) = world.add_key("isproxy").await;
        for name in ["acme/alex", "acme/nobody", "no name at all"] {
            let attempt = |password: &str| {
                let password = Secret::new(password.to_owned());
                world.attempt(Credential::Password { user: name, password }, Service::IsProxy)
            };
            for password in ["one", "two"] {
                assert_eq!(refusal(attempt(password).await), Refusal::Unauthenticated, "{name}");
            }
            for password in ["three", PASSWORD] {
                let retry_after_seconds = std::num::NonZeroU32::MIN;
                assert_eq!(
                    refusal(attempt(password).await),
                    Refusal::TooManyFailures { retry_after_seconds }
                );
                assert_eq!(reason(attempt(password).await), DenialReason::UserThrottled, "{name}");
            }
            permit(world.key(&text, Service::IsProxy).await);
        }
    }

    #[tokio::test]
    async fn s44_many_at_once_with_the_right_password_are_all_let_in_and_with_wrong_ones_few_are_hashed() {
        let limits = Limits { failed_passwords_per_user: 3, ..Limits::default() };
        let world = World::new(limits).await;
        let right = (0..20).map(|_| world.password(PASSWORD, Service::Api));
        for decision in futures_util::future::join_all(right).await {
            permit(decision);
        }
        let wrong: Vec<String> = (0..20).map(|number| format!("wrong {number}")).collect();
        let tried = wrong.iter().map(|password| world.password(password, Service::Api));
        let reasons: Vec<_> = futures_util::future::join_all(tried).await.into_iter().map(reason).collect();
        let hashed = reasons.iter().filter(|reason| **reason == DenialReason::WrongPassword).count();
        let refused = reasons.iter().filter(|reason| **reason == DenialReason::UserThrottled).count();
        assert_eq!((hashed, refused), (3, 17));
    }

    #[tokio::test]
    async fn a_right_password_forgets_the_wrong_ones_before_it_also_where_it_is_remembered() {
        let world = World::new(Limits { failed_passwords_per_user: 2, ..Limits::default() }).await;
        for _ in 0..3 {
            assert_eq!(reason(world.password("wrong", Service::Api).await), DenialReason::WrongPassword);
            permit(world.password(PASSWORD, Service::Api).await);
        }
    }

    #[tokio::test]
    async fn s43_a_password_that_finds_the_queue_full_is_no_failure_of_anybody() {
        let limits = Limits {
            failed_passwords_per_user: 1,
            failed_credentials_per_address: 1,
            password_queue: 1,
            ..Limits::default()
        };
        let world = World::without_password_threads(limits).await;
        let mut first = Box::pin(world.password("never hashed", Service::Api));
        assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
        // The one that waits is counted, and so the only one there may be.
        assert_eq!(reason(world.password(PASSWORD, Service::Api).await), DenialReason::TooManyFailures);
        let elsewhere = || async {
            let credential = Credential::Password { user: "acme/other", password: Secret::new("x".into()) };
            let client_ip = ClientIp::new("192.0.2.2".parse().unwrap());
            world.authenticator.authenticate(Attempt { credential, service: Service::Api, client_ip }).await
        };
        for _ in 0..3 {
            assert_eq!(reason(elsewhere().await), DenialReason::PasswordQueueFull);
        }
    }

    #[tokio::test]
    async fn a_keys_limit_holds_for_requests_of_both_doors_and_is_no_failure() {
        let limits = Limits {
            requests_per_second_per_key: 1,
            request_burst_per_key: 3,
            failed_credentials_per_address: 1,
            ..Limits::default()
        };
        let world = World::new(limits).await;
        let (text, _) = world.add_key("api,isproxy").await;
        let (other, _) = world.add_key("api").await;
        let session = permit(world.key(&text, Service::IsProxy).await);
        assert_eq!(session.quota(), None, "a login does not count");
        assert_eq!(world.authenticator.take_request_in_turn(&session), Duration::ZERO);
        assert_eq!(permit(world.key(&text, Service::Api).await).quota().unwrap().remaining, 1);
        permit(world.key(&text, Service::Api).await);
        for _ in 0..3 {
            assert_eq!(reason(world.key(&text, Service::Api).await), DenialReason::TooManyRequests);
        }
        assert!(world.authenticator.take_request_in_turn(&session) > Duration::from_millis(500));
        permit(world.key(&other, Service::Api).await);
        assert_eq!(
            refusal(world.key("wrong", Service::Api).await),
            Refusal::Unauthenticated,
            "the first failure"
        );
        let other = Limits { requests_per_second_per_key: 2, ..Limits::default() };
        world.authenticator.reconfigure(&Policy::default(), &other);
        let quota = permit(world.key(&text, Service::Api).await).quota().unwrap();
        assert_eq!((quota.limit, quota.remaining), (2, 1), "another limit begins anew");
    }

    #[tokio::test]
    async fn without_a_limit_and_by_password_nothing_is_counted() {
        let world = World::new(Limits { requests_per_second_per_key: 1, ..Limits::default() }).await;
        for _ in 0..3 {
            let permit = permit(world.password(PASSWORD, Service::Api).await);
            assert_eq!(permit.quota(), None);
            assert_eq!(world.authenticator.take_request_in_turn(&permit), Duration::ZERO);
        }
        let world = World::new(Limits::default()).await;
        let (text, _) = world.add_key("api").await;
        for _ in 0..100 {
            assert_eq!(permit(world.key(&text, Service::Api).await).quota(), None);
        }
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
