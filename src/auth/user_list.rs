//! A part of an account's users for a list, with what stands beside each. Callers: the console.

use std::collections::HashMap;

use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use crate::model::{CustomerId, Timestamp, UserId};
use crate::store::{ListedUser, USAGE_KEPT_SECONDS, UserRecord, UserSelection, WantedUsers};

/// Users of one part of a list.
pub const USERS_OF_A_PART: u32 = 50;
/// Characters of a search that are looked at.
const SEARCH_CHARACTERS: usize = 100;

/// Which users are wanted.
#[derive(Clone, Debug, Default)]
pub struct UserListQuery {
    /// Part of a login name, a full name or an e-mail address; empty: any.
    pub search: String,
    /// Which of them.
    pub selection: UserSelection,
    /// The number of the part, from 0; beyond the end the last one is meant.
    pub part: u32,
}

/// A part of a list of users.
#[derive(Clone, Debug)]
pub struct UserList {
    /// The users, by login name.
    pub users: Vec<ListedUser>,
    /// When each of them was last let in anywhere; who never was is left out.
    pub last_seen: HashMap<UserId, Timestamp>,
    /// The number of this part, from 0.
    pub part: u32,
    /// How many users are wanted in all.
    pub matching: usize,
    /// How many active users of the account have no MFA, whatever is wanted.
    pub without_mfa: usize,
}

/// Whether a user has come in yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// When it was last let in anywhere; `None`: never.
    pub last_seen: Option<Timestamp>,
    /// Does a one-time link wait for it?
    pub link_waits: bool,
}

impl ControlPlane {
    /// Whether `user` has come in yet; everybody sees the own one.
    pub async fn presence_of(&self, user: &UserRecord) -> Result<Presence, ControlError> {
        self.require(Action::ViewUser(user)).await?;
        let last_seen = self.store.last_seen(std::iter::once(user.id)).await?.remove(&user.id);
        let link_waits = self.store.link_waits(user.id, self.clock.now()).await?;
        Ok(Presence { last_seen, link_waits })
    }

    /// A part of a customer's users; three queries, however many there are.
    pub async fn list_users(
        &self,
        customer: CustomerId,
        query: &UserListQuery,
    ) -> Result<UserList, ControlError> {
        self.require(Action::ViewUsers(customer)).await?;
        let now = self.clock.now();
        let search: String = query.search.trim().chars().take(SEARCH_CHARACTERS).collect();
        let used_since = now.plus_seconds(-USAGE_KEPT_SECONDS);
        let wanted = WantedUsers { customer, search: &search, selection: query.selection, used_since };
        let counts = self.store.count_users(wanted).await?;
        let parts = u32::try_from(counts.matching).unwrap_or(u32::MAX).div_ceil(USERS_OF_A_PART);
        let part = query.part.min(parts.saturating_sub(1));
        let cut = (part.saturating_mul(USERS_OF_A_PART), USERS_OF_A_PART);
        let users = self.store.list_users(wanted, cut, now).await?;
        let last_seen = self.store.last_seen(users.iter().map(|listed| listed.user.id)).await?;
        Ok(UserList { users, last_seen, part, matching: counts.matching, without_mfa: counts.without_mfa })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::plane;
    use super::super::{Activation, KeyToMake, PasswordEnd, UserToMake};
    use super::*;
    use crate::model::{AccessPoint, ClientIp, Recognised, UserName};
    use crate::store::SeenAddress;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    async fn logins(plane: &ControlPlane, search: &str, selection: UserSelection) -> Vec<String> {
        let customer = plane.user(&name("acme/admin")).await.unwrap().customer;
        let query = UserListQuery { search: search.into(), selection, part: 0 };
        let list = plane.list_users(customer, &query).await.unwrap();
        assert_eq!(list.matching, list.users.len());
        list.users.into_iter().map(|listed| listed.user.name.login.to_string()).collect()
    }

    #[tokio::test]
    async fn users_are_found_by_login_name_and_address_and_what_is_typed_stands_for_itself() {
        let (_folder, plane) = plane().await;
        let order = UserToMake {
            full_name: "Sami Özil Example".into(),
            email: "sami_e@acme.example".into(),
            ..UserToMake::new(name("acme/s.el"))
        };
        plane.create_user(order).await.unwrap();
        let all = UserSelection::All;
        assert_eq!(logins(&plane, "", all).await, ["admin", "alex", "s.el"]);
        assert_eq!(logins(&plane, " ALE ", all).await, ["alex"]);
        for found in ["example", "özil", "ÖZIL", "Özil e"] {
            assert_eq!(logins(&plane, found, all).await, ["s.el"], "{found}");
        }
        assert_eq!(logins(&plane, "i_e@", all).await, ["s.el"]);
        for nobody in ["%", "a_ex", "\\", "acme/alex", "'"] {
            assert!(logins(&plane, nobody, all).await.is_empty(), "{nobody}");
        }
    }

    #[tokio::test]
    async fn users_are_selected_by_what_is_to_be_done_about_them() {
        let (_folder, plane) = plane().await;
        let used_at = plane.clock.now();
        for who in ["acme/kim", "acme/gone"] {
            plane.create_user(UserToMake::new(name(who))).await.unwrap();
        }
        plane.set_activation(&name("acme/gone"), Activation::Deactivated).await.unwrap();
        let order = KeyToMake::new(name("acme/kim"), "CI", "api".parse().unwrap());
        plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        for (who, entrance) in [
            ("acme/kim", AccessPoint::Api),
            ("acme/alex", AccessPoint::IsProxy),
            ("acme/admin", AccessPoint::Console),
        ] {
            let whose = Recognised::Password(plane.user(&name(who)).await.unwrap().id);
            let address = ClientIp::new("192.0.2.1".parse().unwrap());
            let seen = SeenAddress { whose, entrance, address, at: used_at };
            plane.store.note_addresses(&[seen]).await.unwrap();
        }
        let mut change = plane.store.mutate().await.unwrap();
        let mut admin = change.user(&name("acme/admin")).await.unwrap().unwrap();
        admin.mfa_active = true;
        change.update_user(&admin).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(logins(&plane, "", UserSelection::MfaOff).await, ["alex", "kim"]);
        assert_eq!(logins(&plane, "", UserSelection::PasswordInUse).await, ["alex"]);
        assert_eq!(logins(&plane, "", UserSelection::Inactive).await, ["gone"]);
        assert!(logins(&plane, "kim", UserSelection::Inactive).await.is_empty());
        let list = plane.list_users(admin.customer, &UserListQuery::default()).await.unwrap();
        let kim = list.users.iter().find(|listed| listed.user.name.login.as_str() == "kim").unwrap();
        assert_eq!((kim.keys, kim.apps, kim.security_keys, kim.link_waits), (1, 0, 0, false));
        assert_eq!((list.without_mfa, list.last_seen.get(&kim.user.id)), (2, Some(&used_at)));
    }

    #[tokio::test]
    async fn a_list_is_cut_into_parts_of_fifty_and_ends_with_the_last() {
        let (_folder, plane) = plane().await;
        for number in 0..55 {
            plane.create_user(UserToMake::new(name(&format!("acme/u{number:02}")))).await.unwrap();
        }
        let alex = plane.user(&name("acme/alex")).await.unwrap();
        let part = async |part| {
            let query = UserListQuery { part, ..UserListQuery::default() };
            plane.list_users(alex.customer, &query).await.unwrap()
        };
        let first = part(0).await;
        assert_eq!((first.users.len(), first.part, first.matching), (50, 0, 57));
        for asked in [1, 7, u32::MAX] {
            let last = part(asked).await;
            assert_eq!((last.users.len(), last.part), (7, 1), "{asked}");
            assert_eq!(last.users[6].user.name.login.as_str(), "u54");
        }
    }
}
