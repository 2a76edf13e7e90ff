//! `/activity`: who did what in the account.

use std::collections::BTreeMap;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, OfValues, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::reading::Asked;
use super::shapes::moment;
use crate::auth::{
    ACTIVITY_ROWS_MAX, ActivityFilter, ActivityResult, ActivityRow, EventKind, InvalidEventKind,
};
use crate::model::Login;

/// Rows of one page unless another number is asked for.
const PAGE: u32 = 50;

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default().routes(routes!(activity))
}

/// Which activity is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Done by the user of this login name, or to it; the user may be gone by now
    #[param(nullable = false, pattern = "^[A-Za-z0-9._@+-]{1,64}$")]
    user: Option<String>,
    /// This kind of event, for example `key.created`
    #[param(schema_with = event_kinds)]
    event: Option<String>,
    /// Only what was done, or only what failed
    #[param(nullable = false, inline)]
    result: Option<ResultWord>,
    /// Not before this moment
    #[param(nullable = false, format = DateTime)]
    since: Option<String>,
    /// Before this moment
    #[param(nullable = false, format = DateTime)]
    until: Option<String>,
    /// How many rows at most
    #[serde(default = "page")]
    #[param(required = false, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// `next` of the page before
    #[param(nullable = false, minimum = 1)]
    cursor: Option<i64>,
}

const fn page() -> u32 {
    PAGE
}

fn event_kinds() -> Object {
    let kinds = EventKind::ALL.map(EventKind::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds)).build()
}

/// Whether something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ActivityResult)]
enum ResultWord {
    /// It was
    Done,
    /// It was refused, or went wrong
    Failed,
}

/// A page of activity.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activity)]
struct Page {
    /// The newest first
    rows: Vec<Row>,
    /// What to ask for the next page with, as `cursor`; absent: this is the last
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ActivityRow)]
struct Row {
    /// Its place in the trail
    sequence: i64,
    #[schema(format = DateTime)]
    at: String,
    /// Who did it
    #[schema(examples("acme/alex"))]
    actor: String,
    /// Where: `console`, `management`, `command line`, `api`, `isproxy` or `gateway`
    entrance: String,
    /// From which address; empty: from none
    client_ip: String,
    /// The kind of event
    #[schema(examples("key.created"))]
    event: String,
    /// What it was done to, by name
    subject: String,
    /// Further facts
    details: BTreeMap<String, String>,
    /// What was done, as people say it; `actor` is the sentence's subject
    sentence: String,
    result: ResultWord,
}

impl From<ActivityRow> for Row {
    fn from(row: ActivityRow) -> Self {
        Self {
            sequence: row.sequence,
            at: row.at.to_string(),
            actor: row.actor,
            entrance: row.entrance,
            client_ip: row.client_ip,
            event: row.event,
            subject: row.subject,
            details: row.details,
            sentence: row.sentence,
            result: match row.result {
                ActivityResult::Done => ResultWord::Done,
                ActivityResult::Failed => ResultWord::Failed,
            },
        }
    }
}

impl Wanted {
    fn filter(&self, caller: &Caller) -> Result<ActivityFilter, Problem> {
        if !(1..=ACTIVITY_ROWS_MAX).contains(&self.limit) {
            return Err(Problem::invalid("`limit` is to be a number from 1 to 500"));
        }
        if self.cursor.is_some_and(|cursor| cursor < 1) {
            return Err(Problem::invalid("`cursor` is to be what `next` of the page before says"));
        }
        let login =
            |text: &String| text.parse::<Login>().map_err(|error| Problem::invalid(error.to_string()));
        let kind = |text: &String| {
            text.parse::<EventKind>().map_err(|error: InvalidEventKind| Problem::invalid(error.to_string()))
        };
        Ok(ActivityFilter {
            customer: Some(caller.customer().clone()),
            user: self.user.as_ref().map(login).transpose()?.map(|login| caller.user(login)),
            event: self.event.as_ref().map(kind).transpose()?,
            among: Vec::new(),
            result: self.result.map(|result| match result {
                ResultWord::Done => ActivityResult::Done,
                ResultWord::Failed => ActivityResult::Failed,
            }),
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
        })
    }
}

/// Show who did what
///
/// The newest first. Takes the permission `VIEW_AUDIT`.
#[utoipa::path(
    get,
    path = "/activity",
    operation_id = "activity",
    tag = "Activity",
    params(Wanted),
    responses((status = 200, description = "A page of activity", body = Page), OfAny, OfValues)
)]
async fn activity(caller: Caller, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let filter = wanted.filter(&caller)?;
    let page = caller.plane().activity(&filter, wanted.cursor, wanted.limit).await?;
    ok(&Page { rows: page.rows.into_iter().map(Row::from).collect(), next: page.next })
}
