//! The API keys of a user, one's own and somebody else's: the list and the making of a key.
//!
//! Deleting is `key_delete`'s, replacing `key_replace`'s, figures are `usage`'s. What may be typed is `new_key`'s.

mod new_key;

use std::num::NonZeroU32;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use self::new_key::NewKeyFields;
use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Queried};
use super::super::frame::{FieldError, Moment};
use super::super::page::{page, unprocessable};
use super::super::pages::api_keys::{ApiKeysPage, FirstKey, KeyForm, KeyMark, KeyRow, KeyValues};
use super::super::pages::key_made::{KeyMadePage, KeyShownPage};
use super::super::parts::{Evidence, LastUse, Shown, day};
use super::super::visit::Person;
use super::networks::shown;
use super::whose::Whose;
use crate::auth::{
    Action, ControlError, KeyKind, KeyState, KeyToMake, LetInFrom, ListedKey, MadeKey, UserRecord,
    first_key_ends_password,
};
use crate::model::{AllowList, ApiKeyRecord, KeyId, Secret, Service, Timestamp};

/// A key that is unused for so long is marked.
const UNUSED_SECONDS: i64 = 90 * 86_400;

pub(super) fn routes() -> Router<ConsoleState> {
    let keys = || get(list).post(create);
    Router::new().route("/profile/api-keys", keys()).route("/account/users/{login}/api-keys", keys())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Made {
    /// The key that was just made.
    made: String,
}

async fn list(person: Person, whose: Whose, Queried(asked): Queried<Made>) -> Result<Response, Failure> {
    let made = asked.made.parse().ok();
    Ok(page(&keys_page(&person, &whose, made, KeyValues::default()).await?))
}

async fn create(person: Person, whose: Whose, Form(fields): Form<NewKeyFields>) -> Result<Response, Failure> {
    let order = match fields.order(whose.name(), person.access().clock().now()) {
        Ok(order) => order,
        Err(errors) => return again(&person, &whose, &fields, errors).await,
    };
    let plane = person.plane().once(fields.form_token()?);
    match plane.create_keys(&order, NonZeroU32::MIN, fields.password_end()).await {
        Ok(made) => {
            person.access().in_force(made.revision).await;
            let key = made.keys.into_iter().next().ok_or_else(|| Failure::defect("no key was made"))?;
            Ok(page(&made_page(&person, &whose, &order, &key, None)))
        }
        Err(ControlError::EndsPasswordAccess(_)) => {
            let text = "Tick the box to say that password access to the API may end.";
            again(&person, &whose, &fields, vec![FieldError::new("understood", text)]).await
        }
        Err(ControlError::MadeBefore(_)) => Ok(already_shown(&person, &whose)),
        Err(other) => Err(other.into()),
    }
}

/// The page with the form as it was sent. Who may not see the keys learns nothing of what was wrong with it.
async fn again(
    person: &Person,
    whose: &Whose,
    fields: &NewKeyFields,
    errors: Vec<FieldError>,
) -> Result<Response, Failure> {
    let mut again = keys_page(person, whose, None, fields.values()).await?;
    again.frame.errors = errors;
    Ok(unprocessable(&again))
}

/// The page that shows a key, this once.
pub(super) fn made_page(
    person: &Person,
    whose: &Whose,
    order: &KeyToMake,
    made: &MadeKey,
    replaces_until: Option<Timestamp>,
) -> KeyMadePage {
    let doors = person.state().doors();
    KeyMadePage {
        frame: person.frame(KeyMadePage::TITLE, whose.place()),
        base: whose.keys_base(),
        id: made.id.to_string(),
        description: order.description.clone(),
        scope: order.scope,
        key: Secret::new(made.text.expose().to_owned()),
        expires: order.expires_at.map(Moment::from),
        api: doors.api.clone(),
        isproxy: doors.isproxy.clone(),
        replaces_until: replaces_until.map(Moment::from),
    }
}

/// The answer to a form that was sent before.
pub(super) fn already_shown(person: &Person, whose: &Whose) -> Response {
    page(&KeyShownPage { frame: person.frame(KeyShownPage::TITLE, whose.place()), base: whose.keys_base() })
}

async fn keys_page(
    person: &Person,
    whose: &Whose,
    made: Option<KeyId>,
    values: KeyValues,
) -> Result<ApiKeysPage, Failure> {
    let plane = person.plane();
    let listed = plane.list_keys(Some(whose.name())).await?;
    let owner = plane.user(whose.name()).await?;
    let now = person.access().clock().now();
    let row = |listed: &ListedKey| row(listed, made, now, may_change(person, &owner, &listed.key));
    let form = if person.may(Action::ChangeKeys(&owner, KeyKind::Door)) {
        Some(KeyForm {
            form_token: person.access().draw_form_token()?.expose().clone(),
            first_key: first_key(person, &owner).await?,
            manage: person.shows(Action::ChangeKeys(&owner, KeyKind::Manage)),
            values,
        })
    } else {
        None
    };
    Ok(ApiKeysPage {
        frame: person.frame(&ApiKeysPage::title(whose.login()), whose.place()),
        base: whose.keys_base(),
        of_other: whose.login().map(str::to_owned),
        keys: listed.iter().rev().map(row).collect(),
        form,
    })
}

/// May the viewer replace and delete this key?
fn may_change(person: &Person, owner: &UserRecord, key: &ApiKeyRecord) -> Shown {
    let kind = if key.scope.manages() { KeyKind::Manage } else { KeyKind::Door };
    person.shows(Action::ChangeKeys(owner, kind))
}

/// What a first key would end.
async fn first_key(person: &Person, owner: &UserRecord) -> Result<FirstKey, Failure> {
    if !first_key_ends_password(owner) {
        return Ok(FirstKey::ChangesNothing);
    }
    let evidence = person.plane().evidence_for(&owner.name).await?;
    let at_isproxy = person.access().policy().key_ends_password_at_isproxy;
    let api = evidence.api_password.last_use.map(|used| (Service::Api, used));
    let isproxy = evidence.isproxy_password.last_use.filter(|_| at_isproxy);
    let isproxy = isproxy.map(|used| (Service::IsProxy, used));
    let told = |(door, used): (Service, LetInFrom)| Evidence {
        what: String::from("The password"),
        door,
        last_use: LastUse { at: Moment::from(used.at), address: used.address.to_string() },
    };
    Ok(FirstKey::EndsPassword(api.into_iter().chain(isproxy).map(told).collect()))
}

fn row(listed: &ListedKey, made: Option<KeyId>, now: Timestamp, change: Shown) -> KeyRow {
    let key = &listed.key;
    let state = KeyState::of(key, now);
    KeyRow {
        id: key.id.to_string(),
        description: key.description.clone(),
        last_characters: key.last_characters.clone(),
        scope: key.scope,
        created: Moment::from(key.created_at),
        created_by: listed.created_by.clone(),
        last_use: last_use(listed),
        expires: key.expires_at.map(Moment::from),
        allow_list: networks(&key.allow_list),
        marks: marks(listed, made == Some(key.id), now),
        replace: if state == KeyState::Active { change } else { Shown::No },
        delete: change,
    }
}

/// When a key was last used, as pages show it.
pub(super) fn last_use(listed: &ListedKey) -> Option<LastUse> {
    let used = listed.last_use.as_ref()?;
    Some(LastUse { at: Moment::from(used.at), address: used.address.clone() })
}

/// The networks of a key's list, as pages show them.
pub(super) fn networks(list: &AllowList) -> Vec<String> {
    list.networks().iter().map(shown).collect()
}

fn marks(listed: &ListedKey, is_new: bool, now: Timestamp) -> Vec<KeyMark> {
    let key = &listed.key;
    let mut marks = Vec::new();
    if is_new {
        marks.push(KeyMark::JustCreated);
    }
    match KeyState::of(key, now) {
        KeyState::Active => {}
        KeyState::Disabled => marks.push(KeyMark::Disabled),
        KeyState::Expired => marks.push(KeyMark::Expired),
    }
    let since = listed.last_use.as_ref().map_or(key.created_at, |used| used.at);
    if now.unix_seconds().saturating_sub(since.unix_seconds()) >= UNUSED_SECONDS {
        marks.push(KeyMark::NotUsedSince(day(&Moment::from(since)).to_owned()));
    }
    marks
}
