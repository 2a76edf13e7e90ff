//! `/welcome/{token}`: what a one-time link opens, a password of one's own or the sign-in after a reset of MFA (S102).
//!
//! Looking uses nothing up. The token is in the address alone, which is not logged.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::cookies::ConsoleCookie;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::FieldError;
use super::super::page::{page, see_other, unprocessable};
use super::super::pages::error::sentence;
use super::super::pages::welcome::{ChoosePassword, SignInAfterReset};
use super::super::visit::Visit;
use super::factors::Refused;
use super::sign_in::{chosen, entered};
use crate::auth::{ControlError, FollowedLink, PasswordSignIn, least_password_characters, mfa_state};
use crate::model::{LinkPurpose, Secret};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/welcome/{token}", get(show).post(take))
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    password: String,
}

async fn show(visit: Visit, Path(token): Path<String>) -> Result<Response, Failure> {
    let link = follow(&visit, &token).await?;
    Ok(match link.purpose {
        LinkPurpose::Password => page(&choose_page(&visit, &link)),
        LinkPurpose::SignIn => page(&sign_in_page(&visit, &link)),
    })
}

async fn take(
    visit: Visit,
    headers: HeaderMap,
    Path(token): Path<String>,
    Form(typed): Form<Typed>,
) -> Result<Response, Failure> {
    let link = follow(&visit, &token).await?;
    let password = Secret::new(typed.password);
    match link.purpose {
        LinkPurpose::Password => choose(&visit, &token, &link, password).await,
        LinkPurpose::SignIn => sign_in(&visit, &headers, (&token, &link), password).await,
    }
}

async fn choose(
    visit: &Visit,
    token: &str,
    link: &FollowedLink,
    password: Secret<String>,
) -> Result<Response, Failure> {
    match visit.access().choose_password_by_link(token, password, visit.client_ip()).await {
        Ok(Some(name)) => Ok(see_other(&chosen(&name))),
        Ok(None) => Err(Failure::link_over()),
        Err(ControlError::Password(fault)) => {
            let mut shown = choose_page(visit, link);
            shown.frame.errors = vec![FieldError::new("password", sentence(&fault.to_string()))];
            Ok(unprocessable(&shown))
        }
        Err(error) => Err(error.into()),
    }
}

async fn sign_in(
    visit: &Visit,
    headers: &HeaderMap,
    (token, link): (&str, &FollowedLink),
    password: Secret<String>,
) -> Result<Response, Failure> {
    let device = visit.state().cookies().value(headers, ConsoleCookie::Device);
    let presented = PasswordSignIn {
        name: &link.user.name.to_string(),
        password,
        link: Some(token),
        device: device.as_ref().map(|device| device.expose().as_str()),
    };
    match visit.access().sign_in(visit.visitor(), presented).await {
        Ok(signed_in) => Ok(entered(visit.state(), &signed_in, "")),
        Err(fault) => {
            let refused = Refused::password(fault, "The password is not correct.")?;
            let mut shown = sign_in_page(visit, link);
            shown.frame.errors = refused.of_field("password");
            Ok(refused.answer(&shown))
        }
    }
}

async fn follow(visit: &Visit, token: &str) -> Result<FollowedLink, Failure> {
    visit.access().follow_link(token).await?.ok_or_else(Failure::link_over)
}

fn choose_page(visit: &Visit, link: &FollowedLink) -> ChoosePassword {
    let is_first = link.user.password_hash.is_none();
    let title = if is_first { "Welcome to Latchkey" } else { "Choose a new password" };
    ChoosePassword {
        frame: visit.bare_frame(title),
        user: link.user.name.to_string(),
        least_characters: least_password_characters(mfa_state(&link.user)),
    }
}

fn sign_in_page(visit: &Visit, link: &FollowedLink) -> SignInAfterReset {
    let frame = visit.bare_frame("Sign in to set up MFA again");
    SignInAfterReset { frame, user: link.user.name.to_string() }
}
