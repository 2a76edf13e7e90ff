//! The customer, the user and the keys that the attacks are made with, in the copy's own store.

use std::net::IpAddr;
use std::num::NonZeroU32;

use anyhow::{Result, anyhow};

use super::origins::network;
use crate::auth::{Actor, ControlPlane, CustomerToMake, FirstPassword, KeyToMake, MissingStore, PasswordEnd};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::{AllowList, MfaRequirement, Secret};

/// The customer.
pub(super) const CUSTOMER: &str = "probe";
/// The login name of its user.
pub(super) const LOGIN: &str = "admin";

/// A key of both scopes.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Its public name.
    pub(super) id: String,
    /// The key itself.
    pub(super) text: Secret<String>,
}

/// What one door is attacked with.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Opens it.
    pub(super) right: Key,
    /// Would open it from the claimed address only.
    pub(super) listed: Key,
}

/// Makes the store that `config` names, and keys for each door; `claimed` are the addresses of their listed ones.
pub(super) async fn make_keys(config: &Config, claimed: &[IpAddr]) -> Result<Vec<Keys>> {
    let plane = ControlPlane::open(config, Clock::system(), MissingStore::Make, Actor::operator()).await?;
    let customer = CustomerToMake {
        mfa: Some(MfaRequirement::Optional),
        admin_password: FirstPassword::None,
        ..CustomerToMake::new(CUSTOMER.parse()?)
    };
    plane.create_customer(customer).await?;
    let mut made = Vec::new();
    for address in claimed {
        let right = make_key(&plane, AllowList::default()).await?;
        let listed = make_key(&plane, AllowList::new([network(*address)])).await?;
        made.push(Keys { right, listed });
    }
    plane.store.close().await;
    Ok(made)
}

async fn make_key(plane: &ControlPlane, allow_list: AllowList) -> Result<Key> {
    let user = format!("{CUSTOMER}/{LOGIN}").parse()?;
    let order = KeyToMake { allow_list, ..KeyToMake::new(user, "made by a probe", "api,isproxy".parse()?) };
    let made = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await?;
    let key = made.keys.first().ok_or_else(|| anyhow!("no key was made"))?;
    Ok(Key { id: key.id.to_string(), text: Secret::new(key.text.expose().to_owned()) })
}

impl Key {
    /// The same but for its last character.
    pub(super) fn wrong(&self) -> String {
        let text = self.text.expose();
        let other = if text.ends_with('A') { 'Q' } else { 'A' };
        let kept: String = text.chars().take(text.chars().count().saturating_sub(1)).collect();
        format!("{kept}{other}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_differs_from_the_right_one_in_its_last_character() {
        for (text, wrong) in [("lk1_abc", "lk1_abA"), ("lk1_abA", "lk1_abQ")] {
            let key = Key { id: String::new(), text: Secret::new(text.to_owned()) };
            assert_eq!(key.wrong(), wrong);
        }
    }
}
