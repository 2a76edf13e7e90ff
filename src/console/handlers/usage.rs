//! What an account's credentials, or one API key, did at the doors, as charts.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::chart::{Bucket, Chart};
use super::super::failure::Failure;
use super::super::form::Queried;
use super::super::frame::{Link, Moment, Place};
use super::super::page::page;
use super::super::pages::usage::{Period, UsagePage, UsageRow};
use super::super::parts::{LastUse, day};
use super::super::visit::Person;
use super::whose::{KeyInPath, Whose};
use crate::auth::{Figures, Period as Told, Usage, UsageStretch, UserTotal};

const PATH: &str = "/account/usage";
/// Users that are named.
const BUSIEST: u32 = 20;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route(PATH, get(of_account))
        .route("/profile/api-keys/{id}/usage", get(of_key))
        .route("/account/users/{login}/api-keys/{id}/usage", get(of_key))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    period: String,
}

async fn of_account(person: Person, Queried(fields): Queried<Fields>) -> Result<Response, Failure> {
    let customer = &person.session().user.name.customer;
    let plane = person.plane();
    let period = Period::from_field(&fields.period);
    let stretch = match period {
        Period::Day => UsageStretch::Day,
        Period::Month => UsageStretch::Month,
    };
    let busiest = plane.busiest_users(customer, stretch, BUSIEST);
    let (usage, busiest) = tokio::try_join!(plane.usage_of_customer(customer), busiest)?;
    Ok(page(&UsagePage {
        frame: person.frame("Usage", Place::Users),
        address: PATH.to_owned(),
        lede: String::from("What the passwords and API keys of this account did at the doors."),
        back: Link::new("Users", Place::Users.href()),
        period,
        charts: charts(&usage, period),
        users: busiest.iter().map(user_row).collect(),
        reasons: Vec::new(),
        addresses: Vec::new(),
    }))
}

async fn of_key(
    person: Person,
    whose: Whose,
    KeyInPath(id): KeyInPath,
    Queried(fields): Queried<Fields>,
) -> Result<Response, Failure> {
    let plane = person.plane();
    let key = plane.key_of(whose.name(), id).await?.key;
    let usage = plane.usage_of_key(id).await?;
    let period = Period::from_field(&fields.period);
    let base = whose.keys_base();
    let from = |used: &crate::auth::LetInFrom| LastUse {
        at: Moment::from(used.at),
        address: used.address.to_string(),
    };
    Ok(page(&UsagePage {
        frame: person.frame(&format!("Usage of “{}”", key.description), whose.place()),
        address: format!("{base}/{id}/usage"),
        lede: String::from("What this API key did at the doors."),
        back: Link::new("API keys", base),
        period,
        charts: charts(&usage, period),
        users: Vec::new(),
        reasons: Vec::new(),
        addresses: usage.addresses.iter().map(from).collect(),
    }))
}

fn charts(usage: &Usage, period: Period) -> Vec<Chart> {
    vec![
        chart("api", "API requests", usage, period, |told| told.api),
        chart("isproxy", "IsProxy questions", usage, period, |told| told.isproxy),
    ]
}

fn chart(id: &str, title: &str, usage: &Usage, period: Period, at: fn(&Told) -> Figures) -> Chart {
    let bucket = |label: String, told: &Told| {
        let Figures { requests, refusals } = at(told);
        Bucket { label, requests, refusals }
    };
    match period {
        Period::Day => {
            let last = usage.hours.iter().skip(usage.hours.len().saturating_sub(24));
            Chart::new(id, title, "Hour", last.map(|told| bucket(hour(told), told)).collect())
        }
        Period::Month => {
            let days = usage.days.iter().map(|told| bucket(short_day(told), told));
            Chart::new(id, title, "Day", days.collect())
        }
    }
}

/// `14:00`
fn hour(told: &Told) -> String {
    let text = told.starts_at.to_string();
    text.get(11..16).unwrap_or_default().to_owned()
}

/// `3 Nov`
fn short_day(told: &Told) -> String {
    let moment = Moment::from(told.starts_at);
    day(&moment).rsplit_once(' ').map_or_else(|| day(&moment).to_owned(), |(day, _)| day.to_owned())
}

/// Whoever sees the figures may open the users' pages.
fn user_row(total: &UserTotal) -> UsageRow {
    let login = total.user.login.to_string();
    UsageRow {
        link: Some(format!("/account/users/{login}")),
        name: login,
        requests: total.figures.requests,
        refusals: total.figures.refusals,
    }
}
