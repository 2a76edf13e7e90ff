//! Who calls the management API: a key of scope `manage`, or a page of the console with its session.
//!
//! `Authorization` decides alone where it is there; a cookie beside it counts for nothing (SECURITY S92). A session must
//! be open to everything, and a change carries its CSRF token in a header (S85).

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use super::super::cookies::ConsoleCookie;
use super::super::{ConsoleClient, ConsoleState};
use super::answer::done;
use super::problem::Problem;
use crate::auth::{
    Actor, ConsoleSession, ControlError, ControlPlane, PresentedKey, SessionLook, SessionStep, UserActor,
};
use crate::model::{ClientIp, CustomerHandle, Login, Revision, Secret, UserName};

const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// The scheme of keys, in any case (RFC 9110 §11.1).
const SCHEME: &[u8] = b"ApiKey";

/// Whoever makes a request that was judged.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    state: ConsoleState,
    actor: UserActor,
    /// `None`: by a key.
    session: Option<Box<ConsoleSession>>,
}

impl Caller {
    /// The use cases, acting for this caller.
    pub(super) fn plane(&self) -> ControlPlane {
        match &self.session {
            Some(session) => self.state.access().plane_in(session),
            None => self.state.access().plane_for(Actor::User(self.actor.clone())),
        }
    }

    /// Whoever acts.
    pub(super) const fn actor(&self) -> &UserActor {
        &self.actor
    }

    /// The account that everything happens in.
    pub(super) const fn customer(&self) -> &CustomerHandle {
        &self.actor.name.customer
    }

    /// A user of the own account.
    pub(super) fn user(&self, login: Login) -> UserName {
        UserName { customer: self.customer().clone(), login }
    }

    /// What changes carry, where a session calls.
    pub(super) fn csrf_token(&self) -> Option<Secret<String>> {
        self.session.as_ref().map(|session| self.state.access().form_proof(session))
    }

    /// The console's state.
    pub(super) const fn state(&self) -> &ConsoleState {
        &self.state
    }

    /// 204, once this gateway decides by a change that takes an access away, and where the store is shared, how far it has
    /// got.
    pub(super) async fn taken_away(&self, revision: Revision) -> Result<Response, Problem> {
        self.state.access().authenticator().applied(revision).await;
        let mut answer = done();
        if let Some(reach) = self.plane().reach(revision).await? {
            let silent = reach.silent.join(", ");
            for (name, value) in [
                ("latchkey-gateways", reach.gateways.to_string()),
                ("latchkey-ended", reach.ended.to_string()),
                ("latchkey-milliseconds", reach.milliseconds.to_string()),
                ("latchkey-unconfirmed", silent),
            ] {
                // A name of a gateway is its host's, which is ASCII; one that is not is left out.
                if let Ok(value) = HeaderValue::from_str(&value)
                    && !value.is_empty()
                {
                    answer.headers_mut().insert(name, value);
                }
            }
        }
        Ok(answer)
    }

    /// Waits until a change is in force.
    pub(super) async fn applied(&self, revision: Revision) {
        self.state.access().in_force(revision).await;
    }
}

/// Finds out who calls, or refuses.
pub(super) async fn authenticate(
    State(state): State<ConsoleState>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(client) = request.extensions().get::<ConsoleClient>().copied() else {
        return Problem::defect("a request without a client").into_response();
    };
    match recognise(&state, request.method(), request.headers(), client.client_ip).await {
        Ok(caller) => {
            let name = caller.actor.name.clone();
            request.extensions_mut().insert(caller);
            let mut answer = next.run(request).await;
            // For the access log.
            answer.extensions_mut().insert(name);
            answer
        }
        Err(problem) => problem.into_response(),
    }
}

async fn recognise(
    state: &ConsoleState,
    method: &Method,
    headers: &HeaderMap,
    client_ip: ClientIp,
) -> Result<Caller, Problem> {
    if headers.contains_key(AUTHORIZATION) {
        let access = state.access();
        let key = presented_key(headers).ok_or_else(|| access.refuse_unreadable_management(client_ip))?;
        let actor = access.manage_by_key(key, client_ip).await?;
        return Ok(Caller { state: state.clone(), actor, session: None });
    }
    let session = open_session(state, headers, client_ip).await?;
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if changes && !proves_page(state, &session, headers) {
        return Err(Problem::first(
            "csrf_token_invalid",
            "the header X-CSRF-Token is missing or not this session's; `GET /api/v1/me` tells it",
        ));
    }
    let plane = state.access().plane_in(&session);
    let actor = plane.actor.user().cloned().ok_or_else(|| Problem::defect("a session of nobody"))?;
    Ok(Caller { state: state.clone(), actor, session: Some(Box::new(session)) })
}

/// The only key in the only `Authorization`; the doors read it by the same rules.
pub fn presented_key(headers: &HeaderMap) -> Option<PresentedKey<'_>> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (field, None) = (fields.next()?.as_bytes(), fields.next()) else { return None };
    let (scheme, rest) = field.split_at_checked(SCHEME.len())?;
    let key = rest.strip_prefix(b" ")?.trim_ascii_start();
    let is_key = !key.is_empty() && key.iter().all(u8::is_ascii_graphic);
    (scheme.eq_ignore_ascii_case(SCHEME) && is_key).then_some(PresentedKey(key))
}

async fn open_session(
    state: &ConsoleState,
    headers: &HeaderMap,
    client_ip: ClientIp,
) -> Result<ConsoleSession, Problem> {
    let token = state.cookies().value(headers, ConsoleCookie::Session);
    let token = token.ok_or_else(|| Problem::unauthenticated("no_credential"))?;
    let look = state.access().session(token.expose(), client_ip).await.map_err(ControlError::from)?;
    let session = match look {
        SessionLook::Live(session) => *session,
        SessionLook::Over => return Err(Problem::unauthenticated("session_expired")),
        SessionLook::None => return Err(Problem::unauthenticated("unknown_session")),
    };
    match session.step {
        SessionStep::Open => Ok(session),
        // Half a sign-in is none (S28).
        SessionStep::SecondFactor => Err(Problem::unauthenticated("half_signed_in")),
        SessionStep::NewPassword => Err(crate::auth::Forbidden::NewPassword.into()),
        SessionStep::SetUp => Err(crate::auth::Forbidden::MfaSetUp.into()),
    }
}

fn proves_page(state: &ConsoleState, session: &ConsoleSession, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(X_CSRF_TOKEN).iter();
    let (Some(proof), None) = (fields.next(), fields.next()) else { return false };
    proof.to_str().is_ok_and(|proof| state.access().is_form_of(session, proof))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::defect("an address that nobody is asked at"))
    }
}
