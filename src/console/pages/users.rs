//! The list of an account's users (`/account/users`).
//!
//! Searching, filtering and paging are the handler's; this is what it shows. Fields of the search form (GET): `search`,
//! `filter` (`mfa-off`, `password-in-use`, `inactive`; absent: everybody), and `page` in addresses of [`Paging`].

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::console::parts::{Paging, Shown, counted, entrance_tags};
use crate::model::AccessPoints;

/// Which users are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFilter {
    /// Everybody.
    All,
    /// Whoever has no MFA.
    MfaOff,
    /// Whoever has no key, and whose password is in use at a door.
    PasswordInUse,
    /// Whoever is deactivated.
    Inactive,
}

impl UserFilter {
    /// Every filter, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::All, Self::MfaOff, Self::PasswordInUse, Self::Inactive];

    /// The value of the field `filter`; empty: everybody.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "",
            Self::MfaOff => "mfa-off",
            Self::PasswordInUse => "password-in-use",
            Self::Inactive => "inactive",
        }
    }

    /// The filter of a field's value; what is unknown filters nothing.
    pub fn from_field(value: &str) -> Self {
        Self::ALL.into_iter().find(|filter| filter.as_str() == value).unwrap_or(Self::All)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::All => "Everybody",
            Self::MfaOff => "MFA off",
            Self::PasswordInUse => "No key, password in use",
            Self::Inactive => "Inactive",
        }
    }
}

/// What a user may do in the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Administrator,
    /// So many single permissions.
    Permissions(usize),
}

impl Standing {
    fn text(self) -> String {
        match self {
            Self::Administrator => String::from("Administrator"),
            Self::Permissions(0) => String::from("None"),
            Self::Permissions(count) => counted(count, "permission", "permissions"),
        }
    }
}

/// Where a user stands with MFA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MfaStanding {
    /// On, with these methods in words: `app, key`.
    On(String),
    /// Neither set up nor required.
    Off,
    /// Required, and nothing is set up.
    RequiredNotSetUp,
}

impl MfaStanding {
    /// Is it on?
    pub const fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// The word of the tag.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::On(_) => "On",
            Self::Off => "Off",
            Self::RequiredNotSetUp => "Required, not set up",
        }
    }

    /// The look of the tag.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::On(_) => "ok",
            Self::Off => "off",
            Self::RequiredNotSetUp => "warn",
        }
    }

    /// The methods in words, where any are told.
    pub fn methods(&self) -> Option<&str> {
        match self {
            Self::On(methods) if !methods.is_empty() => Some(methods),
            Self::On(_) | Self::Off | Self::RequiredNotSetUp => None,
        }
    }
}

/// Is a user let in?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// Yes.
    Active,
    /// A one-time link waits to be used.
    Invited,
    /// Nowhere.
    Deactivated,
}

impl UserState {
    /// The word of the tag.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Invited => "Invited",
            Self::Deactivated => "Deactivated",
        }
    }

    /// The look of the tag.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Active => "ok",
            Self::Invited => "warn",
            Self::Deactivated => "off",
        }
    }
}

/// A line of the list.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// The login name, which is part of addresses too.
    pub login: String,
    /// The person's name; may be empty.
    pub full_name: String,
    /// Administrator or single permissions.
    pub standing: Standing,
    /// Which entrances are open.
    pub access: AccessPoints,
    /// MFA.
    pub mfa: MfaStanding,
    /// How many API keys there are.
    pub keys: usize,
    /// When the user was last let in anywhere; `None`: never.
    pub last_seen: Option<Moment>,
    /// Active or not.
    pub state: UserState,
}

impl UserRow {
    fn name(&self) -> &str {
        if self.full_name.is_empty() { &self.login } else { &self.full_name }
    }

    fn tags(&self) -> Vec<&'static str> {
        entrance_tags(self.access)
    }
}

/// Does the viewer have MFA? Whoever has none is offered it here (R32, R43).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnMfa {
    /// It is on.
    On,
    /// It is off; the page opens with the ways to set it up.
    Off,
}

/// The page.
#[derive(Template)]
#[template(path = "console/users.html")]
pub struct UsersPage {
    /// What surrounds it.
    pub frame: Frame,
    /// What was searched for; empty: nothing.
    pub search: String,
    /// What is filtered by.
    pub filter: UserFilter,
    /// How many users of the account sign in with a password only.
    pub without_mfa: usize,
    /// The viewer's own MFA.
    pub own_mfa: OwnMfa,
    /// Is there **Quotas**?
    pub quotas: Shown,
    /// Is there **New user**?
    pub new_user: Shown,
    /// The users of this part of the list.
    pub rows: Vec<UserRow>,
    /// The parts beside it.
    pub paging: Paging,
}

impl UsersPage {
    /// One filled button a page: the ways to MFA come first.
    const fn new_user_kind(&self) -> &'static str {
        match self.own_mfa {
            OwnMfa::On => "primary",
            OwnMfa::Off => "",
        }
    }

    fn banner(&self) -> String {
        let verb = if self.without_mfa == 1 { "signs" } else { "sign" };
        format!("{} {verb} in with a password only.", counted(self.without_mfa, "user", "users"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, moment};
    use crate::console::testing::check_page;

    fn row(login: &str, full_name: &str) -> UserRow {
        UserRow {
            login: login.into(),
            full_name: full_name.into(),
            standing: Standing::Permissions(2),
            access: AccessPoints::ALL,
            mfa: MfaStanding::On("app, key".into()),
            keys: 2,
            last_seen: Some(moment("2026-11-28T11:40:00Z")),
            state: UserState::Active,
        }
    }

    fn page() -> UsersPage {
        UsersPage {
            frame: frame("Users", Place::Users),
            search: String::new(),
            filter: UserFilter::All,
            without_mfa: 3,
            own_mfa: OwnMfa::On,
            quotas: Shown::Yes,
            new_user: Shown::Yes,
            rows: vec![
                UserRow { standing: Standing::Administrator, ..row("admin", "Robin Example") },
                UserRow { mfa: MfaStanding::Off, keys: 0, ..row("alex", "Alex Doe") },
                UserRow {
                    mfa: MfaStanding::RequiredNotSetUp,
                    last_seen: None,
                    state: UserState::Invited,
                    standing: Standing::Permissions(0),
                    ..row("sami", "سامي العلي")
                },
                UserRow {
                    state: UserState::Deactivated,
                    access: "none".parse().unwrap(),
                    ..row("a-login-name-of-sixty-characters-which-is-as-long-as-it-gets", "")
                },
            ],
            paging: Paging {
                summary: "1–50 of 1,000 users".into(),
                previous: None,
                next: Some("/account/users?page=2".into()),
            },
        }
    }

    #[test]
    fn users_are_listed_with_what_matters_about_each() {
        let html = check_page("users", &page());
        for text in [
            "/account/users/alex",
            "Administrator",
            "2 permissions",
            "Required, not set up",
            "Invited",
            "Never",
        ] {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(html.contains("3 users sign in with a password only."), "{html}");
        assert!(
            html.contains("1–50 of 1,000 users") && html.contains("href=\"/account/users?page=2\""),
            "{html}"
        );
        let one = UsersPage { without_mfa: 1, ..page() }.render().unwrap();
        assert!(one.contains("1 user signs in with a password only."), "{one}");
    }

    #[test]
    fn r32_whoever_has_no_mfa_finds_the_buttons_among_the_users() {
        let html = check_page("users-own-mfa-off", &UsersPage { own_mfa: OwnMfa::Off, ..page() });
        assert!(html.contains("href=\"/profile/mfa/app\">Activate authenticator app</a>"), "{html}");
        assert!(html.contains("href=\"/profile/mfa/key\">Set up security key</a>"), "{html}");
        assert!(!check_page("users", &page()).contains("Activate authenticator app"));
    }

    #[test]
    fn a_search_without_a_hit_says_so_and_leads_back() {
        let none = UsersPage { search: "xyz".into(), rows: Vec::new(), paging: Paging::default(), ..page() };
        let html = check_page("users-none", &none);
        assert!(
            html.contains("No user matches “<bdi>xyz</bdi>”.") && html.contains("Clear search"),
            "{html}"
        );
        let filtered = UsersPage { search: String::new(), filter: UserFilter::Inactive, ..none };
        assert!(filtered.render().unwrap().contains("No user is listed under “Inactive”."));
    }

    #[test]
    fn whoever_may_not_make_users_sees_no_button_for_it() {
        let html = UsersPage { new_user: Shown::No, ..page() }.render().unwrap();
        assert!(!html.contains("/account/users/new"), "{html}");
    }

    #[test]
    fn s87_names_and_searches_with_markup_are_shown_as_text() {
        let html = check_page("users-markup", &UsersPage { rows: vec![row("eve", MARKUP)], ..page() });
        assert_escaped(&html);
        let html = UsersPage { search: MARKUP.into(), rows: Vec::new(), ..page() }.render().unwrap();
        assert_escaped(&html);
    }

    #[test]
    fn a_filter_is_its_fields_value() {
        for filter in UserFilter::ALL {
            assert_eq!(UserFilter::from_field(filter.as_str()), filter);
        }
        assert_eq!(UserFilter::from_field("everything"), UserFilter::All);
    }
}
