//! Confirming who it is, within a session: password, and a second factor where MFA is on (S96).

use super::super::audit::{Event, EventKind};
use super::super::authenticator::ConsolePassword;
use super::super::change::Change;
use super::super::console_access::{ConsoleAccess, SESSIONS_OF_A_USER, ceremony_label};
use super::super::control_plane::{ControlError, ControlPlane};
use super::super::decision::{DenialReason, Refusal};
use super::super::failure_groups::FailureKind;
use super::super::rights::Forbidden;
use super::SignInFault;
use super::factors::{FactorRefusal, PresentedFactor};
use super::session::ConsoleSession;
use crate::crypto::TokenPurpose;
use crate::model::{ConsoleSessionRecord, Secret, SignInStage, Timestamp};
use crate::store::UserRecord;

/// Why the session was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmFault {
    /// The password.
    #[error(transparent)]
    Password(#[from] SignInFault),
    /// The factor.
    #[error(transparent)]
    Factor(#[from] FactorRefusal),
}

impl ConsoleAccess {
    /// Takes password and factor anew; the session goes on under a new token, as fresh as a sign-in.
    pub async fn confirm(
        &self,
        session: &ConsoleSession,
        password: Secret<String>,
        factor: Option<PresentedFactor>,
    ) -> Result<Secret<String>, ConfirmFault> {
        if session.record.stage == SignInStage::Half {
            return Err(FactorRefusal::Over.into());
        }
        self.require_password(session, password).await?;
        let plane = self.plane_in(session);
        let prepared = match (session.user.mfa_active, factor) {
            (true, Some(factor)) => {
                let (change, user) = self.begin_as_seen(&plane, session).await?;
                Some(self.prepare(change, &user, factor).await?)
            }
            (true, None) => return Err(FactorRefusal::Wrong.into()),
            (false, _) => None,
        };
        let (mut change, user) = self.begin_as_seen(&plane, session).await?;
        if let Some(prepared) = prepared {
            let digest = session.record.digest;
            let checked = self.check_factor(&mut change, &user, digest, prepared).await;
            if let Err(refusal) = checked.map_err(FactorRefusal::from)? {
                change.commit_noted().await.map_err(FactorRefusal::from)?;
                return Err(refusal.into());
            }
        }
        let authenticated_at = change.now();
        let token = self.rotate(&mut change, session, authenticated_at).await.map_err(FactorRefusal::from)?;
        change.note(Event::new(EventKind::IdentityConfirmed).about(&user));
        change.commit_noted().await.map_err(FactorRefusal::from)?;
        Ok(token)
    }

    /// A change, and the session's user in it, whose password and methods are those that the session was looked up with.
    async fn begin_as_seen(
        &self,
        plane: &ControlPlane,
        session: &ConsoleSession,
    ) -> Result<(Change, UserRecord), FactorRefusal> {
        let mut change = plane.begin().await?;
        let user = change.user_by_id(session.user.id).await.map_err(ControlError::from)?;
        let user = user.filter(|user| {
            user.mfa_generation == session.user.mfa_generation
                && user.password_version == session.user.password_version
        });
        Ok((change, user.ok_or(FactorRefusal::Over)?))
    }

    /// Fails unless `password` is the session's user's; counted and throttled like a sign-in.
    pub(in crate::auth) async fn require_password(
        &self,
        session: &ConsoleSession,
        password: Secret<String>,
    ) -> Result<(), SignInFault> {
        // Counted by itself: strangers who fail at the sign-in page keep nobody from confirming.
        let counted_as = Secret::new(ceremony_label("confirmation", &session.user, session.record.digest));
        let checked = self
            .authenticator
            .check_console_password(ConsolePassword {
                client_ip: session.client_ip,
                counted_as: counted_as.expose(),
                password,
                hash: session.user.password_hash.clone(),
                admitted: true,
            })
            .await;
        match checked {
            Ok(true) => Ok(()),
            Ok(false) => {
                let (kind, reason) = (FailureKind::SignIn, DenialReason::WrongPassword);
                self.note_failure(kind, session.client_ip, Some(&session.user), reason);
                Err(SignInFault::Wrong)
            }
            Err(denial) => {
                if !matches!(denial.refusal, Refusal::Busy) {
                    let client_ip = session.client_ip;
                    self.note_failure(FailureKind::Throttled, client_ip, Some(&session.user), denial.reason);
                }
                Err(SignInFault::of(denial))
            }
        }
    }

    /// Lets the session go on under a new token, as fresh as it was, and ends every other one of its user.
    pub(in crate::auth) async fn rotate_alone(
        &self,
        change: &mut Change,
        session: &ConsoleSession,
    ) -> Result<Secret<String>, ControlError> {
        let token = self.rotate(change, session, session.record.authenticated_at).await?;
        let digest = self.digest(TokenPurpose::Session, token.expose());
        change.end_console_sessions(session.user.id, Some(digest)).await?;
        Ok(token)
    }

    /// Makes a change durable and waits until this gateway's doors have it.
    pub(in crate::auth) async fn settle(&self, change: Change) -> Result<(), ControlError> {
        let revision = change.commit_noted().await?;
        self.authenticator.applied(revision).await;
        Ok(())
    }

    /// Lets the session go on under a new token (S84), as authenticated at `authenticated_at`.
    pub(in crate::auth) async fn rotate(
        &self,
        change: &mut Change,
        session: &ConsoleSession,
        authenticated_at: Timestamp,
    ) -> Result<Secret<String>, ControlError> {
        let user = change.user_by_id(session.user.id).await?;
        let user = user.ok_or_else(|| ControlError::UnknownUser(session.user.name.clone()))?;
        // Whoever ended the session meanwhile has ended it.
        let standing = change.console_session(session.record.digest).await?;
        let standing = standing.ok_or(Forbidden::Asker(DenialReason::UnknownSession))?;
        change.delete_console_session(standing.digest).await?;
        let (token, digest) = self.draw(TokenPurpose::Session)?;
        let record = ConsoleSessionRecord {
            digest,
            password_version: user.password_version,
            mfa_generation: user.mfa_generation,
            last_used_at: change.now(),
            authenticated_at,
            ..standing
        };
        change.insert_console_session(&record, SESSIONS_OF_A_USER).await?;
        Ok(token)
    }
}
