//! What an account's credentials (`/account/usage`) or one API key (`…/api-keys/{id}/usage`) did at the doors: requests
//! and refusals by hour or by day.
//!
//! Field of the choice (GET): `period` (`day`, `month`).

use askama::Template;

use crate::console::chart::Chart;
use crate::console::frame::{Frame, Link};
use crate::console::parts::LastUse;
use crate::figures::grouped;

/// How far back the page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// 24 hours, by hour.
    Day,
    /// 30 days, by day.
    Month,
}

impl Period {
    /// Both, in the order they are shown.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The value of the field `period`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The choice of a field's value; what is unknown is a day.
    pub fn from_field(value: &str) -> Self {
        if value == Self::Month.as_str() { Self::Month } else { Self::Day }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Day => "Last 24 hours",
            Self::Month => "Last 30 days",
        }
    }
}

/// Somebody's share.
#[derive(Clone, Debug)]
pub struct UsageRow {
    /// Whose.
    pub name: String,
    /// The user's page; `None`: the viewer may not open it.
    pub link: Option<String>,
    /// Requests that were let through.
    pub requests: u64,
    /// Requests that were refused.
    pub refusals: u64,
}

impl UsageRow {
    fn requests_text(&self) -> String {
        grouped(self.requests)
    }

    fn refusals_text(&self) -> String {
        grouped(self.refusals)
    }
}

/// A reason of refusals.
#[derive(Clone, Debug)]
pub struct ReasonRow {
    /// In words, for example `the API key has expired`.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl ReasonRow {
    fn count_text(&self) -> String {
        grouped(self.count)
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/usage.html")]
pub struct UsagePage {
    /// What surrounds it.
    pub frame: Frame,
    /// Where it stands, without the choice of a time.
    pub address: String,
    /// Whose it is, in a sentence.
    pub lede: String,
    /// Where it leads back to.
    pub back: Link,
    /// How far back it looks.
    pub period: Period,
    /// A chart for each door.
    pub charts: Vec<Chart>,
    /// The busiest users first.
    pub users: Vec<UsageRow>,
    /// Why requests were refused, most frequent first.
    pub reasons: Vec<ReasonRow>,
    /// From where a key was let in, the latest first.
    pub addresses: Vec<LastUse>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::chart::Bucket;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, last_use};
    use crate::console::testing::check_page;

    fn chart(id: &str, title: &str, scale: u64) -> Chart {
        let bucket = |day: u64| Bucket {
            label: format!("{} Nov", day + 1),
            requests: (day * 7919 % 97) * scale,
            refusals: if day % 4 == 1 { (day * 31 % 17) * scale } else { 0 },
        };
        Chart::new(id, title, "Day", (0..30).map(bucket).collect())
    }

    fn page() -> UsagePage {
        UsagePage {
            frame: frame("Usage", Place::Users),
            address: "/account/usage".into(),
            lede: "What the passwords and API keys of this account did at the doors.".into(),
            back: Link::new("Users", "/account/users"),
            period: Period::Month,
            charts: vec![chart("api", "API requests", 120), chart("isproxy", "IsProxy questions", 0)],
            users: vec![
                UsageRow {
                    name: "alex".into(),
                    link: Some("/account/users/alex".into()),
                    requests: 120_394,
                    refusals: 12,
                },
                UsageRow { name: "sami".into(), link: None, requests: 3, refusals: 0 },
            ],
            reasons: vec![ReasonRow { reason: "the API key has expired".into(), count: 1_204 }],
            addresses: vec![last_use()],
        }
    }

    #[test]
    fn requests_and_refusals_are_drawn_and_told_in_figures() {
        let html = check_page("usage", &page());
        assert!(html.contains("120,394") && html.contains("the API key has expired"), "{html}");
        assert!(html.contains("No requests in this time.") && html.contains("id=\"api-hatch\""), "{html}");
        assert!(html.contains("href=\"/account/usage?period=month\" aria-current=\"true\""), "{html}");
        assert!(html.contains("From where") && html.contains("192.0.2.7"), "{html}");
        for period in Period::ALL {
            assert_eq!(Period::from_field(period.as_str()), period);
        }
    }

    #[test]
    fn s87_names_with_markup_are_shown_as_text() {
        let mut page = page();
        page.users[0].name = MARKUP.into();
        page.charts = vec![chart("a", MARKUP, 1)];
        assert_escaped(&check_page("usage-markup", &page));
    }
}
