//! IP whitelists of the account, of users and of keys.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, OfBody, OfNamed, done, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::reading::{KeyInPath, Told, UserInPath};
use super::shapes::{allow_list, networks};
use crate::auth::Holder;

/// Networks of one list at most.
const NETWORKS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default()
        .routes(routes!(account_list, put_account_list))
        .routes(routes!(user_list, put_user_list))
        .routes(routes!(key_list, put_key_list))
}

/// An IP whitelist.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AllowList)]
struct List {
    /// Addresses and CIDR networks; none: the list narrows nothing
    #[schema(max_items = 1000, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    networks: Vec<String>,
}

async fn shown(caller: &Caller, owner: Holder) -> Result<Response, Problem> {
    ok(&List { networks: networks(&caller.plane().allow_list(&owner).await?) })
}

async fn put(caller: &Caller, owner: Holder, list: &List) -> Result<Response, Problem> {
    if list.networks.len() > NETWORKS_MAX {
        return Err(Problem::invalid("`networks` is to be at most 1000"));
    }
    let revision = caller.plane().replace_networks(&owner, &allow_list(&list.networks)?).await?;
    caller.applied(revision).await;
    Ok(done())
}

/// Show the account's IP whitelist
#[utoipa::path(
    get,
    path = "/account/allow-list",
    operation_id = "accountAllowList",
    tag = "IP whitelists",
    responses((status = 200, description = "The list", body = List), OfAny)
)]
async fn account_list(caller: Caller) -> Result<Response, Problem> {
    shown(&caller, Holder::Customer(caller.customer().clone())).await
}

/// Replace the account's IP whitelist
#[utoipa::path(
    put,
    path = "/account/allow-list",
    operation_id = "putAccountAllowList",
    tag = "IP whitelists",
    request_body = List,
    responses((status = 204, description = "It was replaced"), OfAny, OfBody)
)]
async fn put_account_list(caller: Caller, Told(list): Told<List>) -> Result<Response, Problem> {
    put(&caller, Holder::Customer(caller.customer().clone()), &list).await
}

/// Show a user's IP whitelist
#[utoipa::path(
    get,
    path = "/users/{login}/allow-list",
    operation_id = "userAllowList",
    tag = "IP whitelists",
    params(UserInPath),
    responses((status = 200, description = "The list", body = List), OfAny, OfNamed)
)]
async fn user_list(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    shown(&caller, Holder::User(name)).await
}

/// Replace a user's IP whitelist
#[utoipa::path(
    put,
    path = "/users/{login}/allow-list",
    operation_id = "putUserAllowList",
    tag = "IP whitelists",
    params(UserInPath),
    request_body = List,
    responses((status = 204, description = "It was replaced"), OfAny, OfNamed, OfBody)
)]
async fn put_user_list(
    caller: Caller,
    UserInPath(name): UserInPath,
    Told(list): Told<List>,
) -> Result<Response, Problem> {
    put(&caller, Holder::User(name), &list).await
}

/// Show a key's IP whitelist
#[utoipa::path(
    get,
    path = "/api-keys/{id}/allow-list",
    operation_id = "apiKeyAllowList",
    tag = "IP whitelists",
    params(KeyInPath),
    responses((status = 200, description = "The list", body = List), OfAny, OfNamed)
)]
async fn key_list(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    shown(&caller, Holder::Key(id)).await
}

/// Replace a key's IP whitelist
///
/// A key of scope `manage` keeps at least one network.
#[utoipa::path(
    put,
    path = "/api-keys/{id}/allow-list",
    operation_id = "putApiKeyAllowList",
    tag = "IP whitelists",
    params(KeyInPath),
    request_body = List,
    responses((status = 204, description = "It was replaced"), OfAny, OfNamed, OfBody)
)]
async fn put_key_list(
    caller: Caller,
    KeyInPath(id): KeyInPath,
    Told(list): Told<List>,
) -> Result<Response, Problem> {
    put(&caller, Holder::Key(id), &list).await
}
