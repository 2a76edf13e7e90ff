//! Setting second factors up, and what is done with them later: recovery codes, authenticator apps, security keys.
//!
//! ```text
//! first method:   recovery codes ──saved──► app or key ──proved──► MFA on, codes live
//! further ones:                             app or key ──proved──► added
//! ```
//! What is under way lives in the session for ten minutes, sealed, and cannot finish once the methods have changed
//! (S95). A security key's challenge lives for five (S33). Nothing counts before its proof (R40). Callers: the console.

mod app;
mod key;
mod methods;
mod recovery;
#[cfg(test)]
mod tests;

pub use app::AppSetUp;
pub use methods::MfaOverview;
pub use recovery::ShownCodes;

use super::audit::{Event, EventKind};
use super::change::Change;
use super::console_access::{ConsoleAccess, ceremony_label};
use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use super::security_keys::CHALLENGE_LIVES_SECONDS;
use super::sign_in::ConsoleSession;
use crate::crypto::{RecoveryHash, SealError};
use crate::model::Secret;
use crate::store::{CeremonyRecord, NewMethod, StoreError, UserRecord};

/// How long a set-up may take, in seconds.
pub const SET_UP_LIVES_SECONDS: i64 = 600;
/// Characters of a method's name.
const NAME_CHARACTERS: usize = 60;
/// Methods of one user at most.
const METHODS_OF_A_USER: usize = 20;
/// The ceremony of an authenticator app, and that of a security key.
const SET_UP_APP: &str = "set up app";
const SET_UP_KEY: &str = "set up key";

/// Why nothing was set up.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentFault {
    /// The first method takes recovery codes that were saved.
    #[error("save your recovery codes first")]
    CodesFirst,
    /// It was not begun, took longer than ten minutes, or the methods have changed meanwhile.
    #[error("this set-up has expired; start again")]
    Expired,
    /// The code is not the one the app shows now.
    #[error("the code is not correct or no longer valid; enter the code the app shows now")]
    WrongCode,
    /// What the browser sent proves no security key.
    #[error("the security key could not be used")]
    NoProof,
    /// The security key is somebody's already.
    #[error("this security key is already registered")]
    Registered,
    /// Security keys cannot be used at this address.
    #[error("this address cannot be used with security keys")]
    NotOffered,
    /// There are twenty already.
    #[error("you have 20 methods already; remove one first")]
    TooMany,
    /// MFA is required: a last method stays.
    #[error("MFA is required for you; add another method first")]
    LastOfRequired,
    /// There is no such method, or not any more.
    #[error("there is no such method any more")]
    UnknownMethod,
    /// The last method goes only with a password that may stand alone (S42).
    #[error("without MFA a password has at least 15 characters; choose one")]
    PasswordMissing,
    /// The store failed, or the user may not do this now.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<StoreError> for EnrolmentFault {
    fn from(error: StoreError) -> Self {
        Self::Control(error.into())
    }
}

impl From<SealError> for EnrolmentFault {
    fn from(error: SealError) -> Self {
        Self::Control(error.into())
    }
}

/// A method that was added.
#[derive(Debug)]
pub struct AddedMethod {
    /// What the browser is to hold from now on.
    pub token: Secret<String>,
    /// What the method is called.
    pub name: String,
    /// It is the first: MFA is on from now.
    pub is_first: bool,
}

impl ConsoleAccess {
    /// A change of the session's user's own methods, as far as that one may make it.
    async fn begin_own_mfa(
        &self,
        plane: &ControlPlane,
        session: &ConsoleSession,
    ) -> Result<(Change, UserRecord), EnrolmentFault> {
        let mut change = plane.begin().await?;
        let user = change.user_by_id(session.user.id).await?;
        let user = user.ok_or_else(|| ControlError::UnknownUser(session.user.name.clone()))?;
        change.require(Action::OwnMfa(&user))?;
        // Whoever holds a token that was replaced meanwhile begins nothing with it.
        if change.console_session(session.record.digest).await?.is_none() {
            return Err(EnrolmentFault::Expired);
        }
        Ok((change, user))
    }

    /// What the session remembers of `purpose`, if that was begun lately enough and nothing has changed since.
    async fn ceremony_in(
        &self,
        change: &mut Change,
        session: &ConsoleSession,
        user: &UserRecord,
        purpose: &str,
    ) -> Result<Option<Secret<Vec<u8>>>, EnrolmentFault> {
        let digest = session.record.digest;
        let Some(ceremony) = change.ceremony(digest, purpose).await? else { return Ok(None) };
        let age = change.now().unix_seconds().saturating_sub(ceremony.began_at.unix_seconds());
        let lives = if purpose == SET_UP_KEY { CHALLENGE_LIVES_SECONDS } else { SET_UP_LIVES_SECONDS };
        if !(0..lives).contains(&age) || ceremony.mfa_generation != user.mfa_generation {
            return Ok(None);
        }
        Ok(Some(self.open(&ceremony.state, &ceremony_label(purpose, user, digest))?))
    }

    /// Remembers `state` of `purpose` in the session, from now on for ten minutes.
    async fn remember(
        &self,
        change: &mut Change,
        session: &ConsoleSession,
        user: &UserRecord,
        (purpose, state): (&str, &[u8]),
    ) -> Result<(), EnrolmentFault> {
        let digest = session.record.digest;
        let state = self.seal(state, &ceremony_label(purpose, user, digest))?;
        let began_at = change.now();
        let ceremony = CeremonyRecord { state, mfa_generation: user.mfa_generation, began_at };
        change.put_ceremony(digest, purpose, &ceremony).await?;
        Ok(())
    }

    /// Adds a method that has proved itself; `hashes` are those of the codes that come with the first one.
    async fn add_method(
        &self,
        mut change: Change,
        session: &ConsoleSession,
        new: NewMethod<'_>,
        hashes: Option<Vec<RecoveryHash>>,
    ) -> Result<AddedMethod, EnrolmentFault> {
        let now = change.now();
        let is_first = hashes.is_some();
        change.insert_mfa_method(&new).await.map_err(|error| match error {
            StoreError::Exists(_) => EnrolmentFault::Registered,
            other => other.into(),
        })?;
        if let Some(hashes) = hashes {
            change.replace_recovery_set(new.user, &hashes, now).await?;
        }
        let token = self.rotate_alone(&mut change, session).await?;
        let added = Event::new(EventKind::MfaMethodAdded).about(&session.user);
        change.note(added.with("kind", new.kind.name()).with("name", new.name));
        let name = new.name.to_owned();
        self.settle(change).await?;
        Ok(AddedMethod { token, name, is_first })
    }
}

/// A name for a method: one line, or `otherwise` where nothing was typed.
fn method_name(typed: &str, otherwise: &str) -> Result<String, EnrolmentFault> {
    let name = typed.trim();
    if name.is_empty() {
        return Ok(otherwise.to_owned());
    }
    if name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
        let allowed = "one line of at most 60 characters";
        return Err(ControlError::Text { what: "the name", allowed }.into());
    }
    Ok(name.to_owned())
}

/// Fails where the user has as many methods as anybody needs.
fn require_room(methods: &[crate::model::MethodRecord]) -> Result<(), EnrolmentFault> {
    if methods.len() >= METHODS_OF_A_USER { Err(EnrolmentFault::TooMany) } else { Ok(()) }
}
