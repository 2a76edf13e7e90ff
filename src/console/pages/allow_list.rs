//! The IP whitelist of a user (`/account/users/{login}/ip-whitelist`) or of the account (`/account/ip-whitelist`), and
//! the question before a list that shuts somebody out.
//!
//! Fields: `csrf`, `allow_list` (one address or range a line), and the buttons `do`: `save`, or `add`, which puts the viewer's
//! address at the end of what is typed and shows the form again. The question sends the same with `confirmed`
//! (`yes`), or with `do` = `edit` for the form again.

use askama::Template;

use crate::console::frame::{FieldError, Frame};
use crate::console::parts::{Evidence, Shown};

/// Whose list it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOf {
    /// The user's of this login name.
    User(String),
    /// The account's of this handle: it counts for all its users.
    Account(String),
}

impl ListOf {
    /// The page's title.
    pub fn title(&self) -> String {
        match self {
            Self::User(name) => format!("IP whitelist of {name}"),
            Self::Account(name) => format!("IP whitelist of the account {name}"),
        }
    }

    /// The title of the question.
    pub fn question(&self) -> String {
        format!("Save the {}?", self.title())
    }

    /// Where the page stands.
    pub fn address(&self) -> String {
        match self {
            Self::User(login) => format!("/account/users/{login}/ip-whitelist"),
            Self::Account(_) => String::from("/account/ip-whitelist"),
        }
    }

    fn back(&self) -> String {
        match self {
            Self::User(login) => format!("/account/users/{login}"),
            Self::Account(_) => String::from("/account/users"),
        }
    }

    fn back_text(&self) -> &str {
        match self {
            Self::User(login) => login,
            Self::Account(_) => "Users",
        }
    }

    const fn who(&self) -> &'static str {
        match self {
            Self::User(_) => "This user is",
            Self::Account(_) => "The account’s users are",
        }
    }
}

/// Something wrong in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong, for example `192.0.2.300 is not an IP address.`
    pub message: String,
}

/// The page with the form.
#[derive(Template)]
#[template(path = "console/allow_list.html")]
pub struct AllowListPage {
    /// What surrounds it; its errors are [`AllowListPage::summary`].
    pub frame: Frame,
    /// Whose list it is.
    pub of: ListOf,
    /// What stands in the field.
    pub text: String,
    /// The viewer's address.
    pub own_address: String,
    /// How many networks the account's list holds beside this one; it counts as well.
    pub of_customer: usize,
    /// Is there a link to the account's list?
    pub customer_list: Shown,
    /// What is said of the list as it is, for example `This allows every address.`
    pub remarks: Vec<String>,
    /// What was wrong, by line.
    pub line_errors: Vec<LineError>,
}

impl AllowListPage {
    /// The lines' errors as the frame's summary tells them.
    pub fn summary(line_errors: &[LineError]) -> Vec<FieldError> {
        let error = |error: &LineError| {
            FieldError::new("allow_list", format!("Line {}: {}", error.line, error.message))
        };
        line_errors.iter().map(error).collect()
    }
}

/// The question before a list that shuts the viewer or something in use out.
#[derive(Template)]
#[template(path = "console/allow_list_question.html")]
pub struct AllowListQuestionPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose list it is.
    pub of: ListOf,
    /// The list, as it will be saved: one network a line.
    pub text: String,
    /// The viewer's address, where the list is the viewer's own and does not have it.
    pub shuts_out_viewer_at: Option<String>,
    /// What came from outside the list within the last 30 days.
    pub evidence: Vec<Evidence>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, evidence, frame};
    use crate::console::testing::check_page;

    fn alex() -> ListOf {
        ListOf::User("alex".into())
    }

    fn page(text: &str) -> AllowListPage {
        AllowListPage {
            frame: frame(&alex().title(), Place::Users),
            of: alex(),
            text: text.into(),
            own_address: "203.0.113.5".into(),
            of_customer: 0,
            customer_list: Shown::No,
            remarks: Vec::new(),
            line_errors: Vec::new(),
        }
    }

    #[test]
    fn the_own_address_is_added_by_a_button_that_needs_no_script() {
        let html = check_page("allow-list", &page("192.0.2.0/24\n2001:db8::/32"));
        assert!(html.contains("Your address now: <strong class=\"mono\">203.0.113.5</strong>"), "{html}");
        let save = html.find("value=\"save\"").unwrap();
        assert!(save < html.find("value=\"add\"").unwrap(), "Enter saves: {html}");
        assert!(html.contains("192.0.2.0/24\n2001:db8::/32</textarea>"), "{html}");
    }

    #[test]
    fn faults_are_told_by_line_in_the_summary_and_beside_the_field() {
        let mut page = page("192.0.2.0/24\n192.0.2.300");
        page.line_errors = vec![LineError { line: 2, message: "192.0.2.300 is not an IP address.".into() }];
        page.frame.errors = AllowListPage::summary(&page.line_errors);
        let html = check_page("allow-list-errors", &page);
        let text = "Line 2: <bdi>192.0.2.300 is not an IP address.</bdi>";
        assert!(html.contains(text), "{html}");
        assert!(
            html.contains("<a href=\"#allow_list\">Line 2: 192.0.2.300 is not an IP address.</a>"),
            "{html}"
        );
        assert!(html.contains("aria-invalid=\"true\""), "{html}");
    }

    #[test]
    fn remarks_and_the_list_of_the_account_are_told() {
        let page = AllowListPage {
            of_customer: 2,
            remarks: vec![
                "192.0.2.7/24 was saved as 192.0.2.0/24.".into(),
                "This allows every address.".into(),
            ],
            ..page("0.0.0.0/0")
        };
        let html = check_page("allow-list-remarks", &page);
        assert!(
            html.contains("an address must be in both") && html.contains("This allows every address."),
            "{html}"
        );
    }

    #[test]
    fn the_list_of_the_account_is_told_as_such() {
        let of = ListOf::Account("acme".into());
        let page = AllowListPage { frame: frame(&of.title(), Place::Users), of, ..page("192.0.2.0/24") };
        let html = check_page("allow-list-account", &page);
        assert!(html.contains("The account’s users are accepted only from"), "{html}");
        assert!(html.contains("action=\"/account/ip-whitelist\""), "{html}");
        let linked = AllowListPage { customer_list: Shown::Yes, ..page_of_alex() };
        assert!(linked.render().unwrap().contains("href=\"/account/ip-whitelist\""));
    }

    fn page_of_alex() -> AllowListPage {
        page("")
    }

    #[test]
    fn r61_a_list_that_shuts_somebody_out_is_asked_about() {
        let page = AllowListQuestionPage {
            frame: frame(&alex().question(), Place::Users),
            of: alex(),
            text: "192.0.2.0/24\n2001:db8::/32".into(),
            shuts_out_viewer_at: Some("203.0.113.5".into()),
            evidence: evidence(),
        };
        let html = check_page("allow-list-question", &page);
        assert!(html.contains("You will not be able to sign in from 203.0.113.5."), "{html}");
        assert!(
            html.contains("name=\"confirmed\" value=\"yes\"") && html.contains("What will stop"),
            "{html}"
        );
        assert!(html.contains("name=\"allow_list\" value=\"192.0.2.0/24\n2001:db8::/32\""), "{html}");
    }

    #[test]
    fn s87_typed_markup_comes_back_as_text() {
        let mut page = page(&format!("</textarea>{MARKUP}"));
        page.line_errors = vec![LineError { line: 1, message: format!("{MARKUP} is not an IP address.") }];
        let html = check_page("allow-list-markup", &page);
        assert_escaped(&html);
        assert_eq!(html.matches("</textarea>").count(), 1, "{html}");
    }
}
