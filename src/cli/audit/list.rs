//! `latchkey audit list`: lines for people, JSON and CSV, and what goes on happening.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::super::operator::Operator;
use super::super::output;
use crate::auth::{
    ACTIVITY_ROWS_MAX, ActivityFilter, ActivityRow, EventKind, render_activity_csv_head,
    render_activity_csv_lines,
};
use crate::clock::Clock;
use crate::model::{Timestamp, UserName};

/// `--follow` looks for new rows so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(super) struct ListArguments {
    /// Only what this user did, and what was done to it
    #[arg(long, value_name = "CUSTOMER/LOGIN")]
    user: Option<UserName>,
    /// Not before: a date, a moment, or how long ago (30m, 24h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Before: a date, a moment, or how long ago
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Only this kind of event, for example `key.created`
    #[arg(long, value_name = "KIND")]
    event: Option<EventKind>,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// As JSON: one object a line
    #[arg(long)]
    json: bool,
    /// As CSV, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// A moment as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    At(Timestamp),
    SecondsAgo(u32),
}

#[derive(Clone, Copy)]
enum Format {
    Lines,
    Json,
    Csv,
}

pub(super) fn list(operator: &Operator, arguments: &ListArguments) -> Result<()> {
    let clock = &operator.control.clock;
    let filter = ActivityFilter {
        user: arguments.user.clone(),
        event: arguments.event,
        since: arguments.since.map(|when| when.moment(clock)),
        until: arguments.until.map(|when| when.moment(clock)),
        ..ActivityFilter::default()
    };
    let format = match (arguments.json, arguments.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Lines,
    };
    if matches!(format, Format::Csv) {
        output::text(render_activity_csv_head())?;
    }
    let mut last = show_after(operator, &filter, 0, format)?;
    if !arguments.follow {
        if last == 0 {
            output::note("nothing of that happened");
        }
        return Ok(());
    }
    loop {
        operator.run(async { tokio::time::sleep(LOOK_EVERY).await });
        last = show_after(operator, &filter, last, format)?;
    }
}

/// Shows all rows behind `after`; answers the number of the last one that was shown.
fn show_after(operator: &Operator, filter: &ActivityFilter, after: i64, format: Format) -> Result<i64> {
    let mut last = after;
    loop {
        let rows = operator.run(operator.control.activity_after(filter, last, ACTIVITY_ROWS_MAX))?;
        let Some(newest) = rows.last() else { return Ok(last) };
        last = newest.sequence;
        let text: String = match format {
            Format::Csv => render_activity_csv_lines(&rows),
            Format::Json => rows.iter().map(|row| as_json(row) + "\n").collect(),
            Format::Lines => rows.iter().map(|row| as_line(row) + "\n").collect(),
        };
        output::text(&text)?;
    }
}

/// `2027-01-31T12:00:00Z  acme/admin  created user acme/kim  (console, 192.0.2.7)`.
fn as_line(row: &ActivityRow) -> String {
    let from = match row.client_ip.as_str() {
        "" => row.entrance.clone(),
        client_ip => format!("{}, {client_ip}", row.entrance),
    };
    format!("{}  {}  {}  ({from})", row.at, row.actor, row.sentence)
}

fn as_json(row: &ActivityRow) -> String {
    json!({
        "sequence": row.sequence,
        "time": row.at.to_string(),
        "actor": row.actor,
        "entrance": row.entrance,
        "address": row.client_ip,
        "event": row.event,
        "subject": row.subject,
        "result": row.result.as_str(),
        "description": row.sentence,
        "details": row.details,
    })
    .to_string()
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (unit, seconds) in [("m", 60), ("h", 3_600), ("d", 86_400)] {
            let count: Option<u32> = text.strip_suffix(unit).and_then(|count| count.parse().ok());
            if let Some(ago) = count.and_then(|count| count.checked_mul(seconds)) {
                return Ok(Self::SecondsAgo(ago));
            }
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("`{text}` is no moment; write 2027-01-31, 2027-01-31T12:00:00Z, or 30m, 24h, 7d for how long ago")
        })
    }
}

impl When {
    fn moment(self, clock: &Clock) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::SecondsAgo(seconds) => clock.now().plus_seconds(-i64::from(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ActivityResult;

    #[test]
    fn a_moment_is_a_date_a_time_or_how_long_ago() {
        let clock = Clock::given("2027-02-01".parse().unwrap());
        let moment = |text: &str| text.parse::<When>().map(|when| when.moment(&clock).to_string());
        for (text, expected) in [
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
            ("30m", "2027-01-31T23:30:00Z"),
            ("24h", "2027-01-31T00:00:00Z"),
            ("7d", "2027-01-25T00:00:00Z"),
        ] {
            assert_eq!(moment(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "d", "7", "-1d", "yesterday", "4294967295d"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_row_is_one_line_for_people_and_one_object_for_programs() {
        let row = ActivityRow {
            sequence: 7,
            at: "2027-01-31T12:00:00Z".parse().unwrap(),
            actor: "acme/admin".into(),
            entrance: "console".into(),
            client_ip: "192.0.2.7".into(),
            event: "user.created".into(),
            subject: "acme/kim".into(),
            details: [("access".to_owned(), "api".to_owned())].into(),
            sentence: "created user acme/kim".into(),
            result: ActivityResult::Done,
        };
        let line = "2027-01-31T12:00:00Z  acme/admin  created user acme/kim  (console, 192.0.2.7)";
        assert_eq!(as_line(&row), line);
        let expected = r#"{"sequence":7,"time":"2027-01-31T12:00:00Z","actor":"acme/admin","entrance":"console","address":"192.0.2.7","event":"user.created","subject":"acme/kim","result":"done","description":"created user acme/kim","details":{"access":"api"}}"#;
        assert_eq!(as_json(&row), expected);
    }
}
