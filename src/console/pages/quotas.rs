//! The quotas that count a user's requests: one's own (`/profile/quotas`) or those of a user of the account
//! (`/account/users/{login}/quotas`). Keys are paged: `page` in addresses of [`Paging`], or `key`, the id of one of them.
//!
//! Fields of each form: `csrf`, `of` (`user`, or the id of a key), `day` and `month` (requests; empty = no limit).

use askama::Template;

use crate::console::frame::{Frame, Link, Moment};
use crate::console::parts::Paging;
use crate::figures::grouped;

/// What is used in the present day or month.
#[derive(Clone, Debug)]
pub struct QuotaLine {
    /// `Today` or `This month`.
    pub name: &'static str,
    /// Requests that were let in.
    pub used: u64,
    /// Requests that may be made.
    pub limit: u64,
    /// How much that is.
    pub level: QuotaLevel,
    /// When it begins anew.
    pub ends: Moment,
}

/// How much of a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaLevel {
    /// Nothing to be told.
    Fine,
    /// Most of it.
    NearlyUsed,
    /// All of it.
    Exhausted,
}

impl QuotaLine {
    pub(super) fn text(&self) -> String {
        format!("{} of {} requests", grouped(self.used), grouped(self.limit))
    }

    pub(super) const fn tag(&self) -> Option<(&'static str, &'static str)> {
        match self.level {
            QuotaLevel::Fine => None,
            QuotaLevel::NearlyUsed => Some(("Nearly used up", "warn")),
            QuotaLevel::Exhausted => Some(("Used up", "bad")),
        }
    }
}

/// The form of one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaForm {
    /// Of the day and of the month.
    pub fields: [QuotaField; 2],
}

/// A field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaField {
    /// Its own on the page: the name, and whose quota it is.
    pub id: String,
    /// `day` or `month`.
    pub name: &'static str,
    /// The same for people.
    pub label: &'static str,
    /// What stands in it.
    pub value: String,
}

impl QuotaForm {
    /// The form of the quota of `of`, with so many requests a day and a month in it.
    pub fn new(of: &str, day: String, month: String) -> Self {
        let field =
            |name: &'static str, label, value| QuotaField { id: field_id(name, of), name, label, value };
        Self { fields: [field("day", "Requests a day", day), field("month", "Requests a month", month)] }
    }
}

/// The id of a field of the quota of `of`.
pub fn field_id(name: &str, of: &str) -> String {
    format!("{name}-{of}")
}

/// One quota.
#[derive(Clone, Debug)]
pub struct QuotaCard {
    /// Whose it is: `account`, `user`, or the id of a key. Ids of fields end with it.
    pub of: String,
    /// The same for people.
    pub title: String,
    /// What is used of it; nothing: there is no quota.
    pub lines: Vec<QuotaLine>,
    /// What can be changed; `None`: nothing, by the viewer.
    pub form: Option<QuotaForm>,
}

/// The page.
#[derive(Template)]
#[template(path = "console/quotas.html")]
pub struct QuotasPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Where it stands.
    pub address: String,
    /// Where it leads back to.
    pub back: Link,
    /// The account's, the user's, and those of the keys; behind the first part, further keys alone.
    pub cards: Vec<QuotaCard>,
    /// The parts beside it.
    pub paging: Paging,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::{FieldError, Place};
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, moment};
    use crate::console::testing::check_page;

    fn line(used: u64, level: QuotaLevel) -> QuotaLine {
        QuotaLine { name: "Today", used, limit: 10_000, level, ends: moment("2026-11-29T00:00:00Z") }
    }

    fn card(of: &str, title: &str, lines: Vec<QuotaLine>) -> QuotaCard {
        QuotaCard { of: of.into(), title: title.into(), lines, form: None }
    }

    fn page() -> QuotasPage {
        let form = QuotaForm::new("user", "10000".into(), String::new());
        QuotasPage {
            frame: frame("Quotas of alex", Place::Users),
            address: "/account/users/alex/quotas".into(),
            back: Link::new("alex", "/account/users/alex"),
            cards: vec![
                card("account", "The whole account", Vec::new()),
                QuotaCard {
                    form: Some(form),
                    ..card("user", "alex", vec![line(8_100, QuotaLevel::NearlyUsed)])
                },
                card("key_0c1x8n4t7q2vz", "API key “CI”", vec![line(10_000, QuotaLevel::Exhausted)]),
            ],
            paging: Paging {
                summary: "1–50 of 60 API keys".into(),
                previous: None,
                next: Some("/account/users/alex/quotas?page=2".into()),
            },
        }
    }

    #[test]
    fn what_is_used_and_what_is_left_is_told_and_can_be_changed_where_the_viewer_may() {
        let html = check_page("quotas", &page());
        assert!(html.contains("8,100 of 10,000 requests") && html.contains("Nearly used up"), "{html}");
        assert!(html.contains("Used up</span>") && html.contains("No quota"), "{html}");
        assert_eq!(html.matches("<form method=\"post\" action=\"/account/users/alex/quotas\"").count(), 1);
        assert!(html.contains("name=\"day\" value=\"10000\""), "{html}");
        assert!(html.contains("href=\"/account/users/alex/quotas?page=2\" rel=\"next\""), "{html}");
    }

    #[test]
    fn what_was_wrong_stands_beside_its_field() {
        let mut page = page();
        page.frame.errors = vec![FieldError::new("day-user", "Enter a whole number.")];
        let html = check_page("quotas-errors", &page);
        assert!(html.contains("id=\"day-user-error\"") && html.contains("aria-invalid=\"true\""), "{html}");
    }

    #[test]
    fn s87_descriptions_with_markup_are_shown_as_text() {
        let mut page = page();
        page.cards[2].title = MARKUP.into();
        assert_escaped(&check_page("quotas-markup", &page));
    }
}
