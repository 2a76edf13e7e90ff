//! What a user has set up: looking at it, renaming, removing.

use super::super::audit::{Event, EventKind};
use super::super::console_access::ConsoleAccess;
use super::super::control_plane::{ControlError, ControlPlane};
use super::super::passwords::is_long_enough_alone;
use super::super::rights::Action;
use super::super::sign_in::{ConsoleSession, SignInFault};
use super::super::users::mfa_state;
use super::{EnrolmentFault, method_name};
use crate::model::{MethodId, MethodKind, MethodRecord, MfaRequirement, MfaState, Secret, UserName};

/// A user's second factors.
#[derive(Clone, Debug)]
pub struct MfaOverview {
    /// Where the user stands.
    pub state: MfaState,
    /// Is MFA required, by whomever?
    pub requirement: MfaRequirement,
    /// What is set up, oldest first.
    pub methods: Vec<MethodRecord>,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: usize,
}

impl MfaOverview {
    /// How many methods of `kind` there are.
    pub fn count(&self, kind: MethodKind) -> usize {
        self.methods.iter().filter(|method| method.kind == kind).count()
    }
}

impl ControlPlane {
    /// What `name` has set up.
    pub async fn mfa_overview(&self, name: &UserName) -> Result<MfaOverview, ControlError> {
        let user = self.user(name).await?;
        let required = user.mfa == MfaRequirement::Required || user.customer_mfa == MfaRequirement::Required;
        Ok(MfaOverview {
            state: mfa_state(&user),
            requirement: if required { MfaRequirement::Required } else { MfaRequirement::Optional },
            methods: self.store.mfa_methods_of(user.id).await?,
            recovery_codes_left: self.store.recovery_set_of(user.id).await?.map_or(0, |set| set.hashes.len()),
        })
    }

    /// Gives one of the actor's own methods another name.
    pub async fn rename_own_method(
        &self,
        user: &UserName,
        id: MethodId,
        name: &str,
    ) -> Result<(), EnrolmentFault> {
        let mut change = self.begin().await?;
        let user = super::super::control_plane::require_user(&mut change, user).await?;
        change.require(Action::OwnMfa(&user))?;
        let methods = change.mfa_methods_of(user.id).await?;
        let method = methods.iter().find(|method| method.id == id).ok_or(EnrolmentFault::UnknownMethod)?;
        let name = method_name(name, &method.name)?;
        change.rename_mfa_method(user.id, id, &name).await?;
        let event = Event::new(EventKind::MfaMethodRenamed).about(&user);
        change.commit(event.with("before", &method.name).with("after", &name)).await?;
        Ok(())
    }
}

impl ConsoleAccess {
    /// Removes one of the session's user's own methods; other sessions end. The last one takes the password, which must
    /// be long enough to stand alone (S42), and the recovery codes go with it.
    pub async fn remove_own_method(
        &self,
        session: &ConsoleSession,
        id: MethodId,
        password: Option<Secret<String>>,
    ) -> Result<Secret<String>, EnrolmentFault> {
        let plane = self.plane_in(session);
        let stands_alone = match password {
            Some(password) => {
                let is_long = is_long_enough_alone(&password);
                self.require_password(session, password).await.map_err(|fault| match fault {
                    SignInFault::Control(error) => EnrolmentFault::Control(error),
                    _ => EnrolmentFault::WrongPassword,
                })?;
                Some(is_long)
            }
            None => None,
        };
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        let methods = change.mfa_methods_of(user.id).await?;
        let method = methods.iter().find(|method| method.id == id).ok_or(EnrolmentFault::UnknownMethod)?;
        if methods.len() == 1 {
            let required =
                user.mfa == MfaRequirement::Required || user.customer_mfa == MfaRequirement::Required;
            match (required, stands_alone) {
                (true, _) => return Err(EnrolmentFault::LastOfRequired),
                (false, None) => return Err(EnrolmentFault::WrongPassword),
                (false, Some(false)) => return Err(EnrolmentFault::PasswordTooShort),
                (false, Some(true)) => change.delete_recovery_set(user.id).await?,
            }
        }
        change.delete_mfa_method(user.id, id).await?;
        let token = self.rotate(&mut change, session, session.record.authenticated_at).await?;
        let digest = self.digest(crate::crypto::TokenPurpose::Session, token.expose());
        change.end_console_sessions(user.id, Some(digest)).await?;
        let event = Event::new(EventKind::MfaMethodRemoved).about(&user);
        change.note(event.with("kind", method.kind.name()).with("name", &method.name));
        self.settle(change).await?;
        Ok(token)
    }
}
