//! What the audit trail tells: events, from the change that makes them (S88).
//!
//! An event says what was done to whom; who did it and from where is the actor's. Never a secret: no key, password,
//! code or cookie has a place in it.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::actor::Actor;
use crate::model::{CustomerId, Timestamp, UserId};
use crate::store::{AuditEntry, UserRecord};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A customer was made.
    CustomerCreated,
    /// MFA was required of a customer's users, or made optional.
    CustomerMfaChanged,
    /// A customer was deleted with all its users.
    CustomerDeleted,
    /// A user was made.
    UserCreated,
    /// Name, e-mail address, language or entrances were changed.
    UserUpdated,
    /// Permissions or administration were given or taken.
    PermissionsChanged,
    /// MFA was required of a user.
    MfaRequired,
    /// MFA is no longer required of a user.
    MfaMadeOptional,
    /// A user was deactivated.
    UserDeactivated,
    /// A user was reactivated.
    UserReactivated,
    /// A user was deleted.
    UserDeleted,
    /// A password was set.
    PasswordChanged,
    /// A password opens the API again.
    PasswordAllowed,
    /// A first key has ended the password at the API.
    PasswordEndedByKey,
    /// A one-time link was made.
    LinkIssued,
    /// A one-time link was used.
    LinkUsed,
    /// A key was made.
    KeyCreated,
    /// A key was made in place of another.
    KeyReplaced,
    /// A key was disabled.
    KeyDisabled,
    /// A key was enabled again.
    KeyEnabled,
    /// A key was deleted.
    KeyDeleted,
    /// Keys were imported.
    KeysImported,
    /// An IP whitelist was changed.
    AllowListChanged,
    /// A quota of requests was given, changed or taken away.
    QuotaChanged,
    /// Most of a quota is used.
    QuotaNearlyUsed,
    /// A user signed in to the console.
    SignedIn,
    /// A sign-in failed.
    SignInFailed,
    /// A user has shown password, and factor, anew within a session.
    IdentityConfirmed,
    /// A user signed out.
    SignedOut,
    /// Console sessions were ended.
    SessionsEnded,
    /// A wrong code, or a security key that did not prove right.
    SecondFactorFailed,
    /// A method was disabled after too many failures.
    SecondFactorDisabled,
    /// A method was set up.
    MfaMethodAdded,
    /// A method was removed.
    MfaMethodRemoved,
    /// A method was renamed.
    MfaMethodRenamed,
    /// All methods of a user were taken away.
    MfaReset,
    /// New recovery codes were drawn.
    RecoveryCodesReplaced,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// Attempts were refused because too many had failed.
    Throttled,
    /// A configuration was put in force.
    ConfigurationApplied,
    /// A configuration was refused.
    ConfigurationRefused,
    /// A new process took the listeners over.
    BinarySwapped,
    /// A new process was to take the listeners over, and could not.
    BinarySwapFailed,
    /// The whole store was copied; told in the copy.
    StoreCopied,
    /// The whole store was backed up.
    StoreBackedUp,
    /// The store was put back to a backup.
    StoreRestored,
    /// A further master key opens the store.
    MasterKeyRotationBegun,
    /// The further master key opens the store no more.
    MasterKeyRotationAbandoned,
    /// The further master key alone opens the store.
    MasterKeyRotated,
    /// An authority issued a certificate, which is in force.
    CertificateIssued,
    /// An authority issued none.
    CertificateRefused,
}

impl EventKind {
    /// Every kind, in the order of the list above.
    pub const ALL: [Self; 51] = [
        Self::CustomerCreated,
        Self::CustomerMfaChanged,
        Self::CustomerDeleted,
        Self::UserCreated,
        Self::UserUpdated,
        Self::PermissionsChanged,
        Self::MfaRequired,
        Self::MfaMadeOptional,
        Self::UserDeactivated,
        Self::UserReactivated,
        Self::UserDeleted,
        Self::PasswordChanged,
        Self::PasswordAllowed,
        Self::PasswordEndedByKey,
        Self::LinkIssued,
        Self::LinkUsed,
        Self::KeyCreated,
        Self::KeyReplaced,
        Self::KeyDisabled,
        Self::KeyEnabled,
        Self::KeyDeleted,
        Self::KeysImported,
        Self::AllowListChanged,
        Self::QuotaChanged,
        Self::QuotaNearlyUsed,
        Self::SignedIn,
        Self::SignInFailed,
        Self::IdentityConfirmed,
        Self::SignedOut,
        Self::SessionsEnded,
        Self::SecondFactorFailed,
        Self::SecondFactorDisabled,
        Self::MfaMethodAdded,
        Self::MfaMethodRemoved,
        Self::MfaMethodRenamed,
        Self::MfaReset,
        Self::RecoveryCodesReplaced,
        Self::RecoveryCodeUsed,
        Self::Throttled,
        Self::ConfigurationApplied,
        Self::ConfigurationRefused,
        Self::BinarySwapped,
        Self::BinarySwapFailed,
        Self::StoreCopied,
        Self::StoreBackedUp,
        Self::StoreRestored,
        Self::MasterKeyRotationBegun,
        Self::MasterKeyRotationAbandoned,
        Self::MasterKeyRotated,
        Self::CertificateIssued,
        Self::CertificateRefused,
    ];

    /// The name in the store, in lists and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomerCreated => "customer.created",
            Self::CustomerMfaChanged => "customer.mfa_changed",
            Self::CustomerDeleted => "customer.deleted",
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::PermissionsChanged => "user.permissions_changed",
            Self::MfaRequired => "user.mfa_required",
            Self::MfaMadeOptional => "user.mfa_made_optional",
            Self::UserDeactivated => "user.deactivated",
            Self::UserReactivated => "user.reactivated",
            Self::UserDeleted => "user.deleted",
            Self::PasswordChanged => "password.changed",
            Self::PasswordAllowed => "password.allowed",
            Self::PasswordEndedByKey => "password.ended_by_key",
            Self::LinkIssued => "link.issued",
            Self::LinkUsed => "link.used",
            Self::KeyCreated => "key.created",
            Self::KeyReplaced => "key.replaced",
            Self::KeyDisabled => "key.disabled",
            Self::KeyEnabled => "key.enabled",
            Self::KeyDeleted => "key.deleted",
            Self::KeysImported => "key.imported",
            Self::AllowListChanged => "allow_list.changed",
            Self::QuotaChanged => "quota.changed",
            Self::QuotaNearlyUsed => "quota.nearly_used",
            Self::SignedIn => "sign_in.done",
            Self::SignInFailed => "sign_in.failed",
            Self::IdentityConfirmed => "sign_in.confirmed",
            Self::SignedOut => "sign_in.ended",
            Self::SessionsEnded => "sessions.ended",
            Self::SecondFactorFailed => "mfa.failed",
            Self::SecondFactorDisabled => "mfa.disabled",
            Self::MfaMethodAdded => "mfa.added",
            Self::MfaMethodRemoved => "mfa.removed",
            Self::MfaMethodRenamed => "mfa.renamed",
            Self::MfaReset => "mfa.reset",
            Self::RecoveryCodesReplaced => "recovery_codes.replaced",
            Self::RecoveryCodeUsed => "recovery_codes.used",
            Self::Throttled => "throttle.engaged",
            Self::ConfigurationApplied => "configuration.applied",
            Self::ConfigurationRefused => "configuration.refused",
            Self::BinarySwapped => "binary.swapped",
            Self::BinarySwapFailed => "binary.swap_failed",
            Self::StoreCopied => "store.copied",
            Self::StoreBackedUp => "store.backed_up",
            Self::StoreRestored => "store.restored",
            Self::MasterKeyRotationBegun => "store.rotation_begun",
            Self::MasterKeyRotationAbandoned => "store.rotation_abandoned",
            Self::MasterKeyRotated => "store.rotation_finished",
            Self::CertificateIssued => "certificate.issued",
            Self::CertificateRefused => "certificate.refused",
        }
    }

    /// Does it tell that something was refused or went wrong?
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::SecondFactorFailed
                | Self::SecondFactorDisabled
                | Self::Throttled
                | Self::ConfigurationRefused
                | Self::BinarySwapFailed
                | Self::CertificateRefused
        )
    }
}

/// A name that is no event's.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no such kind of event; there are {}", EventKind::ALL.map(EventKind::as_str).join(", "))]
pub struct InvalidEventKind;

impl FromStr for EventKind {
    type Err = InvalidEventKind;

    fn from_str(text: &str) -> Result<Self, InvalidEventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidEventKind)
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    kind: EventKind,
    customer: Option<CustomerId>,
    subject: String,
    subject_id: Option<UserId>,
    details: BTreeMap<&'static str, String>,
}

impl Event {
    /// An event about nobody yet.
    pub fn new(kind: EventKind) -> Self {
        Self { kind, customer: None, subject: String::new(), subject_id: None, details: BTreeMap::new() }
    }

    /// It happened to `user`.
    #[must_use]
    pub fn about(self, user: &UserRecord) -> Self {
        self.about_user(user.customer, user.id, user.name.to_string())
    }

    /// It happened to the user of this row and name.
    #[must_use]
    pub fn about_user(self, customer: CustomerId, id: UserId, name: String) -> Self {
        Self { customer: Some(customer), subject: name, subject_id: Some(id), ..self }
    }

    /// It happened to something that is no user, within `customer` where it is one's.
    #[must_use]
    pub fn about_thing(self, customer: Option<CustomerId>, name: &str) -> Self {
        Self { customer, subject: name.to_owned(), ..self }
    }

    /// Adds a fact; never a secret.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over ids and flags as they have them")]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.insert(name, value.to_string());
        self
    }

    pub(super) const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The row that tells of it.
    pub(super) fn entry(&self, actor: &Actor, now: Timestamp) -> AuditEntry {
        let details = self.details.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
        AuditEntry {
            at: now,
            customer: self.customer,
            actor: actor.name(),
            actor_id: actor.user().map(|user| user.id),
            entrance: actor.entrance().to_owned(),
            client_ip: actor.user().map(|user| user.client_ip.to_string()).unwrap_or_default(),
            event: self.kind.as_str().to_owned(),
            subject: self.subject.clone(),
            subject_id: self.subject_id,
            details: serde_json::Value::Object(details.collect()).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: HashSet<_> = EventKind::ALL.map(EventKind::as_str).into_iter().collect();
        assert_eq!(names.len(), EventKind::ALL.len());
    }

    #[test]
    fn s88_an_entry_says_who_did_what_to_whom_with_which_facts() {
        let event = Event::new(EventKind::KeyCreated)
            .about_user(CustomerId(1), UserId(2), "acme/alex".into())
            .with("description", "CI \u{1b}[31m")
            .with("key", "key_0c1x8n4t7q2vz");
        let entry = event.entry(&Actor::Operator("root".into()), Timestamp::from_unix_milliseconds(5));
        assert_eq!((entry.event.as_str(), entry.actor.as_str()), ("key.created", "operator:root"));
        assert_eq!((entry.customer, entry.subject_id), (Some(CustomerId(1)), Some(UserId(2))));
        assert_eq!(entry.details, r#"{"description":"CI \u001b[31m","key":"key_0c1x8n4t7q2vz"}"#);
        assert!(entry.client_ip.is_empty());
    }
}
