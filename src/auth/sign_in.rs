//! Signing in at the console: password, then a second factor where MFA is on.
//!
//! ```text
//! sign_in ──right──► half ──verify──► full ──► step: new password │ set-up │ open
//!    │                (5 minutes,       │
//!    └─no MFA──────────5 tries)─────────┘
//! ```
//! A half sign-in is good for its second step and nothing else (S28). Every refusal of a password is the same, after the
//! same work (PROTOCOL section 3, point 6). Callers: the console.

mod confirm;
mod factors;
mod session;
#[cfg(test)]
mod tests;

pub use confirm::ConfirmFault;
pub use factors::{FactorRefusal, PresentedFactor, UsedFactor};
pub use session::{ConsoleSession, SecurityNotice, SessionLook, SessionStep};

use std::fmt;

use super::access::user_facts;
use super::actor::Means;
use super::audit::{Event, EventKind};
use super::authenticator::ConsolePassword;
use super::change::Change;
use super::console_access::{ConsoleAccess, SESSIONS_OF_A_USER, Visitor};
use super::control_plane::{ControlError, ControlPlane};
use super::decision::{DenialReason, Refusal};
use super::failure_groups::{Failure, FailureKind};
use super::policy::{Circumstances, Entrance, Verdict, judge};
use super::rights::Action;
use crate::crypto::TokenPurpose;
use crate::model::{
    ClientIp, ConsoleSessionRecord, LinkPurpose, Recognised, Secret, SignInStage, Timestamp, TokenDigest,
    UserName,
};
use crate::store::{LinkDemand, LinkRecord, UserRecord};

/// How long a half sign-in waits for its second step, in seconds (S95).
pub(super) const HALF_LIVES_SECONDS: i64 = 300;
/// Second factors that it may try in vain.
pub(super) const HALF_TRIES: u32 = 5;
/// For how long a browser that signed in counts as its user's own.
const DEVICE_KNOWN_SECONDS: i64 = 30 * 86_400;
/// Characters kept of what a browser calls itself.
const BROWSER_CHARACTERS: usize = 120;

/// What a person typed at the sign-in page; prints nothing of itself.
pub struct PasswordSignIn<'a> {
    /// `customer/login`, as it was typed; may be nobody's.
    pub name: &'a str,
    /// The password, as it was typed.
    pub password: Secret<String>,
    /// The token of a one-time link that leads to the page.
    pub link: Option<&'a str>,
    /// The device token that the browser kept.
    pub device: Option<&'a str>,
}

impl fmt::Debug for PasswordSignIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordSignIn(…)")
    }
}

/// A password that was right.
#[derive(Debug)]
pub struct SignedIn {
    /// What the browser is to hold from now on.
    pub token: Secret<String>,
    /// A second factor is due, or not.
    pub stage: SignInStage,
    /// Marks the browser as its user's own for 30 days, once fully signed in.
    pub device: Option<Secret<String>>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInFault {
    /// Wrong, unknown, not allowed here: one answer for all.
    #[error("account, user name or password is not correct")]
    Wrong,
    /// Too many failed.
    #[error("too many attempts")]
    Wait {
        /// Until the next try, in seconds.
        seconds: u32,
    },
    /// Too many passwords wait to be checked.
    #[error("the password could not be checked now")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl ConsoleAccess {
    /// Checks a password, and begins a session with it.
    pub async fn sign_in(
        &self,
        visitor: &Visitor,
        presented: PasswordSignIn<'_>,
    ) -> Result<SignedIn, SignInFault> {
        let PasswordSignIn { name, password, link, device } = presented;
        let user = match name.parse::<UserName>() {
            Ok(name) => self.plane.store.user(&name).await.map_err(ControlError::from)?,
            Err(_) => None,
        };
        let link = link.map(|token| self.digest(TokenPurpose::Link, token));
        let refused = match &user {
            Some(user) => self.refusal(user, visitor.client_ip, link).await?,
            None => Some(DenialReason::UnknownUser),
        };
        let own = user.as_ref().zip(device).and_then(|(user, device)| self.own_device(user, device));
        let checked = self
            .authenticator
            .check_console_password(ConsolePassword {
                client_ip: visitor.client_ip,
                // A user's own browser has failures of its own, so that strangers cannot lock its user out.
                counted_as: own.as_ref().map_or(name, |own| own.expose()),
                password,
                hash: user.as_ref().and_then(|user| user.password_hash.clone()),
                admitted: refused.is_none(),
            })
            .await;
        match (checked, user) {
            (Ok(true), Some(user)) => {
                let begun = self.begin_session(visitor, &user, link).await;
                if matches!(begun, Err(SignInFault::Wrong)) {
                    // Whoever took the right away meanwhile was faster.
                    let reason = DenialReason::WrongPassword;
                    self.note_failure(FailureKind::SignIn, visitor.client_ip, Some(&user), reason);
                }
                begun
            }
            (Ok(_), user) => {
                let reason = refused.unwrap_or(DenialReason::WrongPassword);
                self.note_failure(FailureKind::SignIn, visitor.client_ip, user.as_ref(), reason);
                Err(SignInFault::Wrong)
            }
            (Err(denial), user) => {
                if !matches!(denial.refusal, Refusal::Busy) {
                    let client_ip = visitor.client_ip;
                    self.note_failure(FailureKind::Throttled, client_ip, user.as_ref(), denial.reason);
                }
                Err(SignInFault::of(denial))
            }
        }
    }

    /// Why a right password of `user` would not be let in.
    async fn refusal(
        &self,
        user: &UserRecord,
        client_ip: ClientIp,
        link: Option<TokenDigest>,
    ) -> Result<Option<DenialReason>, ControlError> {
        let now = self.plane.clock.now();
        if let Verdict::Refused(reason) = self.console_verdict(user, client_ip, now) {
            return Ok(Some(reason));
        }
        if password_has_ended(user, now) {
            return Ok(Some(DenialReason::PasswordEnded));
        }
        if user.link_required {
            let link = match link {
                Some(digest) => self.plane.store.link(digest).await?,
                None => None,
            };
            let fits = link.is_some_and(|link| is_sign_in_link_of(&link, user, now));
            return Ok((!fits).then_some(DenialReason::LinkMissing));
        }
        Ok(None)
    }

    pub(super) fn console_verdict(&self, user: &UserRecord, client_ip: ClientIp, now: Timestamp) -> Verdict {
        let at = Circumstances { client_ip: Some(client_ip), now };
        judge(Entrance::Console, &user_facts(user), at, &self.authenticator.policy())
    }

    async fn begin_session(
        &self,
        visitor: &Visitor,
        before: &UserRecord,
        link: Option<TokenDigest>,
    ) -> Result<SignedIn, SignInFault> {
        let now = self.plane.clock.now();
        let plane = self.plane_of(before, visitor.client_ip, Means::Console { authenticated_at: now });
        let mut change = match plane.begin().await {
            Ok(change) => change,
            // Not let in any more: whoever changed that was faster.
            Err(ControlError::Forbidden(_)) => return Err(SignInFault::Wrong),
            Err(error) => return Err(error.into()),
        };
        let user = change.user_by_id(before.id).await.map_err(ControlError::from)?;
        let user = user.filter(|user| {
            user.password_version == before.password_version && !password_has_ended(user, change.now())
        });
        let user = user.ok_or(SignInFault::Wrong)?;
        if user.link_required {
            self.use_sign_in_link(&mut change, &user, link).await?;
        }
        let stage = if user.mfa_active { SignInStage::Half } else { SignInStage::Full };
        let (token, digest) = self.draw(TokenPurpose::Session)?;
        let session = ConsoleSessionRecord {
            digest,
            user: user.id,
            stage,
            tries: 0,
            password_version: user.password_version,
            mfa_generation: user.mfa_generation,
            created_at: now,
            last_used_at: now,
            authenticated_at: now,
            client_ip: visitor.client_ip.to_string(),
            browser: short_line(&visitor.browser),
        };
        change.insert_console_session(&session, SESSIONS_OF_A_USER).await.map_err(ControlError::from)?;
        if stage == SignInStage::Full {
            change.note(Event::new(EventKind::SignedIn).about(&user).with("factor", "password alone"));
        }
        change.commit_noted().await?;
        if stage == SignInStage::Full {
            self.note_entry(&user, visitor.client_ip).await;
        }
        let device = (stage == SignInStage::Full).then(|| self.device_token(&user, now));
        Ok(SignedIn { token, stage, device })
    }

    async fn use_sign_in_link(
        &self,
        change: &mut Change,
        user: &UserRecord,
        link: Option<TokenDigest>,
    ) -> Result<(), SignInFault> {
        let found = match link {
            Some(digest) => change.link(digest).await.map_err(ControlError::from)?,
            None => None,
        };
        if !found.is_some_and(|link| is_sign_in_link_of(&link, user, change.now())) {
            return Err(SignInFault::Wrong);
        }
        change.delete_link_of(user.id).await.map_err(ControlError::from)?;
        change.require_link(user.id, LinkDemand::None).await.map_err(ControlError::from)?;
        change.note(Event::new(EventKind::LinkUsed).about(user).with("purpose", "sign-in"));
        Ok(())
    }

    /// `EXPIRY-DIGEST`: good for one user, and no credential.
    pub(super) fn device_token(&self, user: &UserRecord, now: Timestamp) -> Secret<String> {
        let expiry = now.plus_seconds(DEVICE_KNOWN_SECONDS).unix_seconds();
        Secret::new(format!("{expiry}-{}", self.device_proof(user, expiry)))
    }

    fn device_proof(&self, user: &UserRecord, expiry: i64) -> String {
        use base64::Engine;
        let text = format!("{} {} {expiry}", user.id.0, user.password_version);
        let TokenDigest(proof) = self.digest(TokenPurpose::Device, &text);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(proof)
    }

    /// What failures of the user's own browser are counted under: nothing that others could name, and the same however the
    /// expiry is spelled.
    fn own_device(&self, user: &UserRecord, device: &str) -> Option<Secret<String>> {
        let (expiry, proof) = device.split_once('-')?;
        let expiry = expiry.parse::<i64>().ok()?;
        let expected = Secret::new(self.device_proof(user, expiry));
        let same: bool = subtle::ConstantTimeEq::ct_eq(expected.expose().as_bytes(), proof.as_bytes()).into();
        (same && expiry > self.plane.clock.now().unix_seconds()).then_some(expected)
    }

    /// Counts a failed sign-in for the audit trail, together with others like it.
    pub(super) fn note_failure(
        &self,
        kind: FailureKind,
        client_ip: ClientIp,
        user: Option<&UserRecord>,
        reason: DenialReason,
    ) {
        self.failures.note(Failure {
            kind,
            entrance: "console",
            client_ip,
            recognised: user.map(|user| Recognised::Password(user.id)),
            reason: reason.as_str().into(),
            at: self.plane.clock.now(),
        });
    }

    /// Notes that a password opened the console; lost without harm.
    pub(super) async fn note_entry(&self, user: &UserRecord, client_ip: ClientIp) {
        if let Err(error) = self.plane.note_console_use(Recognised::Password(user.id), client_ip).await {
            tracing::warn!(%error, "the use of the console could not be noted");
        }
    }

    /// Ends this session.
    pub async fn sign_out(&self, session: &ConsoleSession) -> Result<(), ControlError> {
        // Whoever is not let in any more may still sign out, so that no rights are asked for.
        let user = &session.user;
        let mut change = self.plane_in(session).begin_unjudged().await?;
        if change.delete_console_session(session.record.digest).await? {
            change.note(Event::new(EventKind::SignedOut).about(user));
        }
        change.commit_noted().await.map(drop)
    }
}

impl SignInFault {
    pub(super) fn of(denial: super::decision::Denial) -> Self {
        match denial.refusal {
            Refusal::TooManyFailures { retry_after_seconds } => {
                Self::Wait { seconds: retry_after_seconds.get() }
            }
            Refusal::Busy => Self::Busy,
            _ => Self::Wrong,
        }
    }
}

/// A password that somebody else chose, and whose user did not replace it in time.
pub(in crate::auth) fn password_has_ended(user: &UserRecord, now: Timestamp) -> bool {
    user.password_ends_at.is_some_and(|end| end <= now)
}

fn is_sign_in_link_of(link: &LinkRecord, user: &UserRecord, now: Timestamp) -> bool {
    link.user == user.id && link.purpose == LinkPurpose::SignIn && link.expires_at > now
}

/// One line of at most 120 characters, without anything that could disturb a terminal.
fn short_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(BROWSER_CHARACTERS).collect()
}

impl ControlPlane {
    /// Ends every session of `user` at the console but the one of `session`; answers how many.
    pub async fn end_other_sessions(&self, session: &ConsoleSession) -> Result<usize, ControlError> {
        let mut change = self.begin().await?;
        // Anybody fully signed in may, about the own user.
        change.require(Action::ViewUser(&session.user))?;
        let ended = change.end_console_sessions(session.user.id, Some(session.record.digest)).await?;
        change
            .commit(Event::new(EventKind::SessionsEnded).about(&session.user).with("sessions", ended))
            .await?;
        Ok(ended)
    }
}
