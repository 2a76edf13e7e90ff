//! A change on somebody's behalf: a transaction, what its actor may do as of that transaction, and its audit events.
//!
//! It cannot be committed without an event, and every use case asks [`Change::require`] before it touches anything, so
//! that neither a page nor an endpoint can forget to. Callers: the use cases beside this file.

use std::ops::{Deref, DerefMut};

use super::access::user_facts;
use super::actor::{Actor, Means, UserActor};
use super::audit::{Event, EventKind};
use super::control_plane::{ControlError, ControlPlane};
use super::decision::DenialReason;
use super::policy::{Circumstances, Entrance, KeyFacts, Verdict, judge};
use super::rights::{Action, Asker, Forbidden, Via, allow};
use crate::crypto::TokenPurpose;
use crate::model::{ApiKeyRecord, Revision, Timestamp};
use crate::store::{Mutation, NoticeRecord, Use, UserRecord};

/// For how long a sign-in counts as fresh (S96), in seconds.
const FRESH_FOR_SECONDS: i64 = 600;
/// A sign-in that lies further ahead than this was made before the clock was set back (S83), in seconds.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// An open change. Dropping it changes nothing.
#[must_use = "a change that is not committed changes nothing"]
#[derive(Debug)]
pub(super) struct Change {
    mutation: Mutation,
    standing: Standing,
    events: Vec<Event>,
    /// The name of what it makes, for whoever sends the same again.
    made: String,
    plane: ControlPlane,
    now: Timestamp,
}

/// Who asks, as the store knows it now.
#[derive(Debug)]
enum Standing {
    /// May do everything.
    Operator,
    /// May do nothing that takes a right.
    Nobody,
    User {
        user: Box<UserRecord>,
        via: Via,
        bound: Bound,
    },
}

/// What a user must do before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Free,
    /// Show a second factor (S28).
    SecondFactor,
    /// Replace a password that somebody else chose.
    NewPassword,
    /// Set MFA up (R25).
    SetUp,
}

impl ControlPlane {
    /// The same control plane, acting for `actor`.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor, once: None, ..self.clone() }
    }

    /// The same control plane, for a form or call with this `token`: sent again, it makes nothing again (S97).
    ///
    /// A token is its actor's own; another's that reads the same is another one.
    #[must_use]
    pub fn once(&self, token: &str) -> Self {
        let text = format!("{} {token}", self.actor.name());
        let once = self.key_ring.console.digest_token(TokenPurpose::Form, &text);
        Self { once: Some(once), ..self.clone() }
    }

    /// Begins a change for the plane's actor; fails if that one is not let in any more, or if the plane's form was sent
    /// before: what it made would only be in its own way.
    pub(super) async fn begin(&self) -> Result<Change, ControlError> {
        let mut mutation = self.store.mutate().await?;
        let standing = match &self.actor {
            Actor::Operator(_) | Actor::Gateway => Standing::Operator,
            Actor::User(asker) => {
                let user = mutation.user_by_id(asker.id).await?;
                let key = match asker.means {
                    Means::ManageKey(id) => mutation.key(id).await?,
                    Means::Console { .. } | Means::HalfSignIn | Means::Link => None,
                };
                self.standing_of(asker, user, key)?
            }
        };
        // Asked before anything else: the first time may have made impossible what was asked for.
        if let Some(once) = self.once
            && let Some(made) = mutation.made_with(once).await?
        {
            return Err(ControlError::MadeBefore(made));
        }
        Ok(Change {
            mutation,
            standing,
            events: Vec::new(),
            made: String::new(),
            plane: self.clone(),
            now: self.clock.now(),
        })
    }

    /// Begins a change that asks for no right, for what anybody may do who once came in: signing out.
    pub(super) async fn begin_unjudged(&self) -> Result<Change, ControlError> {
        let mutation = self.store.mutate().await?;
        let (standing, now) = (Standing::Nobody, self.clock.now());
        Ok(Change { mutation, standing, events: Vec::new(), made: String::new(), plane: self.clone(), now })
    }

    /// Writes an event into the audit trail that no change of the store goes with, such as one of the gateway's own.
    pub async fn record(&self, event: Event) -> Result<Revision, ControlError> {
        self.begin().await?.commit(event).await
    }

    /// Fails unless the plane's actor may do `action` now: for pages with a form, so that nobody fills one in vain.
    pub async fn may(&self, action: Action<'_>) -> Result<(), ControlError> {
        self.require(action).await
    }

    /// Fails unless the plane's actor may do `action` now. For looks; a change asks [`Change::require`].
    pub(super) async fn require(&self, action: Action<'_>) -> Result<(), ControlError> {
        let Actor::User(asker) = &self.actor else { return Ok(()) };
        let user = self.store.user_by_id(asker.id).await?;
        let key = match asker.means {
            Means::ManageKey(id) => self.store.key(id).await?,
            Means::Console { .. } | Means::HalfSignIn | Means::Link => None,
        };
        self.standing_of(asker, user, key)?.require(action)
    }

    fn standing_of(
        &self,
        asker: &UserActor,
        user: Option<UserRecord>,
        key: Option<ApiKeyRecord>,
    ) -> Result<Standing, ControlError> {
        let gone = ControlError::Forbidden(Forbidden::Asker(DenialReason::UserInactive));
        let user = user.ok_or(gone)?;
        let now = self.clock.now();
        let at = Circumstances { client_ip: Some(asker.client_ip), now };
        let facts = user_facts(&user);
        let (verdict, via) = match asker.means {
            Means::Console { authenticated_at } => {
                let age = now.unix_seconds().saturating_sub(authenticated_at.unix_seconds());
                let is_fresh = (-CLOCK_TOLERANCE_SECONDS..=FRESH_FOR_SECONDS).contains(&age);
                let via = if is_fresh { Via::FreshSession } else { Via::Session };
                (judge(Entrance::Console, &facts, at, &self.policy), via)
            }
            Means::HalfSignIn => (judge(Entrance::Console, &facts, at, &self.policy), Via::Session),
            Means::Link => (judge(Entrance::Console, &facts, at, &self.policy), Via::Link),
            Means::ManageKey(_) => {
                let reason = DenialReason::UnknownKey;
                let key = key
                    .filter(|key| key.user == user.id)
                    .ok_or(ControlError::Forbidden(Forbidden::Asker(reason)))?;
                let key = KeyFacts {
                    enabled: key.enabled,
                    expires_at: key.expires_at,
                    scope: key.scope,
                    list: &key.allow_list,
                };
                (judge(Entrance::ManagementKey(&key), &facts, at, &self.policy), Via::ManageKey)
            }
        };
        let bound = match verdict {
            Verdict::Refused(DenialReason::MfaNotSetUp) => {
                return Err(ControlError::Forbidden(Forbidden::MfaSetUp));
            }
            Verdict::Refused(reason) => return Err(ControlError::Forbidden(Forbidden::Asker(reason))),
            _ if asker.means == Means::HalfSignIn => Bound::SecondFactor,
            _ if user.password_ends_at.is_some() && matches!(via, Via::FreshSession | Via::Session) => {
                Bound::NewPassword
            }
            Verdict::SetUpPageOnly => Bound::SetUp,
            // That the second factor was shown is what makes a session, and the session's matter.
            Verdict::Allowed | Verdict::AllowedWithFactor => Bound::Free,
        };
        Ok(Standing::User { user: Box::new(user), via, bound })
    }
}

impl Standing {
    fn require(&self, action: Action<'_>) -> Result<(), ControlError> {
        let (user, via, bound) = match self {
            Self::Operator => return Ok(()),
            Self::Nobody => return Err(ControlError::Forbidden(Forbidden::OnlyOneself)),
            Self::User { user, via, bound } => (user, via, *bound),
        };
        match (bound, action) {
            (Bound::SecondFactor, _) => return Err(ControlError::Forbidden(Forbidden::SecondFactor)),
            (Bound::NewPassword, action) if !matches!(action, Action::OwnPassword(_)) => {
                return Err(ControlError::Forbidden(Forbidden::NewPassword));
            }
            // A password that a link or a reset asks for may be chosen before MFA is set up.
            (Bound::SetUp, action) if !matches!(action, Action::OwnMfa(_) | Action::OwnPassword(_)) => {
                return Err(ControlError::Forbidden(Forbidden::MfaSetUp));
            }
            _ => {}
        }
        allow(Asker { user, via: *via }, action).map_err(ControlError::Forbidden)
    }
}

impl Change {
    /// Fails unless the actor may do `action` now.
    pub(super) fn require(&self, action: Action<'_>) -> Result<(), ControlError> {
        self.standing.require(action)
    }

    /// The moment at which the change began.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Says what the change makes, by a name that is no secret.
    pub(super) fn makes(&mut self, name: &impl ToString) {
        self.made = name.to_string();
    }

    /// Notes an event beside that of [`Change::commit`], in the order of noting.
    pub(super) fn note(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Makes all durable, with `event` in the audit trail; returns the revision at which every gateway has it.
    pub(super) async fn commit(mut self, event: Event) -> Result<Revision, ControlError> {
        self.events.push(event);
        self.commit_noted().await
    }

    /// Makes all durable with the events that were noted.
    pub(super) async fn commit_noted(mut self) -> Result<Revision, ControlError> {
        if let Some(once) = self.plane.once
            && let Use::Again(made) = self.mutation.use_token(once, &self.made, self.now).await?
        {
            return Err(ControlError::MadeBefore(made));
        }
        let entries: Vec<_> =
            self.events.iter().map(|event| event.entry(&self.plane.actor, self.now)).collect();
        for (event, entry) in self.events.iter().zip(&entries) {
            // That most of a quota is used may happen every day, and its pages show it.
            let is_for_sign_in = event.kind() != EventKind::QuotaNearlyUsed;
            if let (Some(user), Some(_), true) =
                (entry.subject_id, event.kind().security_notice(), is_for_sign_in)
            {
                let (event, client_ip) = (entry.event.clone(), entry.client_ip.clone());
                self.mutation.insert_notice(user, &NoticeRecord { at: self.now, event, client_ip }).await?;
            }
        }
        self.mutation.append_audit(&entries, &self.plane.key_ring.audit).await?;
        Ok(self.mutation.commit().await?)
    }
}

impl Deref for Change {
    type Target = Mutation;

    fn deref(&self) -> &Mutation {
        &self.mutation
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Mutation {
        &mut self.mutation
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{Activation, UserChanges, UserToMake};
    use super::*;
    use crate::model::{ClientIp, MfaRequirement, UserName};
    use crate::store::AuditFilter;

    async fn actor(plane: &ControlPlane, name: &str, means: Means) -> ControlPlane {
        let name: UserName = name.parse().unwrap();
        let id = plane.user(&name).await.unwrap().id;
        let client_ip = ClientIp::new("192.0.2.7".parse().unwrap());
        plane.acting_as(Actor::User(UserActor { id, name, means, client_ip }))
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Forbidden {
        match result {
            Err(ControlError::Forbidden(forbidden)) => forbidden,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn r4_a_right_counts_from_the_next_action_on_and_no_longer_than_it_is_held() {
        let (_folder, plane) = plane().await;
        let admin = actor(&plane, "acme/admin", Means::Console { authenticated_at: NOW }).await;
        let alex = actor(&plane, "acme/alex", Means::Console { authenticated_at: NOW }).await;
        let new = || UserToMake::new("acme/newcomer".parse().unwrap());
        let told = refusal(alex.create_user(new()).await);
        assert_eq!(told, Forbidden::Permission(crate::model::Permission::ManageUser));
        let grant = |administrator| UserChanges { administrator: Some(administrator), ..Default::default() };
        let name = "acme/alex".parse().unwrap();
        admin.update_user(&name, &grant(true)).await.unwrap();
        alex.create_user(new()).await.unwrap();
        admin.update_user(&name, &grant(false)).await.unwrap();
        assert!(matches!(refusal(alex.create_user(new()).await), Forbidden::Permission(_)));
    }

    #[tokio::test]
    async fn s96_after_ten_minutes_a_change_asks_who_it_is() {
        let (_folder, plane) = plane().await;
        let admin = actor(&plane, "acme/admin", Means::Console { authenticated_at: NOW }).await;
        plane.clock.set(NOW.plus_seconds(600));
        admin.create_user(UserToMake::new("acme/one".parse().unwrap())).await.unwrap();
        plane.clock.set(NOW.plus_seconds(601));
        let told = refusal(admin.create_user(UserToMake::new("acme/two".parse().unwrap())).await);
        assert_eq!(told, Forbidden::StaleAuthentication);
        assert_eq!(admin.users(Some(&"acme".parse().unwrap())).await.unwrap().len(), 3, "looks go on");
    }

    #[tokio::test]
    async fn r25_and_r60_who_must_set_mfa_up_or_is_deactivated_changes_nothing() {
        let (_folder, plane) = plane().await;
        let second = UserToMake { administrator: true, ..UserToMake::new("acme/second".parse().unwrap()) };
        plane.create_user(second).await.unwrap();
        let admin = actor(&plane, "acme/admin", Means::Console { authenticated_at: NOW }).await;
        let name = "acme/admin".parse().unwrap();
        let force = UserChanges { mfa: Some(MfaRequirement::Required), ..Default::default() };
        plane.update_user(&name, &force).await.unwrap();
        let alex = "acme/alex".parse().unwrap();
        assert_eq!(refusal(admin.set_activation(&alex, Activation::Deactivated).await), Forbidden::MfaSetUp);
        assert_eq!(refusal(admin.users(Some(&"acme".parse().unwrap())).await), Forbidden::MfaSetUp);
        plane.set_activation(&name, Activation::Deactivated).await.unwrap();
        let told = refusal(admin.user(&alex).await);
        assert_eq!(told, Forbidden::Asker(DenialReason::UserInactive));
    }

    #[tokio::test]
    async fn s100_no_change_is_made_without_a_row_in_the_audit_trail() {
        let (_folder, plane) = plane().await;
        let change = plane.begin().await.unwrap();
        drop(change);
        let admin = actor(&plane, "acme/admin", Means::Console { authenticated_at: NOW }).await;
        admin.create_user(UserToMake::new("acme/one".parse().unwrap())).await.unwrap();
        let rows = plane.store.oldest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
        let last = rows.last().unwrap();
        assert_eq!(
            (last.entry.actor.as_str(), last.entry.event.as_str(), last.entry.subject.as_str()),
            ("acme/admin", "user.created", "acme/one")
        );
        assert_eq!((last.entry.client_ip.as_str(), last.entry.entrance.as_str()), ("192.0.2.7", "console"));
        assert_eq!(last.sequence, i64::try_from(rows.len()).unwrap());
    }
}
