//! `policy:` the rules an operator may choose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{MfaRequirement, TimeSpan, Timestamp};

/// Rules an operator may choose; the defaults are the article's letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Does a first key end password access at `IsProxy` too? At the API it always does.
    pub key_ends_password_at_isproxy: bool,
    /// How long decisions are made from memory while the store cannot be read (S80).
    pub max_staleness: TimeSpan,
    /// Which new customers have MFA required of their users.
    pub mfa_required: MfaPolicy,
    /// Whether a security key is to ask for a PIN or a finger.
    pub security_key_user_verification: UserVerification,
}

/// Whether a security key is to make sure of who touches it (`WebAuthn` Level 3 §5.8.6).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum UserVerification {
    /// Where it can.
    Preferred,
    /// Keys that cannot are refused.
    Required,
    /// Where it can do without, it does: a touch is enough, since a password comes first.
    Discouraged,
}

/// Whose users must set MFA up, unless the operator says otherwise for a customer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum MfaPolicy {
    /// Every customer's.
    All,
    /// Customers' made after 2020-04-30.
    NewCustomers,
    /// Nobody's.
    None,
}

/// One hour: long enough to bring a store back, short enough for what was revoked meanwhile.
const MAX_STALENESS: TimeSpan = TimeSpan::from_seconds(3_600);

/// The last moment at which a new customer was still an existing one: 2020-04-30, whole day, UTC.
const NEW_CUSTOMERS_FROM: Timestamp = Timestamp::from_unix_milliseconds(1_588_291_200_000);

impl MfaPolicy {
    /// What a customer created at `created_on` starts with (R24).
    pub fn requirement_for(self, created_on: Timestamp) -> MfaRequirement {
        match self {
            Self::All => MfaRequirement::Required,
            Self::NewCustomers if created_on >= NEW_CUSTOMERS_FROM => MfaRequirement::Required,
            Self::NewCustomers | Self::None => MfaRequirement::Optional,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            key_ends_password_at_isproxy: false,
            max_staleness: MAX_STALENESS,
            mfa_required: MfaPolicy::NewCustomers,
            security_key_user_verification: UserVerification::Preferred,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r24_customers_made_after_2020_04_30_require_mfa() {
        let on = |date: &str| MfaPolicy::NewCustomers.requirement_for(date.parse().unwrap());
        assert_eq!(on("2020-04-30"), MfaRequirement::Optional);
        assert_eq!(on("2020-04-30T23:59:59Z"), MfaRequirement::Optional);
        assert_eq!(on("2020-05-01"), MfaRequirement::Required);
    }
}
