//! Which rule decided, or would decide, step by step: `latchkey explain`.
//!
//! Explains; decides nothing. The order of the rules about users and keys is walked out of
//! [`policy`](super::policy), so that what is told here cannot differ from what the doors do. Called by the command
//! line.

mod advice;
mod quotas;
mod trial;

use std::net::Ipv4Addr;

use self::advice::{Advice, Subject};
use super::control_plane::{ControlError, ControlPlane};
use super::decision::{DenialReason, Refusal};
use super::policy::{self, Circumstances, Entrance, KeyFacts, Rule, UserFacts};
use crate::config::{Listener, Policy};
use crate::model::{
    AccessPoints, AllowList, ClientIp, MfaState, Recognised, Service, ServiceScope, Timestamp, UserName,
};
use crate::telemetry::{KeptRefusal, RequestId};

pub use advice::is_explained;
pub use trial::{Trial, TrialDoor};

/// One thing that is asked of whoever wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Can it be told from where the request comes?
    ClientAddress,
    /// Does the listener's list admit the address?
    ListenerList,
    /// Is HTTP, or the line protocol, spoken by its rules?
    Protocol,
    /// Did the credential come by TLS, or is that not asked here?
    Transport,
    /// Was a credential presented, in a form that is read?
    Credential,
    /// Can the text be a key?
    KeyForm,
    /// Is it a key?
    KeyLookUp,
    /// Is it an API session whose time is not over?
    SessionLookUp,
    /// May this address still try passwords, and is there room to check them?
    PasswordTries,
    /// Is there such a user, with this password?
    Password,
    /// A rule about the user or the key.
    Rule(Rule),
    /// May the key make another request, as many as it made?
    KeyLimit,
    /// Is anything left of the quotas of key, user and customer?
    Quota,
    /// Does a route lead somewhere?
    Route,
    /// Did the client's body come as it must?
    Body,
    /// Did the upstream answer?
    Upstream,
    /// Does the credential still let the open session go on?
    Session,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing against it.
    Passed,
    /// It keeps, or kept, the caller out.
    Failed,
    /// That depends on what is not known here.
    Unknown,
}

/// A step and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTaken {
    /// The step.
    pub step: Step,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in words; empty where there is nothing to say.
    pub note: String,
    /// What an operator can do about a failure.
    pub hint: Option<String>,
}

/// A refusal that was kept, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was kept.
    pub refusal: KeptRefusal,
    /// Whose credential it was, as far as that is known and not deleted by now.
    pub user: Option<UserName>,
    /// The steps up to the one that decided.
    pub steps: Vec<StepTaken>,
    /// How the same attempt would stand now, where whose it was is known.
    pub now: Option<Trial>,
}

impl Step {
    /// The name in JSON; with blanks for `_`, in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAddress => "client_address",
            Self::ListenerList => "listener_list",
            Self::Protocol => "protocol",
            Self::Transport => "transport",
            Self::Credential => "credential",
            Self::KeyForm => "key_form",
            Self::KeyLookUp => "key_look_up",
            Self::SessionLookUp => "session_look_up",
            Self::PasswordTries => "password_tries",
            Self::Password => "password",
            Self::Rule(Rule::KeyEnabled) => "key_enabled",
            Self::Rule(Rule::KeyNotExpired) => "key_not_expired",
            Self::Rule(Rule::UserActive) => "user_active",
            Self::Rule(Rule::PasswordOn) => "password_on",
            Self::Rule(Rule::Scope) => "key_scope",
            Self::Rule(Rule::ManagementMfa) => "mfa_set_up",
            Self::Rule(Rule::AccessPoint) => "access_point",
            Self::Rule(Rule::CustomerList) => "customer_list",
            Self::Rule(Rule::UserList) => "user_list",
            Self::Rule(Rule::KeyList) => "key_list",
            Self::KeyLimit => "key_limit",
            Self::Quota => "quota",
            Self::Route => "route",
            Self::Body => "body",
            Self::Upstream => "upstream",
            Self::Session => "session",
        }
    }
}

impl Outcome {
    /// The word in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
        }
    }
}

impl StepTaken {
    fn passed(step: Step, note: impl Into<String>) -> Self {
        Self { step, outcome: Outcome::Passed, note: note.into(), hint: None }
    }

    fn unknown(step: Step, note: impl Into<String>) -> Self {
        Self { step, outcome: Outcome::Unknown, note: note.into(), hint: None }
    }

    fn failed(advice: Advice) -> Self {
        let Advice { step, text, hint } = advice;
        Self { step, outcome: Outcome::Failed, note: text.to_owned(), hint: Some(hint) }
    }
}

/// With what somebody came, as far as the order of steps depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Key,
    Password,
    Session,
}

impl ControlPlane {
    /// The refusals that are kept under `id`, each explained; `listeners` are the configuration's. None are kept for
    /// what was let in, is older than a day, was one of too many in its second, or was refused a moment ago.
    pub async fn explain(
        &self,
        id: RequestId,
        listeners: &[Listener],
    ) -> Result<Vec<Explanation>, ControlError> {
        let mut explained = Vec::new();
        for refusal in self.store.refusals_of(id, self.clock.now()).await? {
            explained.push(self.explain_refusal(refusal, listeners).await?);
        }
        Ok(explained)
    }

    async fn explain_refusal(
        &self,
        refusal: KeptRefusal,
        listeners: &[Listener],
    ) -> Result<Explanation, ControlError> {
        let listener = listeners.iter().find(|listener| listener.name == refusal.listener);
        let now = self.try_again(&refusal, listener).await?;
        let user = now.as_ref().and_then(|trial| trial.user.clone());
        let steps = steps_taken(&refusal, user.as_ref());
        Ok(Explanation { refusal, user, steps, now })
    }
}

/// The steps of a refused attempt, up to the one that decided; none for a reason of another version's gateway.
fn steps_taken(refusal: &KeptRefusal, user: Option<&UserName>) -> Vec<StepTaken> {
    let key = match refusal.recognised {
        Some(Recognised::Key(id)) => Some(id),
        Some(Recognised::Password(_) | Recognised::Session(_)) | None => None,
    };
    let subject = Subject { user, key, address: refusal.client_ip, service: refusal.service };
    let Some(advice) = advice::of(&refusal.reason, &subject) else { return Vec::new() };
    let means = means_of(refusal, advice.step);
    let mut steps: Vec<StepTaken> = order(refusal.service, means)
        .into_iter()
        .take_while(|step| *step != advice.step)
        .map(|step| StepTaken::passed(step, ""))
        .collect();
    steps.push(StepTaken::failed(advice));
    steps
}

fn means_of(refusal: &KeptRefusal, decided: Step) -> Means {
    match (refusal.recognised, decided) {
        (Some(Recognised::Session(_)), _) | (None, Step::SessionLookUp) => Means::Session,
        (Some(Recognised::Password(_)), _) | (None, Step::PasswordTries | Step::Password) => Means::Password,
        _ => Means::Key,
    }
}

/// All steps at a door, in the order of asking.
fn order(service: Service, means: Means) -> Vec<Step> {
    let mut steps = match service {
        Service::Api => vec![Step::ClientAddress, Step::ListenerList, Step::Transport, Step::Protocol],
        Service::IsProxy => vec![Step::ClientAddress, Step::ListenerList, Step::Protocol, Step::Transport],
    };
    steps.push(Step::Credential);
    match means {
        Means::Key => steps.extend([Step::KeyForm, Step::KeyLookUp]),
        Means::Password => steps.extend([Step::PasswordTries, Step::Password]),
        Means::Session => steps.push(Step::SessionLookUp),
    }
    steps.extend(rules(service, means).into_iter().map(Step::Rule));
    if (service, means) == (Service::Api, Means::Key) {
        // IsProxy refuses nothing for it.
        steps.push(Step::KeyLimit);
    }
    steps.push(Step::Quota);
    match service {
        Service::Api => steps.extend([Step::Route, Step::Body, Step::Upstream]),
        Service::IsProxy => steps.push(Step::Session),
    }
    steps
}

/// The rules that are asked at a door, in their order; found out by walking them for somebody with whom all is well.
fn rules(service: Service, means: Means) -> Vec<Rule> {
    let anywhere = AllowList::default();
    let user = UserFacts {
        active: true,
        access_points: AccessPoints::ALL,
        mfa: MfaState::Off,
        password_off_by_key: false,
        customer_list: &anywhere,
        user_list: &anywhere,
    };
    let client_ip = Some(ClientIp::new(Ipv4Addr::LOCALHOST.into()));
    let at = Circumstances { client_ip, now: Timestamp::from_unix_milliseconds(0) };
    let found =
        at_entrance(service, means, |entrance| policy::findings(entrance, &user, at, &Policy::default()));
    found.into_iter().map(|(rule, _)| rule).collect()
}

/// Asks something about the entrance of any key, password or session; `IsProxy` knows no sessions.
fn at_entrance<T>(service: Service, means: Means, ask: impl FnOnce(Entrance<'_>) -> T) -> T {
    let list = AllowList::default();
    let key = KeyFacts { enabled: true, expires_at: None, scope: ServiceScope::of(service), list: &list };
    ask(match (service, means) {
        (_, Means::Key) => Entrance::Key(service, &key),
        (Service::Api, Means::Password) => Entrance::ApiPassword,
        (Service::Api, Means::Session) => Entrance::ApiSession,
        (Service::IsProxy, Means::Password | Means::Session) => Entrance::IsProxyPassword,
    })
}

/// What the peer is answered where `reason` decides.
fn answer_for(service: Service, means: Means, reason: DenialReason) -> &'static str {
    match (service, reason) {
        (Service::IsProxy, DenialReason::AddressOutsideListenerList) => "a close without an answer",
        (Service::IsProxy, DenialReason::QuotaExhausted(_)) => "error for each name",
        (Service::Api, DenialReason::QuotaExhausted(_)) => "429",
        (Service::IsProxy, _) => "400 Login failed",
        (
            Service::Api,
            DenialReason::AddressOutsideListenerList
            | DenialReason::PlaintextCredential
            | DenialReason::CredentialKind,
        ) => "403",
        (Service::Api, _) => {
            match at_entrance(service, means, |entrance| policy::refusal_for(entrance, reason)) {
                Refusal::Forbidden => "403",
                // No rule answers otherwise.
                Refusal::Unauthenticated
                | Refusal::TooManyFailures { .. }
                | Refusal::TooManyRequests { .. }
                | Refusal::QuotaExhausted { .. }
                | Refusal::Busy => "401",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{Activation, KeyToMake, PasswordEnd, UserChanges};
    use super::*;
    use crate::model::{KeyId, UserId};
    use crate::telemetry::RequestIds;

    fn refusal(service: Service, reason: &str, recognised: Option<Recognised>) -> KeptRefusal {
        KeptRefusal {
            request_id: RequestIds::new(7).next_id(),
            at: NOW,
            service,
            listener: service.as_str().to_owned(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            via: None,
            method: "GET".to_owned(),
            target: "/v2/domains".to_owned(),
            status: 401,
            reason: reason.to_owned(),
            recognised,
        }
    }

    /// The steps that were passed before `reason` decided.
    fn passed(service: Service, reason: &str, recognised: Option<Recognised>) -> Vec<&'static str> {
        let mut steps = steps_taken(&refusal(service, reason, recognised), None);
        let decided = steps.pop().unwrap();
        assert_eq!(decided.outcome, Outcome::Failed);
        assert!(decided.hint.is_some() && steps.iter().all(|taken| taken.outcome == Outcome::Passed));
        steps.iter().map(|taken| taken.step.as_str()).collect()
    }

    #[test]
    fn the_steps_before_the_one_that_decided_were_passed() {
        let key = Some(Recognised::Key(KeyId::from_random(7)));
        let user = Some(Recognised::Password(UserId(3)));
        let at_api = ["client_address", "listener_list", "transport", "protocol", "credential"];
        assert_eq!(passed(Service::Api, "address_outside_listener_list", None), at_api[..1]);
        assert_eq!(passed(Service::Api, "no_credential", None), at_api[..4]);
        assert_eq!(passed(Service::Api, "unknown_key", None), [&at_api[..], &["key_form"]].concat());
        assert_eq!(passed(Service::Api, "unknown_user", None), [&at_api[..], &["password_tries"]].concat());
        let by_key = ["key_form", "key_look_up", "key_enabled", "key_not_expired"];
        assert_eq!(passed(Service::Api, "user_inactive", key), [&at_api[..], &by_key].concat());
        let by_password = ["password_tries", "password"];
        assert_eq!(passed(Service::Api, "user_inactive", user), [&at_api[..], &by_password].concat());
        let at_isproxy = ["client_address", "listener_list", "protocol"];
        assert_eq!(passed(Service::IsProxy, "plaintext_credential", None), at_isproxy);
        assert!(passed(Service::Api, "too_many_requests", key).ends_with(&["user_list", "key_list"]));
        assert_eq!(passed(Service::Api, "user_throttled", user), at_api);
        assert!(passed(Service::Api, "no_route", key).ends_with(&["key_limit", "quota"]));
        let session = Some(Recognised::Session(UserId(3)));
        assert_eq!(passed(Service::Api, "unknown_session", None), at_api);
        assert_eq!(passed(Service::Api, "session_expired", session), at_api);
        let by_session = ["session_look_up", "user_active", "password_on"];
        assert_eq!(passed(Service::Api, "access_point_off", session), [&at_api[..], &by_session].concat());
        assert!(passed(Service::Api, "credential_kind", session).ends_with(&["user_list", "quota"]));
        assert!(passed(Service::Api, "credential_kind", key).ends_with(&["key_limit", "quota"]));
        assert!(passed(Service::IsProxy, "revoked", user).ends_with(&["user_list", "quota"]));
        assert!(passed(Service::Api, "quota_exhausted_key_day", key).ends_with(&["key_limit"]));
        assert!(passed(Service::IsProxy, "quota_exhausted_user_month", user).ends_with(&["user_list"]));
        assert!(steps_taken(&refusal(Service::Api, "full_moon", None), None).is_empty());
    }

    #[test]
    fn the_answer_is_what_the_doors_answer() {
        for (service, means, reason, answer) in [
            (Service::Api, Means::Key, DenialReason::UnknownKey, "401"),
            (Service::Api, Means::Key, DenialReason::AccessPointOff, "403"),
            (Service::Api, Means::Password, DenialReason::AccessPointOff, "401"),
            (Service::Api, Means::Password, DenialReason::AddressOutsideListenerList, "403"),
            (Service::Api, Means::Key, DenialReason::PlaintextCredential, "403"),
            (Service::Api, Means::Session, DenialReason::SessionExpired, "401"),
            (Service::Api, Means::Session, DenialReason::UserInactive, "401"),
            (Service::Api, Means::Session, DenialReason::AddressOutsideUserList, "403"),
            (Service::Api, Means::Password, DenialReason::CredentialKind, "403"),
            (Service::IsProxy, Means::Key, DenialReason::AccessPointOff, "400 Login failed"),
            (
                Service::IsProxy,
                Means::Key,
                DenialReason::AddressOutsideListenerList,
                "a close without an answer",
            ),
        ] {
            assert_eq!(answer_for(service, means, reason), answer, "{service} {reason:?}");
        }
    }

    #[tokio::test]
    async fn a_kept_refusal_is_explained_and_judged_again() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let made = plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let id = made.keys[0].id;
        let kept = refusal(Service::Api, "key_disabled", Some(Recognised::Key(id)));
        plane.store.keep_refusals(std::slice::from_ref(&kept)).await.unwrap();
        let explained = || async { plane.explain(kept.request_id, &[]).await.unwrap().remove(0) };
        plane.disable_key(id).await.unwrap();
        let told = explained().await;
        assert_eq!(told.user.unwrap().to_string(), "acme/alex");
        assert_eq!(told.steps.last().unwrap().hint, Some(format!("`latchkey key enable {id}`")));
        assert_eq!(told.now.unwrap().refused, Some((DenialReason::KeyDisabled, "401")));
        plane.enable_key(id).await.unwrap();
        assert_eq!(explained().await.now.unwrap().refused, None);
        plane.delete_key(id).await.unwrap();
        let told = explained().await;
        assert_eq!(told.now.unwrap().refused, Some((DenialReason::UnknownKey, "401")));
        assert_eq!((told.user, told.refusal), (None, kept.clone()));
    }

    #[tokio::test]
    async fn a_refused_api_session_is_judged_again_as_a_session() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        let id = plane.user(&alex).await.unwrap().id;
        let told = async |reason: &str| {
            let kept = refusal(Service::Api, reason, Some(Recognised::Session(id)));
            plane.explain_refusal(kept, &[]).await.unwrap().now.unwrap()
        };
        let outcomes = |trial: &Trial| -> Vec<_> {
            trial.steps.iter().map(|taken| (taken.step.as_str(), taken.outcome)).collect()
        };
        let open = told("address_outside_user_list").await;
        assert_eq!((open.refused, open.credential.as_str()), (None, "an API session of acme/alex"));
        assert_eq!(
            outcomes(&open)[2..],
            [
                ("session_look_up", Outcome::Unknown),
                ("user_active", Outcome::Passed),
                ("password_on", Outcome::Passed),
                ("access_point", Outcome::Passed),
                ("customer_list", Outcome::Passed),
                ("user_list", Outcome::Passed),
            ]
        );
        let expired = told("session_expired").await;
        assert_eq!(expired.refused, Some((DenialReason::SessionExpired, "401")));
        let hint = expired.steps[2].hint.as_ref().unwrap();
        assert!(hint.starts_with("open a new one with `POST /v2/session`"), "{hint}");
        let of_wrong_kind = told("credential_kind").await;
        assert_eq!(of_wrong_kind.refused, Some((DenialReason::CredentialKind, "403")));
        assert_eq!(outcomes(&of_wrong_kind).last(), Some(&("route", Outcome::Failed)));

        let elsewhere =
            UserChanges { access_points: Some("console,isproxy".parse().unwrap()), ..UserChanges::default() };
        plane.update_user(&alex, &elsewhere).await.unwrap();
        assert_eq!(
            told("address_outside_user_list").await.refused,
            Some((DenialReason::AccessPointOff, "403"))
        );
        plane.set_activation(&alex, Activation::Deactivated).await.unwrap();
        assert_eq!(told("access_point_off").await.refused, Some((DenialReason::UserInactive, "401")));
        plane.delete_user(&alex).await.unwrap();
        let deleted = told("access_point_off").await;
        assert_eq!((deleted.refused, deleted.user), (Some((DenialReason::UnknownSession, "401")), None));
        assert_eq!(deleted.credential, "an API session of a user who was deleted since");
    }
}
