//! Setting a method up: recovery codes before the first one, then the app or the key, then the good news.
//!
//! What is under way, `auth` keeps in the session for ten minutes; whoever comes too late begins again.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::super::ConsoleState;
use super::super::super::failure::Failure;
use super::super::super::form::{Form, Queried};
use super::super::super::frame::{FieldError, Notice, Place};
use super::super::super::page::{holding, page, see_other, unprocessable, with_query};
use super::super::super::pages::error::sentence;
use super::super::super::pages::mfa::{AppSetUp, CodesFor, KeySetUp, MethodDone, NewMethod};
use super::super::super::visit::Person;
use super::{codes_page, kind_of, may_make_keys};
use crate::auth::{AddedMethod, ControlError, EnrolmentFault};
use crate::model::Secret;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/profile/mfa/recovery-codes", get(show_codes).post(saved_codes))
        .route("/profile/mfa/app", get(show_app).post(finish_app))
        .route("/profile/mfa/key", get(show_key).post(finish_key))
        .route("/profile/mfa/done", get(done))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Codes {
    then: String,
    saved: String,
}

async fn show_codes(person: Person, Queried(asked): Queried<Codes>) -> Result<Response, Failure> {
    let then = method_of(&asked.then);
    match person.access().show_recovery_codes(person.session()).await {
        Ok(codes) => Ok(page(&codes_page(&person, &codes, CodesFor::FirstMethod(then)))),
        Err(fault) => elsewhere(&person, fault, then),
    }
}

async fn saved_codes(person: Person, Form(typed): Form<Codes>) -> Result<Response, Failure> {
    let then = method_of(&typed.then);
    if typed.saved != "yes" {
        return match person.access().show_recovery_codes(person.session()).await {
            Ok(codes) => {
                let mut shown = codes_page(&person, &codes, CodesFor::FirstMethod(then));
                shown.frame.errors = vec![FieldError::new("saved", "Save the codes, then tick the box.")];
                Ok(unprocessable(&shown))
            }
            Err(fault) => elsewhere(&person, fault, then),
        };
    }
    match person.access().confirm_codes_saved(person.session()).await {
        Ok(()) => Ok(see_other(then.set_up_path())),
        Err(fault) => elsewhere(&person, fault, then),
    }
}

async fn show_app(person: Person) -> Result<Response, Failure> {
    match app_page(&person).await {
        Ok(shown) => Ok(page(&shown)),
        Err(fault) => elsewhere(&person, fault, NewMethod::App),
    }
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
}

async fn finish_app(person: Person, Form(typed): Form<Code>) -> Result<Response, Failure> {
    let code = Secret::new(typed.code);
    let fault = match person.access().finish_app(person.session(), "", &code).await {
        Ok(added) => return Ok(added_answer(&person, &added, NewMethod::App)),
        Err(fault) => fault,
    };
    if !matches!(fault, EnrolmentFault::WrongCode) {
        return elsewhere(&person, fault, NewMethod::App);
    }
    match app_page(&person).await {
        Ok(mut shown) => {
            let text = "The code is not correct or no longer valid. Enter the code the app shows now.";
            shown.frame.errors = vec![FieldError::new("code", text)];
            Ok(unprocessable(&shown))
        }
        Err(fault) => elsewhere(&person, fault, NewMethod::App),
    }
}

async fn show_key(person: Person) -> Result<Response, Failure> {
    match key_page(&person, String::new()).await {
        Ok(shown) => Ok(page(&shown)),
        Err(fault) => elsewhere(&person, fault, NewMethod::Key),
    }
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    name: String,
    #[serde(default)]
    credential: String,
}

async fn finish_key(person: Person, Form(typed): Form<Key>) -> Result<Response, Failure> {
    let answer = Secret::new(typed.credential);
    let fault = match person.access().finish_key(person.session(), &typed.name, &answer).await {
        Ok(added) => return Ok(added_answer(&person, &added, NewMethod::Key)),
        Err(fault) => fault,
    };
    let error = match &fault {
        EnrolmentFault::NoProof => FieldError::new("", "The security key could not be used. Try again."),
        EnrolmentFault::Registered => {
            FieldError::new("", "This security key is already registered for your account.")
        }
        EnrolmentFault::Control(ControlError::Text { .. }) => {
            FieldError::new("name", sentence(&fault.to_string()))
        }
        _ => return elsewhere(&person, fault, NewMethod::Key),
    };
    match key_page(&person, typed.name).await {
        Ok(mut shown) => {
            shown.frame.errors = vec![error];
            Ok(unprocessable(&shown))
        }
        Err(fault) => elsewhere(&person, fault, NewMethod::Key),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Done {
    kind: String,
}

/// The good news of the newest method of the kind.
async fn done(person: Person, Queried(asked): Queried<Done>) -> Result<Response, Failure> {
    let kind = method_of(&asked.kind);
    let own = person.access().own_mfa(person.session()).await?;
    let newest = own.methods.into_iter().rev().find(|method| kind_of(method.kind) == kind);
    let Some(newest) = newest else { return Ok(see_other("/profile/mfa")) };
    let may_make_keys = may_make_keys(&person);
    let frame = person.frame("MFA is on", Place::Profile);
    Ok(page(&MethodDone { frame, kind, name: newest.name, may_make_keys }))
}

/// The browser holds the session's new token, and is shown the good news.
fn added_answer(person: &Person, added: &AddedMethod, kind: NewMethod) -> Response {
    let done = see_other(&with_query("/profile/mfa/done", &[("kind", kind.as_str())]));
    holding(person.state(), &added.token, done)
}

async fn app_page(person: &Person) -> Result<AppSetUp, EnrolmentFault> {
    let shown = person.access().begin_app(person.session()).await?;
    let key = shown.seed.expose().split_whitespace().collect();
    Ok(AppSetUp {
        frame: person.frame("Set up authenticator app", Place::Profile),
        user: person.session().user.name.to_string(),
        qr: shown.qr_code,
        key: Secret::new(key),
        link: shown.otpauth_url,
        codes_were_shown: !person.session().user.mfa_active,
    })
}

async fn key_page(person: &Person, name: String) -> Result<KeySetUp, EnrolmentFault> {
    let options = person.access().begin_key(person.session()).await?;
    let frame = person.frame("Set up security key", Place::Profile);
    Ok(KeySetUp { frame, name, options, codes_were_shown: !person.session().user.mfa_active })
}

/// Where a set-up goes on that cannot go on here.
fn elsewhere(person: &Person, fault: EnrolmentFault, kind: NewMethod) -> Result<Response, Failure> {
    let told = match fault {
        EnrolmentFault::CodesFirst => return Ok(see_other(kind.first_step())),
        // A first method is there already, and its codes are not shown again.
        EnrolmentFault::UnknownMethod => return Ok(see_other("/profile/mfa")),
        EnrolmentFault::Expired => Notice::warning("This set-up has expired. Start again."),
        EnrolmentFault::NotOffered => Notice::warning(
            "This address cannot be used with security keys. Open the console as https://… or http://localhost, or use an authenticator app.",
        ),
        EnrolmentFault::TooMany => Notice::warning("You have 20 methods already. Remove one first."),
        other => return Err(other.into()),
    };
    person.tell(told);
    Ok(see_other("/profile/mfa"))
}

/// The kind that a form or an address names; an app where it names none.
fn method_of(text: &str) -> NewMethod {
    if text == NewMethod::Key.as_str() { NewMethod::Key } else { NewMethod::App }
}
