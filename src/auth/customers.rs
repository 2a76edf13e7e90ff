//! Making, changing, showing and deleting customers.
//!
//! A customer is made with one user, its administrator `admin` (R29), and deleted with all its users and keys.

use super::audit::{Event, EventKind};
use super::control_plane::{ControlError, ControlPlane, require_customer, require_user};
use super::passwords::{OwnNames, check_password};
use super::rights::{Action, Forbidden};
use super::users::FirstPassword;
use crate::model::{
    AccessPoints, CustomerHandle, LinkPurpose, Login, MfaRequirement, MfaState, Permissions, Revision,
    Secret, Timestamp, UserName,
};
use crate::store::{CustomerRecord, NewCustomer, NewUser, UserRecord};

/// The login name of the user that every customer starts with.
const FIRST_LOGIN: &str = "admin";

/// What is wanted of a new customer.
#[derive(Debug)]
pub struct CustomerToMake {
    /// Its handle.
    pub handle: CustomerHandle,
    /// When it became a customer; `None`: now. Decides on MFA where `mfa` does not.
    pub created_on: Option<Timestamp>,
    /// `None`: as the policy says for a customer of that age (R24).
    pub mfa: Option<MfaRequirement>,
    /// How its administrator comes to a password.
    pub admin_password: FirstPassword,
}

impl CustomerToMake {
    /// A customer made now, with the policy's MFA; its administrator gets a one-time link.
    pub const fn new(handle: CustomerHandle) -> Self {
        Self { handle, created_on: None, mfa: None, admin_password: FirstPassword::Link }
    }
}

/// A customer that was made.
#[derive(Clone, Debug)]
pub struct MadeCustomer {
    /// Its administrator.
    pub admin: UserName,
    /// The token of the administrator's one-time link, where one was wanted; shown once (S102).
    pub link: Option<Secret<String>>,
    /// Whether MFA is required of its users.
    pub mfa: MfaRequirement,
    /// When every gateway has it.
    pub revision: Revision,
}

/// What went with a deleted customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedCustomer {
    /// Its users.
    pub users: usize,
    /// Their keys.
    pub keys: usize,
    /// When no gateway lets any of them in.
    pub revision: Revision,
}

/// The login name `admin`.
pub(super) fn first_login() -> Result<Login, ControlError> {
    FIRST_LOGIN
        .parse()
        .map_err(|_| ControlError::Text { what: "the login name `admin`", allowed: "a login name" })
}

impl ControlPlane {
    /// Makes a customer and its administrator `admin`.
    pub async fn create_customer(&self, order: CustomerToMake) -> Result<MadeCustomer, ControlError> {
        self.require(Action::Operate).await?;
        let now = self.clock.now();
        let created_at = order.created_on.unwrap_or(now);
        let mfa = order.mfa.unwrap_or_else(|| self.policy.mfa_required.requirement_for(created_at));
        let gives_link = matches!(order.admin_password, FirstPassword::Link);
        let admin = UserName { customer: order.handle.clone(), login: first_login()? };
        let password_hash = match order.admin_password {
            FirstPassword::Chosen(password) => {
                let state = MfaState::derive(false, MfaRequirement::Optional, mfa);
                check_password(&password, state, &OwnNames::new(&admin, "", ""))?;
                Some(self.hash_new_password(&password, None).await?)
            }
            FirstPassword::None | FirstPassword::Link => None,
        };
        let mut change = self.begin().await?;
        let handle = order.handle.to_string();
        let customer = change.insert_customer(&NewCustomer { handle: order.handle, mfa, created_at }).await?;
        let admin_id = change
            .insert_user(&NewUser {
                customer,
                login: admin.login.clone(),
                full_name: String::new(),
                email: String::new(),
                language: String::from("en"),
                administrator: true,
                permissions: Permissions::default(),
                access_points: AccessPoints::ALL,
                password_hash,
                password_ends_at: None,
                mfa: MfaRequirement::Optional,
                created_at: now,
            })
            .await?;
        let made = Event::new(EventKind::CustomerCreated).about_thing(Some(customer), &handle);
        change.note(made.with("mfa", mfa.as_str()));
        let admin_made = Event::new(EventKind::UserCreated).about_user(customer, admin_id, admin.to_string());
        change.note(admin_made.with("administrator", true));
        let link = if gives_link {
            let user = require_user(&mut change, &admin).await?;
            Some(self.put_link(&mut change, &user, LinkPurpose::Password).await?)
        } else {
            None
        };
        Ok(MadeCustomer { admin, link, mfa, revision: change.commit_noted().await? })
    }

    /// Requires MFA of a customer's users, at once for passwords (PROTOCOL section 3, point 2), or stops requiring it.
    pub async fn set_customer_mfa(
        &self,
        handle: &CustomerHandle,
        mfa: MfaRequirement,
    ) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let customer = require_customer(&mut change, handle).await?;
        change.set_customer_mfa(customer.id, mfa).await?;
        change.commit(mfa_changed(&customer, mfa)).await
    }

    /// The same for every customer that there is; answers whose setting changed.
    pub async fn set_every_customers_mfa(
        &self,
        mfa: MfaRequirement,
    ) -> Result<(Vec<CustomerHandle>, Revision), ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let mut changed = Vec::new();
        for customer in self.store.customers().await?.into_iter().filter(|customer| customer.mfa != mfa) {
            change.set_customer_mfa(customer.id, mfa).await?;
            change.note(mfa_changed(&customer, mfa));
            changed.push(customer.handle);
        }
        Ok((changed, change.commit_noted().await?))
    }

    /// All customers, by handle.
    pub async fn customers(&self) -> Result<Vec<CustomerRecord>, ControlError> {
        self.require(Action::Operate).await?;
        Ok(self.store.customers().await?)
    }

    /// A customer and its users.
    pub async fn customer(
        &self,
        handle: &CustomerHandle,
    ) -> Result<(CustomerRecord, Vec<UserRecord>), ControlError> {
        let customer = self.visible_customer(handle).await?;
        let users = self.store.users_of(customer.id).await?;
        Ok((customer, users))
    }

    /// The customer's row, if whoever asks may see its users; of others it is unknown.
    pub(super) async fn visible_customer(
        &self,
        handle: &CustomerHandle,
    ) -> Result<CustomerRecord, ControlError> {
        let customer = self.customer_record(handle).await?;
        match self.require(Action::ViewUsers(customer.id)).await {
            Ok(()) => Ok(customer),
            Err(ControlError::Forbidden(Forbidden::Unknown)) => {
                Err(ControlError::UnknownCustomer(handle.clone()))
            }
            Err(other) => Err(other),
        }
    }

    /// The customer's row, whoever asks.
    pub(super) async fn customer_record(
        &self,
        handle: &CustomerHandle,
    ) -> Result<CustomerRecord, ControlError> {
        self.store.customer(handle).await?.ok_or_else(|| ControlError::UnknownCustomer(handle.clone()))
    }

    /// Deletes a customer with all its users and keys.
    pub async fn delete_customer(&self, handle: &CustomerHandle) -> Result<DeletedCustomer, ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let now = change.now();
        let customer = require_customer(&mut change, handle).await?;
        let users = change.users_of(customer.id).await?;
        let mut keys = 0;
        for user in &users {
            keys += change.keys_of(user.id).await?.len();
            change.delete_user(user.id, now).await?;
        }
        change.delete_customer(customer.id).await?;
        let event = Event::new(EventKind::CustomerDeleted).about_thing(Some(customer.id), handle.as_str());
        let event = event.with("users", users.len()).with("keys", keys);
        Ok(DeletedCustomer { users: users.len(), keys, revision: change.commit(event).await? })
    }
}

fn mfa_changed(customer: &CustomerRecord, mfa: MfaRequirement) -> Event {
    Event::new(EventKind::CustomerMfaChanged)
        .about_thing(Some(customer.id), customer.handle.as_str())
        .with("mfa", mfa.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::{password, plane};
    use super::*;
    use crate::auth::passwords::PasswordFault;
    use crate::store::StoreError;

    fn handle(text: &str) -> CustomerHandle {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn r29_a_new_customer_holds_exactly_one_user_admin() {
        let (_folder, plane) = plane().await;
        let made = plane.create_customer(CustomerToMake::new(handle("beta"))).await.unwrap();
        assert_eq!(made.admin.to_string(), "beta/admin");
        let (_, users) = plane.customer(&handle("beta")).await.unwrap();
        assert_eq!(users.len(), 1);
        assert!(users[0].administrator && users[0].active && users[0].password_hash.is_none());
    }

    #[tokio::test]
    async fn r24_mfa_follows_the_age_of_the_customer_unless_the_operator_says_otherwise() {
        let (_folder, plane) = plane().await;
        let cases = [
            ("new", None, None, MfaRequirement::Required),
            ("old", Some("2020-04-30"), None, MfaRequirement::Optional),
            ("told", None, Some(MfaRequirement::Optional), MfaRequirement::Optional),
        ];
        for (name, created_on, mfa, expected) in cases {
            let order = CustomerToMake {
                created_on: created_on.map(|date| date.parse().unwrap()),
                mfa,
                ..CustomerToMake::new(handle(name))
            };
            assert_eq!(plane.create_customer(order).await.unwrap().mfa, expected, "{name}");
        }
        let (changed, _) = plane.set_every_customers_mfa(MfaRequirement::Required).await.unwrap();
        assert_eq!(changed, [handle("acme"), handle("old"), handle("told")]);
        plane.set_customer_mfa(&handle("old"), MfaRequirement::Optional).await.unwrap();
        assert_eq!(plane.customer(&handle("old")).await.unwrap().0.mfa, MfaRequirement::Optional);
    }

    #[tokio::test]
    async fn a_short_password_makes_no_customer() {
        let (_folder, plane) = plane().await;
        let short = CustomerToMake {
            mfa: Some(MfaRequirement::Optional),
            admin_password: FirstPassword::Chosen(Secret::new("eight ch".to_owned())),
            ..CustomerToMake::new(handle("beta"))
        };
        let error = plane.create_customer(short).await.unwrap_err();
        assert!(matches!(error, ControlError::Password(PasswordFault::TooShortAlone)));
        assert!(matches!(plane.customer(&handle("beta")).await, Err(ControlError::UnknownCustomer(_))));
    }

    #[tokio::test]
    async fn a_taken_handle_is_refused_and_changes_nothing() {
        let (_folder, plane) = plane().await;
        let before = plane.store.revision().await.unwrap();
        let order = CustomerToMake {
            admin_password: FirstPassword::Chosen(password()),
            ..CustomerToMake::new(handle("acme"))
        };
        let error = plane.create_customer(order).await.unwrap_err();
        assert!(matches!(&error, ControlError::Store(StoreError::Exists(_))));
        assert_eq!(error.to_string(), "customer `acme` exists already");
        assert_eq!(plane.store.revision().await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_customer_goes_with_all_its_users_and_keys_even_its_last_administrator() {
        let (_folder, plane) = plane().await;
        let order =
            super::super::KeyToMake::new("acme/alex".parse().unwrap(), "test", "api".parse().unwrap());
        let keys =
            plane.create_keys(&order, std::num::NonZeroU32::MIN, super::super::PasswordEnd::Accepted).await;
        let id = keys.unwrap().keys[0].id;
        let deleted = plane.delete_customer(&handle("acme")).await.unwrap();
        assert_eq!((deleted.users, deleted.keys), (2, 1));
        assert!(plane.store.key(id).await.unwrap().is_none());
        assert!(plane.customers().await.unwrap().is_empty());
        assert!(matches!(
            plane.delete_customer(&handle("acme")).await,
            Err(ControlError::UnknownCustomer(_))
        ));
    }
}
