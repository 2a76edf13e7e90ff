//! Making, changing and deleting users, and whether their password opens anything.
//!
//! One active administrator of a customer always remains (PROTOCOL section 3, point 3).

mod making;

pub use self::making::{FirstPassword, MadeUser, UserToMake};
use super::actor::Actor;
use super::allow_lists::widening;
use super::audit::{Event, EventKind};
use super::change::Change;
use super::control_plane::{ControlError, ControlPlane, check_language, check_text, require_user};
use super::passwords::{OwnNames, check_password};
use super::rights::{Action, Forbidden};
use crate::crypto::TokenPurpose;
use crate::model::{
    AccessPoint, AccessPoints, AllowList, CustomerHandle, MfaRequirement, MfaState, Permissions, Revision,
    Secret, Timestamp, TokenDigest, UserName,
};
use crate::store::UserRecord;

/// A password that an administrator chose for somebody else must be replaced within this (PROTOCOL section 3, point 4).
const CHOSEN_PASSWORD_LASTS_SECONDS: i64 = 86_400;

/// What to change of a user; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChanges {
    /// The person's name.
    pub full_name: Option<String>,
    /// The person's address.
    pub email: Option<String>,
    /// The person's language.
    pub language: Option<String>,
    /// Makes an administrator, or takes that back.
    pub administrator: Option<bool>,
    /// All permissions that are to be held from now on.
    pub permissions: Option<Permissions>,
    /// All entrances that are to be open from now on.
    pub access_points: Option<AccessPoints>,
    /// Demands MFA, or stops demanding it.
    pub mfa: Option<MfaRequirement>,
    /// The whole list of networks that the user may come from.
    pub allow_list: Option<AllowList>,
    /// What [`ControlPlane::version_of`] said when the change was thought of: it is made only while that still holds.
    pub as_shown: Option<String>,
}

/// Is the user let in at all?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// As its rights say.
    Active,
    /// Nowhere, with nothing (R60).
    Deactivated,
}

/// What went with a deleted user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedUser {
    /// Its keys.
    pub keys: usize,
    /// When no gateway lets any of it in.
    pub revision: Revision,
}

/// Where a user stands with MFA.
pub fn mfa_state(user: &UserRecord) -> MfaState {
    MfaState::derive(user.mfa_active, user.mfa, user.customer_mfa)
}

impl ControlPlane {
    /// When a password that the present actor chooses for somebody else ends: within a day, unless the operator chose it
    /// or the user has no console to replace it in (PROTOCOL section 3, point 4).
    fn end_of_a_chosen_password(&self, access_points: AccessPoints) -> Option<Timestamp> {
        let lasts = matches!(self.actor, Actor::Operator(_)) || !access_points.holds(AccessPoint::Console);
        (!lasts).then(|| self.clock.now().plus_seconds(CHOSEN_PASSWORD_LASTS_SECONDS))
    }

    /// Changes a user; what it would no longer open ends at once.
    pub async fn update_user(
        &self,
        name: &UserName,
        changes: &UserChanges,
    ) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let user = require_user(&mut change, name).await?;
        if let Some(shown) = &changes.as_shown {
            change.require(Action::ViewUser(&user))?;
            if *shown != self.version_of(&user) {
                return Err(ControlError::ChangedMeanwhile);
            }
        }
        let mut edited = user.clone();
        edit_profile(&mut edited, changes)?;
        edited.access_points = changes.access_points.unwrap_or(user.access_points);
        edited.administrator = changes.administrator.unwrap_or(user.administrator);
        edited.permissions = changes.permissions.unwrap_or(user.permissions);
        edited.mfa = changes.mfa.unwrap_or(user.mfa);
        if changes.mfa == Some(MfaRequirement::Optional) && user.customer_mfa == MfaRequirement::Required {
            return Err(ControlError::MfaRequiredByCustomer(user.name));
        }
        if let Some(allow_list) = &changes.allow_list {
            edited.allow_list = allow_list.clone();
        }
        require_edits(&mut change, &user, &edited).await?;
        change.update_user(&edited).await?;
        change.commit_noted().await
    }

    /// Stands for all that can be edited of `user`: a form says it again, so that a change of somebody else in between
    /// is noticed.
    pub fn version_of(&self, user: &UserRecord) -> String {
        use base64::Engine;
        let text = format!(
            "{:?}",
            (
                (&user.full_name, &user.email, &user.language),
                (user.administrator, user.permissions, user.access_points, user.active),
                (user.mfa, user.customer_mfa, user.allow_list.to_string()),
            )
        );
        let TokenDigest(digest) = self.key_ring.console.digest_token(TokenPurpose::Form, &text);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
    }

    /// Sets a user's password; whatever the old one opened ends. Chosen by an administrator it must be replaced within a
    /// day, chosen by the operator it lasts.
    pub async fn set_password(
        &self,
        name: &UserName,
        password: Secret<String>,
    ) -> Result<Revision, ControlError> {
        let user = self.user(name).await?;
        self.require(Action::SetPassword(&user)).await?;
        check_password(&password, mfa_state(&user), &OwnNames::of(&user))?;
        // Hashed before the change begins: nobody should wait for the writer's lock meanwhile.
        let hash = self.hash_new_password(&password, None).await?;
        let mut change = self.begin().await?;
        let user = require_user(&mut change, name).await?;
        change.require(Action::SetPassword(&user))?;
        // By the rule that counts now: MFA may have gone meanwhile.
        check_password(&password, mfa_state(&user), &OwnNames::of(&user))?;
        let ends_at = self.end_of_a_chosen_password(user.access_points);
        change.set_password(user.id, &hash, ends_at).await?;
        change.commit(Event::new(EventKind::PasswordChanged).about(&user)).await
    }

    /// Takes back that a key has ended the password; only once no key is left (PROTOCOL section 3, point 1).
    pub async fn allow_password(&self, name: &UserName) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let mut user = require_user(&mut change, name).await?;
        change.require(Action::AllowPassword(&user))?;
        let keys = change.keys_of(user.id).await?.len();
        if keys > 0 {
            return Err(ControlError::KeysLeft { user: user.name, keys });
        }
        user.password_off_by_key = false;
        change.update_user(&user).await?;
        change.commit(Event::new(EventKind::PasswordAllowed).about(&user)).await
    }

    /// Deactivates or reactivates a user (R60).
    pub async fn set_activation(
        &self,
        name: &UserName,
        activation: Activation,
    ) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let mut user = require_user(&mut change, name).await?;
        change.require(Action::SetActivation(&user))?;
        let kind = match activation {
            Activation::Active => EventKind::UserReactivated,
            Activation::Deactivated => {
                require_another_administrator(&mut change, &user).await?;
                change.delete_link_of(user.id).await?;
                change.end_console_sessions(user.id, None).await?;
                EventKind::UserDeactivated
            }
        };
        user.active = activation == Activation::Active;
        change.update_user(&user).await?;
        change.commit(Event::new(kind).about(&user)).await
    }

    /// Deletes a user with all its keys.
    pub async fn delete_user(&self, name: &UserName) -> Result<DeletedUser, ControlError> {
        let mut change = self.begin().await?;
        let user = require_user(&mut change, name).await?;
        change.require(Action::DeleteUser(&user))?;
        require_another_administrator(&mut change, &user).await?;
        let keys = change.keys_of(user.id).await?.len();
        let now = change.now();
        change.delete_user(user.id, now).await?;
        let event = Event::new(EventKind::UserDeleted).about(&user).with("keys", keys);
        Ok(DeletedUser { keys, revision: change.commit(event).await? })
    }

    /// A user. One of another customer is as unknown as one that does not exist.
    pub async fn user(&self, name: &UserName) -> Result<UserRecord, ControlError> {
        let unknown = || ControlError::UnknownUser(name.clone());
        let user = self.store.user(name).await?.ok_or_else(unknown)?;
        match self.require(Action::ViewUser(&user)).await {
            Err(ControlError::Forbidden(Forbidden::Unknown)) => Err(unknown()),
            other => other.map(|()| user),
        }
    }

    /// A customer's users, or everybody's, by name.
    pub async fn users(&self, customer: Option<&CustomerHandle>) -> Result<Vec<UserRecord>, ControlError> {
        if let Some(handle) = customer {
            return Ok(self.customer(handle).await?.1);
        }
        self.require(Action::Operate).await?;
        Ok(self.store.users().await?)
    }
}

/// Asks for the right to each difference between `user` and `edited`, and notes it.
async fn require_edits(
    change: &mut Change,
    user: &UserRecord,
    edited: &UserRecord,
) -> Result<(), ControlError> {
    let profile = |user: &UserRecord| (user.full_name.clone(), user.email.clone(), user.language.clone());
    let changes_profile = profile(user) != profile(edited);
    if changes_profile {
        change.require(Action::EditProfile(user))?;
    }
    let changes_access = edited.access_points != user.access_points;
    if changes_access {
        change.require(Action::EditAccess(user))?;
    }
    if (edited.administrator, edited.permissions) != (user.administrator, user.permissions) {
        change.require(Action::SetRights(user))?;
        if !edited.administrator {
            require_another_administrator(change, user).await?;
        }
        change.note(
            Event::new(EventKind::PermissionsChanged)
                .about(user)
                .with("administrator", edited.administrator)
                .with("permissions", edited.permissions),
        );
    }
    if edited.mfa != user.mfa {
        change.require(Action::RequireMfa(user))?;
        change.note(Event::new(mfa_event(edited.mfa)).about(user));
    }
    if edited.allow_list != user.allow_list {
        put_allow_list(change, user, &edited.allow_list).map(|event| change.note(event))?;
    }
    if changes_profile || changes_access {
        change.note(Event::new(EventKind::UserUpdated).about(user).with("access", edited.access_points));
    }
    Ok(())
}

/// Fails unless the actor may put `list` in the place of that of `user`; answers what the trail tells of it.
fn put_allow_list(change: &Change, user: &UserRecord, list: &AllowList) -> Result<Event, ControlError> {
    change.require(Action::SetAllowList(user, widening(&user.allow_list, list)))?;
    let event = Event::new(EventKind::AllowListChanged).about(user);
    Ok(event.with("before", &user.allow_list).with("after", list))
}

/// Puts the personal data of `changes` into `user`.
fn edit_profile(user: &mut UserRecord, changes: &UserChanges) -> Result<(), ControlError> {
    if let Some(full_name) = &changes.full_name {
        check_text("the name", full_name)?;
        user.full_name.clone_from(full_name);
    }
    if let Some(email) = &changes.email {
        check_text("the e-mail address", email)?;
        user.email.clone_from(email);
    }
    if let Some(language) = &changes.language {
        check_language(language)?;
        user.language.clone_from(language);
    }
    Ok(())
}

const fn mfa_event(mfa: MfaRequirement) -> EventKind {
    match mfa {
        MfaRequirement::Required => EventKind::MfaRequired,
        MfaRequirement::Optional => EventKind::MfaMadeOptional,
    }
}

/// Fails if `user` is the only active administrator of the customer.
async fn require_another_administrator(change: &mut Change, user: &UserRecord) -> Result<(), ControlError> {
    if !(user.administrator && user.active) {
        return Ok(());
    }
    let users = change.users_of(user.customer).await?;
    if users.iter().any(|other| other.id != user.id && other.administrator && other.active) {
        Ok(())
    } else {
        Err(ControlError::LastAdministrator(user.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::{password, plane};
    use super::super::{CustomerToMake, KeyToMake, Means, PasswordEnd, UserActor};
    use super::*;
    use crate::crypto::HashingMemory;
    use crate::model::{ClientIp, Permission};

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    async fn make_key(plane: &ControlPlane, user: &str) -> crate::model::KeyId {
        let order = KeyToMake::new(name(user), "test", "api".parse().unwrap());
        plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id
    }

    #[tokio::test]
    async fn a_user_is_made_once_and_for_a_customer_that_exists() {
        let (_folder, plane) = plane().await;
        let again = plane.create_user(UserToMake::new(name("acme/alex"))).await.unwrap_err();
        assert_eq!(again.to_string(), "user `acme/alex` exists already");
        let lost = plane.create_user(UserToMake::new(name("nobody/alex"))).await.unwrap_err();
        assert_eq!(lost.to_string(), "there is no customer `nobody`");
        let names: Vec<_> =
            plane.users(None).await.unwrap().into_iter().map(|user| user.name.to_string()).collect();
        assert_eq!(names, ["acme/admin", "acme/alex"]);
    }

    #[tokio::test]
    async fn one_active_administrator_always_remains() {
        let (_folder, plane) = plane().await;
        let admin = name("acme/admin");
        let demote = UserChanges { administrator: Some(false), ..UserChanges::default() };
        let refused = [
            plane.delete_user(&admin).await.map(|_| ()),
            plane.set_activation(&admin, Activation::Deactivated).await.map(|_| ()),
            plane.update_user(&admin, &demote).await.map(|_| ()),
        ];
        for result in refused {
            assert!(matches!(result, Err(ControlError::LastAdministrator(last)) if last == admin));
        }
        let promote = UserChanges { administrator: Some(true), ..UserChanges::default() };
        plane.update_user(&name("acme/alex"), &promote).await.unwrap();
        plane.set_activation(&admin, Activation::Deactivated).await.unwrap();
        assert!(plane.delete_user(&name("acme/alex")).await.is_err(), "the other one is deactivated");
        plane.delete_user(&admin).await.unwrap();
    }

    #[tokio::test]
    async fn r21_the_password_comes_back_only_when_allowed_and_no_key_is_left() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let key = make_key(&plane, "acme/alex").await;
        let error = plane.allow_password(&alex).await.unwrap_err();
        assert!(matches!(error, ControlError::KeysLeft { keys: 1, .. }), "{error}");
        plane.delete_key(key).await.unwrap();
        assert!(plane.user(&alex).await.unwrap().password_off_by_key, "the mark stays");
        plane.allow_password(&alex).await.unwrap();
        assert!(!plane.user(&alex).await.unwrap().password_off_by_key);
        make_key(&plane, "acme/alex").await;
        assert!(plane.user(&alex).await.unwrap().password_off_by_key, "the next key sets it again");
    }

    #[tokio::test]
    async fn mfa_is_forced_and_relaxed_for_one_user_but_not_below_the_customer() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let set = |mfa| UserChanges { mfa: Some(mfa), ..UserChanges::default() };
        plane.update_user(&alex, &set(MfaRequirement::Required)).await.unwrap();
        assert_eq!(mfa_state(&plane.user(&alex).await.unwrap()), MfaState::RequiredNotSetUp);
        plane.update_user(&alex, &set(MfaRequirement::Optional)).await.unwrap();
        assert_eq!(mfa_state(&plane.user(&alex).await.unwrap()), MfaState::Off);
        plane.create_customer(CustomerToMake::new("beta".parse().unwrap())).await.unwrap();
        let refused = plane.update_user(&name("beta/admin"), &set(MfaRequirement::Optional)).await;
        assert!(matches!(refused, Err(ControlError::MfaRequiredByCustomer(_))));
    }

    #[tokio::test]
    async fn what_is_not_named_stays_as_it_is() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let changes = UserChanges {
            email: Some("alex@example.com".into()),
            permissions: Some([crate::model::Permission::ViewAudit].into_iter().collect()),
            access_points: Some("api".parse().unwrap()),
            ..UserChanges::default()
        };
        plane.update_user(&alex, &changes).await.unwrap();
        plane
            .update_user(&alex, &UserChanges { full_name: Some("Alex".into()), ..UserChanges::default() })
            .await
            .unwrap();
        let user = plane.user(&alex).await.unwrap();
        assert_eq!((user.full_name.as_str(), user.email.as_str()), ("Alex", "alex@example.com"));
        assert_eq!(user.permissions.to_string(), "VIEW_AUDIT");
        assert_eq!(user.access_points.to_string(), "api");
        assert!(user.active && !user.administrator);
    }

    async fn by(plane: &ControlPlane, who: &str) -> ControlPlane {
        let (name, client_ip) = (name(who), ClientIp::new("192.0.2.7".parse().unwrap()));
        let id = plane.user(&name).await.unwrap().id;
        let means = Means::Console { authenticated_at: plane.clock.now() };
        plane.acting_as(Actor::User(UserActor { id, name, means, client_ip }))
    }

    #[tokio::test]
    async fn what_was_changed_since_it_was_shown_is_not_changed_unseen() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let shown = plane.version_of(&plane.user(&alex).await.unwrap());
        let changes = |full_name: &str, as_shown: &str| UserChanges {
            full_name: Some(full_name.into()),
            as_shown: Some(as_shown.into()),
            ..UserChanges::default()
        };
        plane.update_user(&alex, &changes("Alex", &shown)).await.unwrap();
        let told = plane.update_user(&alex, &changes("Alexander", &shown)).await.unwrap_err();
        assert!(matches!(told, ControlError::ChangedMeanwhile), "{told:?}");
        let now = plane.user(&alex).await.unwrap();
        assert_eq!(now.full_name, "Alex");
        plane.update_user(&alex, &changes("Alexander", &plane.version_of(&now))).await.unwrap();
    }

    #[tokio::test]
    async fn r61_a_list_comes_with_its_user_and_takes_its_own_right() {
        let (_folder, plane) = plane().await;
        let list: AllowList = "192.0.2.0/24".parse().unwrap();
        let permissions = |one| Some([one].into_iter().collect::<Permissions>());
        let alex = name("acme/alex");
        let manages =
            UserChanges { permissions: permissions(Permission::ManageUser), ..UserChanges::default() };
        plane.update_user(&alex, &manages).await.unwrap();
        let by_alex = by(&plane, "acme/alex").await;
        let order = || UserToMake { allow_list: list.clone(), ..UserToMake::new(name("acme/kim")) };
        let told = by_alex.create_user(order()).await.unwrap_err();
        let lacking = Forbidden::Permission(Permission::ManageIpWhitelist);
        assert!(matches!(told, ControlError::Forbidden(told) if told == lacking), "{told:?}");
        by(&plane, "acme/admin").await.create_user(order()).await.unwrap();
        let kim = plane.user(&name("acme/kim")).await.unwrap();
        assert_eq!(kim.allow_list, list);
        let widened = UserChanges { allow_list: Some(AllowList::default()), ..UserChanges::default() };
        assert!(by_alex.update_user(&kim.name, &widened).await.is_err());
        plane.update_user(&kim.name, &widened).await.unwrap();
        assert!(plane.user(&kim.name).await.unwrap().allow_list.is_empty());
    }

    #[tokio::test]
    async fn s91_only_administrators_type_the_password_of_somebody_else() {
        let (_folder, plane) = plane().await;
        let permissions: Permissions = [Permission::ManageUser].into_iter().collect();
        let changes = UserChanges { permissions: Some(permissions), ..UserChanges::default() };
        plane.update_user(&name("acme/alex"), &changes).await.unwrap();
        let by_alex = by(&plane, "acme/alex").await;
        let order = |password| UserToMake { password, ..UserToMake::new(name("acme/kim")) };
        let told = by_alex.create_user(order(FirstPassword::Chosen(password()))).await.unwrap_err();
        assert!(matches!(told, ControlError::Forbidden(Forbidden::Administrator)), "{told:?}");
        assert!(plane.user(&name("acme/kim")).await.is_err(), "nothing was made");
        let once = by_alex.once("form");
        assert!(once.create_user(order(FirstPassword::Link)).await.unwrap().link.is_some());
        let again = once.create_user(order(FirstPassword::Link)).await.unwrap_err();
        assert!(matches!(&again, ControlError::MadeBefore(made) if made == "acme/kim"), "{again:?}");
    }

    #[tokio::test]
    async fn a_set_password_is_checked_by_the_users_own_rule_and_outdates_the_old_one() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let before = plane.user(&alex).await.unwrap();
        assert!(plane.set_password(&alex, Secret::new("eight ch".into())).await.is_err());
        let force = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
        plane.update_user(&alex, &force).await.unwrap();
        plane.set_password(&alex, Secret::new("eight ch".into())).await.unwrap();
        let after = plane.user(&alex).await.unwrap();
        assert!(after.password_version > before.password_version);
        let hash = after.password_hash.unwrap();
        assert!(HashingMemory::default().verify(&Secret::new("eight ch".into()), &hash));
        assert!(!HashingMemory::default().verify(&password(), &hash));
    }

    #[tokio::test]
    async fn r60_a_deactivated_user_keeps_all_but_the_way_in() {
        let (_folder, plane) = plane().await;
        let alex = name("acme/alex");
        let key = make_key(&plane, "acme/alex").await;
        plane.set_activation(&alex, Activation::Deactivated).await.unwrap();
        assert!(!plane.user(&alex).await.unwrap().active);
        plane.set_activation(&alex, Activation::Active).await.unwrap();
        assert!(plane.user(&alex).await.unwrap().active);
        assert!(plane.store.key(key).await.unwrap().is_some());
        assert_eq!(plane.delete_user(&alex).await.unwrap().keys, 1);
        assert!(plane.store.key(key).await.unwrap().is_none());
    }
}
