//! `/confirm`: the password, and a factor where MFA is on, once more before a change (S96).
//!
//! Whoever was sent here goes on to the page of the change. What was typed there is kept, and sent by one press.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Queried};
use super::super::frame::{FieldError, Link, Place};
use super::super::page::{holding, own_path, page, see_other, with_query};
use super::super::pages::sign_in::{Confirm, ConfirmWith, GoOn, SecondStep, other_way};
use super::super::unsent::Unsent;
use super::super::visit::Person;
use super::factors::{Refused, presented, ways_of};
use super::sign_in::{Reason, forgetting};
use crate::auth::{ConfirmFault, FactorRefusal, SessionStep};
use crate::model::Secret;

/// Where somebody goes who has confirmed and typed something before.
const GO_ON: &str = "/confirm/go-on";

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/confirm", get(show).post(confirm)).route(GO_ON, get(go_on))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
    with: String,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    credential: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    next: String,
}

async fn show(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    Ok(page(&confirm_page(&person, own_path(&asked.next), &asked.with).await?))
}

async fn confirm(person: Person, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let next = own_path(&typed.next).to_owned();
    let step = step_of(&typed.with);
    let factor =
        step.map(|step| presented(step, if step == SecondStep::Key { typed.credential } else { typed.code }));
    let password = Secret::new(typed.password);
    let fault = match person.access().confirm(person.session(), password, factor).await {
        Ok(token) => {
            let kept = person.state().unsent(person.session().user.id);
            let to = if kept.is_some_and(|kept| kept.path == next) { GO_ON } else { &next };
            return Ok(holding(person.state(), &token, see_other(to)));
        }
        Err(fault) => fault,
    };
    let (refused, field) = match fault {
        ConfirmFault::Password(fault) => {
            (Refused::password(fault, "The password is not correct.")?, "password")
        }
        ConfirmFault::Factor(refusal) => {
            let step = step.unwrap_or(SecondStep::RecoveryCode);
            let field = if step == SecondStep::Key { "" } else { "code" };
            match Refused::factor(refusal, step)? {
                Some(refused) => (refused, field),
                None => {
                    return Ok(forgetting(person.state(), see_other(&Reason::Again.path(&next))));
                }
            }
        }
    };
    let mut shown = confirm_page(&person, &next, &typed.with).await?;
    shown.frame.errors = vec![FieldError::new(field, refused.text.as_str())];
    Ok(refused.answer(&shown))
}

/// What was typed before, to be sent now.
async fn go_on(person: Person) -> Response {
    match person.state().unsent(person.session().user.id) {
        Some(Unsent { path, fields }) => {
            page(&GoOn { frame: person.frame("Send what you typed?", Place::Profile), path, fields })
        }
        None => see_other("/"),
    }
}

/// The page that asks for the factor `with`, or for the one that was used last.
async fn confirm_page(person: &Person, next: &str, with: &str) -> Result<Confirm, Failure> {
    let user = &person.session().user;
    let mut ways = if user.mfa_active { ways_of(person).await? } else { Vec::new() };
    let wanted = step_of(with).filter(|wanted| ways.contains(wanted));
    let mut with = wanted.or_else(|| ways.first().copied());
    let mut options = None;
    if with == Some(SecondStep::Key) {
        options = match person.access().challenge_security_key(person.session()).await {
            Ok(options) => Some(options),
            Err(FactorRefusal::Control(error)) => return Err(error.into()),
            Err(_) => None,
        };
        if options.is_none() {
            ways.retain(|way| *way != SecondStep::Key);
            with = Some(ways.first().copied().unwrap_or(SecondStep::RecoveryCode));
        }
    }
    Ok(Confirm {
        frame: person.frame("Confirm it is you", Place::Profile),
        user: user.name.to_string(),
        next: next.to_owned(),
        cancel: cancel(person.session().step).to_owned(),
        others: ways.iter().filter(|way| Some(**way) != with).map(|way| other(*way, next)).collect(),
        with: match (with, options) {
            (None, _) => ConfirmWith::Password,
            (Some(SecondStep::App), _) => ConfirmWith::App,
            (Some(SecondStep::Key), Some(options)) => ConfirmWith::Key { options },
            (Some(_), _) => ConfirmWith::RecoveryCode,
        },
    })
}

/// The way that [`ConfirmWith::as_str`] names.
fn step_of(with: &str) -> Option<SecondStep> {
    match with {
        "app" => Some(SecondStep::App),
        "key" => Some(SecondStep::Key),
        "recovery-code" => Some(SecondStep::RecoveryCode),
        _ => None,
    }
}

/// The link to another way to confirm.
fn other(way: SecondStep, next: &str) -> Link {
    let with = match way {
        SecondStep::App => "app",
        SecondStep::Key => "key",
        SecondStep::RecoveryCode => "recovery-code",
    };
    let href = with_query("/confirm", &[("with", with), ("next", next)]);
    Link { href, ..other_way(way, next) }
}

const fn cancel(step: SessionStep) -> &'static str {
    match step {
        SessionStep::SetUp => "/profile/mfa",
        SessionStep::NewPassword => "/profile/password",
        SessionStep::SecondFactor | SessionStep::Open => "/profile",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_confirm_is_named_in_addresses_as_in_the_form() {
        let key = ConfirmWith::Key { options: String::new() };
        for with in [ConfirmWith::App, key, ConfirmWith::RecoveryCode] {
            let step = step_of(with.as_str()).unwrap();
            let link = other(step, "/profile?a=b");
            assert_eq!(link.href, format!("/confirm?with={}&next=%2Fprofile%3Fa%3Db", with.as_str()));
        }
        assert_eq!(step_of(ConfirmWith::Password.as_str()), None);
    }
}
