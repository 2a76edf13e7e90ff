//! Making a user: its names, its rights, and how it comes to a password.

use super::super::audit::{Event, EventKind};
use super::super::control_plane::{
    ControlError, ControlPlane, check_language, check_text, require_customer, require_user,
};
use super::super::passwords::{OwnNames, check_password};
use super::super::rights::{Action, NewRights};
use super::put_allow_list;
use crate::crypto::PasswordHash;
use crate::model::{
    AccessPoints, AllowList, CustomerId, LinkPurpose, MfaRequirement, MfaState, Permissions, Revision,
    Secret, UserId, UserName,
};
use crate::store::{NewUser, StoreError};

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
    /// Narrows where the user may come from.
    pub allow_list: AllowList,
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
            allow_list: AllowList::default(),
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

impl ControlPlane {
    /// Makes a user. Who makes one also gets its first link (PROTOCOL section 3, point 3).
    pub async fn create_user(&self, mut order: UserToMake) -> Result<MadeUser, ControlError> {
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
        let password_hash = match std::mem::replace(&mut order.password, FirstPassword::None) {
            FirstPassword::Chosen(password) => {
                let names = OwnNames::new(&order.name, &order.full_name, &order.email);
                check_password(&password, MfaState::derive(false, order.mfa, record.mfa), &names)?;
                Some(self.hash_new_password(&password, None).await?)
            }
            FirstPassword::None | FirstPassword::Link => None,
        };
        let mut change = self.begin().await?;
        let customer = require_customer(&mut change, &order.name.customer).await?.id;
        for action in &actions {
            change.require(*action)?;
        }
        let new = self.new_user(&order, customer, password_hash);
        let id = change.insert_user(&new).await.map_err(|error| match error {
            StoreError::Exists(_) => ControlError::UserExists(order.name.clone()),
            other => other.into(),
        })?;
        change.makes(&order.name);
        change.note(created_event(&new, id, &order.name));
        let mut user = require_user(&mut change, &order.name).await?;
        if new.password_hash.is_some() {
            change.require(Action::SetPassword(&user))?;
        }
        if !order.allow_list.is_empty() {
            put_allow_list(&change, &user, &order.allow_list).map(|event| change.note(event))?;
            user.allow_list = order.allow_list;
            change.update_user(&user).await?;
        }
        let link = if gives_link {
            Some(self.put_link(&mut change, &user, LinkPurpose::Password).await?)
        } else {
            None
        };
        Ok(MadeUser { link, revision: change.commit_noted().await? })
    }

    fn new_user(
        &self,
        order: &UserToMake,
        customer: CustomerId,
        password_hash: Option<PasswordHash>,
    ) -> NewUser {
        let is_chosen = password_hash.is_some();
        NewUser {
            customer,
            login: order.name.login.clone(),
            full_name: order.full_name.clone(),
            email: order.email.clone(),
            language: order.language.clone(),
            administrator: order.administrator,
            permissions: order.permissions,
            access_points: order.access_points,
            password_ends_at: is_chosen.then(|| self.end_of_a_chosen_password(order.access_points)).flatten(),
            password_hash,
            mfa: order.mfa,
            created_at: self.clock.now(),
        }
    }
}
