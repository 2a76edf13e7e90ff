//! Whose things an address is about: the viewer's own below `/profile`, otherwise those of the user whom it names.
//!
//! Whether the viewer may see them, the use cases judge. Used by the handlers of API keys, of their usage and of
//! quotas.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::frame::Place;
use super::super::visit::Person;
use crate::model::{KeyId, Login, UserName};

/// The user that an address is about.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    name: UserName,
    /// As the address has it; `None`: it is below `/profile`.
    login: Option<String>,
}

impl Whose {
    /// The user's name in full.
    pub(super) const fn name(&self) -> &UserName {
        &self.name
    }

    /// The login name where the address has one.
    pub(super) fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// The address of the list of the user's keys.
    pub(super) fn keys_base(&self) -> String {
        match &self.login {
            Some(login) => format!("/account/users/{login}/api-keys"),
            None => String::from("/profile/api-keys"),
        }
    }

    /// The menu's entry that the pages belong to.
    pub(super) const fn place(&self) -> Place {
        if self.login.is_some() { Place::Users } else { Place::Profile }
    }
}

/// The key that an address names.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyInPath(pub(super) KeyId);

/// The user of that login name of the viewer's customer. Nobody is found by a text that cannot be one.
pub(super) fn user_named(person: &Person, login: &str) -> Result<UserName, Failure> {
    let customer = person.session().user.name.customer.clone();
    let login: Login = login.parse().map_err(|_| Failure::not_found())?;
    Ok(UserName { customer, login })
}

impl FromRequestParts<ConsoleState> for Whose {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ConsoleState) -> Result<Self, Failure> {
        let person = Person::from_request_parts(parts, state).await?;
        let login = parameter("login", parts, state).await?;
        let name = match &login {
            Some(login) => user_named(&person, login)?,
            None => person.session().user.name.clone(),
        };
        Ok(Self { name, login })
    }
}

impl FromRequestParts<ConsoleState> for KeyInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ConsoleState) -> Result<Self, Failure> {
        let id = parameter("id", parts, state).await?;
        id.and_then(|id| id.parse().ok()).map(Self).ok_or_else(Failure::not_found)
    }
}

/// What the address says in the place of this name, if its route has such a place.
async fn parameter(name: &str, parts: &mut Parts, state: &ConsoleState) -> Result<Option<String>, Failure> {
    let all = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Failure::not_found())?;
    Ok(all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()))
}
