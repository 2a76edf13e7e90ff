//! Which events a user must hear of, because somebody else may have caused them, and in which words.
//!
//! Pure: told at the next sign-in, and by `app` to whom the configuration names. Callers: `change`, which keeps them for
//! the sign-in; `app`, which reads them from the audit trail.

use serde::Serialize;

use super::audit::EventKind;
use crate::store::AuditEntry;

/// What is told of one event; holds no secret, because no audit entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityEvent {
    /// The name of its kind, for example `mfa.added`.
    pub event: String,
    /// The same in words, on one line.
    pub text: &'static str,
    /// When it happened, as RFC 3339.
    pub time: String,
    /// The customer whose user it concerns.
    pub customer: String,
    /// The user whom it concerns, for example `acme/alex`.
    pub user: String,
    /// Who did it, as in the audit trail.
    pub actor: String,
    /// Where it was done, as in the audit trail.
    pub entrance: String,
    /// From which address; empty: from none.
    pub address: String,
    /// Further facts, each a text.
    pub details: serde_json::Value,
}

impl EventKind {
    /// What the user whom such an event concerns is told; `None`: it is nothing to be warned of.
    pub const fn security_notice(self) -> Option<&'static str> {
        Some(match self {
            Self::MfaMethodAdded => "An authenticator app or a security key was added.",
            Self::MfaMethodRemoved => "An authenticator app or a security key was removed.",
            Self::SecondFactorDisabled => {
                "An authenticator app or a security key was disabled after too many failures."
            }
            Self::MfaReset => {
                "MFA was reset: all authenticator apps, security keys and recovery codes are gone."
            }
            Self::RecoveryCodeUsed => "A recovery code was used to sign in.",
            Self::RecoveryCodesReplaced => "The recovery codes were replaced.",
            Self::PasswordChanged => "The password was changed.",
            Self::PasswordEndedByKey => {
                "The first API key was created; the password no longer opens the API."
            }
            Self::LinkUsed => "A one-time link was used.",
            Self::QuotaNearlyUsed => "Four fifths of a quota of requests are used.",
            _ => return None,
        })
    }
}

impl SecurityEvent {
    /// What `entry` tells its user; `None` if it is no security event, or concerns no user.
    pub fn of(entry: &AuditEntry) -> Option<Self> {
        let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == entry.event)?;
        let text = kind.security_notice()?;
        entry.subject_id?;
        let (customer, _) = entry.subject.split_once('/')?;
        Some(Self {
            event: entry.event.clone(),
            text,
            time: entry.at.to_string(),
            customer: customer.to_owned(),
            user: entry.subject.clone(),
            actor: entry.actor.clone(),
            entrance: entry.entrance.clone(),
            address: entry.client_ip.clone(),
            details: serde_json::from_str(&entry.details).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CustomerId, Timestamp, UserId};

    fn entry(kind: EventKind) -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_unix_milliseconds(1_800_000_000_000),
            customer: Some(CustomerId(1)),
            actor: "acme/admin".into(),
            actor_id: Some(UserId(1)),
            entrance: "console".into(),
            client_ip: "192.0.2.7".into(),
            event: kind.as_str().into(),
            subject: "acme/alex".into(),
            subject_id: Some(UserId(2)),
            details: r#"{"name":"Blue key"}"#.into(),
        }
    }

    #[test]
    fn what_others_may_have_caused_is_told_in_a_sentence_of_its_own() {
        use EventKind as Kind;
        let told: Vec<EventKind> =
            Kind::ALL.into_iter().filter(|kind| kind.security_notice().is_some()).collect();
        assert_eq!(
            told,
            [
                Kind::PasswordChanged,
                Kind::PasswordEndedByKey,
                Kind::LinkUsed,
                Kind::QuotaNearlyUsed,
                Kind::SecondFactorDisabled,
                Kind::MfaMethodAdded,
                Kind::MfaMethodRemoved,
                Kind::MfaReset,
                Kind::RecoveryCodesReplaced,
                Kind::RecoveryCodeUsed,
            ]
        );
        let mut texts: Vec<&str> = told.into_iter().filter_map(EventKind::security_notice).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 10);
        assert!(texts.iter().all(|text| text.ends_with('.') && !text.contains('\n')));
    }

    #[test]
    fn an_entry_is_told_with_its_facts_if_it_concerns_a_user() {
        let event = SecurityEvent::of(&entry(EventKind::MfaMethodAdded)).unwrap();
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            concat!(
                r#"{"event":"mfa.added","text":"An authenticator app or a security key was added.","#,
                r#""time":"2027-01-15T08:00:00Z","customer":"acme","user":"acme/alex","actor":"acme/admin","#,
                r#""entrance":"console","address":"192.0.2.7","details":{"name":"Blue key"}}"#
            )
        );
        assert_eq!(SecurityEvent::of(&entry(EventKind::SignedIn)), None);
        let nobodys = AuditEntry { subject_id: None, ..entry(EventKind::PasswordChanged) };
        assert_eq!(SecurityEvent::of(&nobodys), None);
        let unknown = AuditEntry { event: "mfa.of-tomorrow".into(), ..entry(EventKind::MfaReset) };
        assert_eq!(SecurityEvent::of(&unknown), None);
    }
}
