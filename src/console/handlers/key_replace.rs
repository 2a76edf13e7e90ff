//! Replacing an API key: a new one like it, shown once, and an end for the old one.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{FieldError, Moment};
use super::super::page::{page, unprocessable};
use super::super::pages::key_replace::{KeyReplacePage, OldEnds};
use super::super::visit::Person;
use super::api_keys::{already_shown, last_use, made_page, networks};
use super::whose::{KeyInPath, Whose};
use crate::auth::{ControlError, KeyState, ListedKey, replacement_end};

pub(super) fn routes() -> Router<ConsoleState> {
    let replacement = || get(ask).post(replace);
    Router::new()
        .route("/profile/api-keys/{id}/replace", replacement())
        .route("/account/users/{login}/api-keys/{id}/replace", replacement())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    form_token: String,
    old_ends: String,
}

async fn ask(person: Person, whose: Whose, KeyInPath(id): KeyInPath) -> Result<Response, Failure> {
    let listed = person.plane().key_of(whose.name(), id).await?;
    match KeyState::of(&listed.key, person.access().clock().now()) {
        KeyState::Active => Ok(page(&question(&person, &whose, &listed)?)),
        KeyState::Disabled => Err(Failure::conflict(&ControlError::RotatesDisabledKey(id))),
        KeyState::Expired => Err(Failure::conflict(&ControlError::RotatesExpiredKey(id))),
    }
}

async fn replace(
    person: Person,
    whose: Whose,
    KeyInPath(id): KeyInPath,
    Form(fields): Form<Fields>,
) -> Result<Response, Failure> {
    let listed = person.plane().key_of(whose.name(), id).await?;
    let Some(old_ends) = OldEnds::from_field(&fields.old_ends) else {
        let mut again = question(&person, &whose, &listed)?;
        again.frame.errors = vec![FieldError::new("old_ends", "Choose when the old key ends.")];
        return Ok(unprocessable(&again));
    };
    if fields.form_token.is_empty() {
        return Err(Failure::form());
    }
    match person.plane().once(&fields.form_token).rotate_key(id, old_ends.seconds()).await {
        Ok(rotated) => {
            person.access().in_force(rotated.revision).await;
            let until = Some(rotated.replaced_until);
            Ok(page(&made_page(&person, &whose, &rotated.order, &rotated.made, until)))
        }
        Err(ControlError::MadeBefore(_)) => Ok(already_shown(&person, &whose)),
        Err(other) => Err(other.into()),
    }
}

fn question(person: &Person, whose: &Whose, listed: &ListedKey) -> Result<KeyReplacePage, Failure> {
    let key = &listed.key;
    Ok(KeyReplacePage {
        frame: person.frame(&KeyReplacePage::title(&key.description), whose.place()),
        base: whose.keys_base(),
        id: key.id.to_string(),
        description: key.description.clone(),
        last_characters: key.last_characters.clone(),
        scope: key.scope,
        last_use: last_use(listed),
        new_expires: replacement_end(key, person.access().clock().now()).map(Moment::from),
        allow_list: networks(&key.allow_list),
        form_token: person.access().draw_form_token()?.expose().clone(),
        old_ends: OldEnds::AfterDay,
    })
}
