//! What is done at each address: one file an area, each with its routes.

mod account_quotas;
mod account_user;
mod activity;
mod allow_list;
mod api_keys;
mod api_reference;
mod confirm;
mod connect;
mod factors;
mod key_delete;
mod key_replace;
mod mfa;
mod mfa_admin;
mod networks;
mod profile;
mod quotas;
mod second_step;
mod sign_in;
mod signed_in;
mod start;
#[cfg(test)]
mod tests;
mod usage;
mod user;
mod user_form;
mod user_link;
mod user_question;
mod users;
mod welcome;
mod whose;

pub use networks::{TypedNetworks, as_lines, read_networks};

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::ConsoleState;
use super::assets::lookup;
use super::failure::Failure;
use super::plain_answer::plain_answer;

/// Every address of a page.
pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .merge(start::routes())
        .merge(sign_in::routes())
        .merge(second_step::routes())
        .merge(signed_in::routes())
        .merge(confirm::routes())
        .merge(mfa::routes())
        .merge(users::routes())
        .merge(user::routes())
        .merge(user_form::routes())
        .merge(user_question::routes())
        .merge(user_link::routes())
        .merge(mfa_admin::routes())
        .merge(activity::routes())
        .merge(api_keys::routes())
        .merge(connect::routes())
        .merge(key_delete::routes())
        .merge(key_replace::routes())
        .merge(profile::routes())
        .merge(welcome::routes())
        .merge(allow_list::routes())
        .merge(usage::routes())
        .merge(quotas::routes())
        .merge(account_quotas::routes())
        .merge(api_reference::routes())
}

/// Style sheet, script and icon: for anybody, and for ever, since their names change with them.
pub(super) fn assets() -> Router {
    Router::new().route("/assets/{file}", get(asset))
}

/// What is at no address.
pub(super) async fn not_found() -> Failure {
    Failure::not_found()
}

async fn asset(Path(file): Path<String>) -> Response {
    let Some(asset) = lookup(&format!("/assets/{file}")) else {
        return plain_answer(StatusCode::NOT_FOUND, "not_found", "There is no such file.");
    };
    let mut answer = asset.bytes.into_response();
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    answer.headers_mut().insert(CACHE_CONTROL, for_ever);
    answer
}
