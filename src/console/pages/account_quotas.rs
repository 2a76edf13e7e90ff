//! The quotas of the whole account (`/account/quotas`): the account's own, its users' and those of their keys, with links to
//! where they are changed. `page` in addresses of [`Paging`].

use askama::Template;

use super::quotas::QuotaLine;
use crate::console::frame::Frame;
use crate::console::parts::Paging;

/// One quota.
#[derive(Clone, Debug)]
pub struct AccountQuotaRow {
    /// Whose it is: the account, a login name, or what a key is for.
    pub name: String,
    /// What is told beside: the login name of the key's user, or who gives the account's.
    pub note: String,
    /// Where it is changed; `None`: not in the console.
    pub link: Option<String>,
    /// What is used today; `None`: the day has no limit.
    pub day: Option<QuotaLine>,
    /// What is used this month; `None`: the month has no limit.
    pub month: Option<QuotaLine>,
}

/// The page.
#[derive(Template)]
#[template(path = "console/account_quotas.html")]
pub struct AccountQuotasPage {
    /// What surrounds it.
    pub frame: Frame,
    /// The quotas of this part of the list.
    pub rows: Vec<AccountQuotaRow>,
    /// The parts beside it.
    pub paging: Paging,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::quotas::QuotaLevel;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, moment};
    use crate::console::testing::check_page;

    fn line(used: u64, level: QuotaLevel) -> QuotaLine {
        let ends = moment("2026-12-01T00:00:00Z");
        QuotaLine { name: "This month", used, limit: 10_000, level, ends }
    }

    fn row(name: &str, note: &str) -> AccountQuotaRow {
        AccountQuotaRow { name: name.into(), note: note.into(), link: None, day: None, month: None }
    }

    fn page() -> AccountQuotasPage {
        AccountQuotasPage {
            frame: frame("Quotas", Place::Users),
            rows: vec![
                AccountQuotaRow {
                    month: Some(line(4_000, QuotaLevel::Fine)),
                    ..row("The whole account", "given by the operator")
                },
                AccountQuotaRow {
                    link: Some("/account/users/alex/quotas".into()),
                    day: Some(line(10_000, QuotaLevel::Exhausted)),
                    ..row("alex", "")
                },
                AccountQuotaRow {
                    link: Some("/account/users/alex/quotas?key=key_0c1x8n4t7q2vz".into()),
                    day: Some(line(1, QuotaLevel::Fine)),
                    month: Some(line(8_100, QuotaLevel::NearlyUsed)),
                    ..row("API key “CI”", "alex")
                },
            ],
            paging: Paging {
                summary: "51–100 of 1,234 quotas".into(),
                previous: Some("/account/quotas".into()),
                next: Some("/account/quotas?page=3".into()),
            },
        }
    }

    #[test]
    fn quotas_are_listed_with_what_is_used_and_where_they_are_changed() {
        let html = check_page("account-quotas", &page());
        for text in [
            "given by the operator",
            "href=\"/account/users/alex/quotas\"",
            "href=\"/account/users/alex/quotas?key=key_0c1x8n4t7q2vz\"",
            "10,000 of 10,000 requests",
            "Used up</span>",
            "Nearly used up</span>",
            "No limit",
            "51–100 of 1,234 quotas",
            "href=\"/account/quotas?page=3\"",
        ] {
            assert!(html.contains(text), "{text}: {html}");
        }
    }

    #[test]
    fn that_nobody_has_a_quota_is_told_with_what_to_do() {
        let none = AccountQuotasPage { rows: Vec::new(), paging: Paging::default(), ..page() };
        let html = check_page("account-quotas-none", &none);
        assert!(html.contains("Nobody has a quota") && html.contains("href=\"/account/users\""), "{html}");
    }

    #[test]
    fn s87_descriptions_with_markup_are_shown_as_text() {
        let mut page = page();
        page.rows[2].name = MARKUP.into();
        assert_escaped(&check_page("account-quotas-markup", &page));
    }
}
