//! The page that says why a request came to nothing, and the way on.

use askama::Template;

use crate::console::frame::{Frame, Link};

/// An error page. It has no form.
#[derive(Template)]
#[template(path = "console/error.html")]
pub struct ErrorPage {
    /// Its title is the page's heading.
    pub frame: Frame,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what can be done.
    pub text: String,
    /// The request's id, which the operator finds in the log.
    pub request_id: Option<String>,
    /// The way on.
    pub way_on: Link,
}

impl ErrorPage {
    /// 403: `permission` is missing, which an administrator of `customer` can give.
    pub fn forbidden(frame: Frame, permission: &str, customer: &str) -> Self {
        let text = format!(
            "You need the permission {permission}. An administrator of {customer} can give it to you."
        );
        Self::new(frame, 403, "You may not open this page", text)
    }

    /// 404, also for what belongs to somebody else.
    pub fn not_found(frame: Frame) -> Self {
        Self::new(frame, 404, "Page not found", "This page does not exist. It may have been deleted.")
    }

    /// 404: a one-time link that was used, is older than 24 hours, or gave way to a newer one.
    pub fn link_over(frame: Frame) -> Self {
        let text = "This link was used already, or it is older than 24 hours. Ask an administrator of your account for a new one.";
        Self::new(frame, 404, "This link no longer works", text)
    }

    /// 409: what a form was to change has changed since the form was shown.
    pub fn changed_meanwhile(frame: Frame, what: &str, back: Link) -> Self {
        let text = format!("Somebody changed this {what} meanwhile. Look again and repeat your change.");
        Self { way_on: back, ..Self::new(frame, 409, "Changed meanwhile", text) }
    }

    /// 409: what was asked for cannot be, as `text` says.
    pub fn conflict(frame: Frame, text: &str, back: Link) -> Self {
        Self { way_on: back, ..Self::new(frame, 409, "Nothing was changed", sentence(text)) }
    }

    /// 403 for another reason than a missing permission, as `text` says.
    pub fn not_allowed(frame: Frame, text: &str) -> Self {
        Self::new(frame, 403, "You may not do this", sentence(text))
    }

    /// 419: the form's token is missing, used or too old.
    pub fn page_expired(frame: Frame, back: Link) -> Self {
        let text = "The page was open too long. Nothing was changed. Try again.";
        Self { way_on: back, ..Self::new(frame, 419, "The page was open too long", text) }
    }

    /// 429; the answer has `Retry-After` too.
    pub fn too_many(frame: Frame, wait: &str) -> Self {
        Self::new(frame, 429, "Too many attempts", format!("Too many attempts. Try again in {wait}."))
    }

    /// 500: the defect is ours and stands in the log under `request_id`.
    pub fn defect(frame: Frame, request_id: &str) -> Self {
        let text = "Something went wrong on our side. Try again; if it happens again, give this number to whoever runs this gateway.";
        let request_id = Some(request_id.to_owned());
        Self { request_id, ..Self::new(frame, 500, "Something went wrong", text) }
    }

    /// 503: the store cannot be written.
    pub fn read_only(frame: Frame) -> Self {
        let text = "The console is read only at the moment, because its store cannot be written. Nothing was changed; requests of applications are still answered. Try again in a few minutes.";
        Self::new(frame, 503, "Read only", text)
    }

    fn new(mut frame: Frame, status: u16, title: &str, text: impl Into<String>) -> Self {
        title.clone_into(&mut frame.title);
        let way_on = if frame.viewer.is_some() {
            Link::new("To the start page", "/")
        } else {
            Link::new("To sign-in", "/sign-in")
        };
        Self { frame, status, text: text.into(), request_id: None, way_on }
    }
}

/// With a capital letter and a full stop.
pub(in crate::console) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let text: String = first.chain(letters).collect();
    if text.ends_with('.') { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::testing::{check_page, sample_frame};

    #[test]
    fn every_error_page_says_what_happened_and_has_a_way_on() {
        let back = || Link::new("To the user", "/account/users/alex");
        let pages = [
            (
                ErrorPage::forbidden(sample_frame(), "MANAGE_API_KEY", "acme"),
                "You need the permission MANAGE_API_KEY.",
            ),
            (ErrorPage::not_found(sample_frame()), "It may have been deleted."),
            (
                ErrorPage::changed_meanwhile(sample_frame(), "user", back()),
                "Somebody changed this user meanwhile.",
            ),
            (ErrorPage::page_expired(sample_frame(), back()), "Nothing was changed. Try again."),
            (ErrorPage::too_many(Frame::new("", "token"), "5 minutes"), "Try again in 5 minutes."),
            (ErrorPage::defect(sample_frame(), "01JX5"), "01JX5"),
            (ErrorPage::read_only(sample_frame()), "read only"),
        ];
        let link_over = (ErrorPage::link_over(Frame::new("", "token")), "older than 24 hours");
        for (page, text) in pages.into_iter().chain([link_over]) {
            let html =
                check_page(&format!("error-{}-{}", page.status, page.frame.title.replace(' ', "-")), &page);
            assert!(html.contains(text), "{html}");
            assert!(html.contains(&format!(r#"href="{}""#, page.way_on.href)), "{html}");
        }
    }

    #[test]
    fn s87_markup_in_an_error_is_text() {
        let page = ErrorPage::forbidden(sample_frame(), "X", "<script>alert(1)</script>");
        assert!(!check_page("error-markup", &page).contains("<script>alert"));
    }
}
