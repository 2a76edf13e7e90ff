//! Who did what in the account (`/account/activity`).
//!
//! Rows come from the audit trail by the handler, already in words and grouped. Fields of the filters (GET): `user`,
//! `kind` (a value of the list that the handler gives), `from`, `until` (dates); the CSV link carries the same.

use askama::Template;

use crate::console::frame::{Choice, Frame, Moment};
use crate::console::parts::Paging;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// It was refused.
    Refused,
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Failed => "Failed",
            Self::Refused => "Refused",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "warn",
            Self::Refused => "bad",
        }
    }
}

/// When it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At one moment.
    At(Moment),
    /// Several times.
    Between {
        /// The first time.
        first: Moment,
        /// The last time.
        last: Moment,
    },
}

/// A line: one event, or several failures in one.
#[derive(Clone, Debug)]
pub struct ActivityRow {
    /// When.
    pub when: When,
    /// Who, as the trail names actors; empty: nobody known.
    pub who: String,
    /// What, for example `created API key “Billing server” for alex`, or `14 failed sign-ins`.
    pub what: String,
    /// From which address; empty: from none.
    pub address: String,
    /// By which entrance: `console`, `CLI`, `API`, `IsProxy`.
    pub entrance: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// What stands in the filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityFilter {
    /// A login name; empty: everybody.
    pub user: String,
    /// A kind of event; empty: every kind.
    pub kind: String,
    /// From this date on; empty: from the beginning.
    pub from: String,
    /// Until this date; empty: until now.
    pub until: String,
}

impl ActivityFilter {
    /// Is anything filtered?
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/activity.html")]
pub struct ActivityPage {
    /// What surrounds it.
    pub frame: Frame,
    /// What stands in the filters.
    pub filter: ActivityFilter,
    /// The kinds that can be filtered by.
    pub kinds: Vec<Choice>,
    /// The lines, newest first.
    pub rows: Vec<ActivityRow>,
    /// The parts beside this one.
    pub paging: Paging,
    /// The address of the same as CSV.
    pub csv: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, moment};
    use crate::console::testing::check_page;

    fn row(what: &str) -> ActivityRow {
        ActivityRow {
            when: When::At(moment("2026-11-28T11:40:00Z")),
            who: "acme/admin".into(),
            what: what.into(),
            address: "203.0.113.5".into(),
            entrance: "console".into(),
            outcome: Outcome::Done,
        }
    }

    fn page() -> ActivityPage {
        ActivityPage {
            frame: frame("Activity", Place::Activity),
            filter: ActivityFilter { kind: "keys".into(), ..ActivityFilter::default() },
            kinds: vec![Choice::new("keys", "API keys"), Choice::new("sign-ins", "Sign-ins")],
            rows: vec![
                row("created API key “Billing server” for alex"),
                ActivityRow {
                    when: When::Between {
                        first: moment("2026-11-28T10:02:00Z"),
                        last: moment("2026-11-28T10:05:00Z"),
                    },
                    who: String::new(),
                    address: "198.51.100.9".into(),
                    outcome: Outcome::Failed,
                    ..row("14 failed sign-ins")
                },
                ActivityRow {
                    who: "operator:root".into(),
                    address: String::new(),
                    entrance: "CLI".into(),
                    outcome: Outcome::Refused,
                    ..row("deactivated alex")
                },
            ],
            paging: Paging {
                summary: "51–100".into(),
                previous: Some("/account/activity?page=1".into()),
                next: Some("/account/activity?page=3".into()),
            },
            csv: "/account/activity.csv?kind=keys".into(),
        }
    }

    #[test]
    fn activity_says_who_did_what_when_and_from_where() {
        let html = check_page("activity", &page());
        for text in
            ["created API key “Billing server” for alex", "operator:root", "CLI", "unknown", "Refused"]
        {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(html.contains("datetime=\"2026-11-28T10:02:00Z\"") && html.contains(" to <time"), "{html}");
        assert!(html.contains("href=\"/account/activity.csv?kind=keys\""), "{html}");
        assert!(html.contains("<option value=\"keys\" selected>") && html.contains("rel=\"prev\""), "{html}");
    }

    #[test]
    fn filters_without_a_hit_lead_back() {
        let none = ActivityPage { rows: Vec::new(), paging: Paging::default(), ..page() };
        assert!(check_page("activity-none", &none).contains("Nothing matches these filters."));
        let empty = ActivityPage { filter: ActivityFilter::default(), ..none };
        assert!(empty.render().unwrap().contains("Nothing has happened yet."));
    }

    #[test]
    fn s87_what_was_done_with_markup_is_shown_as_text() {
        let what = format!("created API key “{MARKUP}”");
        let page = ActivityPage {
            rows: vec![row(&what)],
            filter: ActivityFilter { user: MARKUP.into(), ..ActivityFilter::default() },
            ..page()
        };
        assert_escaped(&check_page("activity-markup", &page));
    }
}
