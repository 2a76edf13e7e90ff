//! A refusal: what the peer is told of it, and the reason, which only we know. Words alone; who decides stands elsewhere.

use std::num::NonZeroU32;

use super::super::rate_limit::Quota;
use crate::model::{Membership, QuotaOwner, QuotaPeriod, Recognised};
use crate::store::index::UserEntry;

/// A refusal: what the peer is told, and the reason that only we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the peer is told.
    pub refusal: Refusal,
    /// What is written to the log; never sent.
    pub reason: DenialReason,
    /// Whose credential it was, where that is known; for `explain`, never sent.
    pub recognised: Option<Recognised>,
    /// Of whom that is; for what is counted, never sent.
    pub(in crate::auth) membership: Option<Membership>,
}

impl Denial {
    /// A refusal of nobody in particular.
    pub const fn new(refusal: Refusal, reason: DenialReason) -> Self {
        Self { refusal, reason, recognised: None, membership: None }
    }

    /// The refusal of a credential that was recognised as this one of `user`.
    #[must_use]
    pub fn of(self, recognised: Recognised, user: &UserEntry) -> Self {
        Self { recognised: Some(recognised), membership: Some(user.membership()), ..self }
    }
}

/// What a peer is told (PROTOCOL section 2; `IsProxy` answers `400 Login failed` to all of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401: no credential, a wrong one, or any refusal of a password.
    Unauthenticated,
    /// 403: the key is right, and not allowed here or from there.
    Forbidden,
    /// 429: too many failed credentials from this address, or too many failed passwords for this name.
    TooManyFailures {
        /// Seconds until another try makes sense.
        retry_after_seconds: NonZeroU32,
    },
    /// 429: the key is right, and makes more requests than it may; not counted as a failure.
    TooManyRequests {
        /// What the key has left.
        quota: Quota,
        /// Seconds until a request is let through again.
        retry_after_seconds: NonZeroU32,
    },
    /// 429: a quota of requests is used up; not counted as a failure. At `IsProxy` the request is answered `error`.
    QuotaExhausted {
        /// The day's or the month's.
        period: QuotaPeriod,
        /// Seconds until it begins anew.
        retry_after_seconds: NonZeroU32,
    },
    /// 503: the queue of password hashing is full; not counted as a failure.
    Busy,
}

/// Why an attempt was refused, for operators: logs, metrics, `key test`, `user access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// Nothing was presented, or not in a form that is read.
    NoCredential,
    /// The text cannot be a key: its form or check characters are wrong.
    MalformedKey,
    /// No such key, or not any more.
    UnknownKey,
    /// The key is disabled.
    KeyDisabled,
    /// The key's time is over.
    KeyExpired,
    /// The key does not open this door.
    ScopeMissing,
    /// No such user.
    UnknownUser,
    /// The password is wrong, or the user has none.
    WrongPassword,
    /// The password is right, and off because the user has, or had, an API key.
    PasswordOffByKey,
    /// The password is right, and off because MFA is on.
    PasswordOffByMfa,
    /// The password is right, and off because MFA is required and not set up.
    PasswordOffByRequiredMfa,
    /// The password is right, and over: its owner has not replaced it in time.
    PasswordEnded,
    /// The password is right, and the sign-in takes a one-time link beside it.
    LinkMissing,
    /// MFA is required and not set up.
    MfaNotSetUp,
    /// No such API session, or not any more.
    UnknownSession,
    /// The API session was not used for too long, or is too old.
    SessionExpired,
    /// A right credential of another kind than `/v2/session` takes.
    CredentialKind,
    /// The user is deactivated.
    UserInactive,
    /// This entrance is closed for the user.
    AccessPointOff,
    /// The address is outside the listener's list.
    AddressOutsideListenerList,
    /// The address is outside the customer's list.
    AddressOutsideCustomerList,
    /// The address is outside the user's list.
    AddressOutsideUserList,
    /// The address is outside the key's list.
    AddressOutsideKeyList,
    /// A credential came without TLS where that is refused.
    PlaintextCredential,
    /// Too many failures from this address; the credential was not judged, or was wrong.
    TooManyFailures,
    /// Too many failed passwords for this user name; the password was not judged.
    UserThrottled,
    /// The key makes more requests than it may.
    TooManyRequests,
    /// A quota of requests is used up.
    QuotaExhausted(ExhaustedQuota),
    /// No hashing thread was free in time.
    PasswordQueueFull,
    /// The shared store, which counts failed passwords for all gateways, is away; the password was not judged.
    PasswordsUncounted,
    /// A `manage` key without a list of its own.
    ManageKeyWithoutList,
    /// The store could not be read for longer than `policy.max_staleness`; no credential was judged.
    StoreStale,
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExhaustedQuota {
    /// The key's, of the day.
    KeyDay,
    /// The key's, of the month.
    KeyMonth,
    /// The user's, of the day.
    UserDay,
    /// The user's, of the month.
    UserMonth,
    /// The customer's, of the day.
    CustomerDay,
    /// The customer's, of the month.
    CustomerMonth,
}

impl ExhaustedQuota {
    /// That of `owner`.
    pub const fn of(owner: QuotaOwner, period: QuotaPeriod) -> Self {
        match (owner, period) {
            (QuotaOwner::Key(_), QuotaPeriod::Day) => Self::KeyDay,
            (QuotaOwner::Key(_), QuotaPeriod::Month) => Self::KeyMonth,
            (QuotaOwner::User(_), QuotaPeriod::Day) => Self::UserDay,
            (QuotaOwner::User(_), QuotaPeriod::Month) => Self::UserMonth,
            (QuotaOwner::Customer(_), QuotaPeriod::Day) => Self::CustomerDay,
            (QuotaOwner::Customer(_), QuotaPeriod::Month) => Self::CustomerMonth,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::KeyDay => "quota_exhausted_key_day",
            Self::KeyMonth => "quota_exhausted_key_month",
            Self::UserDay => "quota_exhausted_user_day",
            Self::UserMonth => "quota_exhausted_user_month",
            Self::CustomerDay => "quota_exhausted_customer_day",
            Self::CustomerMonth => "quota_exhausted_customer_month",
        }
    }

    const fn explanation(self) -> &'static str {
        match self {
            Self::KeyDay => "the key's quota of requests for the day is used up",
            Self::KeyMonth => "the key's quota of requests for the month is used up",
            Self::UserDay => "the user's quota of requests for the day is used up",
            Self::UserMonth => "the user's quota of requests for the month is used up",
            Self::CustomerDay => "the customer's quota of requests for the day is used up",
            Self::CustomerMonth => "the customer's quota of requests for the month is used up",
        }
    }
}

impl DenialReason {
    /// Every reason, for metrics that are registered once.
    pub const ALL: [Self; 37] = [
        Self::NoCredential,
        Self::MalformedKey,
        Self::UnknownKey,
        Self::KeyDisabled,
        Self::KeyExpired,
        Self::ScopeMissing,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::PasswordOffByKey,
        Self::PasswordOffByMfa,
        Self::PasswordOffByRequiredMfa,
        Self::PasswordEnded,
        Self::LinkMissing,
        Self::MfaNotSetUp,
        Self::UnknownSession,
        Self::SessionExpired,
        Self::CredentialKind,
        Self::UserInactive,
        Self::AccessPointOff,
        Self::AddressOutsideListenerList,
        Self::AddressOutsideCustomerList,
        Self::AddressOutsideUserList,
        Self::AddressOutsideKeyList,
        Self::PlaintextCredential,
        Self::TooManyFailures,
        Self::UserThrottled,
        Self::TooManyRequests,
        Self::QuotaExhausted(ExhaustedQuota::KeyDay),
        Self::QuotaExhausted(ExhaustedQuota::KeyMonth),
        Self::QuotaExhausted(ExhaustedQuota::UserDay),
        Self::QuotaExhausted(ExhaustedQuota::UserMonth),
        Self::QuotaExhausted(ExhaustedQuota::CustomerDay),
        Self::QuotaExhausted(ExhaustedQuota::CustomerMonth),
        Self::PasswordQueueFull,
        Self::PasswordsUncounted,
        Self::ManageKeyWithoutList,
        Self::StoreStale,
    ];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::MalformedKey => "malformed_key",
            Self::UnknownKey => "unknown_key",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::ScopeMissing => "scope_missing",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::PasswordOffByKey => "password_off_by_key",
            Self::PasswordOffByMfa => "password_off_by_mfa",
            Self::PasswordOffByRequiredMfa => "password_off_by_required_mfa",
            Self::PasswordEnded => "password_ended",
            Self::LinkMissing => "link_missing",
            Self::MfaNotSetUp => "mfa_not_set_up",
            Self::UnknownSession => "unknown_session",
            Self::SessionExpired => "session_expired",
            Self::CredentialKind => "credential_kind",
            Self::UserInactive => "user_inactive",
            Self::AccessPointOff => "access_point_off",
            Self::AddressOutsideListenerList => "address_outside_listener_list",
            Self::AddressOutsideCustomerList => "address_outside_customer_list",
            Self::AddressOutsideUserList => "address_outside_user_list",
            Self::AddressOutsideKeyList => "address_outside_key_list",
            Self::PlaintextCredential => "plaintext_credential",
            Self::TooManyFailures => "too_many_failures",
            Self::UserThrottled => "user_throttled",
            Self::TooManyRequests => "too_many_requests",
            Self::QuotaExhausted(which) => which.reason(),
            Self::PasswordQueueFull => "password_queue_full",
            Self::PasswordsUncounted => "passwords_uncounted",
            Self::ManageKeyWithoutList => "manage_key_without_list",
            Self::StoreStale => "store_stale",
        }
    }

    /// The reason in a sentence's end, for people: "no   an API key exists".
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NoCredential => "no credential was presented",
            Self::MalformedKey => "the text cannot be a key: its form or check characters are wrong",
            Self::UnknownKey => "no such key, or not any more",
            Self::KeyDisabled => "the key is disabled",
            Self::KeyExpired => "the key has expired",
            Self::ScopeMissing => "the key's scope does not hold this service",
            Self::UnknownUser => "no such user",
            Self::WrongPassword => "the password is wrong, or none is set",
            Self::PasswordOffByKey => "an API key exists or existed",
            Self::PasswordOffByMfa => "MFA is on",
            Self::PasswordEnded => "a password that an administrator chose was not replaced in time",
            Self::LinkMissing => "after a reset of MFA the sign-in takes the one-time link",
            Self::PasswordOffByRequiredMfa | Self::MfaNotSetUp => "MFA is required and not set up",
            Self::UnknownSession => "no such session, or not any more",
            Self::SessionExpired => "the session has expired",
            Self::CredentialKind => "a password opens sessions, and only the session itself closes it",
            Self::UserInactive => "the user is deactivated",
            Self::AccessPointOff => "this access point is off for the user",
            Self::AddressOutsideListenerList => "the address is outside the listener's list",
            Self::AddressOutsideCustomerList => "the address is outside the customer's list",
            Self::AddressOutsideUserList => "the address is outside the user's list",
            Self::AddressOutsideKeyList => "the address is outside the key's list",
            Self::PlaintextCredential => "the credential was sent in clear, where others can read it",
            Self::TooManyFailures => "too many failed credentials from this address",
            Self::UserThrottled => "too many failed passwords for this user name",
            Self::TooManyRequests => "the key makes more requests than it may",
            Self::QuotaExhausted(which) => which.explanation(),
            Self::PasswordQueueFull => "too many passwords wait to be checked",
            Self::PasswordsUncounted => "the store that counts failed passwords for all gateways is away",
            Self::ManageKeyWithoutList => "a manage key needs a list of its own",
            Self::StoreStale => "the store has been away for too long to know who may come in",
        }
    }
}
