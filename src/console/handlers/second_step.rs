//! `/sign-in/verify`: the second step of a sign-in, by app, security key or recovery code.
//!
//! The page of the way that was used last comes first and names the others. Checking is `auth`'s.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Queried};
use super::super::frame::{FieldError, Link};
use super::super::page::{own_path, page, see_other, with_query};
use super::super::pages::sign_in::{
    SecondStep, SecondStepApp, SecondStepKey, SecondStepRecovery, other_way, recovery_code_used,
};
use super::super::visit::Person;
use super::factors::{Refused, presented, ways_of};
use super::sign_in::{Reason, entered, forgetting};
use crate::auth::{FactorRefusal, UsedFactor};

/// After so many wrong codes it is time to speak of clocks.
const CLOCK_HINT_AFTER: u32 = 2;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/sign-in/verify", get(show).post(take_code))
        .route("/sign-in/verify/key", get(show_key).post(take_key))
        .route("/sign-in/verify/recovery", get(show_recovery).post(take_recovery_code))
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
    code: String,
    #[serde(default)]
    credential: String,
    #[serde(default)]
    next: String,
}

async fn show(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let ways = ways_of(&person).await?;
    let has_app = ways.contains(&SecondStep::App);
    let first = ways.first().copied().unwrap_or(SecondStep::RecoveryCode);
    if has_app && (first == SecondStep::App || asked.with == "app") {
        let tries = person.session().record.tries;
        return Ok(page(&app_page(&person, &ways, next_of(&asked.next), tries)));
    }
    Ok(see_other(&other_way(first, next_of(&asked.next)).href))
}

async fn show_key(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let ways = ways_of(&person).await?;
    match key_page(&person, &ways, next_of(&asked.next)).await? {
        Some(shown) => Ok(page(&shown)),
        None => Ok(see_other(&with_query("/sign-in/verify/recovery", &[("next", next_of(&asked.next))]))),
    }
}

async fn show_recovery(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let ways = ways_of(&person).await?;
    Ok(page(&recovery_page(&person, &ways, next_of(&asked.next))))
}

async fn take_code(person: Person, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let next = next_of(&typed.next);
    let refused = match take(&person, SecondStep::App, typed.code, next).await? {
        Taken::Answered(answer) => return Ok(answer),
        Taken::Refused(refused) => refused,
    };
    let ways = ways_of(&person).await?;
    let tries = person.session().record.tries.saturating_add(1);
    let mut shown = app_page(&person, &ways, next, tries);
    shown.frame.errors = refused.of_field("code");
    Ok(refused.answer(&shown))
}

async fn take_recovery_code(person: Person, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let next = next_of(&typed.next);
    let refused = match take(&person, SecondStep::RecoveryCode, typed.code, next).await? {
        Taken::Answered(answer) => return Ok(answer),
        Taken::Refused(refused) => refused,
    };
    let ways = ways_of(&person).await?;
    let mut shown = recovery_page(&person, &ways, next);
    shown.frame.errors = refused.of_field("code");
    Ok(refused.answer(&shown))
}

async fn take_key(person: Person, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let next = next_of(&typed.next);
    let refused = match take(&person, SecondStep::Key, typed.credential, next).await? {
        Taken::Answered(answer) => return Ok(answer),
        Taken::Refused(refused) => refused,
    };
    let ways = ways_of(&person).await?;
    if let Some(mut shown) = key_page(&person, &ways, next).await? {
        shown.frame.errors = vec![FieldError::new("", refused.text.as_str())];
        return Ok(refused.answer(&shown));
    }
    let mut shown = recovery_page(&person, &ways, next);
    shown.frame.errors = vec![FieldError::new("", refused.text.as_str())];
    Ok(refused.answer(&shown))
}

/// What became of a factor.
enum Taken {
    /// Signed in, or to begin again.
    Answered(Response),
    /// To be tried again.
    Refused(Refused),
}

async fn take(person: &Person, step: SecondStep, text: String, next: &str) -> Result<Taken, Failure> {
    match person.access().verify(person.session(), presented(step, text)).await {
        Ok((signed_in, used)) => {
            if let UsedFactor::RecoveryCode { left } = used {
                person.tell(recovery_code_used(left));
            }
            Ok(Taken::Answered(entered(person.state(), &signed_in, next)))
        }
        Err(refusal) => Ok(match Refused::factor(refusal, step)? {
            Some(refused) => Taken::Refused(refused),
            None => Taken::Answered(forgetting(person.state(), see_other(&Reason::Again.path(next)))),
        }),
    }
}

fn app_page(person: &Person, ways: &[SecondStep], next: &str, tries: u32) -> SecondStepApp {
    SecondStepApp {
        frame: person.bare_frame("Confirm it is you"),
        user: person.session().user.name.to_string(),
        next: next.to_owned(),
        others: others(ways, SecondStep::App, next),
        shows_clock_hint: tries >= CLOCK_HINT_AFTER,
    }
}

/// The page of the security key with a new challenge; `None`: there is no key that can be used here.
async fn key_page(
    person: &Person,
    ways: &[SecondStep],
    next: &str,
) -> Result<Option<SecondStepKey>, Failure> {
    let options = match person.access().challenge_security_key(person.session()).await {
        Ok(options) => options,
        Err(FactorRefusal::Control(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    Ok(Some(SecondStepKey {
        frame: person.bare_frame("Confirm it is you"),
        user: person.session().user.name.to_string(),
        next: next.to_owned(),
        others: others(ways, SecondStep::Key, next),
        options,
    }))
}

fn recovery_page(person: &Person, ways: &[SecondStep], next: &str) -> SecondStepRecovery {
    SecondStepRecovery {
        frame: person.bare_frame("Use a recovery code"),
        next: next.to_owned(),
        others: others(ways, SecondStep::RecoveryCode, next),
    }
}

fn others(ways: &[SecondStep], shown: SecondStep, next: &str) -> Vec<Link> {
    ways.iter().filter(|way| **way != shown).map(|way| other_way(*way, next)).collect()
}

/// The path to go on to; empty for the start page.
fn next_of(typed: &str) -> &str {
    match own_path(typed) {
        "/" => "",
        path => path,
    }
}
