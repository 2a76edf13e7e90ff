//! Checking a second factor, and the step from half to full.
//!
//! The writer's lock makes each check one after another, so that of fifty equal codes sent at once one is taken (S29,
//! S32). What is slow, the hash of a recovery code, is done before it, and counted before that.

use super::super::audit::{Event, EventKind};
use super::super::change::Change;
use super::super::console_access::{ConsoleAccess, SESSIONS_OF_A_USER, ceremony_label, method_label};
use super::super::control_plane::ControlError;
use super::super::security_keys::{CHALLENGE_LIVES_SECONDS, NoProof, parse_key};
use super::session::{ConsoleSession, SessionStep};
use super::{HALF_TRIES, SignedIn};
use crate::crypto::{RecoveryCode, RecoveryHash, TokenPurpose, TotpSecret};
use crate::model::{
    ConsoleSessionRecord, FactorFailures, MethodKind, MethodRecord, Secret, SignInStage, TokenDigest,
};
use crate::store::{CeremonyRecord, UserRecord};

/// The ceremony of a challenge that proves a registered security key.
const PROVE: &str = "prove";

/// A second factor as it was presented.
#[derive(Debug)]
pub enum PresentedFactor {
    /// A code of an authenticator app.
    Code(Secret<String>),
    /// A recovery code.
    RecoveryCode(Secret<String>),
    /// The JSON of a security key's answer.
    SecurityKey(Secret<String>),
}

/// The factor that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedFactor {
    /// A method.
    Method(MethodKind),
    /// A recovery code; so many are left.
    RecoveryCode {
        /// Codes that were not used yet.
        left: usize,
    },
}

/// Why a second factor was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FactorRefusal {
    /// Wrong, or used already.
    #[error("the code is not correct or no longer valid")]
    Wrong,
    /// Too many failed within ten minutes.
    #[error("too many attempts")]
    Wait {
        /// Until the next try, in seconds.
        seconds: i64,
    },
    /// A hundred failed in a row (S31).
    #[error("this method was disabled after too many failures; use another one")]
    Disabled,
    /// There is no such factor, or the challenge is over.
    #[error("this method cannot be used now; begin again")]
    NotOffered,
    /// The half sign-in is over: too old, or tried too often.
    #[error("the sign-in took too long or was tried too often; sign in again")]
    Over,
    /// The store failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A factor whose slow part is done.
pub(super) enum Prepared {
    Code(Secret<String>),
    /// `None`: it is none of the user's codes.
    RecoveryCode(Option<RecoveryHash>),
    SecurityKey(Secret<String>),
}

impl ConsoleAccess {
    /// Takes the second step of a half sign-in; the session gets a new token.
    pub async fn verify(
        &self,
        session: &ConsoleSession,
        factor: PresentedFactor,
    ) -> Result<(SignedIn, UsedFactor), FactorRefusal> {
        let (change, _, user) = self.begin_half(session).await?;
        let prepared = self.prepare(change, &user, factor).await?;
        let (mut change, record, user) = self.begin_half(session).await?;
        match self.check_factor(&mut change, &user, record.digest, prepared).await? {
            Ok(factor) => {
                let signed_in = self.finish(&mut change, record, &user, factor).await?;
                change.commit_noted().await?;
                self.note_entry(&user, session.client_ip).await;
                Ok((signed_in, factor))
            }
            Err(refusal) => {
                if matches!(refusal, FactorRefusal::Wrong) {
                    change.count_console_session_try(record.digest).await.map_err(ControlError::from)?;
                }
                change.commit_noted().await?;
                let was_last = matches!(refusal, FactorRefusal::Wrong) && record.tries + 1 >= HALF_TRIES;
                Err(if was_last { FactorRefusal::Over } else { refusal })
            }
        }
    }

    /// A change, and the half sign-in and its user as they stand in it; everything is judged again (S95).
    async fn begin_half(
        &self,
        session: &ConsoleSession,
    ) -> Result<(Change, ConsoleSessionRecord, UserRecord), FactorRefusal> {
        let mut change = match self.plane_in(session).begin().await {
            Err(ControlError::Forbidden(_)) => return Err(FactorRefusal::Over),
            other => other?,
        };
        let record = change.console_session(session.record.digest).await.map_err(ControlError::from)?;
        let user = change.user_by_id(session.user.id).await.map_err(ControlError::from)?;
        let (Some(record), Some(user)) = (record, user) else { return Err(FactorRefusal::Over) };
        match self.step(&record, &user, session.client_ip, change.now()) {
            Some(SessionStep::SecondFactor) if !self.is_over(&record, change.now()) => {
                Ok((change, record, user))
            }
            _ => Err(FactorRefusal::Over),
        }
    }

    /// Makes a full session of a half one, under a new token (S28).
    async fn finish(
        &self,
        change: &mut Change,
        half: ConsoleSessionRecord,
        user: &UserRecord,
        factor: UsedFactor,
    ) -> Result<SignedIn, ControlError> {
        let now = change.now();
        change.delete_console_session(half.digest).await?;
        let (token, digest) = self.draw(TokenPurpose::Session)?;
        let full = ConsoleSessionRecord {
            digest,
            stage: SignInStage::Full,
            tries: 0,
            created_at: now,
            last_used_at: now,
            authenticated_at: now,
            ..half
        };
        change.insert_console_session(&full, SESSIONS_OF_A_USER).await?;
        change.note(Event::new(EventKind::SignedIn).about(user).with("factor", factor.name()));
        Ok(SignedIn { token, stage: SignInStage::Full, device: Some(self.device_token(user, now)) })
    }

    /// Does what is slow about a factor, and needs `change` for what comes before that: a recovery code is counted as
    /// failed before it is hashed, so that many at once are not all hashed.
    pub(super) async fn prepare(
        &self,
        mut change: Change,
        user: &UserRecord,
        factor: PresentedFactor,
    ) -> Result<Prepared, FactorRefusal> {
        let typed = match factor {
            PresentedFactor::Code(code) => return Ok(Prepared::Code(code)),
            PresentedFactor::SecurityKey(answer) => return Ok(Prepared::SecurityKey(answer)),
            PresentedFactor::RecoveryCode(typed) => typed,
        };
        let set = change.recovery_set_of(user.id).await.map_err(ControlError::from)?;
        let set = set.ok_or(FactorRefusal::NotOffered)?;
        if let Some(refusal) = standing(set.failures, change.now()) {
            return Err(refusal);
        }
        let failures = set.failures.and_one_at(change.now());
        change.set_recovery_failures(user.id, failures).await.map_err(ControlError::from)?;
        change.commit_noted().await?;
        let Some(code) = RecoveryCode::parse(typed.expose()) else {
            return Ok(Prepared::RecoveryCode(None));
        };
        let matching = self.plane.hashing.run(&user.name, move || {
            code.matching(&set.hashes).and_then(|place| set.hashes.into_iter().nth(place))
        });
        Ok(Prepared::RecoveryCode(matching.await?))
    }

    /// Checks a factor of `user`; what failed and what was used is written into `change`.
    pub(super) async fn check_factor(
        &self,
        change: &mut Change,
        user: &UserRecord,
        session: TokenDigest,
        factor: Prepared,
    ) -> Result<Result<UsedFactor, FactorRefusal>, ControlError> {
        match factor {
            Prepared::Code(code) => self.check_code(change, user, &code).await,
            Prepared::RecoveryCode(hash) => check_recovery_code(change, user, hash).await,
            Prepared::SecurityKey(answer) => self.check_key(change, user, session, &answer).await,
        }
    }

    async fn check_code(
        &self,
        change: &mut Change,
        user: &UserRecord,
        code: &Secret<String>,
    ) -> Result<Result<UsedFactor, FactorRefusal>, ControlError> {
        let now = change.now();
        let methods = change.mfa_methods_of(user.id).await?;
        let apps: Vec<_> = methods.into_iter().filter(|method| method.kind == MethodKind::App).collect();
        let ready: Vec<_> =
            apps.iter().filter(|app| standing(app.failures, now).is_none()).cloned().collect();
        if ready.is_empty() {
            let refusal = apps.first().and_then(|app| standing(app.failures, now));
            return Ok(Err(refusal.unwrap_or(FactorRefusal::NotOffered)));
        }
        for app in &ready {
            let seed = self.open(&app.secret, &method_label(user, MethodKind::App))?;
            let Ok(seed) = TotpSecret::from_bytes(seed.expose()) else { continue };
            if let Some(step) = seed.matching_step(code.expose(), now, app.last_step) {
                let app = MethodRecord { last_step: Some(step), ..used_now(app, change) };
                change.update_mfa_method(&app).await?;
                return Ok(Ok(UsedFactor::Method(MethodKind::App)));
            }
        }
        note_failed(change, user, MethodKind::App.name(), "wrong code");
        for app in ready {
            let failures = app.failures.and_one_at(now);
            note_disabled(change, user, MethodKind::App.name(), failures);
            change.update_mfa_method(&MethodRecord { failures, ..app }).await?;
        }
        Ok(Err(FactorRefusal::Wrong))
    }

    /// Draws a challenge that one of the user's security keys can answer, for the page's script.
    pub async fn challenge_security_key(&self, session: &ConsoleSession) -> Result<String, FactorRefusal> {
        let keys = self.security_keys.as_ref().ok_or(FactorRefusal::NotOffered)?;
        let methods = self.plane.store.mfa_methods_of(session.user.id).await.map_err(ControlError::from)?;
        let present = self.open_keys(&session.user, &methods)?;
        if present.is_empty() {
            return Err(FactorRefusal::NotOffered);
        }
        let present: Vec<_> = present.into_iter().map(|(_, key)| key).collect();
        let challenge = keys.start_authentication(&present).map_err(|_| FactorRefusal::NotOffered)?;
        let digest = session.record.digest;
        let state = self.seal(&challenge.state, &ceremony_label(PROVE, &session.user, digest))?;
        let mut change = self.plane_in(session).begin().await?;
        if change.console_session(digest).await.map_err(ControlError::from)?.is_none() {
            return Err(FactorRefusal::Over);
        }
        let began_at = change.now();
        let ceremony = CeremonyRecord { state, mfa_generation: session.user.mfa_generation, began_at };
        change.put_ceremony(digest, PROVE, &ceremony).await.map_err(ControlError::from)?;
        change.commit_noted().await?;
        Ok(challenge.options)
    }

    /// The security keys among `methods`, with the methods that they are.
    pub(in crate::auth) fn open_keys(
        &self,
        user: &UserRecord,
        methods: &[MethodRecord],
    ) -> Result<Vec<(MethodRecord, webauthn_rs::prelude::SecurityKey)>, ControlError> {
        let label = method_label(user, MethodKind::SecurityKey);
        let keys = methods.iter().filter(|method| method.kind == MethodKind::SecurityKey);
        keys.filter_map(|method| match self.open(&method.secret, &label) {
            Ok(secret) => parse_key(secret.expose()).map(|key| Ok((method.clone(), key))),
            Err(error) => Some(Err(error.into())),
        })
        .collect()
    }

    async fn check_key(
        &self,
        change: &mut Change,
        user: &UserRecord,
        session: TokenDigest,
        answer: &Secret<String>,
    ) -> Result<Result<UsedFactor, FactorRefusal>, ControlError> {
        let now = change.now();
        let Some(security_keys) = self.security_keys.as_ref() else {
            return Ok(Err(FactorRefusal::NotOffered));
        };
        let ceremony = change.ceremony(session, PROVE).await?;
        // Taken out whatever comes of it: a challenge is answered once (S33).
        change.delete_ceremony(session, PROVE).await?;
        let age = |at: crate::model::Timestamp| now.unix_seconds().saturating_sub(at.unix_seconds());
        let ceremony = ceremony.filter(|ceremony| {
            ceremony.mfa_generation == user.mfa_generation
                && (0..CHALLENGE_LIVES_SECONDS).contains(&age(ceremony.began_at))
        });
        let Some(ceremony) = ceremony else { return Ok(Err(FactorRefusal::NotOffered)) };
        let state = self.open(&ceremony.state, &ceremony_label(PROVE, user, session))?;
        let methods = change.mfa_methods_of(user.id).await?;
        let present = self.open_keys(user, &methods)?;
        let keys: Vec<_> = present.iter().map(|(_, key)| key.clone()).collect();
        match security_keys.finish_authentication(&keys, state.expose(), answer.expose()) {
            Ok(proved) => {
                let Some((method, _)) = present.get(proved.index) else {
                    return Ok(Err(FactorRefusal::NotOffered));
                };
                let secret = self.seal(&proved.secret, &method_label(user, MethodKind::SecurityKey))?;
                let method = MethodRecord { secret, ..used_now(method, change) };
                change.update_mfa_method(&method).await?;
                Ok(Ok(UsedFactor::Method(MethodKind::SecurityKey)))
            }
            Err(no_proof) => {
                note_failed(change, user, MethodKind::SecurityKey.name(), no_proof.as_str());
                Ok(Err(FactorRefusal::Wrong))
            }
        }
    }
}

async fn check_recovery_code(
    change: &mut Change,
    user: &UserRecord,
    hash: Option<RecoveryHash>,
) -> Result<Result<UsedFactor, FactorRefusal>, ControlError> {
    let now = change.now();
    let Some(set) = change.recovery_set_of(user.id).await? else {
        return Ok(Err(FactorRefusal::NotOffered));
    };
    let is_right = match hash {
        Some(hash) => change.use_recovery_code(user.id, &hash).await?,
        None => false,
    };
    if !is_right {
        // It was counted before it was hashed.
        note_failed(change, user, "recovery code", "wrong or used");
        note_disabled(change, user, "recovery code", set.failures);
        return Ok(Err(FactorRefusal::Wrong));
    }
    change.set_recovery_failures(user.id, FactorFailures::none(now)).await?;
    let left = set.hashes.len().saturating_sub(1);
    change.note(Event::new(EventKind::RecoveryCodeUsed).about(user).with("left", left));
    Ok(Ok(UsedFactor::RecoveryCode { left }))
}

/// Why a factor with these failures is not asked at all; `None`: it is.
fn standing(failures: FactorFailures, now: crate::model::Timestamp) -> Option<FactorRefusal> {
    if failures.is_disabled() {
        return Some(FactorRefusal::Disabled);
    }
    failures.wait(now).map(|seconds| FactorRefusal::Wait { seconds })
}

/// The method with this use noted, and its own failures forgotten.
fn used_now(method: &MethodRecord, change: &Change) -> MethodRecord {
    MethodRecord {
        failures: FactorFailures::none(change.now()),
        last_used_at: Some(change.now()),
        ..method.clone()
    }
}

fn note_failed(change: &mut Change, user: &UserRecord, factor: &'static str, reason: &'static str) {
    let event = Event::new(EventKind::SecondFactorFailed).about(user);
    change.note(event.with("factor", factor).with("reason", reason));
}

/// Notes it where the last of `failures` has disabled the factor.
fn note_disabled(change: &mut Change, user: &UserRecord, factor: &'static str, failures: FactorFailures) {
    if failures.is_disabled() {
        change.note(Event::new(EventKind::SecondFactorDisabled).about(user).with("factor", factor));
    }
}

impl UsedFactor {
    const fn name(self) -> &'static str {
        match self {
            Self::Method(kind) => kind.name(),
            Self::RecoveryCode { .. } => "recovery code",
        }
    }
}

impl NoProof {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "not proved",
            Self::CounterWentBack => "its counter went back: it may be a copy",
            Self::NotVerified => "its person was not verified",
        }
    }
}
