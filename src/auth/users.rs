//! Making, changing and deleting users, and whether their password opens anything.
//!
//! One active administrator of a customer always remains (PROTOCOL section 3, point 3).

use super::actor::Actor;
use super::audit::{Event, EventKind};
use super::change::Change;
use super::control_plane::{
    ControlError, ControlPlane, check_language, check_text, require_customer, require_user,
};
use super::passwords::{OwnNames, check_password, hash_off_thread};
use super::rights::{Action, Forbidden, NewRights};
use crate::model::{
    AccessPoint, AccessPoints, CustomerHandle, CustomerId, LinkPurpose, MfaRequirement, MfaState,
    Permissions, Revision, Secret, Timestamp, UserId, UserName,
};
use crate::store::{NewUser, StoreError, UserRecord};

/// A password that an administrator chose for somebody else must be replaced within this (PROTOCOL section 3, point 4).
const CHOSEN_PASSWORD_LASTS_SECONDS: i64 = 86_400;

/// What is wanted of a new user.
#[derive(Debug)]
pub struct UserToMake {
    /// Its name in full; the customer must exist.
    pub name: UserName,
    /// The person's name; may be empty.
    pub full_name: String,
    /// The person's address; may be empty.
    pub email: String,
    /// The language that the person reads, as a BCP 47 tag.
    pub language: String,
    /// Holds every permission.
    pub administrator: bool,
    /// Permissions of a user who is no administrator.
    pub permissions: Permissions,
    /// Entrances that are open.
    pub access_points: AccessPoints,
    /// Demands MFA of this user.
    pub mfa: MfaRequirement,
    /// How it comes to a password.
    pub password: FirstPassword,
}

/// How a new user comes to a password.
#[derive(Debug)]
pub enum FirstPassword {
    /// Not at all, for now.
    None,
    /// By a one-time link, which is given out with the user.
    Link,
    /// Somebody else has chosen it.
    Chosen(Secret<String>),
}

/// A user that was made.
#[derive(Debug)]
pub struct MadeUser {
    /// The token of its one-time link, where one was wanted; shown once.
    pub link: Option<Secret<String>>,
    /// When every gateway has it.
    pub revision: Revision,
}

impl UserToMake {
    /// A user without rights, with every entrance open and no password.
    pub fn new(name: UserName) -> Self {
        Self {
            name,
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            mfa: MfaRequirement::Optional,
            password: FirstPassword::None,
        }
    }

    fn rights(&self) -> NewRights {
        let holds = self.administrator || self.permissions != Permissions::default();
        if holds { NewRights::Some } else { NewRights::None }
    }

    /// What whoever makes it must be allowed.
    fn actions(&self, customer: CustomerId) -> Vec<Action<'static>> {
        let plain = matches!(self.password, FirstPassword::None) && self.mfa == MfaRequirement::Optional;
        let chooses = (!plain).then_some(Action::ChooseFirstSignIn(customer));
        std::iter::once(Action::CreateUser(customer, self.rights())).chain(chooses).collect()
    }
}

/// What the audit trail tells of a user that was made.
fn created_event(new: &NewUser, id: UserId, name: &UserName) -> Event {
    Event::new(EventKind::UserCreated)
        .about_user(new.customer, id, name.to_string())
        .with("administrator", new.administrator)
        .with("permissions", new.permissions)
        .with("access", new.access_points)
        .with("mfa", new.mfa.as_str())
}

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
    /// Makes a user. Who makes one also gets its first link (PROTOCOL section 3, point 3).
    pub async fn create_user(&self, order: UserToMake) -> Result<MadeUser, ControlError> {
        check_text("the name", &order.full_name)?;
        check_text("the e-mail address", &order.email)?;
        check_language(&order.language)?;
        let record = self.customer_record(&order.name.customer).await?;
        let actions = order.actions(record.id);
        // Asked before the password is hashed, and again in the change.
        for action in &actions {
            self.require(*action).await?;
        }
        let gives_link = matches!(order.password, FirstPassword::Link);
        let password_hash = match order.password {
            FirstPassword::Chosen(password) => {
                let names = OwnNames::new(&order.name, &order.full_name, &order.email);
                check_password(&password, MfaState::derive(false, order.mfa, record.mfa), &names)?;
                Some(hash_off_thread(password).await?)
            }
            FirstPassword::None | FirstPassword::Link => None,
        };
        let mut change = self.begin().await?;
        let customer = require_customer(&mut change, &order.name.customer).await?.id;
        for action in actions {
            change.require(action)?;
        }
        let new = NewUser {
            customer,
            login: order.name.login.clone(),
            full_name: order.full_name,
            email: order.email,
            language: order.language,
            administrator: order.administrator,
            permissions: order.permissions,
            access_points: order.access_points,
            password_ends_at: password_hash
                .is_some()
                .then(|| self.end_of_a_chosen_password(order.access_points))
                .flatten(),
            password_hash,
            mfa: order.mfa,
            created_at: change.now(),
        };
        let id = change.insert_user(&new).await.map_err(|error| match error {
            StoreError::Exists(_) => ControlError::UserExists(order.name.clone()),
            other => other.into(),
        })?;
        change.makes(&order.name);
        change.note(created_event(&new, id, &order.name));
        let link = if gives_link {
            let user = require_user(&mut change, &order.name).await?;
            Some(self.put_link(&mut change, &user, LinkPurpose::Password).await?)
        } else {
            None
        };
        Ok(MadeUser { link, revision: change.commit_noted().await? })
    }

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
        let mut edited = user.clone();
        let changes_profile = edit_profile(&mut edited, changes)?;
        if changes_profile {
            change.require(Action::EditProfile(&user))?;
        }
        edited.access_points = changes.access_points.unwrap_or(user.access_points);
        edited.administrator = changes.administrator.unwrap_or(user.administrator);
        edited.permissions = changes.permissions.unwrap_or(user.permissions);
        edited.mfa = changes.mfa.unwrap_or(user.mfa);
        let changes_access = edited.access_points != user.access_points;
        if changes_access {
            change.require(Action::EditAccess(&user))?;
        }
        if (edited.administrator, edited.permissions) != (user.administrator, user.permissions) {
            change.require(Action::SetRights(&user))?;
            if !edited.administrator {
                require_another_administrator(&mut change, &user).await?;
            }
            change.note(
                Event::new(EventKind::PermissionsChanged)
                    .about(&user)
                    .with("administrator", edited.administrator)
                    .with("permissions", edited.permissions),
            );
        }
        if changes.mfa == Some(MfaRequirement::Optional) && user.customer_mfa == MfaRequirement::Required {
            return Err(ControlError::MfaRequiredByCustomer(user.name));
        }
        if edited.mfa != user.mfa {
            change.require(Action::RequireMfa(&user))?;
            change.note(Event::new(mfa_event(edited.mfa)).about(&user));
        }
        if changes_profile || changes_access {
            change.note(Event::new(EventKind::UserUpdated).about(&user).with("access", edited.access_points));
        }
        change.update_user(&edited).await?;
        change.commit_noted().await
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
        let hash = hash_off_thread(password).await?;
        let mut change = self.begin().await?;
        let user = require_user(&mut change, name).await?;
        change.require(Action::SetPassword(&user))?;
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

/// Puts the personal data of `changes` into `user`; tells whether any differ.
fn edit_profile(user: &mut UserRecord, changes: &UserChanges) -> Result<bool, ControlError> {
    let before = (user.full_name.clone(), user.email.clone(), user.language.clone());
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
    Ok((&before.0, &before.1, &before.2) != (&user.full_name, &user.email, &user.language))
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
    use super::super::{CustomerToMake, KeyToMake, PasswordEnd};
    use super::*;
    use crate::crypto::HashingMemory;

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
