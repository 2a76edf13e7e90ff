//! `/me`: who calls, and with what.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::shapes::UserShape;
use crate::auth::Means;

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default().routes(routes!(me))
}

/// Who calls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Caller)]
struct Me<'a> {
    /// The account that everything happens in
    account: &'a str,
    user: UserShape,
    /// The key that was shown; absent: a session
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// What a session's changes carry in the header `X-CSRF-Token`; absent: a key
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<&'a str>,
}

/// Who calls
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "me",
    tag = "Caller",
    responses((status = 200, description = "The caller", body = Me), OfAny)
)]
async fn me(caller: Caller) -> Result<Response, Problem> {
    let user = caller.plane().user(&caller.actor().name).await?;
    let key_id = match caller.actor().means {
        Means::ManageKey(id) => Some(id.to_string()),
        Means::Console { .. } | Means::HalfSignIn | Means::Link => None,
    };
    let csrf_token = caller.csrf_token();
    ok(&Me {
        account: caller.customer().as_str(),
        user: UserShape::of(&user),
        key_id,
        csrf_token: csrf_token.as_ref().map(|token| token.expose().as_str()),
    })
}
