//! The pages that ask before something is done to a user: deactivate, reactivate, delete, allow the password again.
//!
//! Fields: `csrf`. Each is sent to its own address below `/account/users/{login}`.

use askama::Template;

use crate::console::frame::Frame;
use crate::console::parts::{Evidence, counted};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserQuestion {
    /// Let the user in nowhere.
    Deactivate,
    /// Let the user in again.
    Reactivate,
    /// Remove the user for good.
    Delete,
    /// Let the password open the API again after the last key is gone.
    AllowPassword,
}

impl UserQuestion {
    /// The last part of the address.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Deactivate => "deactivate",
            Self::Reactivate => "reactivate",
            Self::Delete => "delete",
            Self::AllowPassword => "allow-password",
        }
    }

    /// The page's title.
    pub fn title(self, login: &str) -> String {
        match self {
            Self::Deactivate => format!("Deactivate {login}?"),
            Self::Reactivate => format!("Reactivate {login}?"),
            Self::Delete => format!("Delete {login}?"),
            Self::AllowPassword => format!("Allow the password of {login} again?"),
        }
    }

    const fn button(self) -> &'static str {
        match self {
            Self::Deactivate => "Deactivate user",
            Self::Reactivate => "Reactivate user",
            Self::Delete => "I understand, delete this user",
            Self::AllowPassword => "Allow password again",
        }
    }

    const fn is_destructive(self) -> bool {
        matches!(self, Self::Deactivate | Self::Delete)
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/user_question.html")]
pub struct UserQuestionPage {
    /// What surrounds it; its title is [`UserQuestion::title`].
    pub frame: Frame,
    /// About whom.
    pub login: String,
    /// What is asked.
    pub question: UserQuestion,
    /// How many API keys the user has.
    pub keys: usize,
    /// How many sessions and connections of the user are open now.
    pub open_now: usize,
    /// What was used within the last 30 days and would end.
    pub evidence: Vec<Evidence>,
}

impl UserQuestionPage {
    fn open_now_text(&self) -> String {
        counted(self.open_now, "session or connection", "sessions and connections")
    }

    fn consequence(&self) -> String {
        let login = &self.login;
        match self.question {
            UserQuestion::Deactivate => format!(
                "{login} can no longer sign in. All open sessions end and all API keys stop working at once. \
                 You can reactivate the user; keys then work again."
            ),
            UserQuestion::Reactivate => {
                format!(
                    "{login} can sign in again. API keys that were not deleted or expired work again at once."
                )
            }
            UserQuestion::Delete => format!(
                "{login} and all API keys of this user are deleted at once. Applications that use them lose access. \
                 This cannot be undone."
            ),
            UserQuestion::AllowPassword => format!(
                "{login} has no API key. Allowed again, the password opens the API as before, until the next API key \
                 is created. Where MFA is on or required, the password stays off."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{evidence, frame};
    use crate::console::testing::check_page;

    fn page(question: UserQuestion) -> UserQuestionPage {
        UserQuestionPage {
            frame: frame(&question.title("alex"), Place::Users),
            login: "alex".into(),
            question,
            keys: 2,
            open_now: 1,
            evidence: evidence(),
        }
    }

    #[test]
    fn r60_each_question_says_what_follows_and_is_sent_to_its_own_address() {
        let cases = [
            ("user-deactivate", UserQuestion::Deactivate, "all API keys stop working at once", "danger"),
            ("user-reactivate", UserQuestion::Reactivate, "work again at once", "primary"),
            ("user-delete", UserQuestion::Delete, "This cannot be undone.", "danger"),
            (
                "user-allow-password",
                UserQuestion::AllowPassword,
                "until the next API key is created",
                "primary",
            ),
        ];
        for (name, question, text, kind) in cases {
            let html = check_page(name, &page(question));
            assert!(html.contains(text), "{html}");
            assert!(html.contains(&format!("action=\"/account/users/alex/{}\"", question.path())), "{html}");
            assert!(html.contains(&format!("class=\"button {kind}\"")), "{html}");
            assert!(html.contains("data-autofocus") && html.contains(">Cancel</a>"), "{html}");
        }
    }

    #[test]
    fn what_will_stop_is_told_with_where_it_came_from() {
        let html = check_page("user-delete", &page(UserQuestion::Delete));
        assert!(html.contains("1 session or connection"), "{html}");
        assert!(
            html.contains("The password was last used at the API") && html.contains("192.0.2.7"),
            "{html}"
        );
    }
}
