//! Whose session a browser holds, and what it is good for now.
//!
//! Looked up in the store and judged anew at each request, so that whatever ends a user's access ends it here too.

use super::super::actor::Means;
use super::super::audit::EventKind;
use super::super::console_access::ConsoleAccess;
use super::super::control_plane::{ControlError, ControlPlane};
use super::super::policy::Verdict;
use super::{HALF_LIVES_SECONDS, HALF_TRIES, password_has_ended};
use crate::crypto::{TokenPurpose, is_token};
use crate::model::{ClientIp, ConsoleSessionRecord, SignInStage, Timestamp};
use crate::store::{StoreError, UserRecord};

/// The last use is noted at most this often, in seconds.
const NOTE_USE_EVERY_SECONDS: i64 = 60;
/// A clock that stands this much behind a stored moment has been set back (S83).
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// A session that stands.
#[derive(Clone, Debug)]
pub struct ConsoleSession {
    /// As it is kept.
    pub record: ConsoleSessionRecord,
    /// Whose it is, as the store has it now.
    pub user: UserRecord,
    /// Where the request came from.
    pub client_ip: ClientIp,
    /// What it is good for.
    pub step: SessionStep,
}

/// What a session is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStep {
    /// Showing a second factor.
    SecondFactor,
    /// Choosing a password in the place of one that somebody else chose.
    NewPassword,
    /// Setting MFA up.
    SetUp,
    /// Everything that its user may do.
    Open,
}

/// A security event for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityNotice {
    /// When it happened.
    pub at: Timestamp,
    /// What, as a sentence.
    pub text: &'static str,
    /// From which address; empty: from none.
    pub client_ip: String,
}

/// What is behind a token.
#[derive(Clone, Debug)]
pub enum SessionLook {
    /// Nothing that stands.
    None,
    /// A session that was not used for too long, or is too old.
    Over,
    /// A session.
    Live(Box<ConsoleSession>),
}

impl ConsoleAccess {
    /// The session of `token`, judged for a request from `client_ip`.
    pub async fn session(&self, token: &str, client_ip: ClientIp) -> Result<SessionLook, StoreError> {
        if !is_token(token) {
            return Ok(SessionLook::None);
        }
        let digest = self.digest(TokenPurpose::Session, token);
        let Some(record) = self.plane.store.console_session(digest).await? else {
            return Ok(SessionLook::None);
        };
        let now = self.plane.clock.now();
        if self.is_over(&record, now) {
            return Ok(SessionLook::Over);
        }
        let Some(user) = self.plane.store.user_by_id(record.user).await? else {
            return Ok(SessionLook::None);
        };
        let Some(step) = self.step(&record, &user, client_ip, now) else { return Ok(SessionLook::None) };
        if now.unix_seconds() - record.last_used_at.unix_seconds() >= NOTE_USE_EVERY_SECONDS {
            // Lost without harm: a store that cannot be written can still be looked at.
            if let Err(error) = self.plane.store.note_console_session_use(digest, now).await {
                tracing::warn!(%error, "the use of a console session could not be noted");
            }
        }
        Ok(SessionLook::Live(Box::new(ConsoleSession { record, user, client_ip, step })))
    }

    pub(super) fn is_over(&self, record: &ConsoleSessionRecord, now: Timestamp) -> bool {
        let age = |since: Timestamp| now.unix_seconds().saturating_sub(since.unix_seconds());
        let was_set_back = age(record.last_used_at) < -CLOCK_TOLERANCE_SECONDS;
        let absolute = match record.stage {
            SignInStage::Half => HALF_LIVES_SECONDS,
            SignInStage::Full => self.terms.absolute_seconds,
        };
        was_set_back
            || age(record.created_at) >= absolute
            || age(record.last_used_at) >= self.terms.idle_seconds
    }

    /// What the session is good for; `None`: nothing any more.
    pub(super) fn step(
        &self,
        record: &ConsoleSessionRecord,
        user: &UserRecord,
        client_ip: ClientIp,
        now: Timestamp,
    ) -> Option<SessionStep> {
        if record.password_version != user.password_version || password_has_ended(user, now) {
            return None;
        }
        let verdict = self.console_verdict(user, client_ip, now);
        match (record.stage, verdict) {
            (_, Verdict::Refused(_)) => None,
            // Begun before the methods changed, it cannot finish after it (S95).
            (SignInStage::Half, _) if record.mfa_generation != user.mfa_generation => None,
            (SignInStage::Half, _) if record.tries >= HALF_TRIES => None,
            (SignInStage::Half, _) => Some(SessionStep::SecondFactor),
            (SignInStage::Full, _) if user.password_ends_at.is_some() => Some(SessionStep::NewPassword),
            (SignInStage::Full, Verdict::SetUpPageOnly) => Some(SessionStep::SetUp),
            (SignInStage::Full, _) => Some(SessionStep::Open),
        }
    }

    /// The user's open sessions, the one that was used last first.
    pub async fn sessions_of(&self, user: &UserRecord) -> Result<Vec<ConsoleSessionRecord>, ControlError> {
        let now = self.plane.clock.now();
        let mut sessions = self.plane.store.console_sessions_of(user.id).await?;
        sessions.retain(|session| {
            session.password_version == user.password_version && !self.is_over(session, now)
        });
        Ok(sessions)
    }

    /// Security events that the session's user has not been shown yet, oldest first, in words.
    pub async fn notices(&self, session: &ConsoleSession) -> Result<Vec<SecurityNotice>, ControlError> {
        let records = self.plane.store.notices_of(session.user.id).await?;
        let notices = records.into_iter().filter_map(|record| {
            let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == record.event)?;
            Some(SecurityNotice { at: record.at, text: kind.security_notice()?, client_ip: record.client_ip })
        });
        Ok(notices.collect())
    }

    /// Those that happened until then were shown; what has come since is still to be.
    pub async fn forget_notices(
        &self,
        session: &ConsoleSession,
        until: Timestamp,
    ) -> Result<(), ControlError> {
        Ok(self.plane.store.forget_notices_of(session.user.id, until).await?)
    }

    /// The control plane, acting for the session's user. For a half sign-in it does nothing (S28).
    pub fn plane_in(&self, session: &ConsoleSession) -> ControlPlane {
        let means = match session.record.stage {
            SignInStage::Half => Means::HalfSignIn,
            SignInStage::Full => Means::Console { authenticated_at: session.record.authenticated_at },
        };
        self.plane_of(&session.user, session.client_ip, means)
    }
}
