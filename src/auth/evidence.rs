//! What a change would stop, with evidence from the last 30 days: for pages that tell the consequences before the click.
//!
//! It says what was used, when, from where and how much; what is open at this moment the gateway's `Authenticator`
//! knows. Whether a credential is let in at all is `access`'s to tell. Callers: the console.

use std::collections::HashMap;

use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use super::usage::{Figures, LetInFrom, PasswordUses, latest_addresses};
use crate::model::{AccessPoint, KeyId, Recognised, Service, ServiceScope, Timestamp, UserName};
use crate::store::{CredentialTotal, LastUse, ListedKey, SeenAddress};

/// What a user's credentials did within 30 days.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The password at the API, with the API sessions that it opened.
    pub api_password: CredentialEvidence,
    /// The password at `IsProxy`.
    pub isproxy_password: CredentialEvidence,
    /// When the password was last used to sign in to the console.
    pub console_password: Option<LetInFrom>,
    /// The keys.
    pub keys: KeysEvidence,
}

/// What one credential did at one door within 30 days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialEvidence {
    /// When and from where it was let in last.
    pub last_use: Option<LetInFrom>,
    /// How much it did.
    pub figures: Figures,
    /// From where it was let in, the latest first, ten at most.
    pub addresses: Vec<LetInFrom>,
}

/// What a user's keys did, as far as whoever asks may see it.
#[derive(Clone, Debug)]
pub enum KeysEvidence {
    /// Each, oldest first.
    Each(Vec<KeyEvidence>),
    /// Who may see the user and not the keys learns how many there are, and when one of them was last used.
    Together {
        /// How many.
        count: usize,
        /// When one was last used, if one ever was.
        last_used_at: Option<Timestamp>,
    },
}

/// What a key did within 30 days.
#[derive(Clone, Debug)]
pub struct KeyEvidence {
    /// Its public name.
    pub id: KeyId,
    /// What it is for.
    pub description: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// When it was last used, if it ever was.
    pub last_use: Option<LastUse>,
    /// How much it did at the API.
    pub api: Figures,
    /// How much it did at `IsProxy`.
    pub isproxy: Figures,
    /// From where it was let in, the latest first, ten at most.
    pub addresses: Vec<LetInFrom>,
}

impl ControlPlane {
    /// What `name`'s password at each entrance and each of its keys did: what stops if they are ended.
    pub async fn evidence_for(&self, name: &UserName) -> Result<Evidence, ControlError> {
        let user = self.user(name).await?;
        let sees_keys = match self.require(Action::ViewKeys(&user)).await {
            Ok(()) => true,
            Err(ControlError::Forbidden(_)) => false,
            Err(other) => return Err(other),
        };
        let window = self.usage_window();
        let (keys, totals, seen) = tokio::try_join!(
            self.store.list_keys(Some(user.id)),
            self.store.credential_totals(user.id, window.days()),
            self.store.addresses_of_user(user.id, window.seen_since),
        )?;
        let password = |service| password_evidence(service, &totals, &seen);
        Ok(Evidence {
            api_password: password(Service::Api),
            isproxy_password: password(Service::IsProxy),
            console_password: PasswordUses::of(&seen).console,
            keys: if sees_keys { each_key(keys, &totals, &seen) } else { together(&keys) },
        })
    }
}

fn password_evidence(
    service: Service,
    totals: &[CredentialTotal],
    seen: &[SeenAddress],
) -> CredentialEvidence {
    let is_password = |whose| !matches!(whose, Recognised::Key(_));
    let entrance = AccessPoint::from(service);
    let addresses =
        latest_addresses(seen.iter().filter(|seen| is_password(seen.whose) && seen.entrance == entrance));
    CredentialEvidence {
        last_use: addresses.first().copied(),
        figures: figures_of(totals, service, is_password),
        addresses,
    }
}

fn each_key(keys: Vec<ListedKey>, totals: &[CredentialTotal], seen: &[SeenAddress]) -> KeysEvidence {
    // By key: an installation may have given thousands to one user.
    let mut done: HashMap<Recognised, Vec<CredentialTotal>> = HashMap::new();
    for total in totals {
        done.entry(total.whose).or_default().push(*total);
    }
    let mut seen_of: HashMap<Recognised, Vec<SeenAddress>> = HashMap::new();
    for seen in seen {
        seen_of.entry(seen.whose).or_default().push(*seen);
    }
    let evidence = keys.into_iter().map(|ListedKey { key, last_use, .. }| {
        let whose = Recognised::Key(key.id);
        let totals = done.remove(&whose).unwrap_or_default();
        KeyEvidence {
            id: key.id,
            scope: key.scope,
            last_use,
            api: figures_of(&totals, Service::Api, |_| true),
            isproxy: figures_of(&totals, Service::IsProxy, |_| true),
            addresses: latest_addresses(&seen_of.remove(&whose).unwrap_or_default()),
            description: key.description,
        }
    });
    KeysEvidence::Each(evidence.collect())
}

fn together(keys: &[ListedKey]) -> KeysEvidence {
    let last_used_at = keys.iter().filter_map(|key| key.last_use.as_ref()).map(|used| used.at).max();
    KeysEvidence::Together { count: keys.len(), last_used_at }
}

fn figures_of(
    totals: &[CredentialTotal],
    service: Service,
    is_meant: impl Fn(Recognised) -> bool,
) -> Figures {
    let meant = totals.iter().filter(|total| total.service == service && is_meant(total.whose));
    meant.fold(Figures::default(), |sum, total| {
        sum.and(Figures { requests: total.requests, refusals: total.refusals })
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::{NOW, plane};
    use super::*;
    use crate::auth::{Actor, KeyToMake, Means, PasswordEnd, UserActor, UserToMake};
    use crate::model::{ClientIp, Permission, UserId};
    use crate::store::UsageHour;
    use crate::store::testing::CredentialUse;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn ip(last: u8) -> ClientIp {
        ClientIp::new(std::net::Ipv4Addr::new(192, 0, 2, last).into())
    }

    /// `acme/alex` made 4 requests by password, 3 by a session, 2 `IS` lines and a refused one by key.
    async fn used_plane() -> (tempfile::TempDir, ControlPlane, UserId, KeyId) {
        let (folder, plane) = plane().await;
        let order = KeyToMake::new(name("acme/alex"), "CI", "api,isproxy".parse().unwrap());
        let made = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let (user, key) = (plane.user(&name("acme/alex")).await.unwrap().id, made.keys[0].id);
        let count = |whose, service, requests, refusals| CredentialUse {
            whose,
            service,
            hour: UsageHour::of(NOW),
            requests,
            refusals,
        };
        let counts = [
            count(Recognised::Password(user), Service::Api, 4, 1),
            count(Recognised::Session(user), Service::Api, 3, 0),
            count(Recognised::Key(key), Service::IsProxy, 2, 1),
        ];
        plane.store.add_uses(&counts).await;
        let seen = |whose, entrance, last, seconds| SeenAddress {
            whose,
            entrance,
            address: ip(last),
            at: NOW.plus_seconds(seconds),
        };
        let seen = [
            seen(Recognised::Password(user), AccessPoint::Api, 1, -300),
            seen(Recognised::Session(user), AccessPoint::Api, 2, -180),
            seen(Recognised::Key(key), AccessPoint::IsProxy, 3, -60),
        ];
        plane.store.note_addresses(&seen).await.unwrap();
        (folder, plane, user, key)
    }

    #[tokio::test]
    async fn the_evidence_tells_each_credential_apart_and_takes_sessions_for_their_passwords() {
        let (_folder, plane, user, key) = used_plane().await;
        plane.note_console_use(Recognised::Password(user), ip(4)).await.unwrap();
        let evidence = plane.evidence_for(&name("acme/alex")).await.unwrap();
        let api = &evidence.api_password;
        assert_eq!(api.figures, Figures { requests: 7, refusals: 1 });
        assert_eq!(api.addresses.iter().map(|seen| seen.address).collect::<Vec<_>>(), [ip(2), ip(1)]);
        assert_eq!(api.last_use.unwrap().at, NOW.plus_seconds(-180));
        assert_eq!(
            (evidence.isproxy_password.last_use, evidence.isproxy_password.figures.requests),
            (None, 0)
        );
        assert_eq!(evidence.console_password.unwrap().address, ip(4));
        let KeysEvidence::Each(keys) = evidence.keys else { panic!() };
        assert_eq!((keys.len(), keys[0].id, keys[0].description.as_str()), (1, key, "CI"));
        assert_eq!(keys[0].isproxy, Figures { requests: 2, refusals: 1 });
        assert_eq!((keys[0].api, keys[0].addresses[0].address), (Figures::default(), ip(3)));
    }

    #[tokio::test]
    async fn who_may_see_the_user_and_not_its_keys_learns_how_many_there_are() {
        let (_folder, plane, ..) = used_plane().await;
        let clerk = UserToMake {
            permissions: [Permission::ManageUser].into_iter().collect(),
            ..UserToMake::new(name("acme/clerk"))
        };
        plane.create_user(clerk).await.unwrap();
        let clerk = plane.user(&name("acme/clerk")).await.unwrap();
        let asking = plane.acting_as(Actor::User(UserActor {
            id: clerk.id,
            name: clerk.name,
            client_ip: ip(9),
            means: Means::Console { authenticated_at: NOW },
        }));
        let evidence = asking.evidence_for(&name("acme/alex")).await.unwrap();
        assert_eq!(evidence.api_password.figures.requests, 7);
        assert!(matches!(evidence.keys, KeysEvidence::Together { count: 1, last_used_at: None }));
    }
}
