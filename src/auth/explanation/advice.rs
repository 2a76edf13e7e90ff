//! What each reason means, which step it belongs to, and what an operator can do about it.
//!
//! Reasons of credentials are [`DenialReason`]s; the doors' other reasons are known by their names in the access log,
//! which are part of its schema.

use super::Step;
use crate::auth::decision::{DenialReason, ExhaustedQuota};
use crate::auth::policy::Rule;
use crate::model::{ClientIp, KeyId, Service, UserName};

/// A reason, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// The step that decided.
    pub(super) step: Step,
    /// The reason in words.
    pub(super) text: &'static str,
    /// What an operator can do.
    pub(super) hint: String,
}

/// Of whom a hint speaks; what is not known is written in capitals, as in the help of the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) user: Option<&'a UserName>,
    pub(super) key: Option<KeyId>,
    pub(super) address: ClientIp,
    pub(super) service: Service,
}

/// Is the reason of that name in the access log one that `explain` knows?
pub fn is_explained(reason: &str) -> bool {
    denial_named(reason).is_some() || OTHERS.iter().any(|(name, ..)| *name == reason)
}

/// The reason of that name in the access log; `None` for one of another version.
pub(super) fn of(reason: &str, subject: &Subject<'_>) -> Option<Advice> {
    denial_named(reason).map(|known| of_denial(known, subject)).or_else(|| {
        OTHERS.iter().find(|(name, ..)| *name == reason).map(|(_, step, text, hint)| Advice {
            step: *step,
            text,
            hint: String::from(*hint),
        })
    })
}

/// A reason to refuse a credential.
pub(super) fn of_denial(reason: DenialReason, subject: &Subject<'_>) -> Advice {
    Advice { step: step_of(reason), text: reason.explanation(), hint: hint_for(reason, subject) }
}

fn denial_named(name: &str) -> Option<DenialReason> {
    DenialReason::ALL.into_iter().find(|reason| reason.as_str() == name)
}

/// The step at which a credential is refused for `reason`.
const fn step_of(reason: DenialReason) -> Step {
    match reason {
        DenialReason::AddressOutsideListenerList => Step::ListenerList,
        DenialReason::PlaintextCredential => Step::Transport,
        DenialReason::NoCredential | DenialReason::StoreStale => Step::Credential,
        DenialReason::MalformedKey => Step::KeyForm,
        DenialReason::UnknownKey => Step::KeyLookUp,
        DenialReason::UnknownSession | DenialReason::SessionExpired => Step::SessionLookUp,
        // Found out last of all, at the path of the sessions.
        DenialReason::CredentialKind => Step::Route,
        DenialReason::TooManyFailures
        | DenialReason::UserThrottled
        | DenialReason::PasswordQueueFull
        | DenialReason::PasswordsUncounted => Step::PasswordTries,
        DenialReason::TooManyRequests => Step::KeyLimit,
        DenialReason::QuotaExhausted(_) => Step::Quota,
        DenialReason::UnknownUser
        | DenialReason::WrongPassword
        | DenialReason::PasswordEnded
        | DenialReason::LinkMissing => Step::Password,
        DenialReason::KeyDisabled => Step::Rule(Rule::KeyEnabled),
        DenialReason::KeyExpired => Step::Rule(Rule::KeyNotExpired),
        DenialReason::UserInactive => Step::Rule(Rule::UserActive),
        DenialReason::PasswordOffByKey
        | DenialReason::PasswordOffByMfa
        | DenialReason::PasswordOffByRequiredMfa => Step::Rule(Rule::PasswordOn),
        DenialReason::ScopeMissing | DenialReason::ManageKeyWithoutList => Step::Rule(Rule::Scope),
        DenialReason::MfaNotSetUp => Step::Rule(Rule::ManagementMfa),
        DenialReason::AccessPointOff => Step::Rule(Rule::AccessPoint),
        DenialReason::AddressOutsideCustomerList => Step::Rule(Rule::CustomerList),
        DenialReason::AddressOutsideUserList => Step::Rule(Rule::UserList),
        DenialReason::AddressOutsideKeyList => Step::Rule(Rule::KeyList),
    }
}

/// What an operator can do where `reason` decided.
fn hint_for(reason: DenialReason, subject: &Subject<'_>) -> String {
    let Subject { address, service, .. } = subject;
    let user = subject.user.map_or_else(|| String::from("CUSTOMER/LOGIN"), ToString::to_string);
    let customer = subject.user.map_or_else(|| String::from("HANDLE"), |user| user.customer.to_string());
    let key = subject.key.map_or_else(|| String::from("ID"), |id| id.to_string());
    let new_key = format!("`latchkey key create {user} --description TEXT --scope {service}`");
    match reason {
        DenialReason::NoCredential => String::from(no_credential_hint(*service)),
        DenialReason::MalformedKey => String::from(
            "the key is cut off, mistyped or another system's; whoever has it finds out with `latchkey key test`",
        ),
        DenialReason::UnknownKey => {
            format!("`latchkey key test` tells whether it was deleted here; a new one: {new_key}")
        }
        DenialReason::KeyDisabled => format!("`latchkey key enable {key}`"),
        DenialReason::KeyExpired => format!("a new one: {new_key}"),
        DenialReason::ScopeMissing => format!("a key keeps its scope; another key: {new_key}"),
        DenialReason::UnknownUser => {
            String::from("`latchkey user list` shows who there is; the name is CUSTOMER/LOGIN")
        }
        DenialReason::WrongPassword => format!("`latchkey user set-password {user}`"),
        DenialReason::PasswordEnded | DenialReason::LinkMissing => {
            format!("a new one-time link: `latchkey user link {user}`")
        }
        DenialReason::PasswordOffByKey => {
            format!("use a key; or, once no key is left, `latchkey user allow-password {user}`")
        }
        DenialReason::PasswordOffByMfa => format!("use a key: {new_key}"),
        DenialReason::PasswordOffByRequiredMfa => format!(
            "use a key: {new_key}; or stop requiring MFA: `latchkey user update {user} --no-force-mfa`, \
             `latchkey customer update {customer} --mfa optional`"
        ),
        DenialReason::MfaNotSetUp => String::from("the user sets MFA up in the console"),
        DenialReason::UnknownSession | DenialReason::SessionExpired => format!(
            "open a new one with `POST /v2/session` and the password; or use a key, which needs none: {new_key}"
        ),
        DenialReason::CredentialKind => String::from(
            "`POST /v2/session` takes `Basic`, and `DELETE` the session itself; keys need no session",
        ),
        DenialReason::UserInactive => format!("`latchkey user reactivate {user}`"),
        DenialReason::AccessPointOff => {
            format!("`latchkey user update {user} --access LIST`, with {service} in the list")
        }
        DenialReason::AddressOutsideListenerList => {
            format!("add {address} to the listener's `allow_list` in the configuration")
        }
        DenialReason::AddressOutsideCustomerList => {
            format!("`latchkey allow add customer:{customer} {address}`")
        }
        DenialReason::AddressOutsideUserList => format!("`latchkey allow add user:{user} {address}`"),
        DenialReason::AddressOutsideKeyList | DenialReason::ManageKeyWithoutList => {
            format!("`latchkey allow add key:{key} {address}`")
        }
        DenialReason::PlaintextCredential => String::from(plaintext_hint(*service)),
        DenialReason::TooManyFailures => format!(
            "find out who sends wrong credentials from {address} (`limits.failed_credentials_per_address`); a right \
             key is never refused for it"
        ),
        DenialReason::UserThrottled => format!(
            "find out who sends wrong passwords for {user} (`limits.failed_passwords_per_user`); a right key is never \
             refused for it: {new_key}"
        ),
        DenialReason::TooManyRequests => String::from(
            "the client waits as `Retry-After` says, or raise `limits.requests_per_second_per_key`",
        ),
        DenialReason::QuotaExhausted(which) => {
            let (holder, until) = match which {
                ExhaustedQuota::KeyDay => (format!("key:{key}"), "midnight UTC"),
                ExhaustedQuota::KeyMonth => (format!("key:{key}"), "the next month (UTC)"),
                ExhaustedQuota::UserDay => (format!("user:{user}"), "midnight UTC"),
                ExhaustedQuota::UserMonth => (format!("user:{user}"), "the next month (UTC)"),
                ExhaustedQuota::CustomerDay => (format!("customer:{customer}"), "midnight UTC"),
                ExhaustedQuota::CustomerMonth => (format!("customer:{customer}"), "the next month (UTC)"),
            };
            format!(
                "wait until {until}, or `latchkey quota set {holder}` with more, or `latchkey quota remove {holder}`"
            )
        }
        DenialReason::StoreStale => String::from(
            "the gateway's log tells what is wrong with the store; without it the gateway decides from memory for \
             `policy.max_staleness`",
        ),
        DenialReason::PasswordsUncounted => String::from(
            "the gateway's log tells what is wrong with the store; keys go on without it, passwords do not",
        ),
        DenialReason::PasswordQueueFull => {
            String::from("trying again may do; use keys, or raise `limits.password_queue`")
        }
    }
}

const fn no_credential_hint(service: Service) -> &'static str {
    match service {
        Service::Api => "the client must send `Authorization: ApiKey KEY`, once, and in no other place",
        Service::IsProxy => "the client must send `LOGIN KEY` first, and wait for `100 Login ok`",
    }
}

const fn plaintext_hint(service: Service) -> &'static str {
    match service {
        Service::Api => "use https://; what came in clear is exposed: `latchkey key rotate ID`",
        Service::IsProxy => {
            "STARTTLS before the credential; what came in clear is exposed: `latchkey key rotate ID`"
        }
    }
}

const BY_MESSAGE: &str = "the client must be changed; the answer's `message` told it what is wrong";
const BY_UPSTREAM: &str = "look at the upstream, `latchkey_upstream_healthy` and the gateway's log";

/// The doors' reasons that concern no credential: name, step, the reason in words, what an operator can do.
const OTHERS: [(&str, Step, &str, &str); 27] = [
    (
        "unreadable_forwarding_header",
        Step::ClientAddress,
        "a trusted proxy's forwarding header cannot be read",
        "look at what the proxy in front sends as X-Forwarded-For and X-Forwarded-Proto",
    ),
    (
        "proxy_header_refused",
        Step::ClientAddress,
        "no PROXY protocol header came, or not from a trusted proxy",
        "look at the listener's `trusted_proxies` and `proxy_protocol`",
    ),
    ("malformed_request", Step::Protocol, "the request's head breaks a rule of HTTP", BY_MESSAGE),
    ("method_refused", Step::Protocol, "CONNECT and TRACE are not accepted", BY_MESSAGE),
    ("session_method_refused", Step::Protocol, "`/v2/session` takes POST and DELETE only", BY_MESSAGE),
    (
        "sessions_unavailable",
        Step::Route,
        "a session could be neither opened nor ended: the store is away or busy",
        "the gateway's log tells what is wrong with the store; trying again may do",
    ),
    ("unknown_expectation", Step::Protocol, "only the expectation 100-continue is known", BY_MESSAGE),
    ("unknown_coding", Step::Protocol, "the body is coded by something else than chunks", BY_MESSAGE),
    ("target_too_long", Step::Protocol, "the request's target is too long", "`limits.http_target_bytes`"),
    ("too_many_fields", Step::Protocol, "too many header fields", "`limits.http_header_fields`"),
    (
        "foreign_protocol",
        Step::Protocol,
        "HTTP or TLS came where a line was due",
        "the client speaks another protocol, or begins with TLS instead of STARTTLS",
    ),
    (
        "bytes_behind_starttls",
        Step::Protocol,
        "bytes came behind STARTTLS before its answer",
        "the client must wait for `100 OK` before it goes on",
    ),
    (
        "tls_unavailable",
        Step::Transport,
        "STARTTLS, where TLS cannot be offered",
        "give the listener a certificate (`tls`)",
    ),
    ("no_route", Step::Route, "no route has this host and path", "look at the listener's `routes`"),
    ("body_too_long", Step::Body, "the request's body is too long", "`limits.http_body_bytes`"),
    (
        "body_too_slow",
        Step::Body,
        "the client sent nothing of its body for too long",
        "`limits.http_body_idle_seconds`",
    ),
    ("body_broken", Step::Body, "the client's body ended early or is malformed", BY_MESSAGE),
    (
        "client_gone",
        Step::Upstream,
        "the client went away before the answer's end",
        "look at the client's own deadline",
    ),
    ("no_healthy_server", Step::Upstream, "no server of the upstream is healthy", BY_UPSTREAM),
    ("upstream_unreachable", Step::Upstream, "no connection to the upstream came about", BY_UPSTREAM),
    (
        "upstream_tls_failed",
        Step::Upstream,
        "the TLS handshake with the upstream failed",
        "the gateway's log tells what is wrong with the upstream's certificate",
    ),
    ("upstream_broke", Step::Upstream, "the upstream closed, or its answer is no HTTP", BY_UPSTREAM),
    ("upstream_upgraded", Step::Upstream, "a change of protocol that nobody asked for", BY_UPSTREAM),
    (
        "upgrade_failed",
        Step::Upstream,
        "the upstream neither agreed to a WebSocket nor declined it properly",
        "look at what the upstream answers to the handshake itself",
    ),
    (
        "no_random_bytes",
        Step::Upstream,
        "the operating system gave no random bytes",
        "look at the machine: nothing safe can be made there",
    ),
    (
        "upstream_too_slow",
        Step::Upstream,
        "the upstream took longer than a deadline",
        "look at the upstream, and at `limits.upstream_first_byte_seconds`",
    ),
    (
        "revoked",
        Step::Session,
        "what let the session in no longer does",
        "what the same attempt would meet now tells what changed",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::{Means, order};
    use super::*;

    fn nobody(service: Service) -> Subject<'static> {
        Subject { user: None, key: None, address: ClientIp::new("192.0.2.7".parse().unwrap()), service }
    }

    #[test]
    fn every_reason_has_a_step_that_is_asked_and_a_hint() {
        let names = DenialReason::ALL.map(DenialReason::as_str).into_iter();
        for name in names.chain(OTHERS.map(|(name, ..)| name)) {
            assert!(is_explained(name));
            let asked = [Service::Api, Service::IsProxy].into_iter().any(|service| {
                let advice = of(name, &nobody(service)).unwrap();
                assert!(advice.text.len() > 5 && advice.hint.len() > 5, "{name}: {advice:?}");
                [Means::Key, Means::Password, Means::Session]
                    .iter()
                    .any(|means| order(service, *means).contains(&advice.step))
            });
            // The management API has no door yet.
            assert_eq!(asked, name != "mfa_not_set_up", "{name}");
        }
        assert!(!is_explained("full_moon") && of("full_moon", &nobody(Service::Api)).is_none());
    }

    #[test]
    fn a_hint_names_whom_it_is_about() {
        let user: UserName = "acme/alex".parse().unwrap();
        let key = KeyId::from_random(7);
        let subject = Subject { user: Some(&user), key: Some(key), ..nobody(Service::Api) };
        let hint = |reason| hint_for(reason, &subject);
        assert_eq!(
            hint(DenialReason::AddressOutsideUserList),
            "`latchkey allow add user:acme/alex 192.0.2.7`"
        );
        assert_eq!(
            hint(DenialReason::AddressOutsideCustomerList),
            "`latchkey allow add customer:acme 192.0.2.7`"
        );
        assert_eq!(hint(DenialReason::KeyDisabled), format!("`latchkey key enable {key}`"));
        assert_eq!(
            hint_for(DenialReason::KeyDisabled, &nobody(Service::Api)),
            "`latchkey key enable ID`",
            "what is not known stands in capitals"
        );
    }
}
