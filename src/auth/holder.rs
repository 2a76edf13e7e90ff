//! Whose a list or a quota is, a customer's, a user's or a key's: by name, and as the store has it.
//!
//! What one may do with it is judged by the use cases of allow-lists and quotas, which call this.

use std::fmt;
use std::str::FromStr;

use super::api_keys::require_key;
use super::audit::{Event, EventKind};
use super::change::Change;
use super::control_plane::{ControlError, require_customer, require_user};
use super::rights::Forbidden;
use crate::model::{ApiKeyRecord, CustomerHandle, InvalidKeyId, InvalidName, KeyId, QuotaOwner, UserName};
use crate::store::{CustomerRecord, UserRecord};

/// Who has a list or a quota, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// `customer:HANDLE`
    Customer(CustomerHandle),
    /// `user:CUSTOMER/LOGIN`
    User(UserName),
    /// `key:ID`
    Key(KeyId),
}

/// A text that names no holder.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHolder {
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

/// The same as the store has it; a key with its user.
#[derive(Debug)]
pub(super) enum Held {
    /// A customer.
    Customer(CustomerRecord),
    /// A user.
    User(UserRecord),
    /// A key, and whose it is.
    Key(ApiKeyRecord, UserRecord),
}

impl FromStr for Holder {
    type Err = InvalidHolder;

    fn from_str(text: &str) -> Result<Self, InvalidHolder> {
        match text.split_once(':') {
            Some(("customer", handle)) => Ok(Self::Customer(handle.parse()?)),
            Some(("user", name)) => Ok(Self::User(name.parse()?)),
            Some(("key", id)) => Ok(Self::Key(id.parse()?)),
            _ => Err(InvalidHolder::Kind),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(handle) => write!(f, "customer:{handle}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Key(id) => write!(f, "key:{id}"),
        }
    }
}

impl Holder {
    /// What was `judged` about it, where another customer's is as unknown as one that does not exist.
    pub(super) fn unknown_if_foreign<T>(&self, judged: Result<T, ControlError>) -> Result<T, ControlError> {
        match judged {
            Err(ControlError::Forbidden(Forbidden::Unknown)) => Err(match self {
                Self::Customer(handle) => ControlError::UnknownCustomer(handle.clone()),
                Self::User(name) => ControlError::UnknownUser(name.clone()),
                Self::Key(id) => ControlError::UnknownKey(*id),
            }),
            other => other,
        }
    }
}

impl Change {
    /// What `holder` names, whoever asks.
    pub(super) async fn held(&mut self, holder: &Holder) -> Result<Held, ControlError> {
        Ok(match holder {
            Holder::Customer(handle) => Held::Customer(require_customer(self, handle).await?),
            Holder::User(name) => Held::User(require_user(self, name).await?),
            Holder::Key(id) => {
                let (key, user) = require_key(self, *id).await?;
                Held::Key(key, user)
            }
        })
    }

    /// Who has the quota that is kept as that of `owner`; `None`: it is gone.
    pub(super) async fn held_as(&mut self, owner: QuotaOwner) -> Result<Option<Held>, ControlError> {
        Ok(match owner {
            QuotaOwner::Customer(id) => self.customer_by_id(id).await?.map(Held::Customer),
            QuotaOwner::User(id) => self.user_by_id(id).await?.map(Held::User),
            QuotaOwner::Key(id) => match self.key(id).await? {
                Some(key) => self.user_by_id(key.user).await?.map(|user| Held::Key(key, user)),
                None => None,
            },
        })
    }
}

impl Held {
    /// As whose its quota is kept.
    pub(super) const fn owner(&self) -> QuotaOwner {
        match self {
            Self::Customer(customer) => QuotaOwner::Customer(customer.id),
            Self::User(user) => QuotaOwner::User(user.id),
            Self::Key(key, _) => QuotaOwner::Key(key.id),
        }
    }

    /// An event about it.
    pub(super) fn event(&self, kind: EventKind) -> Event {
        let event = Event::new(kind);
        match self {
            Self::Customer(customer) => event.about_thing(Some(customer.id), customer.handle.as_str()),
            Self::User(user) => event.about(user),
            Self::Key(key, user) => event.about(user).with("key", key.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_survives_its_text() {
        for text in ["customer:acme", "user:acme/alex", "key:key_0c1x8n4t7q2vz"] {
            assert_eq!(text.parse::<Holder>().unwrap().to_string(), text);
        }
        for text in ["acme", "customer:", "user:acme", "key:1", "listener:api"] {
            assert!(text.parse::<Holder>().is_err(), "{text}");
        }
    }
}
