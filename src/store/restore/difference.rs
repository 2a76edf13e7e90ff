//! What a restore changes, as it is told to whoever restores.

use crate::model::CustomerId;

/// One thing that a restore changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// What.
    pub kind: DifferenceKind,
    /// Of whom, by name.
    pub subject: String,
    /// Whose it is, where the backup has that customer.
    pub customer: Option<CustomerId>,
}

/// What a restore does with a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It stays as it is now, unless revival is accepted.
    KeptUnlessRevived,
    /// It becomes what it was in the backup, which may let in more.
    GivenBack,
    /// It is not in the backup, or was less there, and goes.
    TakenAway,
}

/// What differs between the present store and a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DifferenceKind {
    /// The customer was deleted since.
    CustomerDeleted,
    /// The user was deleted since.
    UserDeleted,
    /// The key was deleted since.
    KeyDeleted,
    /// The user was deactivated since.
    UserDeactivated,
    /// The key was disabled since.
    KeyDisabled,
    /// The key ends sooner than it did.
    KeyEndsSooner,
    /// The user has another password, or none any more.
    PasswordChanged,
    /// The password opens the API no more.
    PasswordEndedByKey,
    /// MFA is required of the customer's users by now.
    CustomerMfaRequired,
    /// MFA is required of the user by now.
    MfaRequired,
    /// The user has other second factors.
    MfaChanged,
    /// Recovery codes were used, or their set was replaced.
    RecoveryCodes,
    /// The user administers the customer by now, and nobody else would.
    AdministratorKept,
    /// Whoever administered the customer is gone or deactivated by now, and who does is not in the backup.
    NoAdministrator,
    /// Administration or permissions were taken.
    Rights,
    /// Entrances were closed.
    Entrances,
    /// The customer's IP whitelist is another one.
    CustomerAllowList,
    /// The user's IP whitelist is another one.
    UserAllowList,
    /// The key's IP whitelist is another one.
    KeyAllowList,
    /// The customer is missing, and was never deleted.
    CustomerBack,
    /// The user is missing, and was never deleted.
    UserBack,
    /// The key is missing, and was never deleted.
    KeyBack,
    /// Administration or permissions were given.
    RightsGiven,
    /// The user was reactivated since.
    UserReactivated,
    /// The customer was made since.
    CustomerMade,
    /// The user was made since.
    UserMade,
    /// The key was made since.
    KeyMade,
}

impl DifferenceKind {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 27] = [
        Self::CustomerDeleted,
        Self::UserDeleted,
        Self::KeyDeleted,
        Self::UserDeactivated,
        Self::KeyDisabled,
        Self::KeyEndsSooner,
        Self::PasswordChanged,
        Self::PasswordEndedByKey,
        Self::CustomerMfaRequired,
        Self::MfaRequired,
        Self::MfaChanged,
        Self::RecoveryCodes,
        Self::AdministratorKept,
        Self::NoAdministrator,
        Self::Rights,
        Self::Entrances,
        Self::CustomerAllowList,
        Self::UserAllowList,
        Self::KeyAllowList,
        Self::CustomerBack,
        Self::UserBack,
        Self::KeyBack,
        Self::RightsGiven,
        Self::UserReactivated,
        Self::CustomerMade,
        Self::UserMade,
        Self::KeyMade,
    ];

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomerDeleted => "customer_deleted",
            Self::UserDeleted => "user_deleted",
            Self::KeyDeleted => "key_deleted",
            Self::UserDeactivated => "user_deactivated",
            Self::KeyDisabled => "key_disabled",
            Self::KeyEndsSooner => "key_ends_sooner",
            Self::PasswordChanged => "password_changed",
            Self::PasswordEndedByKey => "password_ended_by_key",
            Self::CustomerMfaRequired => "customer_mfa_required",
            Self::MfaRequired => "mfa_required",
            Self::MfaChanged => "mfa_changed",
            Self::RecoveryCodes => "recovery_codes",
            Self::AdministratorKept => "administrator_kept",
            Self::NoAdministrator => "no_administrator",
            Self::Rights => "rights",
            Self::Entrances => "entrances",
            Self::CustomerAllowList => "customer_allow_list",
            Self::UserAllowList => "user_allow_list",
            Self::KeyAllowList => "key_allow_list",
            Self::CustomerBack => "customer_back",
            Self::UserBack => "user_back",
            Self::KeyBack => "key_back",
            Self::RightsGiven => "rights_given",
            Self::UserReactivated => "user_reactivated",
            Self::CustomerMade => "customer_made",
            Self::UserMade => "user_made",
            Self::KeyMade => "key_made",
        }
    }

    /// What happened since the backup, in words before which the subject stands.
    pub const fn told(self) -> &'static str {
        match self {
            Self::CustomerDeleted | Self::UserDeleted | Self::KeyDeleted => "deleted since",
            Self::UserDeactivated => "deactivated since",
            Self::KeyDisabled => "disabled since",
            Self::KeyEndsSooner => "ends sooner by now",
            Self::PasswordChanged => "has another password by now, or none",
            Self::PasswordEndedByKey => "the password opens the API no more",
            Self::CustomerMfaRequired => "MFA is required of all its users by now",
            Self::MfaRequired => "MFA is required by now",
            Self::MfaChanged => "has other second factors by now",
            Self::RecoveryCodes => "used or replaced since",
            Self::AdministratorKept => "administers the customer by now, and nobody else would",
            Self::NoAdministrator => "whoever administered it is gone or deactivated by now",
            Self::Rights => "had more rights",
            Self::Entrances => "had more entrances",
            Self::CustomerAllowList | Self::UserAllowList | Self::KeyAllowList => "had another IP whitelist",
            Self::CustomerBack | Self::UserBack | Self::KeyBack => "missing by now, and never deleted",
            Self::RightsGiven => "was given rights since",
            Self::UserReactivated => "reactivated since",
            Self::CustomerMade | Self::UserMade | Self::KeyMade => "made since",
        }
    }

    /// What a restore does with it.
    pub const fn effect(self) -> Effect {
        match self {
            Self::CustomerDeleted
            | Self::UserDeleted
            | Self::KeyDeleted
            | Self::UserDeactivated
            | Self::KeyDisabled
            | Self::KeyEndsSooner
            | Self::PasswordChanged
            | Self::PasswordEndedByKey
            | Self::CustomerMfaRequired
            | Self::MfaRequired
            | Self::MfaChanged
            | Self::RecoveryCodes
            | Self::AdministratorKept
            | Self::NoAdministrator => Effect::KeptUnlessRevived,
            Self::Rights
            | Self::Entrances
            | Self::CustomerAllowList
            | Self::UserAllowList
            | Self::KeyAllowList
            | Self::CustomerBack
            | Self::UserBack
            | Self::KeyBack => Effect::GivenBack,
            Self::RightsGiven
            | Self::UserReactivated
            | Self::CustomerMade
            | Self::UserMade
            | Self::KeyMade => Effect::TakenAway,
        }
    }
}
