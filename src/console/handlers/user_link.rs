//! `/account/users/{login}/link`: a new one-time link. And the page that shows a link once, for whoever makes one.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{Moment, Place};
use super::super::page::{page, see_other};
use super::super::pages::one_time_link::{LinkGonePage, LinkPage, LinkPurpose};
use super::super::visit::Person;
use super::account_user::{find, path};
use crate::auth::{ControlError, LINK_LIVES_SECONDS, MadeLink};
use crate::model::{self, Secret};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/account/users/{login}/link", get(back).post(make))
}

/// Of a form that makes something: it does so once.
#[derive(Deserialize)]
pub(super) struct Once {
    #[serde(default)]
    pub(super) form_token: String,
}

/// A reload of the address shows the user, whose page has the button.
async fn back(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    Ok(see_other(&path(&user, "")))
}

async fn make(
    person: Person,
    Path(login): Path<String>,
    Form(form): Form<Once>,
) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let made = person.plane().once(&form.form_token).issue_link(&user.name).await;
    answer(&person, &login, made, |purpose| match purpose {
        model::LinkPurpose::Password => LinkPurpose::NewPassword,
        model::LinkPurpose::SignIn => LinkPurpose::NextSignIn,
    })
    .await
}

/// The page with a link that was made, or the one that says that it was shown.
pub(super) async fn answer(
    person: &Person,
    login: &str,
    made: Result<MadeLink, ControlError>,
    purpose: impl FnOnce(model::LinkPurpose) -> LinkPurpose,
) -> Result<Response, Failure> {
    let made = match made {
        Ok(made) => made,
        Err(ControlError::MadeBefore(_)) => return Ok(gone(person, login)),
        Err(other) => return Err(other.into()),
    };
    person.access().in_force(made.revision).await;
    Ok(show(person, login, purpose(made.purpose), &made.token))
}

/// The page with the link of `token`.
pub(super) fn show(person: &Person, login: &str, purpose: LinkPurpose, token: &Secret<String>) -> Response {
    let ends_at = person.state().clock().now().plus_seconds(LINK_LIVES_SECONDS);
    page(&LinkPage {
        frame: person.frame(LinkPage::TITLE, Place::Users),
        login: login.to_owned(),
        purpose,
        link: Secret::new(format!("{}/welcome/{}", person.state().public_url(), token.expose())),
        ends_at: Moment::from(ends_at),
    })
}

/// The answer to the same form once more.
pub(super) fn gone(person: &Person, login: &str) -> Response {
    page(&LinkGonePage { frame: person.frame(LinkGonePage::TITLE, Place::Users), login: login.to_owned() })
}
