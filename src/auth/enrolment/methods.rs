//! What a user has set up: looking at it, renaming, removing.

use super::super::audit::{Event, EventKind};
use super::super::console_access::ConsoleAccess;
use super::super::control_plane::{ControlError, ControlPlane};
use super::super::passwords::{OwnNames, check_password};
use super::super::rights::Action;
use super::super::sign_in::ConsoleSession;
use super::super::users::mfa_state;
use super::{EnrolmentFault, method_name};
use crate::model::{MethodId, MethodKind, MethodRecord, MfaRequirement, MfaState, Secret, UserName};
use crate::store::UserRecord;

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
    /// Does the user have an API key?
    pub has_key: bool,
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
        self.mfa_overview_of(&user).await
    }

    async fn mfa_overview_of(&self, user: &UserRecord) -> Result<MfaOverview, ControlError> {
        let required = is_required(user);
        Ok(MfaOverview {
            state: mfa_state(user),
            requirement: if required { MfaRequirement::Required } else { MfaRequirement::Optional },
            methods: self.store.mfa_methods_of(user.id).await?,
            recovery_codes_left: self.store.recovery_set_of(user.id).await?.map_or(0, |set| set.hashes.len()),
            has_key: !self.store.list_keys(Some(user.id)).await?.is_empty(),
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
    /// What the session's user has set up: shown to whoever is to show a factor, or to set the first one up.
    pub async fn own_mfa(&self, session: &ConsoleSession) -> Result<MfaOverview, ControlError> {
        self.plane.mfa_overview_of(&session.user).await
    }

    /// Removes one of the session's user's own methods; other sessions end. With the last one MFA is off: the recovery
    /// codes go with it, and `new_password` must be long enough to stand alone (S42).
    pub async fn remove_own_method(
        &self,
        session: &ConsoleSession,
        id: MethodId,
        new_password: Option<Secret<String>>,
    ) -> Result<Secret<String>, EnrolmentFault> {
        let plane = self.plane_in(session);
        plane.require(Action::OwnMfa(&session.user)).await?;
        let hash = match new_password {
            Some(password) => {
                check_password(&password, MfaState::Off, &OwnNames::of(&session.user))
                    .map_err(ControlError::from)?;
                Some(plane.hash_new_password(&password, None).await?)
            }
            None => None,
        };
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        let methods = change.mfa_methods_of(user.id).await?;
        let method = methods.iter().find(|method| method.id == id).ok_or(EnrolmentFault::UnknownMethod)?;
        if methods.len() == 1 {
            if is_required(&user) {
                return Err(EnrolmentFault::LastOfRequired);
            }
            let hash = hash.ok_or(EnrolmentFault::PasswordMissing)?;
            change.set_password(user.id, &hash, None).await?;
            change.delete_recovery_set(user.id).await?;
            change.note(Event::new(EventKind::PasswordChanged).about(&user));
        }
        change.delete_mfa_method(user.id, id).await?;
        let token = self.rotate_alone(&mut change, session).await?;
        let event = Event::new(EventKind::MfaMethodRemoved).about(&user);
        change.note(event.with("kind", method.kind.name()).with("name", &method.name));
        self.settle(change).await?;
        Ok(token)
    }
}

/// Is MFA demanded of `user`, by whomever?
fn is_required(user: &UserRecord) -> bool {
    user.mfa == MfaRequirement::Required || user.customer_mfa == MfaRequirement::Required
}
