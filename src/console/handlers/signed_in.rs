//! `/signed-in`: what is to be said between a sign-in and the page that was asked for.
//!
//! Security events that the user has not seen yet come first, until they are acknowledged; then the advice to set MFA
//! up, where that is off and nobody demands it (CONSOLE 2.11). Whoever has nothing to read is led on at once.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Queried};
use super::super::frame::{Moment, Place};
use super::super::page::{own_path, page, see_other, with_query};
use super::super::pages::mfa::MfaAdvice;
use super::super::pages::sign_in::{SecurityEventShown, SecurityEvents};
use super::super::visit::Person;
use crate::auth::mfa_state;
use crate::model::{MfaState, Timestamp};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/signed-in", get(show).post(go_on))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
    /// When the last of the events happened that were shown, in milliseconds since 1970.
    shown: i64,
}

async fn show(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let next = own_path(&asked.next);
    let notices = person.access().notices(person.session()).await?;
    if let Some(last) = notices.last() {
        let shown = last.at.unix_milliseconds();
        let events = notices.into_iter().map(|notice| SecurityEventShown {
            at: Moment::from(notice.at),
            text: notice.text.to_owned(),
            address: notice.client_ip,
        });
        return Ok(page(&SecurityEvents {
            frame: person.frame("Since your last sign-in", Place::Profile),
            events: events.collect(),
            next: next.to_owned(),
            shown,
        }));
    }
    if mfa_state(&person.session().user) == MfaState::Off {
        let frame = person.frame("Protect your sign-in", Place::Profile);
        return Ok(page(&MfaAdvice { frame, next: next.to_owned() }));
    }
    Ok(see_other(next))
}

async fn go_on(person: Person, Form(asked): Form<Asked>) -> Result<Response, Failure> {
    let until = Timestamp::from_unix_milliseconds(asked.shown);
    person.access().forget_notices(person.session(), until).await?;
    Ok(see_other(&with_query("/signed-in", &[("next", &asked.next)])))
}
