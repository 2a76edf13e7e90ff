//! Recovery codes: shown before the first method, the same ones until it is proved, never again after (R33, R35, R36).

use super::super::audit::{Event, EventKind};
use super::super::change::Change;
use super::super::console_access::ConsoleAccess;
use super::super::control_plane::ControlError;
use super::super::rights::Action;
use super::super::sign_in::ConsoleSession;
use super::EnrolmentFault;
use crate::crypto::{RecoveryCodes, RecoveryHash};
use crate::model::Secret;
use crate::store::UserRecord;

/// What the state begins with once its codes were saved.
const SAVED: u8 = b'+';
const SHOWN: u8 = b'-';

/// The ceremony of the codes that come with a first method.
const PURPOSE: &str = "recovery codes";

/// Codes to be saved.
#[derive(Debug)]
pub struct ShownCodes {
    /// Each `xxxx-xxxx-xxxx-xxxx`.
    pub codes: Vec<Secret<String>>,
}

impl ConsoleAccess {
    /// Draws the codes that come with a first method; within the same set-up they stay the same.
    ///
    /// # Errors
    /// [`EnrolmentFault::UnknownMethod`] where a first method is there already.
    pub async fn show_recovery_codes(&self, session: &ConsoleSession) -> Result<ShownCodes, EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_none(&user)?;
        let state = self.ceremony_in(&mut change, session, &user, PURPOSE).await?;
        let codes = if let Some(state) = state {
            codes_of(&state)?
        } else {
            let codes = RecoveryCodes::draw().map_err(ControlError::from)?;
            let state = state_of(&codes, SHOWN);
            self.remember(&mut change, session, &user, (PURPOSE, state.expose())).await?;
            change.commit_noted().await?;
            codes
        };
        Ok(ShownCodes { codes: codes.shown() })
    }

    /// Notes that the codes for the first method were saved; set-up goes on.
    pub async fn confirm_codes_saved(&self, session: &ConsoleSession) -> Result<(), EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_none(&user)?;
        let state = self.ceremony_in(&mut change, session, &user, PURPOSE).await?;
        let codes = codes_of(&state.ok_or(EnrolmentFault::Expired)?)?;
        self.remember(&mut change, session, &user, (PURPOSE, state_of(&codes, SAVED).expose())).await?;
        change.commit_noted().await?;
        Ok(())
    }

    /// Puts new codes in the place of those there are, which work no more (S36); other sessions end.
    pub async fn replace_recovery_codes(
        &self,
        session: &ConsoleSession,
    ) -> Result<ShownCodes, EnrolmentFault> {
        let plane = self.plane_in(session);
        plane.require(Action::OwnMfa(&session.user)).await?;
        let codes = RecoveryCodes::draw().map_err(ControlError::from)?;
        let shown = ShownCodes { codes: codes.shown() };
        let hashes = self.hash_codes(&session.user, codes).await?;
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        if !user.mfa_active {
            return Err(EnrolmentFault::UnknownMethod);
        }
        let now = change.now();
        change.replace_recovery_set(user.id, &hashes, now).await?;
        change.end_console_sessions(user.id, Some(session.record.digest)).await?;
        change.commit(Event::new(EventKind::RecoveryCodesReplaced).about(&user)).await?;
        Ok(shown)
    }

    /// The codes that come with a first method, where they were saved; `None`: it is not the first one.
    pub(super) async fn codes_for_method(
        &self,
        change: &mut Change,
        session: &ConsoleSession,
        user: &UserRecord,
    ) -> Result<Option<RecoveryCodes>, EnrolmentFault> {
        if user.mfa_active {
            return Ok(None);
        }
        let state = self.ceremony_in(change, session, user, PURPOSE).await?;
        let state = state.ok_or(EnrolmentFault::CodesFirst)?;
        if state.expose().first() != Some(&SAVED) {
            return Err(EnrolmentFault::CodesFirst);
        }
        codes_of(&state).map(Some)
    }

    /// Hashes a set of `user`'s, when its turn has come.
    pub(super) async fn hash_codes(
        &self,
        user: &UserRecord,
        codes: RecoveryCodes,
    ) -> Result<Vec<RecoveryHash>, ControlError> {
        let hashed = self.plane.hashing.run(&user.name, move || codes.hash()).await?;
        hashed.map_err(|error| ControlError::Hashing(error.to_string()))
    }
}

/// Fails where a first method is there already: its codes are never shown again.
fn require_none(user: &UserRecord) -> Result<(), EnrolmentFault> {
    if user.mfa_active { Err(EnrolmentFault::UnknownMethod) } else { Ok(()) }
}

fn state_of(codes: &RecoveryCodes, mark: u8) -> Secret<Vec<u8>> {
    let bytes = codes.to_bytes();
    Secret::new([&[mark], bytes.expose().as_slice()].concat())
}

fn codes_of(state: &Secret<Vec<u8>>) -> Result<RecoveryCodes, EnrolmentFault> {
    let (_, codes) = state.expose().split_first().ok_or(EnrolmentFault::Expired)?;
    RecoveryCodes::from_bytes(codes).map_err(|_| EnrolmentFault::Expired)
}
