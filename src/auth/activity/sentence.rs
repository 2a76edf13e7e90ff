//! Audit events as sentences for people: `created API key “Billing server” for alex`. Pure.
//!
//! An actor stands beside the sentence and is its subject. Facts that a row does not hold are left out, and an event that
//! only a newer version knows is told by its name, so that a trail can always be read.

use std::collections::BTreeMap;

use super::super::audit::EventKind;
use super::super::decision::DenialReason;
use crate::model::Timestamp;

/// How users are named in sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By login name: all that is told is of one customer.
    Login,
    /// `customer/login`.
    Full,
}

/// What a sentence is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) event: &'a str,
    pub(super) actor: &'a str,
    pub(super) subject: &'a str,
    pub(super) client_ip: &'a str,
    pub(super) details: &'a BTreeMap<String, String>,
    pub(super) naming: Naming,
}

impl Told<'_> {
    /// The sentence; what would disturb a terminal or a page's line is replaced.
    pub(super) fn sentence(self) -> String {
        let text = match EventKind::ALL.into_iter().find(|kind| kind.as_str() == self.event) {
            Some(kind) => self.of_kind(kind),
            None => self.event.to_owned(),
        };
        text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
    }

    fn of_kind(self, kind: EventKind) -> String {
        use EventKind as Kind;
        match kind {
            Kind::CustomerCreated | Kind::CustomerMfaChanged | Kind::CustomerDeleted | Kind::KeysImported => {
                self.of_customer(kind)
            }
            Kind::UserCreated
            | Kind::UserUpdated
            | Kind::PermissionsChanged
            | Kind::UserDeactivated
            | Kind::UserReactivated
            | Kind::UserDeleted
            | Kind::AllowListChanged => self.of_user(kind),
            Kind::QuotaChanged | Kind::QuotaNearlyUsed => self.of_quota(kind),
            Kind::PasswordChanged
            | Kind::PasswordAllowed
            | Kind::PasswordEndedByKey
            | Kind::LinkIssued
            | Kind::LinkUsed => self.of_password(kind),
            Kind::KeyCreated => format!("created {}{}", self.key(), self.unless_own("for")),
            Kind::KeyReplaced => format!("replaced {}{}", self.key(), self.unless_own("of")),
            Kind::KeyDisabled => format!("disabled {}{}", self.key(), self.unless_own("of")),
            Kind::KeyEnabled => format!("enabled {}{} again", self.key(), self.unless_own("of")),
            Kind::KeyDeleted => format!("deleted {}{}", self.key(), self.unless_own("of")),
            Kind::SignedIn => format!("signed in{}", self.with("factor", " with ")),
            Kind::IdentityConfirmed => String::from("confirmed who it is, before a change"),
            Kind::SignedOut => String::from("signed out"),
            Kind::SessionsEnded => format!("ended the open console sessions{}", self.unless_own("of")),
            Kind::SignInFailed | Kind::SecondFactorFailed | Kind::Throttled => self.of_failure(kind),
            Kind::MfaRequired
            | Kind::MfaMadeOptional
            | Kind::SecondFactorDisabled
            | Kind::MfaMethodAdded
            | Kind::MfaMethodRemoved
            | Kind::MfaMethodRenamed
            | Kind::MfaReset
            | Kind::RecoveryCodesReplaced
            | Kind::RecoveryCodeUsed => self.of_mfa(kind),
            Kind::ConfigurationApplied if self.detail("changed") == Some("nothing") => {
                String::from("read the configuration again; nothing had changed")
            }
            Kind::ConfigurationApplied => {
                format!("put a changed configuration in force{}", self.with("changed", ": "))
            }
            Kind::ConfigurationRefused => {
                format!("refused a changed configuration{}", self.counted("faults", "fault", " with "))
            }
            Kind::BinarySwapped => {
                format!("handed its listeners over to a new process{}", self.with("pid", ", pid "))
            }
            Kind::BinarySwapFailed => {
                format!("did not hand its listeners over to a new process{}", self.with("reason", ": "))
            }
            Kind::CertificateIssued => {
                let unwritten = self.with("unwritten", "; it could not be written: ");
                let until = self.with("until", ", good until ");
                format!("obtained a certificate for {}{until}{unwritten}", self.subject)
            }
            Kind::CertificateRefused => {
                format!("could not obtain a certificate for {}{}", self.subject, self.with("error", ": "))
            }
            Kind::StoreCopied
            | Kind::StoreBackedUp
            | Kind::StoreRestored
            | Kind::MasterKeyRotationBegun
            | Kind::MasterKeyRotationAbandoned
            | Kind::MasterKeyRotated => self.of_store(kind),
        }
    }

    fn of_store(self, kind: EventKind) -> String {
        match kind {
            EventKind::StoreBackedUp => format!("backed the store up{}", self.with("file", " to ")),
            EventKind::StoreRestored => self.of_restore(),
            EventKind::MasterKeyRotationBegun => {
                String::from("let a new master key open the store beside the present one")
            }
            EventKind::MasterKeyRotationAbandoned => {
                String::from("gave up a new master key: the old one alone opens the store")
            }
            EventKind::MasterKeyRotated => {
                String::from("rotated the master key: the new one alone opens the store")
            }
            _ => format!("copied the store{}{}", self.with("from", " from "), self.with("to", " to ")),
        }
    }

    /// The store's own row names no subject; those that tell customers what became of theirs do.
    fn of_restore(self) -> String {
        let revived = self.with("revived", ", with what was dead: ");
        if self.subject.is_empty() {
            let deletions = self.detail("deletions").map_or("", |_| ", not knowing what was deleted since");
            return format!("restored the store{}{deletions}{revived}", self.with("file", " from "));
        }
        let (back, gone) = (self.with("given_back", "; back is: "), self.with("taken_away", "; gone is: "));
        format!("put {} back to a backup of the store{revived}{back}{gone}", self.subject)
    }

    fn of_customer(self, kind: EventKind) -> String {
        let customer = self.subject;
        match (kind, self.detail("mfa")) {
            (EventKind::CustomerMfaChanged, Some("required")) => {
                format!("required MFA of all users of {customer}")
            }
            (EventKind::CustomerMfaChanged, _) => format!("made MFA optional for {customer}"),
            (EventKind::CustomerDeleted, _) => {
                let (users, keys) =
                    (self.counted("users", "user", " with "), self.counted("keys", "API key", " and "));
                format!("deleted customer {customer}{users}{keys}")
            }
            (EventKind::KeysImported, _) => {
                let keys = self.counted("keys", "API key", "");
                format!("imported {keys} for {customer}{}", self.counted("new_users", "new user", " with "))
            }
            _ => format!("created customer {customer}"),
        }
    }

    fn of_user(self, kind: EventKind) -> String {
        let user = self.user();
        match kind {
            EventKind::UserCreated if self.detail("administrator") == Some("true") => {
                format!("created administrator {user}")
            }
            EventKind::UserCreated => format!("created user {user}"),
            EventKind::PermissionsChanged => match (self.detail("administrator"), self.detail("permissions"))
            {
                (Some("true"), _) => format!("made {user} an administrator"),
                (_, Some(permissions)) if !matches!(permissions, "" | "-" | "none") => {
                    format!("set the permissions of {user} to {permissions}")
                }
                _ => format!("took all permissions from {user}"),
            },
            EventKind::UserDeactivated => format!("deactivated user {user}"),
            EventKind::UserReactivated => format!("reactivated user {user}"),
            EventKind::UserDeleted => {
                format!("deleted user {user}{}", self.counted("keys", "API key", " with "))
            }
            EventKind::AllowListChanged => {
                let whose = match self.detail("key") {
                    Some(key) => format!("API key {key} of {user}"),
                    None => user,
                };
                match self.detail("after") {
                    Some("" | "-") => {
                        format!("emptied the IP whitelist of {whose}: every address is accepted")
                    }
                    Some(list) => format!("set the IP whitelist of {whose} to {list}"),
                    None => format!("changed the IP whitelist of {whose}"),
                }
            }
            _ => format!("changed the data of {user}"),
        }
    }

    fn of_quota(self, kind: EventKind) -> String {
        let whose = match self.detail("key") {
            Some(key) => format!("API key {key} of {}", self.user()),
            None => self.user(),
        };
        match (kind, self.detail("after")) {
            (EventKind::QuotaNearlyUsed, _) => {
                let period = self.with("period", " of the ");
                format!("four fifths of the quota of {whose}{period} are used{}", self.with("used", ": "))
            }
            (_, Some("" | "none")) => format!("took the quota of requests of {whose} away"),
            (_, Some(terms)) => format!("set the quota of requests of {whose} to {terms}"),
            (_, None) => format!("changed the quota of requests of {whose}"),
        }
    }

    fn of_password(self, kind: EventKind) -> String {
        let user = self.user();
        match kind {
            EventKind::PasswordAllowed => format!("let the password of {user} open the API again"),
            EventKind::PasswordEndedByKey => {
                format!("ended the access of {user} to the API by password, with a first API key")
            }
            EventKind::LinkIssued => format!("made a one-time link for {user}"),
            EventKind::LinkUsed => format!("used a one-time link{}", self.unless_own("for")),
            _ if self.is_own() => String::from("changed the own password"),
            _ => format!("set the password of {user}"),
        }
    }

    fn of_mfa(self, kind: EventKind) -> String {
        let user = self.user();
        let method = self.method();
        let (of, for_whom) = (self.unless_own("of"), self.unless_own("for"));
        match kind {
            EventKind::MfaRequired => format!("required MFA of {user}"),
            EventKind::MfaMadeOptional => format!("made MFA optional for {user}"),
            EventKind::SecondFactorDisabled => {
                format!("disabled {method} of {user}, because too many attempts had failed")
            }
            EventKind::MfaMethodAdded => format!("set up {method}{for_whom}"),
            EventKind::MfaMethodRemoved => format!("removed {method}{of}"),
            EventKind::MfaMethodRenamed => format!("renamed {method}{of}"),
            EventKind::RecoveryCodesReplaced => format!("drew new recovery codes{for_whom}"),
            EventKind::RecoveryCodeUsed => format!("used a recovery code{of}"),
            _ => format!("took all MFA methods of {user} away"),
        }
    }

    /// `14 failed sign-ins as alex from 198.51.100.9 between 10:02 and 10:05 UTC: no such key`.
    fn of_failure(self, kind: EventKind) -> String {
        let count = self.detail("count").unwrap_or("1");
        let what = match (kind, count) {
            (EventKind::Throttled, "1") => "1 attempt was throttled",
            (EventKind::Throttled, _) => "attempts were throttled",
            (EventKind::SecondFactorFailed, "1") => "1 failed second factor",
            (EventKind::SecondFactorFailed, _) => "failed second factors",
            (_, "1") => "1 failed sign-in",
            _ => "failed sign-ins",
        };
        let what = if count == "1" { what.to_owned() } else { format!("{count} {what}") };
        let whom = if self.subject.is_empty() { String::new() } else { format!(" as {}", self.user()) };
        let from =
            if self.client_ip.is_empty() { String::new() } else { format!(" from {}", self.client_ip) };
        let reason = self.detail("reason").map(|reason| {
            let known = DenialReason::ALL.into_iter().find(|known| known.as_str() == reason);
            format!(": {}", known.map_or(reason, |known| known.explanation()))
        });
        format!("{what}{whom}{from}{}{}", self.span(), reason.unwrap_or_default())
    }

    /// ` between 10:02 and 10:05 UTC`.
    fn span(self) -> String {
        let minute = |name| {
            let at: Timestamp = self.detail(name)?.parse().ok()?;
            at.to_string().get(11..16).map(str::to_owned)
        };
        match (minute("first"), minute("last")) {
            (Some(first), Some(last)) if first == last => format!(" at {first} UTC"),
            (Some(first), Some(last)) => format!(" between {first} and {last} UTC"),
            _ => String::new(),
        }
    }

    fn key(self) -> String {
        match self.detail("description").filter(|text| !text.is_empty()).or(self.detail("key")) {
            Some(name) => format!("API key “{name}”"),
            None => String::from("an API key"),
        }
    }

    fn method(self) -> String {
        match ["name", "label", "method"].into_iter().find_map(|name| self.detail(name)) {
            Some(name) => format!("MFA method “{name}”"),
            None => String::from("an MFA method"),
        }
    }

    /// ` for alex`, unless whoever did it did it to itself.
    fn unless_own(self, word: &str) -> String {
        if self.is_own() || self.subject.is_empty() {
            return String::new();
        }
        format!(" {word} {}", self.user())
    }

    fn is_own(self) -> bool {
        self.actor == self.subject
    }

    /// The subject by its name.
    fn user(self) -> String {
        match (self.naming, self.subject.split_once('/')) {
            (Naming::Login, Some((_, login))) => login.to_owned(),
            _ => self.subject.to_owned(),
        }
    }

    fn detail(&self, name: &str) -> Option<&str> {
        self.details.get(name).map(String::as_str)
    }

    fn with(self, name: &str, before: &str) -> String {
        self.detail(name).map(|value| format!("{before}{value}")).unwrap_or_default()
    }

    /// ` with 2 users`; nothing where there are none.
    fn counted(self, name: &str, one: &str, before: &str) -> String {
        match self.detail(name) {
            None | Some("0") => String::new(),
            Some("1") => format!("{before}1 {one}"),
            Some(count) => format!("{before}{count} {one}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str, actor: &str, subject: &str, details: &[(&str, &str)]) -> String {
        let details = details.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let client_ip = "198.51.100.9";
        Told { event, actor, subject, client_ip, details: &details, naming: Naming::Login }.sentence()
    }

    /// Event, actor, subject, details; the sentence.
    type Case =
        (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

    const OPERATOR: &str = "operator:root";
    const ADMIN: &str = "acme/admin";
    const ALEX: &str = "acme/alex";
    const KEY: &[(&str, &str)] = &[("description", "Billing server"), ("key", "key_0c1x8n4t7q2vz")];
    const PHONE: &[(&str, &str)] = &[("name", "Phone"), ("method", "totp")];
    const SPAN: &[(&str, &str)] = &[
        ("count", "14"),
        ("first", "2027-01-15T10:02:03Z"),
        ("last", "2027-01-15T10:05:59Z"),
        ("reason", "wrong_password"),
    ];

    const CASES: &[Case] = &[
        ("customer.created", OPERATOR, "acme", &[], "created customer acme"),
        (
            "customer.mfa_changed",
            OPERATOR,
            "acme",
            &[("mfa", "required")],
            "required MFA of all users of acme",
        ),
        ("customer.mfa_changed", OPERATOR, "acme", &[("mfa", "optional")], "made MFA optional for acme"),
        (
            "customer.deleted",
            OPERATOR,
            "acme",
            &[("users", "2"), ("keys", "1")],
            "deleted customer acme with 2 users and 1 API key",
        ),
        ("user.created", ADMIN, ALEX, &[("administrator", "false")], "created user alex"),
        ("user.created", ADMIN, ALEX, &[("administrator", "true")], "created administrator alex"),
        ("user.updated", ADMIN, ALEX, &[], "changed the data of alex"),
        ("user.permissions_changed", ADMIN, ALEX, &[("administrator", "true")], "made alex an administrator"),
        (
            "user.permissions_changed",
            ADMIN,
            ALEX,
            &[("permissions", "VIEW_AUDIT")],
            "set the permissions of alex to VIEW_AUDIT",
        ),
        ("user.permissions_changed", ADMIN, ALEX, &[("permissions", "")], "took all permissions from alex"),
        ("user.mfa_required", ADMIN, ALEX, &[], "required MFA of alex"),
        ("user.mfa_made_optional", ADMIN, ALEX, &[], "made MFA optional for alex"),
        ("user.deactivated", ADMIN, ALEX, &[], "deactivated user alex"),
        ("user.reactivated", ADMIN, ALEX, &[], "reactivated user alex"),
        ("user.deleted", ADMIN, ALEX, &[("keys", "0")], "deleted user alex"),
        ("user.deleted", ADMIN, ALEX, &[("keys", "3")], "deleted user alex with 3 API keys"),
        ("password.changed", ALEX, ALEX, &[], "changed the own password"),
        ("password.changed", OPERATOR, ALEX, &[], "set the password of alex"),
        ("password.allowed", OPERATOR, ALEX, &[], "let the password of alex open the API again"),
        (
            "password.ended_by_key",
            OPERATOR,
            ALEX,
            &[],
            "ended the access of alex to the API by password, with a first API key",
        ),
        ("link.issued", ADMIN, ALEX, &[], "made a one-time link for alex"),
        ("link.used", ALEX, ALEX, &[], "used a one-time link"),
        ("key.created", ADMIN, ALEX, KEY, "created API key “Billing server” for alex"),
        ("key.created", ALEX, ALEX, KEY, "created API key “Billing server”"),
        ("key.created", ADMIN, ALEX, &[], "created an API key for alex"),
        ("key.replaced", ADMIN, ALEX, KEY, "replaced API key “Billing server” of alex"),
        ("key.disabled", ADMIN, ALEX, KEY, "disabled API key “Billing server” of alex"),
        ("key.enabled", ADMIN, ALEX, KEY, "enabled API key “Billing server” of alex again"),
        ("key.deleted", ADMIN, ALEX, KEY, "deleted API key “Billing server” of alex"),
        (
            "key.imported",
            OPERATOR,
            "acme",
            &[("keys", "5"), ("new_users", "1")],
            "imported 5 API keys for acme with 1 new user",
        ),
        (
            "allow_list.changed",
            ADMIN,
            ALEX,
            &[("after", "192.0.2.0/24")],
            "set the IP whitelist of alex to 192.0.2.0/24",
        ),
        (
            "allow_list.changed",
            ADMIN,
            ALEX,
            &[("after", "")],
            "emptied the IP whitelist of alex: every address is accepted",
        ),
        (
            "allow_list.changed",
            ADMIN,
            ALEX,
            &[("key", "key_1"), ("after", "::1/128")],
            "set the IP whitelist of API key key_1 of alex to ::1/128",
        ),
        ("sign_in.done", ALEX, ALEX, &[("factor", "a security key")], "signed in with a security key"),
        (
            "sign_in.failed",
            "unknown",
            ALEX,
            SPAN,
            "14 failed sign-ins as alex from 198.51.100.9 between 10:02 and 10:05 UTC: the password is wrong, or none is set",
        ),
        ("sign_in.failed", "unknown", "", &[], "1 failed sign-in from 198.51.100.9"),
        ("sign_in.confirmed", ALEX, ALEX, &[], "confirmed who it is, before a change"),
        (
            "quota.changed",
            ADMIN,
            ALEX,
            &[("after", "10 a day"), ("key", "key_0c1x8n4t7q2vz")],
            "set the quota of requests of API key key_0c1x8n4t7q2vz of alex to 10 a day",
        ),
        ("quota.changed", ADMIN, ALEX, &[("after", "none")], "took the quota of requests of alex away"),
        (
            "quota.nearly_used",
            "gateway",
            ALEX,
            &[("period", "day"), ("used", "8 of 10")],
            "four fifths of the quota of alex of the day are used: 8 of 10",
        ),
        ("sign_in.ended", ALEX, ALEX, &[], "signed out"),
        ("sessions.ended", ADMIN, ALEX, &[], "ended the open console sessions of alex"),
        ("mfa.failed", ALEX, ALEX, &[("count", "2")], "2 failed second factors as alex from 198.51.100.9"),
        (
            "mfa.disabled",
            "gateway",
            ALEX,
            PHONE,
            "disabled MFA method “Phone” of alex, because too many attempts had failed",
        ),
        ("mfa.added", ALEX, ALEX, PHONE, "set up MFA method “Phone”"),
        ("mfa.removed", ALEX, ALEX, &[], "removed an MFA method"),
        ("mfa.renamed", ALEX, ALEX, PHONE, "renamed MFA method “Phone”"),
        ("mfa.reset", ADMIN, ALEX, &[], "took all MFA methods of alex away"),
        ("recovery_codes.replaced", ALEX, ALEX, &[], "drew new recovery codes"),
        ("recovery_codes.used", ALEX, ALEX, &[], "used a recovery code"),
        (
            "throttle.engaged",
            "unknown",
            "",
            &[("count", "3"), ("reason", "too_many_failures")],
            "3 attempts were throttled from 198.51.100.9: too many failed credentials from this address",
        ),
        (
            "configuration.applied",
            "gateway",
            "",
            &[("changed", "nothing")],
            "read the configuration again; nothing had changed",
        ),
        (
            "configuration.applied",
            "gateway",
            "",
            &[("changed", "limits")],
            "put a changed configuration in force: limits",
        ),
        (
            "binary.swapped",
            "gateway",
            "",
            &[("pid", "4711")],
            "handed its listeners over to a new process, pid 4711",
        ),
        (
            "binary.swap_failed",
            "gateway",
            "",
            &[("reason", "it was not ready within 120 s")],
            "did not hand its listeners over to a new process: it was not ready within 120 s",
        ),
        (
            "configuration.refused",
            "gateway",
            "",
            &[("faults", "2")],
            "refused a changed configuration with 2 faults",
        ),
        (
            "store.copied",
            OPERATOR,
            "",
            &[("from", "data/latchkey.db"), ("to", "postgres://lk@db/lk")],
            "copied the store from data/latchkey.db to postgres://lk@db/lk",
        ),
        ("store.backed_up", OPERATOR, "", &[("file", "lk.backup")], "backed the store up to lk.backup"),
        ("store.restored", OPERATOR, "", &[("file", "lk.backup")], "restored the store from lk.backup"),
        (
            "store.restored",
            OPERATOR,
            "",
            &[("file", "lk.backup"), ("revived", "key_1 of acme/alex")],
            "restored the store from lk.backup, with what was dead: key_1 of acme/alex",
        ),
        (
            "store.restored",
            OPERATOR,
            "",
            &[("file", "lk.backup"), ("deletions", "unknown")],
            "restored the store from lk.backup, not knowing what was deleted since",
        ),
        (
            "store.restored",
            OPERATOR,
            "acme",
            &[("given_back", "acme/alex (rights)"), ("taken_away", "acme/new (user_made)")],
            "put acme back to a backup of the store; back is: acme/alex (rights); gone is: acme/new (user_made)",
        ),
        (
            "store.rotation_begun",
            OPERATOR,
            "",
            &[],
            "let a new master key open the store beside the present one",
        ),
        (
            "store.rotation_abandoned",
            OPERATOR,
            "",
            &[],
            "gave up a new master key: the old one alone opens the store",
        ),
        (
            "store.rotation_finished",
            OPERATOR,
            "",
            &[],
            "rotated the master key: the new one alone opens the store",
        ),
        (
            "certificate.issued",
            "gateway",
            "a.example, b.example",
            &[("until", "2027-03-01T00:00:00Z")],
            "obtained a certificate for a.example, b.example, good until 2027-03-01T00:00:00Z",
        ),
        (
            "certificate.issued",
            "gateway",
            "a.example",
            &[("until", "2027-03-01T00:00:00Z"), ("unwritten", "acme/a.pem: No space left on device")],
            "obtained a certificate for a.example, good until 2027-03-01T00:00:00Z; it could not be written: \
             acme/a.pem: No space left on device",
        ),
        (
            "certificate.refused",
            "gateway",
            "a.example",
            &[("error", "the authority did not answer in time"), ("failures", "1")],
            "could not obtain a certificate for a.example: the authority did not answer in time",
        ),
    ];

    #[test]
    fn every_kind_has_a_sentence() {
        for (event, actor, subject, details, expected) in CASES {
            assert_eq!(told(event, actor, subject, details), *expected, "{event}");
        }
        for kind in EventKind::ALL {
            assert!(CASES.iter().any(|(event, ..)| *event == kind.as_str()), "{kind:?} is not in the table");
        }
    }

    #[test]
    fn an_event_of_a_newer_version_is_told_by_its_name() {
        assert_eq!(told("teleport.used", "acme/admin", "acme/alex", &[("to", "mars")]), "teleport.used");
    }

    #[test]
    fn s40_what_people_wrote_cannot_disturb_a_terminal() {
        let sentence = told("key.created", "a", "a", &[("description", "CI \u{1b}[31m\n")]);
        assert_eq!(sentence, "created API key “CI \u{fffd}[31m\u{fffd}”");
    }

    #[test]
    fn users_are_named_in_full_where_customers_are_mixed_and_minutes_that_are_equal_once() {
        let at = String::from("2027-01-15T10:02:03Z");
        let details = [("first", at.clone()), ("last", at), ("count", "2".into())];
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let told = Told {
            event: "sign_in.failed",
            actor: "unknown",
            subject: "acme/alex",
            client_ip: "::1",
            details: &details,
            naming: Naming::Full,
        };
        assert_eq!(told.sentence(), "2 failed sign-ins as acme/alex from ::1 at 10:02 UTC");
    }
}
