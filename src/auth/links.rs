//! One-time links: for a password of one's own, and for the sign-in after a reset of MFA (S102).
//!
//! 256 random bits, kept as a digest for a day. Looking at one consumes nothing. It dies with a newer one, with its use,
//! with deactivation and with a change of the password, and bypasses neither lists nor MFA. Callers: console, management
//! API and command line; who builds the address of the page is theirs to know.

#[cfg(test)]
mod tests;

use super::actor::{Actor, Means, UserActor};
use super::audit::{Event, EventKind};
use super::change::Change;
use super::console_access::ConsoleAccess;
use super::control_plane::{ControlError, ControlPlane, require_user};
use super::passwords::{OwnNames, check_password};
use super::rights::Action;
use super::sign_in::ConsoleSession;
use super::users::mfa_state;
use crate::crypto::{PasswordHash, TokenPurpose, draw_token, is_token};
use crate::model::{ClientIp, LinkPurpose, MfaRequirement, Revision, Secret, UserName};
use crate::store::{LinkDemand, LinkRecord, UserRecord};

/// How long a link is good, in seconds.
pub const LINK_LIVES_SECONDS: i64 = 86_400;

/// A link that was made; its token is shown once.
#[derive(Debug)]
pub struct MadeLink {
    /// What its address ends with.
    pub token: Secret<String>,
    /// What it is for.
    pub purpose: LinkPurpose,
    /// When every gateway has what was changed with it.
    pub revision: Revision,
}

/// A link that somebody follows.
#[derive(Clone, Debug)]
pub struct FollowedLink {
    /// Whose it is.
    pub user: UserRecord,
    /// What it is for.
    pub purpose: LinkPurpose,
}

impl ControlPlane {
    /// Gives `name` a link to choose a password by, in the place of an earlier one.
    pub async fn issue_link(&self, name: &UserName) -> Result<MadeLink, ControlError> {
        let mut change = self.begin().await?;
        let user = require_user(&mut change, name).await?;
        change.require(Action::IssueLink(&user))?;
        change.makes(&user.name);
        // After a reset the link of the sign-in is what the user needs, and a new password beside it is not.
        let purpose = if user.link_required { LinkPurpose::SignIn } else { LinkPurpose::Password };
        let token = self.put_link(&mut change, &user, purpose).await?;
        Ok(MadeLink { token, purpose, revision: change.commit_noted().await? })
    }

    /// Draws a link of `user` inside `change`.
    pub(super) async fn put_link(
        &self,
        change: &mut Change,
        user: &UserRecord,
        purpose: LinkPurpose,
    ) -> Result<Secret<String>, ControlError> {
        let token = draw_token()?;
        let digest = self.key_ring.console.digest_token(TokenPurpose::Link, token.expose());
        let expires_at = change.now().plus_seconds(LINK_LIVES_SECONDS);
        change.put_link(digest, &LinkRecord { user: user.id, purpose, expires_at }).await?;
        change.note(Event::new(EventKind::LinkIssued).about(user).with("purpose", purpose.as_str()));
        Ok(token)
    }

    /// Takes all methods of `name` away, with codes and sessions; MFA is required from now on, and the next sign-in takes
    /// the link beside the password (PROTOCOL section 3, point 4).
    pub async fn reset_mfa(&self, name: &UserName) -> Result<MadeLink, ControlError> {
        let mut change = self.begin().await?;
        let mut user = require_user(&mut change, name).await?;
        change.require(Action::ResetMfa(&user))?;
        change.makes(&user.name);
        user.mfa = MfaRequirement::Required;
        change.update_user(&user).await?;
        change.delete_mfa_methods_of(user.id).await?;
        change.delete_recovery_set(user.id).await?;
        let ended = change.end_console_sessions(user.id, None).await?;
        change.require_link(user.id, LinkDemand::NextSignIn).await?;
        change.note(Event::new(EventKind::MfaReset).about(&user).with("sessions", ended));
        let purpose = LinkPurpose::SignIn;
        let token = self.put_link(&mut change, &user, purpose).await?;
        Ok(MadeLink { token, purpose, revision: change.commit_noted().await? })
    }
}

impl ConsoleAccess {
    /// What the link of `token` is, if it is good for anything; consumes nothing.
    pub async fn follow_link(&self, token: &str) -> Result<Option<FollowedLink>, ControlError> {
        if !is_token(token) {
            return Ok(None);
        }
        let store = &self.plane.store;
        let Some(link) = store.link(self.digest(TokenPurpose::Link, token)).await? else { return Ok(None) };
        let user = store.user_by_id(link.user).await?.filter(|user| user.active);
        let is_good = link.expires_at > self.plane.clock.now();
        Ok(user.filter(|_| is_good).map(|user| FollowedLink { user, purpose: link.purpose }))
    }

    /// Uses a link to choose its user's password. Everything that the old one opened ends.
    ///
    /// `None`: the link is good for nothing.
    pub async fn choose_password_by_link(
        &self,
        token: &str,
        password: Secret<String>,
        client_ip: ClientIp,
    ) -> Result<Option<UserName>, ControlError> {
        let Some(followed) = self.follow_link(token).await? else { return Ok(None) };
        if followed.purpose != LinkPurpose::Password {
            return Ok(None);
        }
        check_password(&password, mfa_state(&followed.user), &OwnNames::of(&followed.user))?;
        let user = &followed.user;
        let means = Means::Link;
        let actor = UserActor { id: user.id, name: user.name.clone(), means, client_ip };
        let plane = self.plane_for(Actor::User(actor));
        // Judged before anything is hashed: whoever comes from elsewhere costs nothing.
        plane.require(Action::OwnPassword(user)).await?;
        let hash = plane.hash_new_password(&password, somebody_elses(user)).await?;
        let mut change = plane.begin().await?;
        let digest = self.digest(TokenPurpose::Link, token);
        // Another request may have used it meanwhile.
        let link = change.link(digest).await?.filter(|link| link.expires_at > change.now());
        if link.is_none_or(|link| link.user != user.id || link.purpose != LinkPurpose::Password) {
            return Ok(None);
        }
        let user = require_user(&mut change, &user.name).await?;
        change.require(Action::OwnPassword(&user))?;
        // By the rule that counts now: MFA may have gone meanwhile.
        check_password(&password, mfa_state(&user), &OwnNames::of(&user))?;
        change.set_password(user.id, &hash, None).await?;
        change.end_console_sessions(user.id, None).await?;
        change.note(Event::new(EventKind::LinkUsed).about(&user).with("purpose", "password"));
        let revision = change.commit(Event::new(EventKind::PasswordChanged).about(&user)).await?;
        self.authenticator.applied(revision).await;
        Ok(Some(user.name))
    }

    /// Changes the session's user's own password; other sessions end. The session is to be fresh (S96). A password that
    /// somebody else chose is not replaced by itself.
    pub async fn change_own_password(
        &self,
        session: &ConsoleSession,
        new: Secret<String>,
    ) -> Result<Secret<String>, ControlError> {
        let user = &session.user;
        check_password(&new, mfa_state(user), &OwnNames::of(user))?;
        let plane = self.plane_in(session);
        plane.require(Action::OwnPassword(user)).await?;
        let hash = plane.hash_new_password(&new, somebody_elses(user)).await?;
        let mut change = plane.begin().await?;
        let user = require_user(&mut change, &session.user.name).await?;
        change.require(Action::OwnPassword(&user))?;
        check_password(&new, mfa_state(&user), &OwnNames::of(&user))?;
        change.set_password(user.id, &hash, None).await?;
        let token = self.rotate_alone(&mut change, session).await?;
        change.note(Event::new(EventKind::PasswordChanged).about(&user));
        self.settle(change).await?;
        Ok(token)
    }
}

/// The present password of `user`, where somebody else chose it and knows it.
fn somebody_elses(user: &UserRecord) -> Option<PasswordHash> {
    user.password_hash.clone().filter(|_| user.password_ends_at.is_some())
}
