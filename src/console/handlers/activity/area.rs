//! The kinds of activity that people filter by: several kinds of events each. Pure.

use crate::auth::EventKind;

/// A kind of activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Keys,
    Users,
    Mfa,
    Passwords,
    AllowLists,
    Quotas,
    SignIns,
    Failures,
}

impl Area {
    pub(super) const ALL: [Self; 8] = [
        Self::Keys,
        Self::Users,
        Self::Mfa,
        Self::Passwords,
        Self::AllowLists,
        Self::Quotas,
        Self::SignIns,
        Self::Failures,
    ];

    /// The value of the field `kind`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Users => "users",
            Self::Mfa => "mfa",
            Self::Passwords => "passwords",
            Self::AllowLists => "ip-whitelists",
            Self::Quotas => "quotas",
            Self::SignIns => "sign-ins",
            Self::Failures => "failures",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Keys => "API keys",
            Self::Users => "Users and permissions",
            Self::Mfa => "MFA",
            Self::Passwords => "Passwords and links",
            Self::AllowLists => "IP whitelists",
            Self::Quotas => "Quotas",
            Self::SignIns => "Sign-ins and sessions",
            Self::Failures => "Failures",
        }
    }

    /// The kind that a field names; `None`: every kind.
    pub(super) fn from_field(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|area| area.as_str() == value)
    }

    /// The events of this kind.
    pub(super) fn events(self) -> Vec<EventKind> {
        EventKind::ALL.into_iter().filter(|kind| self.holds(*kind)).collect()
    }

    fn holds(self, kind: EventKind) -> bool {
        let (group, _) = kind.as_str().split_once('.').unwrap_or((kind.as_str(), ""));
        match self {
            Self::Keys => group == "key" || kind == EventKind::PasswordEndedByKey,
            Self::Users => group == "user" || group == "customer",
            Self::Mfa => {
                let by_administrator =
                    [EventKind::MfaRequired, EventKind::MfaMadeOptional, EventKind::CustomerMfaChanged];
                group == "mfa" || group == "recovery_codes" || by_administrator.contains(&kind)
            }
            Self::Passwords => group == "password" || group == "link",
            Self::AllowLists => group == "allow_list",
            Self::Quotas => group == "quota",
            Self::SignIns => {
                ["sign_in", "sessions"].contains(&group) || kind == EventKind::SecondFactorFailed
            }
            Self::Failures => kind.is_failure(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_an_account_is_of_some_kind() {
        for kind in EventKind::ALL {
            let found = Area::ALL.into_iter().any(|area| area.holds(kind));
            let of_operator = ["configuration.", "store.", "binary.", "certificate."]
                .iter()
                .any(|group| kind.as_str().starts_with(group));
            assert!(found || of_operator, "{}", kind.as_str());
        }
    }

    #[test]
    fn a_field_survives_its_text() {
        for area in Area::ALL {
            assert_eq!(Area::from_field(area.as_str()), Some(area));
        }
        assert_eq!(Area::from_field("other"), None);
    }
}
