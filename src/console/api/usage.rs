//! What the account, a user or a key did within 30 days.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, OfNamed, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::reading::{KeyInPath, UserInPath};
use super::shapes::EntranceWord;
use crate::auth::{Figures, LetInFrom, Period, Usage};

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default()
        .routes(routes!(account_usage))
        .routes(routes!(user_usage))
        .routes(routes!(key_usage))
}

/// What was done within the last 30 days; some seconds old.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
struct UsageShape {
    total: FiguresShape,
    api: FiguresShape,
    isproxy: FiguresShape,
    /// Each of the last 30 days, today last
    days: Vec<PeriodShape>,
    /// Each of the last 48 hours, the present one last
    hours: Vec<PeriodShape>,
    /// From where credentials were let in, the latest first, ten at most; of the account none
    addresses: Vec<LetInShape>,
    /// When a user's password was last used, by entrance; of a key and the account none
    password: Vec<LetInShape>,
}

/// How much was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Figures)]
struct FiguresShape {
    /// Requests that were let in: of the API, or `IS` lines
    requests: u64,
    /// Requests and logins that were refused
    refusals: u64,
}

/// What was done in an hour or a day of UTC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Period)]
struct PeriodShape {
    #[schema(format = DateTime)]
    starts_at: String,
    requests: u64,
    refusals: u64,
}

/// From where a credential was let in last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LetInFrom)]
struct LetInShape {
    address: String,
    entrance: EntranceWord,
    /// Exact to about a minute
    #[schema(format = DateTime)]
    at: String,
}

impl UsageShape {
    fn of(usage: &Usage) -> Self {
        let figures = |Figures { requests, refusals }: Figures| FiguresShape { requests, refusals };
        let periods = |periods: &[Period]| {
            let shape = |period: &Period| PeriodShape {
                starts_at: period.starts_at.to_string(),
                requests: period.figures.requests,
                refusals: period.figures.refusals,
            };
            periods.iter().map(shape).collect()
        };
        let seen = |seen: &LetInFrom| LetInShape {
            address: seen.address.to_string(),
            entrance: EntranceWord::of(seen.entrance),
            at: seen.at.to_string(),
        };
        let password = [usage.password.console, usage.password.api, usage.password.isproxy];
        Self {
            total: figures(usage.total),
            api: figures(usage.api),
            isproxy: figures(usage.isproxy),
            days: periods(&usage.days),
            hours: periods(&usage.hours),
            addresses: usage.addresses.iter().map(seen).collect(),
            password: password.iter().flatten().map(seen).collect(),
        }
    }
}

/// Show the account's usage
#[utoipa::path(
    get,
    path = "/usage",
    operation_id = "usage",
    tag = "Usage",
    responses((status = 200, description = "The usage", body = UsageShape), OfAny)
)]
async fn account_usage(caller: Caller) -> Result<Response, Problem> {
    ok(&UsageShape::of(&caller.plane().usage_of_customer(caller.customer()).await?))
}

/// Show a user's usage
#[utoipa::path(
    get,
    path = "/users/{login}/usage",
    operation_id = "userUsage",
    tag = "Usage",
    params(UserInPath),
    responses((status = 200, description = "The usage", body = UsageShape), OfAny, OfNamed)
)]
async fn user_usage(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    ok(&UsageShape::of(&caller.plane().usage_of_user(&name).await?))
}

/// Show a key's usage
#[utoipa::path(
    get,
    path = "/api-keys/{id}/usage",
    operation_id = "apiKeyUsage",
    tag = "Usage",
    params(KeyInPath),
    responses((status = 200, description = "The usage", body = UsageShape), OfAny, OfNamed)
)]
async fn key_usage(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    ok(&UsageShape::of(&caller.plane().usage_of_key(id).await?))
}
