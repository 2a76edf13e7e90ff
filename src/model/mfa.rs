//! Where a user stands with multi-factor authentication.

/// Does a customer or an administrator demand MFA?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MfaRequirement {
    /// Whoever likes may set it up.
    Optional,
    /// Nobody gets further than the set-up page without it.
    Required,
}

impl MfaRequirement {
    /// The word used on the command line and in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// What the rules need to know of a user's MFA (PROTOCOL section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaState {
    /// No method set up, and none demanded.
    Off,
    /// Demanded by an administrator or by the customer, and not set up.
    RequiredNotSetUp,
    /// At least one method is active.
    On,
}

impl MfaState {
    /// The state of a user with or without an active method, under the demands of administrator and customer.
    pub fn derive(
        method_active: bool,
        by_administrator: MfaRequirement,
        by_customer: MfaRequirement,
    ) -> Self {
        if method_active {
            Self::On
        } else if by_administrator == MfaRequirement::Required || by_customer == MfaRequirement::Required {
            Self::RequiredNotSetUp
        } else {
            Self::Off
        }
    }
}
