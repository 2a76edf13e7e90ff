//! What a session presents, in the words of the authenticator and of the log. Called by `connection`.

use super::session::{Presented, PresentedCredential};
use crate::auth::{Credential, PresentedKey};

/// The command that it came in.
pub const fn verb_of(presented: &Presented) -> &'static str {
    if presented.one_shot.is_some() { "IS" } else { "LOGIN" }
}

/// As the authenticator takes it.
pub fn credential_of(presented: &Presented) -> Credential<'_> {
    match &presented.credential {
        PresentedCredential::Key(key) => Credential::ApiKey(PresentedKey(key.expose().as_bytes())),
        PresentedCredential::Password { user, password } => {
            Credential::Password { user, password: password.clone() }
        }
    }
}
