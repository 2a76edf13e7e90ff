//! The user's own data, password and open sessions.
//!
//! Own MFA is in `mfa`, own API keys are in the pages of API keys.

use askama::Template;

use crate::console::frame::{Frame, Moment};

/// `/profile`. It has no form.
#[derive(Template)]
#[template(path = "console/profile/overview.html")]
pub struct Profile {
    /// The frame at Profile.
    pub frame: Frame,
    /// The customer's handle.
    pub customer: String,
    /// The login name.
    pub login: String,
    /// The full name; may be empty.
    pub full_name: String,
    /// The e-mail address; may be empty.
    pub email: String,
    /// The language, in words.
    pub language: String,
    /// May the user change these data at the page of the user?
    pub may_edit: bool,
    /// The status line of [`MfaOverview`](super::mfa::MfaOverview::status).
    pub mfa_status: String,
    /// How many sessions are open, this one included.
    pub sessions: usize,
    /// How many API keys there are; `None` when the user may not manage them.
    pub api_keys: Option<usize>,
}

/// `/profile/password`. Fields: `password`; `user` is there for password safes and says nothing.
#[derive(Template)]
#[template(path = "console/profile/password.html")]
pub struct ChangePassword {
    /// The frame at Profile.
    pub frame: Frame,
    /// Who it is: `acme/alex`.
    pub user: String,
    /// How long the password must be at least: 15, or 8 with MFA.
    pub least_characters: usize,
    /// Somebody else chose the present one, and nothing else is open before it is replaced.
    pub is_chosen_by_another: bool,
}

/// `/profile/sessions`, whose form ends all others. Fields: none.
#[derive(Template)]
#[template(path = "console/profile/sessions.html")]
pub struct Sessions {
    /// The frame at Profile.
    pub frame: Frame,
    /// The open sessions, this one first.
    pub sessions: Vec<OpenSession>,
    /// After how many minutes without activity a session ends.
    pub idle_minutes: u32,
}

/// An open session of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Browser and system as far as they are known: "Firefox on Linux".
    pub browser: String,
    /// The client's address.
    pub address: String,
    /// When it began.
    pub signed_in: Moment,
    /// When it was last used.
    pub last_active: Moment,
    /// Is the page shown in it?
    pub is_this_one: bool,
}

impl Profile {
    /// The full name, or the login name of a user without one.
    pub fn name(&self) -> &str {
        if self.full_name.is_empty() { &self.login } else { &self.full_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::{FieldError, Notice};
    use crate::console::testing::{check_page, sample_frame};
    use crate::model::Timestamp;

    fn titled(title: &str) -> Frame {
        Frame { title: title.to_owned(), ..sample_frame() }
    }

    fn at(text: &str) -> Moment {
        Moment::from(text.parse::<Timestamp>().unwrap())
    }

    fn profile() -> Profile {
        Profile {
            frame: titled("Profile"),
            customer: "acme".to_owned(),
            login: "alex".to_owned(),
            full_name: "Alex Miller".to_owned(),
            email: "alex@acme.example".to_owned(),
            language: "English".to_owned(),
            may_edit: false,
            mfa_status: "MFA is on – 1 app, 8 recovery codes left".to_owned(),
            sessions: 2,
            api_keys: Some(3),
        }
    }

    fn session(browser: &str, is_this_one: bool) -> OpenSession {
        OpenSession {
            browser: browser.to_owned(),
            address: "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned(),
            signed_in: at("2026-11-28T08:15:00Z"),
            last_active: at("2026-11-28T11:40:00Z"),
            is_this_one,
        }
    }

    #[test]
    fn r57_the_profile_leads_to_mfa_by_manage() {
        let html = check_page("profile", &profile());
        assert!(html.contains(r#"href="/profile/mfa">Manage</a>"#), "{html}");
        assert!(html.contains("An administrator of acme can change these."), "{html}");
        assert!(html.contains("3 API keys.") && html.contains("You are signed in 2 times."), "{html}");
    }

    #[test]
    fn who_may_not_manage_keys_sees_no_card_of_them() {
        let mut page = Profile { api_keys: None, may_edit: true, ..profile() };
        page.frame.notices = vec![Notice::success("Your password was changed.")];
        let html = check_page("profile-plain", &page);
        assert!(!html.contains("/profile/api-keys") && html.contains("/account/users/alex/edit"), "{html}");
    }

    #[test]
    fn s87_markup_in_the_own_data_and_browsers_is_text() {
        let bad = "<script>alert(1)</script>";
        let page = Profile { full_name: bad.to_owned(), email: bad.to_owned(), ..profile() };
        assert!(!check_page("profile-markup", &page).contains("<script>alert"));
        let sessions = vec![session(bad, true)];
        let page = Sessions { frame: titled("Sessions"), sessions, idle_minutes: 30 };
        let html = check_page("sessions-one", &page);
        assert!(!html.contains("<script>alert") && !html.contains("Sign out everywhere else"), "{html}");
    }

    #[test]
    fn other_sessions_can_be_ended() {
        let sessions = vec![session("Firefox on Linux", true), session("Safari on iOS", false)];
        let page = Sessions { frame: titled("Sessions"), sessions, idle_minutes: 30 };
        let html = check_page("sessions", &page);
        assert!(html.contains("Sign out everywhere else</button>"), "{html}");
        assert_eq!(html.matches("This session").count(), 1, "{html}");
    }

    #[test]
    fn a_new_password_is_asked_for_once_with_its_rules() {
        let mut page = ChangePassword {
            frame: titled("Change password"),
            user: "acme/alex".to_owned(),
            least_characters: 8,
            is_chosen_by_another: false,
        };
        page.frame.errors =
            vec![FieldError::new("password", "This password is too common. Choose another one.")];
        let html = check_page("password", &page);
        assert_eq!(html.matches(r#"type="password""#).count(), 1, "{html}");
        assert!(html.contains(">Cancel</a>") && !html.contains("Somebody else"), "{html}");
        let html = check_page("password-chosen", &ChangePassword { is_chosen_by_another: true, ..page });
        assert!(html.contains("Somebody else chose your present password.") && !html.contains(">Cancel</a>"));
        assert!(html.contains("At least 8 characters") && html.contains(r#"aria-invalid="true""#), "{html}");
    }
}
