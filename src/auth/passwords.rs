//! Which passwords may be set (S42): long enough, and none that is tried first. No composition rules.
//!
//! Checks and hashes new passwords; checking a presented one is the authenticator's. Callers: the use cases here.

mod own_names;
mod patterns;

use zeroize::Zeroizing;

use super::control_plane::{ControlError, ControlPlane};
use crate::crypto::{HashingMemory, PasswordHash, hash_password, normalise_password};
use crate::model::{MfaState, Secret};

pub use own_names::OwnNames;

/// Fewest characters where the password is the only factor (NIST SP 800-63B §3.1.1.2).
const ALONE_MIN_CHARACTERS: usize = 15;
/// Fewest characters where MFA stands beside it.
const WITH_MFA_MIN_CHARACTERS: usize = 8;
/// More would only feed the hash function.
const MAX_BYTES: usize = 1_024;

/// Why a password may not be set; says nothing of the password itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Too few characters for a password without MFA.
    #[error(
        "the password is too short: at least 15 characters, any that you like (8 where MFA is on or required)"
    )]
    TooShortAlone,
    /// Too few characters even beside MFA.
    #[error("the password is too short: at least 8 characters, any that you like")]
    TooShort,
    /// Too many bytes.
    #[error("the password is too long: at most 1,024 bytes")]
    TooLong,
    /// Line ends and other control characters, which nobody can type at a sign-in.
    #[error("the password holds a control character; it is one line of text")]
    ControlCharacter,
    /// One of the list, or made of such.
    #[error("this password is among the most common ones; choose another")]
    Common,
    /// Something short again and again, or keys that stand side by side.
    #[error("this password is a repetition or a sequence of keys; choose another")]
    Pattern,
    /// The account's own names and little else.
    #[error(
        "this password is made of the names of the account, of its user or of this service; choose another"
    )]
    OwnNames,
    /// The one that it is to replace.
    #[error("this is the password that somebody else chose for you; choose one of your own")]
    Replaced,
}

/// The fewest characters of a password of a user whose MFA stands so.
pub const fn least_password_characters(mfa: MfaState) -> usize {
    match mfa {
        MfaState::Off => ALONE_MIN_CHARACTERS,
        MfaState::On | MfaState::RequiredNotSetUp => WITH_MFA_MIN_CHARACTERS,
    }
}

/// May `password` be set for a user who is called so, and whose MFA stands so?
pub fn check_password(
    password: &Secret<String>,
    mfa: MfaState,
    names: &OwnNames,
) -> Result<(), PasswordFault> {
    if password.expose().len() > MAX_BYTES {
        return Err(PasswordFault::TooLong);
    }
    let password = normalise_password(password);
    let text = password.expose();
    if text.chars().any(char::is_control) {
        return Err(PasswordFault::ControlCharacter);
    }
    if text.chars().count() < least_password_characters(mfa) {
        return Err(match mfa {
            MfaState::Off => PasswordFault::TooShortAlone,
            MfaState::On | MfaState::RequiredNotSetUp => PasswordFault::TooShort,
        });
    }
    let lower_case = Zeroizing::new(text.to_lowercase());
    if patterns::is_common(&lower_case) {
        Err(PasswordFault::Common)
    } else if patterns::is_pattern(&lower_case) {
        Err(PasswordFault::Pattern)
    } else if names.make_up(&lower_case) {
        Err(PasswordFault::OwnNames)
    } else {
        Ok(())
    }
}

impl ControlPlane {
    /// Hashes a password that was checked, off the async threads: it takes some 20 ms of one core.
    ///
    /// `replaced` is the password that it must differ from, because somebody else knows that one.
    pub(super) async fn hash_new_password(
        &self,
        password: &Secret<String>,
        replaced: Option<PasswordHash>,
    ) -> Result<PasswordHash, ControlError> {
        let password = password.clone();
        let work = move || match replaced {
            Some(replaced) if HashingMemory::default().verify(&password, &replaced) => Ok(None),
            _ => hash_password(&password).map(Some),
        };
        let hashed = self.hashing.run(self.actor.name(), work).await?;
        let hashed = hashed.map_err(|error| ControlError::Hashing(error.to_string()))?;
        hashed.ok_or(ControlError::Password(PasswordFault::Replaced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, mfa: MfaState) -> Result<(), PasswordFault> {
        let names = OwnNames::new(&"acme/alex".parse().unwrap(), "Alex Miller", "alex@example.com");
        check_password(&Secret::new(text.to_owned()), mfa, &names)
    }

    #[test]
    fn s42_the_least_length_depends_on_mfa_and_counts_characters() {
        assert_eq!(checked("fourteen chars", MfaState::Off), Err(PasswordFault::TooShortAlone));
        assert_eq!(checked("fifteen chars ü", MfaState::Off), Ok(()));
        let decomposed = "fourteen charu\u{308}";
        assert_eq!(
            checked(decomposed, MfaState::Off),
            Err(PasswordFault::TooShortAlone),
            "ü is one character"
        );
        for mfa in [MfaState::On, MfaState::RequiredNotSetUp] {
            assert_eq!(checked("seven c", mfa), Err(PasswordFault::TooShort));
            assert_eq!(checked("eight ch", mfa), Ok(()));
        }
    }

    #[test]
    fn s42_long_ones_are_allowed_and_no_composition_is_asked_for() {
        let words = "a horse on every hill, ".repeat(50);
        assert_eq!(checked(&words[..64], MfaState::Off), Ok(()));
        assert_eq!(checked(&words[..1_024], MfaState::Off), Ok(()));
        assert_eq!(checked(&words[..1_025], MfaState::Off), Err(PasswordFault::TooLong));
        assert_eq!(checked("two lines of text\nin one", MfaState::Off), Err(PasswordFault::ControlCharacter));
    }

    #[test]
    fn s42_what_is_tried_first_is_refused_in_any_case() {
        for (text, fault) in [
            ("PassWord2026", PasswordFault::Common),
            ("ILoveYouPrincess", PasswordFault::Common),
            ("PasswordPassword", PasswordFault::Common),
            ("XyzzyXyzzyXyzzy", PasswordFault::Pattern),
            ("AAAAAAAAAAAAAAA", PasswordFault::Pattern),
            ("asdfghjk;LKJHGFD", PasswordFault::Pattern),
            ("Latchkey.Acme.Alex", PasswordFault::OwnNames),
            ("Alex.Miller.1987", PasswordFault::OwnNames),
        ] {
            assert_eq!(checked(text, MfaState::On), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_fault_repeats_nothing_of_the_password() {
        for (text, mfa) in [("hunter2", MfaState::Off), ("hunter2", MfaState::On), ("computer", MfaState::On)]
        {
            assert!(!checked(text, mfa).unwrap_err().to_string().contains(text));
        }
    }
}
