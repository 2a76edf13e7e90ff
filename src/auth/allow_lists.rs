//! The allow-lists of customers, users and keys (R61): adding and removing networks.
//!
//! An empty list narrows nothing, so that removing the last network opens every address: callers say so.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use super::api_keys::{key_kind, require_key};
use super::audit::{Event, EventKind};
use super::control_plane::{ControlError, ControlPlane, require_customer, require_user};
use super::rights::{Action, Forbidden, ListChange};
use crate::model::{AllowList, CustomerHandle, InvalidKeyId, InvalidName, KeyId, Revision, UserName};

/// Whose list it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowListOwner {
    /// `customer:HANDLE`
    Customer(CustomerHandle),
    /// `user:CUSTOMER/LOGIN`
    User(UserName),
    /// `key:ID`
    Key(KeyId),
}

/// A text that names no owner of a list.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAllowListOwner {
    /// The kind is missing or unknown.
    #[error("write `customer:HANDLE`, `user:CUSTOMER/LOGIN` or `key:ID`")]
    Kind,
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The id is not one.
    #[error(transparent)]
    Key(#[from] InvalidKeyId),
}

impl FromStr for AllowListOwner {
    type Err = InvalidAllowListOwner;

    fn from_str(text: &str) -> Result<Self, InvalidAllowListOwner> {
        match text.split_once(':') {
            Some(("customer", handle)) => Ok(Self::Customer(handle.parse()?)),
            Some(("user", name)) => Ok(Self::User(name.parse()?)),
            Some(("key", id)) => Ok(Self::Key(id.parse()?)),
            _ => Err(InvalidAllowListOwner::Kind),
        }
    }
}

impl fmt::Display for AllowListOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(handle) => write!(f, "customer:{handle}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Key(id) => write!(f, "key:{id}"),
        }
    }
}

impl ControlPlane {
    /// The list of `owner`.
    pub async fn allow_list(&self, owner: &AllowListOwner) -> Result<AllowList, ControlError> {
        Ok(match owner {
            AllowListOwner::Customer(handle) => self.visible_customer(handle).await?.allow_list,
            AllowListOwner::User(name) => self.user(name).await?.allow_list,
            AllowListOwner::Key(id) => self.key(*id).await?.key.allow_list,
        })
    }

    /// Adds networks; those that are in the list already stay once. Answers the list as it is now.
    pub async fn add_networks(
        &self,
        owner: &AllowListOwner,
        networks: &AllowList,
    ) -> Result<(AllowList, Revision), ControlError> {
        self.edit_allow_list(owner, |list| {
            let mut all = list.networks().to_vec();
            for network in networks.networks() {
                if !all.contains(network) {
                    all.push(*network);
                }
            }
            Ok(AllowList::new(all))
        })
        .await
    }

    /// Removes networks, each as it was written. Answers the list as it is now.
    pub async fn remove_networks(
        &self,
        owner: &AllowListOwner,
        networks: &AllowList,
    ) -> Result<(AllowList, Revision), ControlError> {
        self.edit_allow_list(owner, |list| {
            let absent = networks.networks().iter().find(|network| !list.networks().contains(network));
            if let Some(absent) = absent {
                return Err(ControlError::NotListed(*absent));
            }
            let left = list.networks().iter().filter(|network| !networks.networks().contains(network));
            Ok(AllowList::new(left.copied()))
        })
        .await
    }

    /// Puts `networks` in the place of the list.
    pub async fn replace_networks(
        &self,
        owner: &AllowListOwner,
        networks: &AllowList,
    ) -> Result<Revision, ControlError> {
        Ok(self.edit_allow_list(owner, |_| Ok(networks.clone())).await?.1)
    }

    async fn edit_allow_list(
        &self,
        owner: &AllowListOwner,
        edit: impl FnOnce(&AllowList) -> Result<AllowList, ControlError>,
    ) -> Result<(AllowList, Revision), ControlError> {
        let mut change = self.begin().await?;
        let event = Event::new(EventKind::AllowListChanged);
        let (before, list, event) = match owner {
            AllowListOwner::Customer(handle) => {
                let customer = require_customer(&mut change, handle).await?;
                let list = edit(&customer.allow_list)?;
                let widening = widening(&customer.allow_list, &list);
                unknown_if_foreign(
                    change.require(Action::SetCustomerAllowList(customer.id, widening)),
                    || ControlError::UnknownCustomer(handle.clone()),
                )?;
                change.set_customer_allow_list(customer.id, &list).await?;
                (customer.allow_list, list, event.about_thing(Some(customer.id), handle.as_str()))
            }
            AllowListOwner::User(name) => {
                let mut user = require_user(&mut change, name).await?;
                let list = edit(&user.allow_list)?;
                let widening = widening(&user.allow_list, &list);
                unknown_if_foreign(change.require(Action::SetAllowList(&user, widening)), || {
                    ControlError::UnknownUser(name.clone())
                })?;
                let before = std::mem::replace(&mut user.allow_list, list.clone());
                change.update_user(&user).await?;
                (before, list, event.about(&user))
            }
            AllowListOwner::Key(id) => {
                let (mut key, user) = require_key(&mut change, *id).await?;
                let list = edit(&key.allow_list)?;
                let action =
                    Action::SetKeyAllowList(&user, key_kind(key.scope), widening(&key.allow_list, &list));
                unknown_if_foreign(change.require(action), || ControlError::UnknownKey(*id))?;
                if key.scope.manages() && list.is_empty() {
                    return Err(ControlError::ManageKeyWithoutList);
                }
                let before = std::mem::replace(&mut key.allow_list, list.clone());
                change.update_key(&key).await?;
                (before, list, event.about(&user).with("key", id))
            }
        };
        let event = event.with("before", before).with("after", &list);
        Ok((list, change.commit(event).await?))
    }
}

fn unknown_if_foreign(
    result: Result<(), ControlError>,
    unknown: impl FnOnce() -> ControlError,
) -> Result<(), ControlError> {
    match result {
        Err(ControlError::Forbidden(Forbidden::Unknown)) => Err(unknown()),
        other => other,
    }
}

/// Does the list let in what it did not before? An empty one lets everybody in.
pub(super) fn widening(before: &AllowList, after: &AllowList) -> ListChange {
    let is_covered = |network: &IpNet| before.networks().iter().any(|before| before.contains(network));
    let narrows = before.is_empty() || (!after.is_empty() && after.networks().iter().all(is_covered));
    if narrows { ListChange::Narrows } else { ListChange::Widens }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::plane;
    use super::super::{KeyToMake, PasswordEnd};
    use super::*;

    fn list(text: &str) -> AllowList {
        text.parse().unwrap()
    }

    #[test]
    fn an_owner_survives_its_text() {
        for text in ["customer:acme", "user:acme/alex", "key:key_0c1x8n4t7q2vz"] {
            assert_eq!(text.parse::<AllowListOwner>().unwrap().to_string(), text);
        }
        for text in ["acme", "customer:", "user:acme", "key:1", "listener:api"] {
            assert!(text.parse::<AllowListOwner>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_widens_when_it_lets_in_what_it_did_not_before() {
        let cases = [
            ("", "192.0.2.0/24", ListChange::Narrows),
            ("192.0.2.0/24", "192.0.2.7", ListChange::Narrows),
            ("192.0.2.0/24", "192.0.2.0/24", ListChange::Narrows),
            ("192.0.2.0/24", "", ListChange::Widens),
            ("192.0.2.0/24", "192.0.2.0/23", ListChange::Widens),
            ("192.0.2.0/24", "192.0.2.7,2001:db8::1", ListChange::Widens),
        ];
        for (before, after, expected) in cases {
            assert_eq!(widening(&list(before), &list(after)), expected, "{before} → {after}");
        }
    }

    #[tokio::test]
    async fn networks_are_added_once_and_removed_as_written_for_every_kind_of_owner() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let made = plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let owners =
            ["customer:acme".to_owned(), "user:acme/alex".to_owned(), format!("key:{}", made.keys[0].id)];
        for owner in owners {
            let owner: AllowListOwner = owner.parse().unwrap();
            plane.add_networks(&owner, &list("192.0.2.0/24 2001:db8::/32")).await.unwrap();
            let (now, _) = plane.add_networks(&owner, &list("192.0.2.7/24,203.0.113.5")).await.unwrap();
            assert_eq!(now.to_string(), "192.0.2.0/24,2001:db8::/32,203.0.113.5/32");
            let error = plane.remove_networks(&owner, &list("198.51.100.0/24")).await.unwrap_err();
            assert_eq!(error.to_string(), "198.51.100.0/24 is not in the list");
            plane.remove_networks(&owner, &list("2001:db8::/32")).await.unwrap();
            assert_eq!(plane.allow_list(&owner).await.unwrap().to_string(), "192.0.2.0/24,203.0.113.5/32");
        }
    }

    #[tokio::test]
    async fn a_manage_key_keeps_a_list_of_its_own() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake {
            allow_list: list("192.0.2.0/24"),
            ..KeyToMake::new("acme/admin".parse().unwrap(), "automation", "manage".parse().unwrap())
        };
        let made = plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let owner = AllowListOwner::Key(made.keys[0].id);
        let error = plane.remove_networks(&owner, &list("192.0.2.0/24")).await.unwrap_err();
        assert!(matches!(error, ControlError::ManageKeyWithoutList));
        assert_eq!(plane.allow_list(&owner).await.unwrap(), list("192.0.2.0/24"));
    }
}
