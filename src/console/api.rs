//! The management API `/api/v1`: what the console's pages and the command line do, for programs.
//!
//! The `OpenAPI` document is made of the handlers' own descriptions, and the routes are registered by the same macro, so
//! that neither can have what the other has not. Every answer is JSON, errors too (`problem`). Who calls stands in
//! `caller`, what is read of a request in `reading`, the shapes of bodies beside the handlers of their area. Rights are
//! the use cases' matter. Called by the console's router, and by the page that shows the document to people.

mod activity;
mod answer;
mod caller;
mod keys;
mod lists;
mod me;
mod problem;
mod quotas;
mod reading;
mod reference;
mod shapes;
#[cfg(test)]
mod tests;
mod usage;
mod users;

use axum::Router;
use axum::extract::Extension;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ConsoleState;
use problem::{Problem, ProblemBody};

pub use caller::presented_key;
pub(super) use problem::tell_plain_answer;
pub(super) use reference::page as reference_page;

/// Where it lies.
pub(super) const BASE: &str = "/api/v1";

/// Is `path` one of the management API's?
pub(super) fn is_for_management(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every route, to be put at [`BASE`].
pub(super) fn router(state: &ConsoleState) -> Router<ConsoleState> {
    let (routes, document) = routes(state).split_for_parts();
    let text = document.to_json().unwrap_or_default();
    routes
        .layer(Extension(DocumentText(Bytes::from(text))))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn(problem::tell_problems))
}

/// What a slash behind [`BASE`] leads to, which no nested route is.
pub(super) fn root() -> Router {
    let nothing = axum::routing::any(async || Problem::not_found()).layer(from_fn(problem::tell_problems));
    Router::new().route(&format!("{BASE}/"), nothing)
}

/// The `OpenAPI` document.
pub(super) fn document(state: &ConsoleState) -> utoipa::openapi::OpenApi {
    routes(state).into_openapi()
}

fn routes(state: &ConsoleState) -> OpenApiRouter<ConsoleState> {
    let judged = OpenApiRouter::default()
        .merge(me::routes())
        .merge(users::routes())
        .merge(keys::routes())
        .merge(lists::routes())
        .merge(quotas::routes())
        .merge(usage::routes())
        .merge(activity::routes())
        .layer(from_fn_with_state(state.clone(), caller::authenticate));
    OpenApiRouter::with_openapi(Description::openapi()).merge(judged).routes(routes!(openapi_document))
}

/// The document's own text.
#[derive(Clone, Debug)]
struct DocumentText(Bytes);

/// This document
///
/// For anybody: it tells nothing of any account.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "Document",
    security(()),
    responses((status = 200, description = "The OpenAPI document", content_type = "application/json", body = utoipa::openapi::Object))
)]
async fn openapi_document(Extension(DocumentText(text)): Extension<DocumentText>) -> Response {
    let mut answer = (StatusCode::OK, text).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

const ABOUT: &str = "\
Users, API keys, IP whitelists, quotas, activity and usage of one account: the caller's own. What another account has is answered \
like what does not exist.

A program calls with an API key of scope `manage` in the header `Authorization: ApiKey …`. It acts with the present rights \
of the key's owner, never touches MFA, permissions, administrators, passwords, links or keys of scope `manage`, and widens \
no IP whitelist. Pages of the console call with the session's cookie; a change then carries the header `X-CSRF-Token`, \
whose value `GET /me` tells, and takes a sign-in of the last ten minutes. A cookie beside `Authorization` counts for nothing.

Every error is JSON with `type`, `message` and `requestId`. Times are RFC 3339 in UTC. A member that is not described is \
refused. Changes are in force at this gateway when they are answered. Where several gateways share the store, the answer to what takes an \
access away says in `Latchkey-Gateways` at how many of them it holds, in `Latchkey-Ended` how many sessions and streams it \
ended, in `Latchkey-Milliseconds` how long that took, and in `Latchkey-Unconfirmed` which have not confirmed it. Before any of this, the server itself may answer 400 \
(a proxy's header that cannot be read), 403 (an address outside the listener's list), 414, 421 and 431, in the same form.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Latchkey management API", version = "1", description = ABOUT, license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    servers((url = "/api/v1")),
    components(schemas(ProblemBody)),
    security(("manageKey" = []), ("session" = [])),
    modifiers(&Credentials),
    tags(
        (name = "Caller", description = "Who calls"),
        (name = "Users", description = "The account's users"),
        (name = "API keys", description = "Keys of users"),
        (name = "IP whitelists", description = "From where users and keys are let in; an empty list narrows nothing"),
        (name = "Quotas", description = "How many requests may be made a day and a month; without a quota, as many as one likes"),
        (name = "Usage", description = "What was let in and refused within 30 days"),
        (name = "Activity", description = "Who did what"),
        (name = "Document", description = "This document")
    )
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = ApiKeyValue::with_description("Authorization", "`ApiKey ` and a key of scope `manage`");
        let session = ApiKeyValue::with_description(
            "__Host-latchkey-session",
            "The console's session; changes carry the header `X-CSRF-Token` too. Over http on localhost the name has no \
             `__Host-`",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("manageKey", SecurityScheme::ApiKey(ApiKey::Header(key)));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}
