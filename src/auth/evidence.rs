//! What a change would stop, with evidence from the last 30 days: for pages that tell the consequences before the click.
//!
//! It says what was used, when, from where and how much; what is open at this moment the gateway's `Authenticator`
//! knows. Whether a credential is let in at all is `access`'s to tell. Callers: the console.

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
        let keys = self.store.list_keys(Some(user.id)).await?;
        let totals = self.store.credential_totals(user.id, window.since).await?;
        let seen = self.store.addresses_of_user(user.id, window.seen_since).await?;
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
    let evidence = keys.into_iter().map(|ListedKey { key, last_use, .. }| {
        let is_key = |whose| whose == Recognised::Key(key.id);
        KeyEvidence {
            id: key.id,
            scope: key.scope,
            last_use,
            api: figures_of(totals, Service::Api, is_key),
            isproxy: figures_of(totals, Service::IsProxy, is_key),
            addresses: latest_addresses(seen.iter().filter(|seen| is_key(seen.whose))),
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
