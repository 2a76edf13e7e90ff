//! A user's MFA as an administrator sees it (`/account/users/{login}/mfa`, `…/mfa/reset`).
//!
//! MFA is never set up for another person and never reset for oneself. The form **Require MFA** is sent to `…/mfa` with
//! `csrf` and `require_mfa` (`yes` or `no`); the reset is asked about on a page of its own, sent with `csrf` and `form_token`.

use askama::Template;

use super::user::RequiredBy;
use super::users::MfaStanding;
use crate::console::frame::{Frame, Moment};
use crate::console::parts::{Evidence, Shown, counted};

/// A method of the user.
#[derive(Clone, Debug)]
pub struct MethodRow {
    /// `Authenticator app` or `Security key`.
    pub kind: &'static str,
    /// Its name, in the user's words.
    pub name: String,
    /// When it was set up.
    pub added: Moment,
    /// When it was last used; `None`: never.
    pub last_used: Option<Moment>,
}

/// What would stop if MFA were required now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequireEffect {
    /// Nothing: MFA is on, or required already.
    Nothing,
    /// The password opens doors that it would no longer open.
    EndsPassword {
        /// What used it in the last 30 days.
        uses: Vec<Evidence>,
        /// How many sessions and connections are open by it now.
        open_now: usize,
    },
}

impl RequireEffect {
    fn ended(&self) -> Option<&[Evidence]> {
        match self {
            Self::Nothing => None,
            Self::EndsPassword { uses, .. } => Some(uses),
        }
    }

    /// What is open now and would end, if anything is.
    fn open_text(&self) -> Option<String> {
        match self {
            Self::EndsPassword { open_now: 1, .. } => {
                Some(String::from("1 session or connection is open now."))
            }
            Self::EndsPassword { open_now: open @ 2.., .. } => {
                Some(format!("{open} sessions and connections are open now."))
            }
            Self::EndsPassword { .. } | Self::Nothing => None,
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/mfa_admin.html")]
pub struct MfaAdminPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose MFA it is.
    pub login: String,
    /// Where the user stands.
    pub standing: MfaStanding,
    /// Who requires it.
    pub required_by: RequiredBy,
    /// The methods.
    pub methods: Vec<MethodRow>,
    /// Recovery codes that are left; `None`: there are none without a method.
    pub recovery_codes: Option<usize>,
    /// What requiring it would end.
    pub effect: RequireEffect,
    /// Can a reset be asked for? Not the own, and not where nothing is set up.
    pub reset: Shown,
}

/// The page that asks before a user's MFA is reset.
#[derive(Template)]
#[template(path = "console/mfa_reset.html")]
pub struct MfaResetPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose MFA it is.
    pub login: String,
    /// Makes a double click or a reload harmless: it makes a one-time link.
    pub form_token: String,
    /// How many methods there are.
    pub methods: usize,
}

impl MfaAdminPage {
    /// The page's title.
    pub fn title(login: &str) -> String {
        format!("MFA of {login}")
    }
}

impl MfaResetPage {
    /// The page's title.
    pub fn title(login: &str) -> String {
        format!("Reset MFA of {login}?")
    }

    fn methods_text(&self) -> String {
        counted(self.methods, "method", "methods")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, evidence, frame, moment};
    use crate::console::testing::check_page;

    fn page() -> MfaAdminPage {
        MfaAdminPage {
            frame: frame(&MfaAdminPage::title("alex"), Place::Users),
            login: "alex".into(),
            standing: MfaStanding::On("1 app, 1 security key".into()),
            required_by: RequiredBy::Administrator,
            methods: vec![
                MethodRow {
                    kind: "Authenticator app",
                    name: "Phone".into(),
                    added: moment("2026-08-02T10:00:00Z"),
                    last_used: Some(moment("2026-11-28T11:40:00Z")),
                },
                MethodRow {
                    kind: "Security key",
                    name: "Blue key".into(),
                    added: moment("2026-09-02T10:00:00Z"),
                    last_used: None,
                },
            ],
            recovery_codes: Some(8),
            effect: RequireEffect::Nothing,
            reset: Shown::Yes,
        }
    }

    fn off() -> MfaAdminPage {
        MfaAdminPage {
            standing: MfaStanding::Off,
            required_by: RequiredBy::Nobody,
            methods: Vec::new(),
            recovery_codes: None,
            effect: RequireEffect::EndsPassword { uses: evidence(), open_now: 2 },
            reset: Shown::No,
            ..page()
        }
    }

    #[test]
    fn r59_requiring_mfa_says_first_what_will_stop() {
        let html = check_page("mfa-admin-off", &off());
        assert!(html.contains("What will stop at once") && html.contains("192.0.2.7"), "{html}");
        assert!(html.contains("2 sessions and connections are open now."), "{html}");
        assert!(
            html.contains("name=\"require_mfa\" value=\"yes\"") && html.contains(">Require MFA</button>")
        );
        assert!(!html.contains("/mfa/reset"), "nothing to reset: {html}");
    }

    #[test]
    fn an_administrator_sees_the_methods_and_sets_none_up() {
        let html = check_page("mfa-admin-on", &page());
        assert!(html.contains("Blue key") && html.contains("8 left"), "{html}");
        assert!(
            html.contains("value=\"no\"") && html.contains("href=\"/account/users/alex/mfa/reset\""),
            "{html}"
        );
        assert!(!html.contains("/profile/mfa/app"), "{html}");
    }

    #[test]
    fn r24_what_the_customer_requires_cannot_be_made_optional_here() {
        let html =
            check_page("mfa-admin-customer", &MfaAdminPage { required_by: RequiredBy::Customer, ..page() });
        assert!(html.contains("required of all users of this account"), "{html}");
        assert!(!html.contains("name=\"require_mfa\""), "{html}");
    }

    #[test]
    fn a_reset_is_asked_about_with_all_its_consequences() {
        let reset = MfaResetPage {
            frame: frame(&MfaResetPage::title("alex"), Place::Users),
            login: "alex".into(),
            form_token: "single-use".into(),
            methods: 2,
        };
        let html = check_page("mfa-reset", &reset);
        assert!(
            html.contains("2 methods and all recovery codes") && html.contains("one-time link"),
            "{html}"
        );
        assert!(html.contains("class=\"button danger\">I understand, reset MFA</button>"), "{html}");
        assert!(html.contains("name=\"form_token\""), "{html}");
    }

    #[test]
    fn s87_a_methods_name_with_markup_is_shown_as_text() {
        let mut page = page();
        page.methods[0].name = MARKUP.into();
        assert_escaped(&check_page("mfa-admin-markup", &page));
    }
}
