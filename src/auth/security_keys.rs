//! Security keys by `WebAuthn`: challenges, and whether what comes back proves them. No store.
//!
//! The crate judges type, challenge, origin, relying party, presence, signature and counter (`WebAuthn` §7.1, §7.2); a
//! state is used once, which the callers see to by taking it out of the store. Any transport and attachment is welcome,
//! a paired phone too (R47). Callers: `enrolment` and `sign_in`.

use serde::Serialize;
use url::Url;
use webauthn_rs::prelude::{
    Credential, PublicKeyCredential, RegisterPublicKeyCredential, SecurityKey, SecurityKeyAuthentication,
    SecurityKeyRegistration, Uuid, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};
use webauthn_rs_proto::UserVerificationPolicy;

use super::control_plane::ControlPlane;
use crate::config::{PublicUrl, UserVerification};
use crate::crypto::DigestKey;
use crate::model::UserId;
use crate::store::{StoreError, StoreFact};

/// How long the browser waits for the person, in seconds; the challenge lives as long (S33).
pub(super) const CHALLENGE_LIVES_SECONDS: i64 = 300;

/// What registers and checks security keys for one address of the console.
#[derive(Debug)]
pub struct SecurityKeys {
    webauthn: Webauthn,
    rp_id: String,
    verification: UserVerification,
}

/// Security keys cannot be used at this address.
#[derive(Debug, thiserror::Error)]
pub enum SecurityKeysError {
    /// The address lies outside what keys were registered for (S101).
    #[error(
        "security keys were registered for `{rp_id}`, and `{host}` is not within it: they would stop working for {}",
        .holders.join(", ")
    )]
    OtherRelyingParty {
        /// What they were registered for.
        rp_id: String,
        /// The host of the console's present address.
        host: String,
        /// Whose keys.
        holders: Vec<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The crate refuses the address.
    #[error("security keys cannot be used at this address: {0}")]
    Address(#[from] WebauthnError),
}

/// A challenge for the browser, and what must be remembered until it is answered.
pub(super) struct Challenge {
    /// JSON for `navigator.credentials`.
    pub(super) options: String,
    /// To be sealed and kept.
    pub(super) state: Vec<u8>,
}

/// What a security key answered does not prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoProof {
    /// It cannot be read, or it is not what was asked for.
    Wrong,
    /// Its counter went back: it may be a copy (`WebAuthn` §6.1.1).
    CounterWentBack,
    /// The policy wants the person verified, and the key did not.
    NotVerified,
}

/// A key that has proved itself for the first time.
pub(super) struct Registered {
    pub(super) credential_id: Vec<u8>,
    /// To be sealed and kept.
    pub(super) secret: Vec<u8>,
}

/// Which key has answered, as it is to be kept from now on.
pub(super) struct Proved {
    pub(super) index: usize,
    /// To be sealed and kept in the place of the one before.
    pub(super) secret: Vec<u8>,
}

impl SecurityKeys {
    /// For the console at `public_url`; `fixed` is what keys were registered for already. `None` where the address is
    /// an IP address, at which browsers offer no security keys, and none was registered.
    pub fn new(
        public_url: &PublicUrl,
        fixed: Option<&str>,
        verification: UserVerification,
    ) -> Result<Option<Self>, SecurityKeysError> {
        let other = |rp_id: &str, host: &str| {
            let (rp_id, host) = (rp_id.to_owned(), host.to_owned());
            Err(SecurityKeysError::OtherRelyingParty { rp_id, host, holders: Vec::new() })
        };
        let Some(host) = public_url.relying_party() else {
            return fixed.map_or(Ok(None), |rp_id| other(rp_id, public_url.origin()));
        };
        let rp_id = fixed.unwrap_or(host);
        let is_within = host == rp_id || host.strip_suffix(rp_id).is_some_and(|rest| rest.ends_with('.'));
        if !is_within {
            return other(rp_id, host);
        }
        let origin = Url::parse(public_url.origin()).map_err(|_| WebauthnError::Configuration)?;
        let timeout = std::time::Duration::from_secs(CHALLENGE_LIVES_SECONDS.unsigned_abs());
        let webauthn = WebauthnBuilder::new(rp_id, &origin)?.rp_name("Latchkey").timeout(timeout).build()?;
        Ok(Some(Self { webauthn, rp_id: rp_id.to_owned(), verification }))
    }

    /// The relying party that keys are registered for.
    pub fn rp_id(&self) -> &str {
        &self.rp_id
    }

    /// A challenge that registers a further key beside `present`.
    pub(super) fn start_registration(
        &self,
        handle: Uuid,
        user: &str,
        present: &[SecurityKey],
    ) -> Result<Challenge, NoProof> {
        let exclude = present.iter().map(|key| key.cred_id().clone()).collect();
        let (mut options, state) = self
            .webauthn
            .start_securitykey_registration(handle, user, user, Some(exclude), None, None)
            .map_err(|error| no_proof(&error))?;
        // No hint narrows what the browser offers. A key that protects its credential from use without its PIN could
        // not be used where it has none.
        options.public_key.hints = None;
        if let Some(extensions) = &mut options.public_key.extensions {
            extensions.cred_protect = None;
        }
        if let Some(selection) = &mut options.public_key.authenticator_selection {
            selection.user_verification = self.verification_policy();
        }
        Challenge::new(&options, &state)
    }

    /// Takes the answer to [`SecurityKeys::start_registration`].
    pub(super) fn finish_registration(&self, state: &[u8], answer: &str) -> Result<Registered, NoProof> {
        let state: SecurityKeyRegistration = serde_json::from_slice(state).map_err(|_| NoProof::Wrong)?;
        let answer: RegisterPublicKeyCredential = serde_json::from_str(answer).map_err(|_| NoProof::Wrong)?;
        let key = self
            .webauthn
            .finish_securitykey_registration(&answer, &state)
            .map_err(|error| no_proof(&error))?;
        let secret = serde_json::to_vec(&key).map_err(|_| NoProof::Wrong)?;
        let credential: Credential = key.into();
        self.require_verification(credential.user_verified)?;
        Ok(Registered { credential_id: credential.cred_id.clone(), secret })
    }

    /// A challenge that any of `keys` can answer.
    pub(super) fn start_authentication(&self, keys: &[SecurityKey]) -> Result<Challenge, NoProof> {
        let (mut options, state) =
            self.webauthn.start_securitykey_authentication(keys).map_err(|error| no_proof(&error))?;
        options.public_key.hints = None;
        options.public_key.user_verification = self.verification_policy();
        Challenge::new(&options, &state)
    }

    /// Takes the answer to [`SecurityKeys::start_authentication`] from one of `keys`, as they are kept now.
    pub(super) fn finish_authentication(
        &self,
        keys: &[SecurityKey],
        state: &[u8],
        answer: &str,
    ) -> Result<Proved, NoProof> {
        let state: SecurityKeyAuthentication = serde_json::from_slice(state).map_err(|_| NoProof::Wrong)?;
        let answer: PublicKeyCredential = serde_json::from_str(answer).map_err(|_| NoProof::Wrong)?;
        let result = self
            .webauthn
            .finish_securitykey_authentication(&answer, &state)
            .map_err(|error| no_proof(&error))?;
        self.require_verification(result.user_verified())?;
        let found = keys.iter().enumerate().find(|(_, key)| key.cred_id() == result.cred_id());
        let (index, key) = found.ok_or(NoProof::Wrong)?;
        // The challenge remembers the counter of when it was made; the key may have been used since.
        let credential: Credential = key.clone().into();
        if (result.counter() > 0 || credential.counter > 0) && result.counter() <= credential.counter {
            return Err(NoProof::CounterWentBack);
        }
        let mut key = key.clone();
        key.update_credential(&result);
        Ok(Proved { index, secret: serde_json::to_vec(&key).map_err(|_| NoProof::Wrong)? })
    }

    const fn verification_policy(&self) -> UserVerificationPolicy {
        match self.verification {
            UserVerification::Required => UserVerificationPolicy::Required,
            UserVerification::Preferred => UserVerificationPolicy::Preferred,
            UserVerification::Discouraged => UserVerificationPolicy::Discouraged_DO_NOT_USE,
        }
    }

    fn require_verification(&self, verified: bool) -> Result<(), NoProof> {
        let missing = self.verification == UserVerification::Required && !verified;
        if missing { Err(NoProof::NotVerified) } else { Ok(()) }
    }
}

impl ControlPlane {
    /// The same while the store is away: `fixed` is what is known of what keys were registered for.
    ///
    /// # Errors
    /// [`SecurityKeysError::OtherRelyingParty`] where keys were registered for another name (S101).
    pub fn security_keys_without_store(
        &self,
        public_url: &PublicUrl,
        fixed: Option<&str>,
    ) -> Result<Option<SecurityKeys>, SecurityKeysError> {
        SecurityKeys::new(public_url, fixed, self.policy.security_key_user_verification)
    }

    /// What registers and checks security keys for the console at `public_url`; `None`: browsers offer none there.
    ///
    /// # Errors
    /// [`SecurityKeysError::OtherRelyingParty`] where keys were registered for another name (S101).
    pub async fn security_keys(
        &self,
        public_url: &PublicUrl,
    ) -> Result<Option<SecurityKeys>, SecurityKeysError> {
        let fixed = self.store.fact(StoreFact::RelyingParty).await?;
        let verification = self.policy.security_key_user_verification;
        match SecurityKeys::new(public_url, fixed.as_deref(), verification) {
            Err(SecurityKeysError::OtherRelyingParty { rp_id, host, .. }) => {
                let holders = self.store.holders_of_security_keys().await?;
                if holders.is_empty() {
                    // Whoever had one has it no more: nothing stops working.
                    return SecurityKeys::new(public_url, None, verification);
                }
                Err(SecurityKeysError::OtherRelyingParty { rp_id, host, holders })
            }
            other => other,
        }
    }
}

impl Challenge {
    fn new(options: &impl Serialize, state: &impl Serialize) -> Result<Self, NoProof> {
        let options = serde_json::to_string(options).map_err(|_| NoProof::Wrong)?;
        Ok(Self { options, state: serde_json::to_vec(state).map_err(|_| NoProof::Wrong)? })
    }
}

/// The id of a user towards authenticators: says nothing of the name, and stays the same (`WebAuthn` §14.6.1).
pub(super) fn user_handle(key: &DigestKey, user: UserId) -> Uuid {
    let digest = key.digest(format!("webauthn user {}", user.0).as_bytes());
    let (half, _) = digest.0.split_at(16);
    Uuid::from_slice(half).unwrap_or_default()
}

/// The keys that stand in `secrets`, opened.
pub(super) fn parse_key(secret: &[u8]) -> Option<SecurityKey> {
    serde_json::from_slice(secret).ok()
}

fn no_proof(error: &WebauthnError) -> NoProof {
    match error {
        WebauthnError::CredentialPossibleCompromise => NoProof::CounterWentBack,
        _ => NoProof::Wrong,
    }
}
