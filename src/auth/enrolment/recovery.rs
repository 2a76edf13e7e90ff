//! Recovery codes: shown before the first method, the same ones until it is proved, never again after (R33, R35, R36).

use super::super::audit::{Event, EventKind};
use super::super::change::Change;
use super::super::console_access::ConsoleAccess;
use super::super::control_plane::ControlError;
use super::super::sign_in::ConsoleSession;
use super::EnrolmentFault;
use crate::crypto::{RecoveryCodes, RecoveryHash};
use crate::model::Secret;
use crate::store::UserRecord;

/// What the state begins with once its codes were saved.
const SAVED: u8 = b'+';
const SHOWN: u8 = b'-';

/// What codes are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodesFor {
    /// The first method; they live once it is proved.
    FirstMethod,
    /// In the place of those there are; they live once they are said to be saved.
    Replacement,
}

impl CodesFor {
    const fn purpose(self) -> &'static str {
        match self {
            Self::FirstMethod => "recovery codes",
            Self::Replacement => "new recovery codes",
        }
    }
}

/// Codes to be saved.
#[derive(Debug)]
pub struct ShownCodes {
    /// Each `xxxx-xxxx-xxxx-xxxx`.
    pub codes: Vec<Secret<String>>,
}

impl ConsoleAccess {
    /// Draws codes; within the same set-up they stay the same.
    ///
    /// # Errors
    /// [`EnrolmentFault::UnknownMethod`] where a first method is there already, or none is whose codes could be replaced.
    pub async fn show_recovery_codes(
        &self,
        session: &ConsoleSession,
        codes_for: CodesFor,
    ) -> Result<ShownCodes, EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_fitting(&user, codes_for)?;
        let purpose = codes_for.purpose();
        let state = self.ceremony_in(&mut change, session, &user, purpose).await?;
        let codes = if let Some(state) = state {
            codes_of(&state)?
        } else {
            let codes = RecoveryCodes::draw().map_err(ControlError::from)?;
            let state = state_of(&codes, SHOWN);
            self.remember(&mut change, session, &user, (purpose, state.expose())).await?;
            change.commit_noted().await?;
            codes
        };
        Ok(ShownCodes { codes: codes.shown() })
    }

    /// Notes that the codes for the first method were saved; set-up goes on.
    pub async fn confirm_codes_saved(&self, session: &ConsoleSession) -> Result<(), EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_fitting(&user, CodesFor::FirstMethod)?;
        let purpose = CodesFor::FirstMethod.purpose();
        let state = self.ceremony_in(&mut change, session, &user, purpose).await?;
        let codes = codes_of(&state.ok_or(EnrolmentFault::Expired)?)?;
        self.remember(&mut change, session, &user, (purpose, state_of(&codes, SAVED).expose())).await?;
        change.commit_noted().await?;
        Ok(())
    }

    /// Puts the codes that were shown in the place of those there are, which work no more (S36).
    pub async fn replace_recovery_codes(&self, session: &ConsoleSession) -> Result<(), EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_fitting(&user, CodesFor::Replacement)?;
        let purpose = CodesFor::Replacement.purpose();
        let state = self.ceremony_in(&mut change, session, &user, purpose).await?;
        let codes = codes_of(&state.ok_or(EnrolmentFault::Expired)?)?;
        drop(change);
        let hashes = self.hash_codes(codes).await?;
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        require_fitting(&user, CodesFor::Replacement)?;
        // Whoever was faster has used it up.
        if self.ceremony_in(&mut change, session, &user, purpose).await?.is_none() {
            return Err(EnrolmentFault::Expired);
        }
        change.delete_ceremony(session.record.digest, purpose).await?;
        let now = change.now();
        change.replace_recovery_set(user.id, &hashes, now).await?;
        change.commit(Event::new(EventKind::RecoveryCodesReplaced).about(&user)).await?;
        Ok(())
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
        let state = self.ceremony_in(change, session, user, CodesFor::FirstMethod.purpose()).await?;
        let state = state.ok_or(EnrolmentFault::CodesFirst)?;
        if state.expose().first() != Some(&SAVED) {
            return Err(EnrolmentFault::CodesFirst);
        }
        codes_of(&state).map(Some)
    }

    /// Hashes a set, one at a time in the whole process.
    pub(super) async fn hash_codes(&self, codes: RecoveryCodes) -> Result<Vec<RecoveryHash>, ControlError> {
        let failed = |error: &dyn std::fmt::Display| ControlError::Hashing(error.to_string());
        let _turn = self.hashing.acquire().await.map_err(|error| failed(&error))?;
        tokio::task::spawn_blocking(move || codes.hash())
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))
    }
}

fn require_fitting(user: &UserRecord, codes_for: CodesFor) -> Result<(), EnrolmentFault> {
    let is_for_first = codes_for == CodesFor::FirstMethod;
    if user.mfa_active == is_for_first { Err(EnrolmentFault::UnknownMethod) } else { Ok(()) }
}

fn state_of(codes: &RecoveryCodes, mark: u8) -> Secret<Vec<u8>> {
    let bytes = codes.to_bytes();
    Secret::new([&[mark], bytes.expose().as_slice()].concat())
}

fn codes_of(state: &Secret<Vec<u8>>) -> Result<RecoveryCodes, EnrolmentFault> {
    let (_, codes) = state.expose().split_first().ok_or(EnrolmentFault::Expired)?;
    RecoveryCodes::from_bytes(codes).map_err(|_| EnrolmentFault::Expired)
}
