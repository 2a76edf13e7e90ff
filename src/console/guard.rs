//! Who may open which address: every request for a page passes here, and what is not listed demands a full sign-in.
//!
//! Finds the session behind the cookie, leads whoever must do something else first there (R25: every address, known or
//! not), makes a page of what a handler fails with, and sends the session's cookie anew with every answer, so that no
//! page comes back from a browser's memory (CONSOLE rule 4). What a user may do there, the use cases judge.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{SET_COOKIE, USER_AGENT};
use http::{HeaderMap, Method};

use super::cookies::ConsoleCookie;
use super::failure::Failure;
use super::page::{see_other, with_query};
use super::visit::Visit;
use super::{ConsoleClient, ConsoleState};
use crate::auth::{SessionLook, SessionStep, Visitor};
use crate::model::Secret;
use crate::telemetry::RequestId;

/// What an address demands of whoever opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Nothing.
    Nothing,
    /// A password that was right, and a second factor that is due.
    HalfSignIn,
    /// Any session.
    Session,
    /// A session that may choose its user's password.
    NewPassword,
    /// A session that may set MFA up.
    SetUp,
    /// Any session whose sign-in is done: it may repeat that.
    SignedIn,
    /// A session that is open to everything.
    Open,
}

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Through,
    To(&'static str),
    /// To the sign-in page, and back here after it.
    SignIn,
}

/// Puts the [`Visit`] into the request's extensions, or leads elsewhere.
pub(super) async fn guard(State(state): State<ConsoleState>, mut request: Request, next: Next) -> Response {
    let Some(client) = request.extensions().get::<ConsoleClient>().copied() else {
        return Failure::defect("a request without a client").into_response();
    };
    let target = request.uri().path_and_query().map_or_else(|| String::from("/"), ToString::to_string);
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let visitor = Visitor { client_ip: client.client_ip, browser: browser(request.headers()) };
    let token = state.cookies().value(request.headers(), ConsoleCookie::Session);
    let look = match &token {
        Some(token) => state.access().session(token.expose(), client.client_ip).await,
        None => Ok(SessionLook::None),
    };
    let (session, is_over) = match look {
        Ok(SessionLook::Live(session)) => (Some(*session), false),
        Ok(SessionLook::Over) => (None, true),
        Ok(SessionLook::None) => (None, false),
        Err(error) => {
            let visit = Visit::new(state, visitor, None, (target, request_id));
            return Failure::from(crate::auth::ControlError::from(error)).answer(&visit);
        }
    };
    let step = session.as_ref().map(|session| session.step);
    let way = decide(demand_of(request.uri().path()), step);
    let is_look = matches!(*request.method(), Method::GET | Method::HEAD);
    let visit = Visit::new(state.clone(), visitor, session, (target.clone(), request_id));
    let mut answer = match way {
        Way::Through => {
            request.extensions_mut().insert(visit.clone());
            let mut answer = next.run(request).await;
            match answer.extensions_mut().remove::<Failure>() {
                Some(failure) => failure.answer(&visit),
                None => answer,
            }
        }
        Way::To(path) => see_other(path),
        Way::SignIn => {
            let back = if is_look && target != "/" { target.as_str() } else { "" };
            let reason = if is_over { "over" } else { "" };
            see_other(&with_query("/sign-in", &[("next", back), ("reason", reason)]))
        }
    };
    if let (Some(token), true) = (token, step.is_some()) {
        send_anew(&state, &token, &mut answer);
    }
    answer
}

/// Sends the session's cookie with the value that it has, unless the answer sets or deletes it.
fn send_anew(state: &ConsoleState, token: &Secret<String>, answer: &mut Response) {
    let name = format!("{}=", state.cookies().name(ConsoleCookie::Session));
    let sets_it =
        |field: &http::HeaderValue| field.to_str().is_ok_and(|field| field.starts_with(name.as_str()));
    if answer.headers().get_all(SET_COOKIE).iter().any(sets_it) {
        return;
    }
    if let Ok(field) = state.cookies().set(ConsoleCookie::Session, token) {
        answer.headers_mut().append(SET_COOKIE, field);
    }
}

fn browser(headers: &HeaderMap) -> String {
    headers.get(USER_AGENT).and_then(|field| field.to_str().ok()).unwrap_or_default().to_owned()
}

/// What the address of `path` demands. Deny by default: an address that is not named demands everything.
fn demand_of(path: &str) -> Demand {
    match path {
        "/sign-in" => Demand::Nothing,
        "/sign-in/verify" | "/sign-in/verify/key" | "/sign-in/verify/recovery" => Demand::HalfSignIn,
        "/sign-out" => Demand::Session,
        "/profile/password" => Demand::NewPassword,
        "/profile/mfa" => Demand::SetUp,
        "/confirm" | "/confirm/go-on" => Demand::SignedIn,
        path if path.starts_with("/profile/mfa/") => Demand::SetUp,
        path if path.starts_with("/welcome/") => Demand::Nothing,
        _ => Demand::Open,
    }
}

/// Where a session at `step` goes that asks for what has this demand.
fn decide(demand: Demand, step: Option<SessionStep>) -> Way {
    match (step, demand) {
        (_, Demand::Nothing)
        | (Some(_), Demand::Session)
        | (Some(SessionStep::SecondFactor), Demand::HalfSignIn) => Way::Through,
        (None, _) => Way::SignIn,
        (Some(SessionStep::SecondFactor), _) => Way::To("/sign-in/verify"),
        (Some(_), Demand::HalfSignIn) => Way::To("/"),
        (Some(SessionStep::NewPassword | SessionStep::SetUp), Demand::SignedIn)
        | (Some(SessionStep::NewPassword), Demand::NewPassword)
        | (Some(SessionStep::SetUp), Demand::SetUp)
        | (Some(SessionStep::Open), _) => Way::Through,
        (Some(SessionStep::NewPassword), _) => Way::To("/profile/password"),
        (Some(SessionStep::SetUp), _) => Way::To("/profile/mfa"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r25_s27_who_must_set_mfa_up_gets_nowhere_else() {
        let set_up = Some(SessionStep::SetUp);
        for path in
            ["/", "/account/users", "/profile", "/profile/password", "/profile/mfax", "/nowhere", "/connect"]
        {
            assert_eq!(decide(demand_of(path), set_up), Way::To("/profile/mfa"), "{path}");
        }
        for path in ["/profile/mfa", "/profile/mfa/app", "/profile/mfa/key/7/remove", "/sign-out", "/confirm"]
        {
            assert_eq!(decide(demand_of(path), set_up), Way::Through, "{path}");
        }
    }

    #[test]
    fn s28_a_half_sign_in_is_good_for_its_second_step_and_nothing_else() {
        let half = Some(SessionStep::SecondFactor);
        for path in ["/", "/account/users", "/profile/mfa", "/profile/password", "/confirm", "/nowhere"] {
            assert_eq!(decide(demand_of(path), half), Way::To("/sign-in/verify"), "{path}");
        }
        for path in
            ["/sign-in/verify", "/sign-in/verify/key", "/sign-in/verify/recovery", "/sign-out", "/sign-in"]
        {
            assert_eq!(decide(demand_of(path), half), Way::Through, "{path}");
        }
    }

    #[test]
    fn without_a_session_only_signing_in_and_links_are_open() {
        for path in
            ["/", "/account/users", "/sign-in/verify", "/sign-out", "/profile/mfa", "/welcome", "/nowhere"]
        {
            assert_eq!(decide(demand_of(path), None), Way::SignIn, "{path}");
        }
        for path in ["/sign-in", "/welcome/abc"] {
            assert_eq!(decide(demand_of(path), None), Way::Through, "{path}");
        }
    }

    #[test]
    fn a_password_that_somebody_else_chose_is_replaced_first() {
        let chosen = Some(SessionStep::NewPassword);
        for path in ["/", "/profile/mfa", "/account/users"] {
            assert_eq!(decide(demand_of(path), chosen), Way::To("/profile/password"), "{path}");
        }
        for path in ["/profile/password", "/confirm", "/sign-out"] {
            assert_eq!(decide(demand_of(path), chosen), Way::Through, "{path}");
        }
        assert_eq!(decide(demand_of("/anything"), Some(SessionStep::Open)), Way::Through);
        assert_eq!(decide(demand_of("/sign-in/verify"), Some(SessionStep::Open)), Way::To("/"));
    }
}
