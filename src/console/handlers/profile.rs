//! `/profile`: one's own data, password and open sessions. MFA is in `mfa`, API keys have handlers of their own.

mod browser;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Sent};
use super::super::frame::{FieldError, Link, Moment, Notice, Place};
use super::super::page::{holding, page, see_other, unprocessable};
use super::super::pages::error::sentence;
use super::super::pages::profile::{ChangePassword, OpenSession, Profile, Sessions};
use super::super::parts::language_name;
use super::super::visit::Person;
use super::mfa::{may_make_keys, overview_page};
use super::quotas::warnings;
use crate::auth::{Action, Asker, ControlError, Via, allow, least_password_characters, mfa_state};
use crate::model::Secret;
use browser::browser_in_words;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/profile", get(profile))
        .route("/profile/password", get(ask_password).post(change_password))
        .route("/profile/sessions", get(sessions).post(end_others))
}

async fn profile(person: Person) -> Result<Response, Failure> {
    let user = &person.session().user;
    let sessions = person.access().sessions_of(user).await?.len();
    let api_keys = if may_make_keys(&person) {
        Some(person.plane().list_keys(Some(&user.name)).await?.len())
    } else {
        None
    };
    let mfa_status = overview_page(&person, person.peek_frame()).await?.status();
    let asker = Asker { user, via: Via::FreshSession };
    let quotas = person.plane().quotas_of_user(&user.name).await?;
    let mut frame = person.frame("Profile", Place::Profile);
    frame.notices.extend(warnings(&quotas).into_iter().map(|told| told.with_link(to_quotas())));
    Ok(page(&Profile {
        frame,
        customer: user.name.customer.to_string(),
        login: user.name.login.to_string(),
        full_name: user.full_name.clone(),
        email: user.email.clone(),
        language: language_name(&user.language).to_owned(),
        may_edit: allow(asker, Action::EditProfile(user)).is_ok(),
        mfa_status,
        sessions,
        api_keys,
    }))
}

fn to_quotas() -> Link {
    Link::new("Quotas", "/profile/quotas")
}

async fn ask_password(person: Person) -> Result<Response, Failure> {
    person.plane().may(Action::OwnPassword(&person.session().user)).await?;
    Ok(page(&password_page(&person)))
}

#[derive(Deserialize)]
struct NewPassword {
    #[serde(default)]
    password: String,
}

async fn change_password(person: Person, Form(typed): Form<NewPassword>) -> Result<Response, Failure> {
    match person.access().change_own_password(person.session(), Secret::new(typed.password)).await {
        Ok(token) => {
            let text = "Your password was changed. Your other sessions were signed out.";
            person.tell(Notice::success(text));
            Ok(holding(person.state(), &token, see_other("/profile")))
        }
        Err(ControlError::Password(fault)) => {
            let mut shown = password_page(&person);
            shown.frame.errors = vec![FieldError::new("password", sentence(&fault.to_string()))];
            Ok(unprocessable(&shown))
        }
        Err(error) => Err(error.into()),
    }
}

fn password_page(person: &Person) -> ChangePassword {
    let user = &person.session().user;
    ChangePassword {
        frame: person.frame("Change password", Place::Profile),
        user: user.name.to_string(),
        least_characters: least_password_characters(mfa_state(user)),
        is_chosen_by_another: user.password_ends_at.is_some(),
    }
}

async fn sessions(person: Person) -> Result<Response, Failure> {
    let own = person.session().record.digest;
    let mut open = person.access().sessions_of(&person.session().user).await?;
    // A stable sort: this one first, then the one that was used last.
    open.sort_by_key(|session| session.digest != own);
    let sessions = open.into_iter().map(|session| OpenSession {
        browser: browser_in_words(&session.browser),
        address: session.client_ip,
        signed_in: Moment::from(session.created_at),
        last_active: Moment::from(session.last_used_at),
        is_this_one: session.digest == own,
    });
    Ok(page(&Sessions {
        frame: person.frame("Sessions", Place::Profile),
        sessions: sessions.collect(),
        idle_minutes: person.state().limits().console_session_idle_seconds / 60,
    }))
}

async fn end_others(person: Person, Form(Sent {}): Form<Sent>) -> Result<Response, Failure> {
    person.plane().end_other_sessions(person.session()).await?;
    person.tell(Notice::success("You are signed out everywhere else."));
    Ok(see_other("/profile/sessions"))
}
