//! What a one-time link opens: choosing the own password, or signing in after MFA was reset.
//!
//! The forms go to the address that they came from, so that the link's secret is in no page. Looking at a page uses
//! nothing up.

use askama::Template;

use crate::console::frame::Frame;

/// The first password of an invited user, or a new one, `POST /welcome/{token}`.
///
/// Fields: `password`; `user` is there for password safes and says nothing.
#[derive(Template)]
#[template(path = "console/welcome/choose_password.html")]
pub struct ChoosePassword {
    /// The frame of nobody; "Welcome to Latchkey" or "Choose a new password" is its title.
    pub frame: Frame,
    /// Whose link it is: `acme/alex`.
    pub user: String,
    /// How long the password must be at least: 15, or 8 where MFA is required.
    pub least_characters: usize,
}

/// The sign-in of a user whose MFA was reset, `POST /welcome/{token}`.
///
/// Fields: `password`; `user` is there for password safes and says nothing.
#[derive(Template)]
#[template(path = "console/welcome/after_reset.html")]
pub struct SignInAfterReset {
    /// The frame of nobody.
    pub frame: Frame,
    /// Whose link it is: `acme/alex`.
    pub user: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::FieldError;
    use crate::console::testing::check_page;

    fn choose_password() -> ChoosePassword {
        ChoosePassword {
            frame: Frame::new("Welcome to Latchkey", "token-of-the-form"),
            user: "acme/alex".to_owned(),
            least_characters: 15,
        }
    }

    #[test]
    fn the_rules_of_a_password_stand_before_its_field() {
        let html = check_page("welcome", &choose_password());
        let rules = html.find("At least 15 characters, at most 128.").unwrap();
        assert!(rules < html.find(r#"autocomplete="new-password""#).unwrap(), "{html}");
        assert!(html.contains(r#"value="acme/alex" autocomplete="username" readonly"#), "{html}");
    }

    #[test]
    fn s102_the_secret_of_the_link_is_not_in_the_page() {
        let html = check_page(
            "welcome-reset",
            &SignInAfterReset {
                frame: Frame::new("Sign in to set up MFA again", "token-of-the-form"),
                user: "acme/alex".to_owned(),
            },
        );
        assert!(!html.contains("/welcome/") && html.contains(r#"autocomplete="current-password""#), "{html}");
    }

    #[test]
    fn s87_a_name_with_markup_is_text_and_a_faulty_password_is_not_sent_back() {
        let mut page = choose_password();
        "acme/<script>alert(1)</script>".clone_into(&mut page.user);
        page.frame.errors = vec![FieldError::new("password", "Choose a password of at least 15 characters.")];
        let html = check_page("welcome-wrong", &page);
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(html.contains(r#"required aria-describedby="password-error" aria-invalid="true""#), "{html}");
    }
}
