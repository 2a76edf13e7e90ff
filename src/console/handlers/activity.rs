//! Who did what in the account, as a page and as CSV.

mod area;

use std::io;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use self::area::Area;
use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Queried;
use super::super::frame::{Choice, FieldError, Moment, Place};
use super::super::page::{page, unprocessable, with_query};
use super::super::pages::activity::{
    ActivityFilter as ShownFilter, ActivityPage, ActivityRow, Outcome, When,
};
use super::super::parts::Paging;
use super::super::visit::Person;
use super::whose::user_named;
use crate::auth::{
    ACTIVITY_ROWS_MAX, Action, ActivityFilter, ActivityPage as Found, ActivityResult,
    ActivityRow as FoundRow, ControlError, ControlPlane, EventKind, render_activity_csv_head,
    render_activity_csv_lines,
};
use crate::model::Timestamp;

const PATH: &str = "/account/activity";
const CSV_PATH: &str = "/account/activity.csv";
/// Rows of a page.
const ROWS: u32 = 50;
const DAY_SECONDS: i64 = 86_400;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route(PATH, get(show)).route(CSV_PATH, get(csv))
}

/// The fields of the filters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    user: String,
    kind: String,
    from: String,
    until: String,
    /// Rows before this one of the trail; empty: the newest.
    before: String,
}

/// What the fields ask for.
enum Asked {
    /// This.
    For(Box<ActivityFilter>),
    /// What cannot be there: nobody has such a name.
    Nothing,
}

async fn show(person: Person, Queried(fields): Queried<Fields>) -> Result<Response, Failure> {
    let customer = person.session().user.customer;
    person.require(Action::ViewActivity(customer)).map_err(ControlError::from)?;
    let mut shown = ActivityPage {
        frame: person.frame("Activity", Place::Activity),
        kinds: Area::ALL.into_iter().map(|area| Choice::new(area.as_str(), area.label())).collect(),
        rows: Vec::new(),
        paging: Paging::default(),
        csv: fields.address(CSV_PATH, None),
        filter: fields.shown(),
    };
    let filter = match fields.filter(&person) {
        Ok(Asked::For(filter)) => filter,
        Ok(Asked::Nothing) => return Ok(page(&shown)),
        Err(errors) => {
            shown.frame.errors = errors;
            return Ok(unprocessable(&shown));
        }
    };
    let plane = person.plane();
    let before = fields.before.parse().ok();
    let found = plane.activity(&filter, before, ROWS).await?;
    shown.paging = paging(&plane, &fields, &filter, &found).await?;
    shown.rows = found.rows.into_iter().map(row).collect();
    Ok(page(&shown))
}

/// The parts beside `found`: rows come and go, so that each part begins behind a row and has no number.
async fn paging(
    plane: &ControlPlane,
    fields: &Fields,
    filter: &ActivityFilter,
    found: &Found,
) -> Result<Paging, Failure> {
    let next = found.next.map(|before| fields.address(PATH, Some(before)));
    let newest = found.rows.first().map(|row| row.sequence);
    let (Some(newest), false) = (newest, fields.before.is_empty()) else {
        return Ok(Paging { next, ..Paging::default() });
    };
    // One more than a part has: the row behind which the part before begins.
    let newer = plane.activity_after(filter, newest, ROWS + 1).await?;
    let previous = (!newer.is_empty()).then(|| {
        let beyond = newer.get(usize::try_from(ROWS).unwrap_or(usize::MAX)).map(|row| row.sequence);
        fields.address(PATH, beyond)
    });
    Ok(Paging { summary: String::new(), previous, next })
}

/// All that the filters let through, oldest first, written as it is read.
async fn csv(person: Person, Queried(fields): Queried<Fields>) -> Result<Response, Failure> {
    let customer = person.session().user.customer;
    person.require(Action::ViewActivity(customer)).map_err(ControlError::from)?;
    let filter = match fields.filter(&person) {
        Ok(Asked::For(filter)) => Some(*filter),
        Ok(Asked::Nothing) => None,
        Err(errors) => {
            let first = errors.into_iter().next().map(|error| error.text).unwrap_or_default();
            return Err(Failure::conflict(&first));
        }
    };
    let plane = person.plane();
    let head = Bytes::from_static(render_activity_csv_head().as_bytes());
    let begun = stream::once(async move { Ok(head) });
    let lines = stream::unfold(filter.map(|filter| (plane, filter, 0)), async |reading| {
        let (plane, filter, after) = reading?;
        match plane.activity_after(&filter, after, ACTIVITY_ROWS_MAX).await {
            Ok(rows) => {
                let last = rows.last()?.sequence;
                Some((Ok(Bytes::from(render_activity_csv_lines(&rows))), Some((plane, filter, last))))
            }
            // The answer has begun: a file that is cut off must not look like a whole one.
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    });
    let today = person.access().clock().now().to_string();
    let day = today.split('T').next().unwrap_or_default();
    let name = format!("attachment; filename=\"activity-{}-{day}.csv\"", person.session().user.name.customer);
    let name = HeaderValue::try_from(name).map_err(|error| Failure::defect(&error.to_string()))?;
    let mut answer = Body::from_stream(futures_util::StreamExt::chain(begun, lines)).into_response();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(answer)
}

impl Fields {
    fn shown(&self) -> ShownFilter {
        ShownFilter {
            user: self.user.clone(),
            kind: self.kind.clone(),
            from: self.from.clone(),
            until: self.until.clone(),
        }
    }

    /// The address of the same filters at `path`.
    fn address(&self, path: &str, before: Option<i64>) -> String {
        let before = before.map(|before| before.to_string()).unwrap_or_default();
        let parameters = [
            ("user", self.user.as_str()),
            ("kind", &self.kind),
            ("from", &self.from),
            ("until", &self.until),
            ("before", &before),
        ];
        with_query(path, &parameters)
    }

    fn filter(&self, person: &Person) -> Result<Asked, Vec<FieldError>> {
        let mut errors = Vec::new();
        let since = day(&self.from, "from", &mut errors);
        let until = day(&self.until, "until", &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let login = self.user.trim();
        let user = match user_named(person, login) {
            Ok(name) => Some(name),
            Err(_) if login.is_empty() => None,
            Err(_) => return Ok(Asked::Nothing),
        };
        let area = Area::from_field(&self.kind);
        Ok(Asked::For(Box::new(ActivityFilter {
            customer: Some(person.session().user.name.customer.clone()),
            user,
            among: area.map(Area::events).unwrap_or_default(),
            since,
            // The day that is named is part of it.
            until: until.map(|day| day.plus_seconds(DAY_SECONDS)),
            ..ActivityFilter::default()
        })))
    }
}

fn day(text: &str, field: &str, errors: &mut Vec<FieldError>) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let day = text.parse().ok();
    if day.is_none() {
        errors.push(FieldError::new(field, "Enter a date such as 2027-01-31."));
    }
    day
}

fn row(found: FoundRow) -> ActivityRow {
    let moment = |name: &str| found.details.get(name).and_then(|text| text.parse::<Timestamp>().ok());
    let when = match (moment("first"), moment("last")) {
        (Some(first), Some(last)) if first != last => {
            When::Between { first: Moment::from(first), last: Moment::from(last) }
        }
        _ => When::At(Moment::from(found.at)),
    };
    let outcome = match found.result {
        ActivityResult::Done => Outcome::Done,
        ActivityResult::Failed if found.event == EventKind::Throttled.as_str() => Outcome::Refused,
        ActivityResult::Failed => Outcome::Failed,
    };
    ActivityRow {
        when,
        who: if found.actor == "unknown" { String::new() } else { found.actor },
        what: found.sentence,
        address: found.client_ip,
        entrance: entrance(&found.entrance).to_owned(),
        outcome,
    }
}

/// An entrance in the console's words.
fn entrance(name: &str) -> &str {
    match name {
        "command line" => "CLI",
        "api" => "API",
        "isproxy" => "IsProxy",
        "management" => "management API",
        other => other,
    }
}
