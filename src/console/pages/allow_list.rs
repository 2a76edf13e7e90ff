//! A user's IP whitelist (`/account/users/{login}/ip-whitelist`), and the question before a list that shuts somebody out.
//!
//! Fields: `csrf`, `allow_list` (one address or range a line), and the buttons `do`: `save`, or `add`, which puts the viewer's
//! address at the end of what is typed and shows the form again. The question sends the same with `confirmed`
//! (`yes`), or with `do` = `edit` for the form again.

use askama::Template;

use crate::console::frame::{FieldError, Frame};
use crate::console::parts::Evidence;

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
    pub login: String,
    /// What stands in the field.
    pub text: String,
    /// The viewer's address.
    pub own_address: String,
    /// How many networks the account's list holds; it counts as well.
    pub of_customer: usize,
    /// What is said of the list as it is, for example `This allows every address.`
    pub remarks: Vec<String>,
    /// What was wrong, by line.
    pub line_errors: Vec<LineError>,
}

impl AllowListPage {
    /// The page's title.
    pub fn title(login: &str) -> String {
        format!("IP whitelist of {login}")
    }

    /// The lines' errors as the frame's summary tells them.
    pub fn summary(line_errors: &[LineError]) -> Vec<FieldError> {
        let error = |error: &LineError| {
            FieldError::new("allow_list", format!("Line {}: {}", error.line, error.message))
        };
        line_errors.iter().map(error).collect()
    }

    fn back(&self) -> String {
        format!("/account/users/{}", self.login)
    }

    fn action(&self) -> String {
        format!("/account/users/{}/ip-whitelist", self.login)
    }
}

/// The question before a list that shuts the viewer or something in use out.
#[derive(Template)]
#[template(path = "console/allow_list_question.html")]
pub struct AllowListQuestionPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose list it is.
    pub login: String,
    /// The list, as it will be saved: one network a line.
    pub text: String,
    /// The viewer's address, where the list is the viewer's own and does not have it.
    pub shuts_out_viewer_at: Option<String>,
    /// What came from outside the list within the last 30 days.
    pub evidence: Vec<Evidence>,
}

impl AllowListQuestionPage {
    /// The page's title.
    pub fn title(login: &str) -> String {
        format!("Save the IP whitelist of {login}?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, evidence, frame};
    use crate::console::testing::check_page;

    fn page(text: &str) -> AllowListPage {
        AllowListPage {
            frame: frame(&AllowListPage::title("alex"), Place::Users),
            login: "alex".into(),
            text: text.into(),
            own_address: "203.0.113.5".into(),
            of_customer: 0,
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
    fn r61_a_list_that_shuts_somebody_out_is_asked_about() {
        let page = AllowListQuestionPage {
            frame: frame(&AllowListQuestionPage::title("admin"), Place::Users),
            login: "admin".into(),
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
