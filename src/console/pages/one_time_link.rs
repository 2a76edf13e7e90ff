//! The page that shows a one-time link once: after a user was made, for a forgotten password, after a reset of MFA.
//!
//! The link is in the answer to the request that made it and nowhere else; a reload shows [`LinkGonePage`].

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::model::Secret;

/// What the link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// A new user chooses a first password.
    NewUser,
    /// A user chooses a new password.
    NewPassword,
    /// MFA was reset: the next sign-in takes the link and the password.
    MfaReset,
    /// The same, in the place of a link that was lost.
    NextSignIn,
}

impl LinkPurpose {
    const fn done(self) -> &'static str {
        match self {
            Self::NewUser => "The user was created.",
            Self::NewPassword | Self::NextSignIn => "The link was made. Links made before no longer work.",
            Self::MfaReset => "MFA was reset.",
        }
    }

    const fn effect(self) -> &'static str {
        match self {
            Self::NewUser => "With it the user chooses a password and signs in for the first time.",
            Self::NewPassword => "With it the user chooses a new password. Until then the old one stays.",
            Self::MfaReset | Self::NextSignIn => {
                "The next sign-in takes this link and the password. Then MFA is set up anew."
            }
        }
    }
}

impl LinkPage {
    /// The page's title.
    pub const TITLE: &str = "Copy the one-time link now";

    fn next(&self) -> String {
        format!("/account/users/{}", self.login)
    }
}

impl LinkGonePage {
    /// The page's title.
    pub const TITLE: &str = "This link was already shown";

    fn next(&self) -> String {
        format!("/account/users/{}", self.login)
    }
}

/// The page with the link.
#[derive(Template)]
#[template(path = "console/one_time_link.html")]
pub struct LinkPage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose link it is.
    pub login: String,
    /// What it is for.
    pub purpose: LinkPurpose,
    /// The whole address.
    pub link: Secret<String>,
    /// When it stops working.
    pub ends_at: Moment,
}

/// The answer to the same form once more.
#[derive(Template)]
#[template(path = "console/one_time_link_gone.html")]
pub struct LinkGonePage {
    /// What surrounds it.
    pub frame: Frame,
    /// Whose link it was.
    pub login: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{frame, moment};
    use crate::console::testing::check_page;

    #[test]
    fn a_link_is_in_its_block_and_nowhere_else() {
        for (name, purpose) in [
            ("link-new-user", LinkPurpose::NewUser),
            ("link-password", LinkPurpose::NewPassword),
            ("link-reset", LinkPurpose::MfaReset),
            ("link-sign-in", LinkPurpose::NextSignIn),
        ] {
            let page = LinkPage {
                frame: frame(LinkPage::TITLE, Place::Users),
                login: "alex".into(),
                purpose,
                link: Secret::new("https://console.example/welcome/abcdefghijklmnopqrstuvwxyz012345".into()),
                ends_at: moment("2026-11-29T11:40:00Z"),
            };
            let html = check_page(name, &page);
            assert_eq!(html.matches("/welcome/").count(), 1, "{html}");
            assert!(html.contains("data-secret") && html.contains("I have copied the link"), "{html}");
            assert!(html.contains("until <time datetime=\"2026-11-29T11:40:00Z\">"), "{html}");
        }
    }

    #[test]
    fn a_reload_shows_no_link() {
        let page = LinkGonePage { frame: frame(LinkGonePage::TITLE, Place::Users), login: "alex".into() };
        let html = check_page("link-gone", &page);
        assert!(html.contains("This link was already shown") && !html.contains("data-secret"), "{html}");
    }
}
