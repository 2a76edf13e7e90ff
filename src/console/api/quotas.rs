//! Quotas: how many requests the account, a user or a key may make, and what of it is used.

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
use crate::auth::{ControlError, Holder, QuotaState};
use crate::model::{QuotaPeriod, QuotaTerms};

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default()
        .routes(routes!(all_quotas))
        .routes(routes!(account_quota))
        .routes(routes!(user_quota, put_user_quota))
        .routes(routes!(key_quota, put_key_quota))
}

/// A quota of requests with what is used of it; figures are some seconds old.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quota)]
struct QuotaShape {
    /// Of the present day of UTC; none: as many as one likes
    day: Option<QuotaUseShape>,
    /// Of the present month of UTC; none: as many as one likes
    month: Option<QuotaUseShape>,
}

/// What is used in the present period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QuotaUse)]
struct QuotaUseShape {
    /// Requests that may be made
    limit: u64,
    /// Requests that were let in
    used: u64,
    /// When it begins anew
    #[schema(format = DateTime)]
    ends_at: String,
}

/// A quota and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnedQuota)]
struct OwnedQuotaShape {
    /// The user, or the key's user; none: it is the account's
    login: Option<String>,
    /// The key; none: it is the user's or the account's
    api_key: Option<String>,
    quota: QuotaShape,
}

/// Quotas.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quotas)]
struct QuotasShape {
    quotas: Vec<OwnedQuotaShape>,
}

/// How many requests may be made; what is absent or null is not limited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuotaLimits)]
struct Limits {
    /// Requests a day of UTC; 1,000,000,000,000 at most
    #[schema(minimum = 1)]
    day: Option<u64>,
    /// Requests a month of UTC; 1,000,000,000,000 at most
    #[schema(minimum = 1)]
    month: Option<u64>,
}

impl QuotaShape {
    const NONE: Self = Self { day: None, month: None };

    fn of(state: &QuotaState) -> Self {
        let of = |period| {
            let found = state.uses.iter().find(|used| used.period == period)?;
            let ends_at = found.ends_at.to_string();
            Some(QuotaUseShape { limit: found.limit, used: found.used, ends_at })
        };
        Self { day: of(QuotaPeriod::Day), month: of(QuotaPeriod::Month) }
    }
}

async fn shown(caller: &Caller, holder: Holder) -> Result<Response, Problem> {
    let state = caller.plane().quota(&holder).await?;
    ok(&state.as_ref().map_or(QuotaShape::NONE, QuotaShape::of))
}

async fn put(caller: &Caller, holder: Holder, limits: &Limits) -> Result<Response, Problem> {
    let terms = match (limits.day, limits.month) {
        (None, None) => None,
        (day, month) => {
            Some(QuotaTerms::new(day, month).map_err(|error| Problem::invalid(error.to_string()))?)
        }
    };
    match caller.plane().set_quota(&holder, terms).await {
        Ok(revision) => caller.applied(revision).await,
        // As it is to be.
        Err(ControlError::NoQuota(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(done())
}

/// List all quotas of the account, its users and their keys
#[utoipa::path(
    get,
    path = "/quotas",
    operation_id = "quotas",
    tag = "Quotas",
    responses((status = 200, description = "The quotas", body = QuotasShape), OfAny)
)]
async fn all_quotas(caller: Caller) -> Result<Response, Problem> {
    let states = caller.plane().quotas(Some(caller.customer())).await?;
    let shape = |state: &QuotaState| OwnedQuotaShape {
        login: state.user.as_ref().map(|user| user.login.to_string()),
        api_key: state.key().map(|id| id.to_string()),
        quota: QuotaShape::of(state),
    };
    ok(&QuotasShape { quotas: states.iter().map(shape).collect() })
}

/// Show the account's quota
///
/// It counts the requests of all its users, and the operator gives it.
#[utoipa::path(
    get,
    path = "/account/quota",
    operation_id = "accountQuota",
    tag = "Quotas",
    responses((status = 200, description = "The quota", body = QuotaShape), OfAny)
)]
async fn account_quota(caller: Caller) -> Result<Response, Problem> {
    shown(&caller, Holder::Customer(caller.customer().clone())).await
}

/// Show a user's quota
#[utoipa::path(
    get,
    path = "/users/{login}/quota",
    operation_id = "userQuota",
    tag = "Quotas",
    params(UserInPath),
    responses((status = 200, description = "The quota", body = QuotaShape), OfAny, OfNamed)
)]
async fn user_quota(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    shown(&caller, Holder::User(name)).await
}

/// Replace a user's quota
#[utoipa::path(
    put,
    path = "/users/{login}/quota",
    operation_id = "putUserQuota",
    tag = "Quotas",
    params(UserInPath),
    request_body = Limits,
    responses((status = 204, description = "It was replaced"), OfAny, OfNamed, OfBody)
)]
async fn put_user_quota(
    caller: Caller,
    UserInPath(name): UserInPath,
    Told(limits): Told<Limits>,
) -> Result<Response, Problem> {
    put(&caller, Holder::User(name), &limits).await
}

/// Show a key's quota
#[utoipa::path(
    get,
    path = "/api-keys/{id}/quota",
    operation_id = "apiKeyQuota",
    tag = "Quotas",
    params(KeyInPath),
    responses((status = 200, description = "The quota", body = QuotaShape), OfAny, OfNamed)
)]
async fn key_quota(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    shown(&caller, Holder::Key(id)).await
}

/// Replace a key's quota
#[utoipa::path(
    put,
    path = "/api-keys/{id}/quota",
    operation_id = "putApiKeyQuota",
    tag = "Quotas",
    params(KeyInPath),
    request_body = Limits,
    responses((status = 204, description = "It was replaced"), OfAny, OfNamed, OfBody)
)]
async fn put_key_quota(
    caller: Caller,
    KeyInPath(id): KeyInPath,
    Told(limits): Told<Limits>,
) -> Result<Response, Problem> {
    put(&caller, Holder::Key(id), &limits).await
}
