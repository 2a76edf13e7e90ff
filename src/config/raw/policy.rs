//! `policy:` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Required;
use crate::config::{MfaPolicy, UserVerification};

/// `policy:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(in crate::config) struct RawPolicy {
    /// Where a user's first key ends the user's password; always at the API.
    #[schemars(extend("default" = ["api"]))]
    pub(in crate::config) key_ends_password_at: Vec<Required<RawDoor>>,
    /// How long the gateway goes on deciding from memory while the store cannot be read, with its unit (s, m, h, d): a
    /// change that is made meanwhile is not seen. After it, every request is refused with 503 and open sessions end.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) max_staleness: Required<String>,
    /// Which new customers have MFA required of their users, unless told otherwise when they are made.
    pub(in crate::config) mfa_required: MfaPolicy,
    /// Whether a security key is asked for a PIN or a finger besides the touch, when it is set up and used.
    pub(in crate::config) security_key_user_verification: UserVerification,
}

/// A door.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum RawDoor {
    /// The API.
    Api,
    /// `IsProxy`.
    IsProxy,
}

impl Default for RawPolicy {
    fn default() -> Self {
        Self {
            key_ends_password_at: vec![Required(Some(RawDoor::Api))],
            max_staleness: Required(None),
            mfa_required: MfaPolicy::NewCustomers,
            security_key_user_verification: UserVerification::Preferred,
        }
    }
}
