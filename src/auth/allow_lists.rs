//! The allow-lists of customers, users and keys (R61): adding and removing networks.
//!
//! An empty list narrows nothing, so that removing the last network opens every address: callers say so.

use ipnet::IpNet;

use super::api_keys::key_kind;
use super::audit::EventKind;
use super::control_plane::{ControlError, ControlPlane};
use super::holder::{Held, Holder};
use super::rights::{Action, ListChange};
use crate::model::{AllowList, ApiKeyRecord, Revision};
use crate::store::UserRecord;

impl ControlPlane {
    /// The list of `holder`.
    pub async fn allow_list(&self, holder: &Holder) -> Result<AllowList, ControlError> {
        Ok(match holder {
            Holder::Customer(handle) => self.visible_customer(handle).await?.allow_list,
            Holder::User(name) => self.user(name).await?.allow_list,
            Holder::Key(id) => self.key(*id).await?.key.allow_list,
        })
    }

    /// Adds networks; those that are in the list already stay once. Answers the list as it is now.
    pub async fn add_networks(
        &self,
        holder: &Holder,
        networks: &AllowList,
    ) -> Result<(AllowList, Revision), ControlError> {
        self.edit_allow_list(holder, |list| {
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
        holder: &Holder,
        networks: &AllowList,
    ) -> Result<(AllowList, Revision), ControlError> {
        self.edit_allow_list(holder, |list| {
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
        holder: &Holder,
        networks: &AllowList,
    ) -> Result<Revision, ControlError> {
        Ok(self.edit_allow_list(holder, |_| Ok(networks.clone())).await?.1)
    }

    async fn edit_allow_list(
        &self,
        holder: &Holder,
        edit: impl FnOnce(&AllowList) -> Result<AllowList, ControlError>,
    ) -> Result<(AllowList, Revision), ControlError> {
        let mut change = self.begin().await?;
        let held = change.held(holder).await?;
        let before = held.allow_list();
        let list = edit(before)?;
        let widening = widening(before, &list);
        let action = match &held {
            Held::Customer(customer) => Action::SetCustomerAllowList(customer.id, widening),
            Held::User(user) => Action::SetAllowList(user, widening),
            Held::Key(key, user) => Action::SetKeyAllowList(user, key_kind(key.scope), widening),
        };
        holder.unknown_if_foreign(change.require(action))?;
        let event = held.event(EventKind::AllowListChanged).with("before", before).with("after", &list);
        match held {
            Held::Customer(customer) => change.set_customer_allow_list(customer.id, &list).await?,
            Held::User(user) => change.update_user(&UserRecord { allow_list: list.clone(), ..user }).await?,
            Held::Key(key, _) => {
                if key.scope.manages() && list.is_empty() {
                    return Err(ControlError::ManageKeyWithoutList);
                }
                change.update_key(&ApiKeyRecord { allow_list: list.clone(), ..key }).await?;
            }
        }
        Ok((list, change.commit(event).await?))
    }
}

impl Held {
    const fn allow_list(&self) -> &AllowList {
        match self {
            Self::Customer(customer) => &customer.allow_list,
            Self::User(user) => &user.allow_list,
            Self::Key(key, _) => &key.allow_list,
        }
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
    async fn networks_are_added_once_and_removed_as_written_for_every_kind_of_holder() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let made = plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let holders =
            ["customer:acme".to_owned(), "user:acme/alex".to_owned(), format!("key:{}", made.keys[0].id)];
        for holder in holders {
            let holder: Holder = holder.parse().unwrap();
            plane.add_networks(&holder, &list("192.0.2.0/24 2001:db8::/32")).await.unwrap();
            let (now, _) = plane.add_networks(&holder, &list("192.0.2.7/24,203.0.113.5")).await.unwrap();
            assert_eq!(now.to_string(), "192.0.2.0/24,2001:db8::/32,203.0.113.5/32");
            let error = plane.remove_networks(&holder, &list("198.51.100.0/24")).await.unwrap_err();
            assert_eq!(error.to_string(), "198.51.100.0/24 is not in the list");
            plane.remove_networks(&holder, &list("2001:db8::/32")).await.unwrap();
            assert_eq!(plane.allow_list(&holder).await.unwrap().to_string(), "192.0.2.0/24,203.0.113.5/32");
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
        let holder = Holder::Key(made.keys[0].id);
        let error = plane.remove_networks(&holder, &list("192.0.2.0/24")).await.unwrap_err();
        assert!(matches!(error, ControlError::ManageKeyWithoutList));
        assert_eq!(plane.allow_list(&holder).await.unwrap(), list("192.0.2.0/24"));
    }
}
