//! What an attempt would meet now: every step at a door, judged by what the store and the configuration say.
//!
//! The doors are not asked. What only they know (how many failures an address has, whether a password is right, by
//! what transport a client comes, which session it was) is told as unknown.

use super::advice::{self, Subject};
use super::{Means, Step, StepTaken, answer_for};
use crate::auth::access::{key_facts, user_facts};
use crate::auth::control_plane::{ControlError, ControlPlane};
use crate::auth::decision::DenialReason;
use crate::auth::policy::{self, Circumstances, Entrance, Rule};
use crate::config::{Listener, ListenerProtocol, PlaintextCredentials, Policy};
use crate::crypto::recognise_key;
use crate::model::{AllowList, ClientIp, KeyId, Recognised, Secret, Service, Timestamp, UserName};
use crate::store::{ListedKey, StoreError, UserRecord};
use crate::telemetry::KeptRefusal;

/// Keys of a user that are tried.
const TRIED_KEYS: usize = 20;

/// Where somebody would want in.
#[derive(Clone, Copy, Debug)]
pub struct TrialDoor<'a> {
    /// At which door.
    pub service: Service,
    /// From where.
    pub from: ClientIp,
    /// Through which listener; `None`: that is not known, and neither are its rules.
    pub listener: Option<&'a Listener>,
}

/// How one credential would fare.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Whose it is, where it is somebody's.
    pub user: Option<UserName>,
    /// The key; `None` for a password or an API session, and for what is no key.
    pub key: Option<KeyId>,
    /// The credential in words.
    pub credential: String,
    /// Every step that can be judged, also behind one that failed.
    pub steps: Vec<StepTaken>,
    /// Why it would be refused, and what the peer would be answered; `None`: nothing that is known here is against it.
    pub refused: Option<(DenialReason, &'static str)>,
}

impl ControlPlane {
    /// Tries the password of `name`, taken to be right, and then each key, 20 at most; the number of the others comes
    /// second. Changes nothing.
    pub async fn try_user(
        &self,
        name: &UserName,
        door: &TrialDoor<'_>,
    ) -> Result<(Vec<Trial>, usize), ControlError> {
        let user = self.user(name).await?;
        let keys = self.list_keys(Some(name)).await?;
        let mut trials = vec![self.ask_quotas(self.try_password(&user, door), door.service).await?];
        for key in keys.iter().take(TRIED_KEYS) {
            trials.push(self.ask_quotas(self.try_listed_key(&user, key, door, None), door.service).await?);
        }
        Ok((trials, keys.len().saturating_sub(TRIED_KEYS)))
    }

    /// Tries the text of a key. Changes nothing.
    pub async fn try_key(&self, text: &Secret<String>, door: &TrialDoor<'_>) -> Result<Trial, ControlError> {
        let text = text.expose().as_bytes();
        if recognise_key(text, &self.key_ring.tag).is_err() {
            let course = Course::begin(door, Means::Key, None, None).fail(DenialReason::MalformedKey);
            return Ok(course.end("a text that is no key"));
        }
        let form = StepTaken::passed(Step::KeyForm, "");
        let digest = self.key_ring.digest.digest(text);
        let Some(record) = self.store.key_by_digest(&digest).await? else {
            let deleted = self.store.was_deleted(&digest).await?;
            let course =
                Course::begin(door, Means::Key, None, None).take(form).fail(DenialReason::UnknownKey);
            return Ok(course.end(if deleted { "a key that was deleted here" } else { "no key of ours" }));
        };
        let key = self.key(record.id).await?;
        let trial = self.try_listed_key(&self.owner_of(&key).await?, &key, door, Some(form));
        self.ask_quotas(trial, door.service).await
    }

    /// Tries again what was refused, where whose credential it was is known.
    pub(super) async fn try_again(
        &self,
        refusal: &KeptRefusal,
        listener: Option<&Listener>,
    ) -> Result<Option<Trial>, ControlError> {
        let door = TrialDoor { service: refusal.service, from: refusal.client_ip, listener };
        let Some(recognised) = refusal.recognised else { return Ok(None) };
        let trial = match recognised {
            Recognised::Key(id) => match self.store.listed_key(id).await? {
                Some(key) => self.try_listed_key(&self.owner_of(&key).await?, &key, &door, None),
                None => Course::begin(&door, Means::Key, None, Some(id))
                    .fail(DenialReason::UnknownKey)
                    .end("a key that was deleted since"),
            },
            Recognised::Password(id) => match self.store.user_by_id(id).await? {
                Some(user) => self.try_password(&user, &door),
                None => Course::begin(&door, Means::Password, None, None)
                    .fail(DenialReason::UnknownUser)
                    .end("the password of a user who was deleted since"),
            },
            Recognised::Session(id) => match self.store.user_by_id(id).await? {
                Some(user) => self.try_session(&user, ended_by(refusal), &door),
                None => Course::begin(&door, Means::Session, None, None)
                    .fail(DenialReason::UnknownSession)
                    .end("an API session of a user who was deleted since"),
            },
        };
        let trial = self.ask_quotas(trial, door.service).await?;
        // At the path of the sessions no change of users and keys makes it another credential.
        let of_wrong_kind = refusal.reason == DenialReason::CredentialKind.as_str();
        Ok(Some(if of_wrong_kind { trial.refuse_kind(&door) } else { trial }))
    }

    async fn owner_of(&self, key: &ListedKey) -> Result<UserRecord, ControlError> {
        let user = self.store.user_by_id(key.key.user).await?;
        Ok(user.ok_or(StoreError::Corrupt("key without a user"))?)
    }

    fn try_listed_key(
        &self,
        user: &UserRecord,
        key: &ListedKey,
        door: &TrialDoor<'_>,
        form: Option<StepTaken>,
    ) -> Trial {
        let facts = key_facts(key);
        let mut course = Course::begin(door, Means::Key, Some(user), Some(key.key.id));
        course.steps.extend(form);
        course
            .take(StepTaken::passed(Step::KeyLookUp, format!("of {}", key.user)))
            .ask_rules(Entrance::Key(door.service, &facts), user, Some(key), self.clock.now(), &self.policy)
            .end(&format!("key {} \"{}\"", key.key.id, key.key.description))
    }

    fn try_password(&self, user: &UserRecord, door: &TrialDoor<'_>) -> Trial {
        let entrance = match door.service {
            Service::Api => Entrance::ApiPassword,
            Service::IsProxy => Entrance::IsProxyPassword,
        };
        let course = Course::begin(door, Means::Password, Some(user), None)
            .take(StepTaken::unknown(Step::PasswordTries, "failures are counted by the gateways"));
        let course = match user.password_hash {
            Some(_) => course.take(StepTaken::unknown(Step::Password, "taken to be right")),
            None => course.fail(DenialReason::WrongPassword),
        };
        course.ask_rules(entrance, user, None, self.clock.now(), &self.policy).end("password")
    }

    /// Tries an API session of `user`: which one is not known, but that it was `ended` when it was refused.
    fn try_session(&self, user: &UserRecord, ended: Option<DenialReason>, door: &TrialDoor<'_>) -> Trial {
        let course = Course::begin(door, Means::Session, Some(user), None);
        let course = match ended {
            Some(reason) => course.fail(reason),
            None => course.take(StepTaken::unknown(
                Step::SessionLookUp,
                "whether it is still open is not kept; `POST /v2/session` opens a new one",
            )),
        };
        course
            .ask_rules(Entrance::ApiSession, user, None, self.clock.now(), &self.policy)
            .end(&format!("an API session of {}", user.name))
    }
}

impl Trial {
    /// Refuses what is right, and not the kind of credential that is asked for there.
    fn refuse_kind(mut self, door: &TrialDoor<'_>) -> Self {
        let (reason, TrialDoor { service, from: address, .. }) = (DenialReason::CredentialKind, *door);
        let subject = Subject { user: self.user.as_ref(), key: self.key, address, service };
        self.steps.push(StepTaken::failed(advice::of_denial(reason, &subject)));
        self.refused.get_or_insert((reason, answer_for(service, Means::Key, reason)));
        self
    }
}

/// Why a refused session is over for good, where that is why it was refused.
fn ended_by(refusal: &KeptRefusal) -> Option<DenialReason> {
    let endings = [DenialReason::UnknownSession, DenialReason::SessionExpired];
    endings.into_iter().find(|reason| reason.as_str() == refusal.reason)
}

/// A trial under way.
struct Course<'a> {
    door: &'a TrialDoor<'a>,
    means: Means,
    user: Option<UserName>,
    key: Option<KeyId>,
    steps: Vec<StepTaken>,
    refused: Option<DenialReason>,
}

impl<'a> Course<'a> {
    /// Begins with what the listener asks.
    fn begin(door: &'a TrialDoor<'a>, means: Means, user: Option<&UserRecord>, key: Option<KeyId>) -> Self {
        let user = user.map(|user| user.name.clone());
        Self { door, means, user, key, steps: Vec::new(), refused: None }.ask_listener()
    }

    fn take(mut self, step: StepTaken) -> Self {
        self.steps.push(step);
        self
    }

    /// The first failure decides.
    fn fail(mut self, reason: DenialReason) -> Self {
        let TrialDoor { service, from: address, .. } = *self.door;
        let subject = Subject { user: self.user.as_ref(), key: self.key, address, service };
        self.steps.push(StepTaken::failed(advice::of_denial(reason, &subject)));
        self.refused.get_or_insert(reason);
        self
    }

    fn ask_listener(self) -> Self {
        let (list, has_tls, in_clear) = match self.door.listener.map(|listener| &listener.protocol) {
            Some(ListenerProtocol::Http(http)) => {
                (&http.allow_list, http.tls.is_some(), http.plaintext_credentials)
            }
            Some(ListenerProtocol::IsProxy(isproxy)) => {
                (&isproxy.allow_list, isproxy.tls.is_some(), isproxy.plaintext_credentials)
            }
            Some(ListenerProtocol::ForwardAuth(asked)) => {
                (&asked.allow_list, asked.tls.is_some(), asked.plaintext_credentials)
            }
            Some(ListenerProtocol::Console(_) | ListenerProtocol::Ops) | None => {
                return [Step::ListenerList, Step::Transport].into_iter().fold(self, |course, step| {
                    course.take(StepTaken::unknown(step, "depends on the listener"))
                });
            }
        };
        let course = if list.admits(self.door.from) {
            let note = note_of_list(list);
            self.take(StepTaken::passed(Step::ListenerList, note))
        } else {
            self.fail(DenialReason::AddressOutsideListenerList)
        };
        match (in_clear, has_tls, course.door.service) {
            (PlaintextCredentials::Allow, ..) => {
                course.take(StepTaken::passed(Step::Transport, "credentials are taken in clear too"))
            }
            (PlaintextCredentials::Refuse, true, Service::Api) => {
                course.take(StepTaken::passed(Step::Transport, "TLS from the first byte"))
            }
            (PlaintextCredentials::Refuse, true, Service::IsProxy) => {
                course.take(StepTaken::unknown(Step::Transport, "passes behind STARTTLS only"))
            }
            (PlaintextCredentials::Refuse, false, _) => course.fail(DenialReason::PlaintextCredential),
        }
    }

    /// All rules about the user and the key, as the doors ask them.
    fn ask_rules(
        self,
        entrance: Entrance<'_>,
        user: &UserRecord,
        key: Option<&ListedKey>,
        now: Timestamp,
        policy: &Policy,
    ) -> Self {
        let at = Circumstances { client_ip: Some(self.door.from), now };
        let findings = policy::findings(entrance, &user_facts(user), at, policy);
        findings.into_iter().fold(self, |course, (rule, broken)| match broken {
            None => course.take(StepTaken::passed(Step::Rule(rule), note_of(rule, user, key))),
            Some(reason) => course.fail(reason),
        })
    }

    fn end(self, credential: &str) -> Trial {
        let answer = |reason| (reason, answer_for(self.door.service, self.means, reason));
        Trial {
            refused: self.refused.map(answer),
            user: self.user,
            key: self.key,
            credential: credential.to_owned(),
            steps: self.steps,
        }
    }
}

/// Why a rule is kept, where that is more than its name.
fn note_of(rule: Rule, user: &UserRecord, key: Option<&ListedKey>) -> String {
    let of_key = |tell: fn(&ListedKey) -> String| key.map(tell).unwrap_or_default();
    match rule {
        Rule::KeyNotExpired => of_key(|key| match key.key.expires_at {
            Some(end) => format!("until {end}"),
            None => String::from("never expires"),
        }),
        Rule::Scope => of_key(|key| key.key.scope.to_string()),
        Rule::AccessPoint => user.access_points.to_string(),
        Rule::CustomerList => note_of_list(&user.customer_allow_list),
        Rule::UserList => note_of_list(&user.allow_list),
        Rule::KeyList => of_key(|key| note_of_list(&key.key.allow_list)),
        Rule::KeyEnabled | Rule::UserActive | Rule::PasswordOn | Rule::ManagementMfa => String::new(),
    }
}

/// Of a list that admits.
fn note_of_list(list: &AllowList) -> String {
    String::from(if list.is_empty() { "empty, narrows nothing" } else { "admits the address" })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::Outcome;
    use super::*;
    use crate::auth::control_plane::tests::plane;
    use crate::auth::{Activation, KeyToMake, PasswordEnd, UserChanges};
    use crate::config::{ClientAddressRules, HttpListener};
    use crate::model::MfaRequirement;

    fn door(service: Service, from: &str) -> TrialDoor<'static> {
        TrialDoor { service, from: ClientIp::new(from.parse().unwrap()), listener: None }
    }

    fn failed(trial: &Trial) -> Vec<&'static str> {
        let failed = trial.steps.iter().filter(|taken| taken.outcome == Outcome::Failed);
        failed.map(|taken| taken.step.as_str()).collect()
    }

    async fn make_key(plane: &ControlPlane, scope: &str, list: &str) -> (KeyId, Secret<String>) {
        let order = KeyToMake {
            allow_list: list.parse().unwrap(),
            ..KeyToMake::new("acme/alex".parse().unwrap(), "CI", scope.parse().unwrap())
        };
        let made = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        (made.keys[0].id, Secret::new(made.keys[0].text.expose().to_owned()))
    }

    #[tokio::test]
    async fn a_key_is_tried_to_its_last_step_and_the_first_failure_decides() {
        let (_folder, plane) = plane().await;
        let (id, text) = make_key(&plane, "isproxy", "203.0.113.0/24").await;
        let trial = plane.try_key(&text, &door(Service::Api, "192.0.2.7")).await.unwrap();
        assert_eq!(trial.key, Some(id));
        assert_eq!(failed(&trial), ["key_scope", "key_list"]);
        assert_eq!(trial.refused, Some((DenialReason::ScopeMissing, "403")));
        let names: Vec<&str> = trial.steps.iter().map(|taken| taken.step.as_str()).collect();
        assert_eq!(
            names,
            [
                "listener_list",
                "transport",
                "key_form",
                "key_look_up",
                "key_enabled",
                "key_not_expired",
                "user_active",
                "key_scope",
                "access_point",
                "customer_list",
                "user_list",
                "key_list",
            ]
        );
        let trial = plane.try_key(&text, &door(Service::IsProxy, "203.0.113.5")).await.unwrap();
        assert_eq!((failed(&trial).len(), trial.refused), (0, None));
        plane.delete_key(id).await.unwrap();
        let trial = plane.try_key(&text, &door(Service::IsProxy, "203.0.113.5")).await.unwrap();
        assert_eq!(trial.refused, Some((DenialReason::UnknownKey, "400 Login failed")));
        assert!(trial.credential.contains("deleted"), "{trial:?}");
        let trial =
            plane.try_key(&Secret::new("lk1_x".to_owned()), &door(Service::Api, "::1")).await.unwrap();
        assert_eq!(trial.refused, Some((DenialReason::MalformedKey, "401")));
    }

    #[tokio::test]
    async fn a_user_is_tried_by_password_and_by_each_key() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        let refused = |trials: &[Trial]| -> Vec<Option<&'static str>> {
            trials.iter().map(|trial| trial.refused.map(|(reason, _)| reason.as_str())).collect()
        };
        let at = door(Service::Api, "192.0.2.7");
        assert_eq!(refused(&plane.try_user(&alex, &at).await.unwrap().0), [None]);
        make_key(&plane, "api", "").await;
        make_key(&plane, "api", "203.0.113.0/24").await;
        let (trials, left_out) = plane.try_user(&alex, &at).await.unwrap();
        assert_eq!(
            (trials[0].refused.map(|(reason, _)| reason.as_str()), left_out),
            (Some("password_off_by_key"), 0)
        );
        // Keys of one moment come in any order.
        let mut of_keys = refused(&trials[1..]);
        of_keys.sort_unstable();
        assert_eq!(of_keys, [None, Some("address_outside_key_list")]);
        let forced = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
        plane.update_user(&alex, &forced).await.unwrap();
        let (trials, _) = plane.try_user(&alex, &at).await.unwrap();
        assert_eq!(trials[0].refused, Some((DenialReason::PasswordOffByRequiredMfa, "401")));
        assert!(trials[1..].iter().any(|trial| trial.refused.is_none()));
        plane.set_activation(&alex, Activation::Deactivated).await.unwrap();
        let (trials, _) = plane.try_user(&alex, &at).await.unwrap();
        assert_eq!(refused(&trials), [Some("user_inactive"); 3]);
        for _ in 0..19 {
            make_key(&plane, "api", "").await;
        }
        let (trials, left_out) = plane.try_user(&alex, &at).await.unwrap();
        assert_eq!((trials.len(), left_out), (21, 1));
    }

    #[tokio::test]
    async fn a_listener_asks_before_any_credential() {
        let (_folder, plane) = plane().await;
        let (_, text) = make_key(&plane, "api", "").await;
        let http = HttpListener {
            tls: None,
            plaintext_credentials: PlaintextCredentials::Refuse,
            client_address: ClientAddressRules::default(),
            allow_list: "203.0.113.0/24".parse().unwrap(),
            routes: Vec::new(),
        };
        let listener = Listener {
            name: "api".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: ListenerProtocol::Http(http),
        };
        let outside = TrialDoor { listener: Some(&listener), ..door(Service::Api, "192.0.2.7") };
        let trial = plane.try_key(&text, &outside).await.unwrap();
        assert_eq!(failed(&trial), ["listener_list", "transport"]);
        assert_eq!(trial.refused, Some((DenialReason::AddressOutsideListenerList, "403")));
        let inside = TrialDoor { listener: Some(&listener), ..door(Service::Api, "203.0.113.9") };
        let trial = plane.try_key(&text, &inside).await.unwrap();
        assert_eq!(trial.refused, Some((DenialReason::PlaintextCredential, "403")));
    }
}
