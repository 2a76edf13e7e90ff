//! A user's page (`/account/users/{login}`): how the user gets in, and what that depends on.
//!
//! What is effective is computed by `auth::access`, by the rules of the doors; here it is shown, and each "No" leads to
//! the setting that causes it where the viewer may open that. Every link is an `Option`: `None` means that the viewer may
//! not go there.

use askama::Template;

use super::users::{MfaStanding, UserState};
use crate::console::chart::Chart;
use crate::console::frame::{Frame, Moment};
use crate::console::parts::{LastUse, counted};

/// A cell of "How this user gets in".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessAnswer {
    /// Let in; what with, for example `2 keys` or `then MFA`; may be empty.
    Yes(String),
    /// Kept out.
    No {
        /// Why, in a few words.
        reason: String,
        /// The setting that causes it.
        setting: Option<String>,
    },
    /// There is no such way, for example a key at the console.
    NoSuchWay,
}

/// A line of "How this user gets in".
#[derive(Clone, Debug)]
pub struct AccessLine {
    /// `Console`, `API` or `IsProxy`.
    pub entrance: &'static str,
    /// By password.
    pub password: AccessAnswer,
    /// By API key.
    pub key: AccessAnswer,
}

/// The card **API keys**.
#[derive(Clone, Debug)]
pub struct KeysCard {
    /// How many there are.
    pub count: usize,
    /// When the newest was made.
    pub newest: Option<Moment>,
    /// The last use of any.
    pub last_use: Option<LastUse>,
    /// The page of the keys; `None`: the viewer may not see them.
    pub link: Option<String>,
}

/// Who requires MFA of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredBy {
    /// Nobody.
    Nobody,
    /// An administrator, of this user.
    Administrator,
    /// The account, of everybody.
    Customer,
}

impl RequiredBy {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Nobody => "No",
            Self::Administrator => "Yes, of this user",
            Self::Customer => "Yes, of all users of the account",
        }
    }
}

/// The card **MFA**.
#[derive(Clone, Debug)]
pub struct MfaCard {
    /// On or off.
    pub standing: MfaStanding,
    /// Required or not.
    pub required_by: RequiredBy,
    /// What can be done about it.
    pub offer: MfaOffer,
}

/// What the viewer can do about a user's MFA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MfaOffer {
    /// Nothing.
    Nothing,
    /// **Manage**, at this address.
    Manage(String),
    /// It is the viewer's own and off: **Manage**, and the two ways to set it up (R32, R43).
    SetUpOwn,
}

/// The card **IP whitelist**.
#[derive(Clone, Debug)]
pub struct AllowListCard {
    /// The user's own networks.
    pub networks: Vec<String>,
    /// How many networks the account's list holds; it counts as well.
    pub of_customer: usize,
    /// Where it is changed.
    pub link: Option<String>,
}

/// The card **Permissions**.
#[derive(Clone, Debug)]
pub struct PermissionsCard {
    /// Holds every permission.
    pub administrator: bool,
    /// The names of single permissions, each with what it allows.
    pub permissions: Vec<(&'static str, &'static str)>,
}

/// A line of **Recent activity**.
#[derive(Clone, Debug)]
pub struct RecentLine {
    /// When.
    pub at: Moment,
    /// What was done, in a sentence without the full stop.
    pub text: String,
}

/// The card **Recent activity**; absent where the viewer may not see it.
#[derive(Clone, Debug)]
pub struct RecentCard {
    /// The last five, newest first.
    pub lines: Vec<RecentLine>,
    /// The page with all of it; `None`: the viewer may not open it.
    pub link: Option<String>,
}

/// What can be done to the user itself. `None`: not by the viewer, or not now.
#[derive(Clone, Debug, Default)]
pub struct UserActions {
    /// Change it.
    pub edit: Option<String>,
    /// Deactivate it.
    pub deactivate: Option<String>,
    /// Reactivate it.
    pub reactivate: Option<String>,
    /// Delete it.
    pub delete: Option<String>,
    /// Give out a one-time link for a new password: the address that the form is sent to.
    pub new_link: Option<String>,
    /// Let the password open the API again.
    pub allow_password: Option<String>,
}

impl UserActions {
    /// Is there anything below **More**?
    pub const fn has_more(&self) -> bool {
        self.deactivate.is_some()
            || self.reactivate.is_some()
            || self.delete.is_some()
            || self.new_link.is_some()
            || self.allow_password.is_some()
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/user.html")]
pub struct UserPage {
    /// What surrounds it; its title is the person's name, or the login name of a user without one.
    pub frame: Frame,
    /// The login name.
    pub login: String,
    /// The person's address; may be empty.
    pub email: String,
    /// Active or not.
    pub state: UserState,
    /// When the user was last let in anywhere.
    pub last_seen: Option<Moment>,
    /// What can be done.
    pub actions: UserActions,
    /// Makes a double click on **New one-time link** harmless; empty where there is none.
    pub form_token: String,
    /// How this user gets in.
    pub access: Vec<AccessLine>,
    /// The keys.
    pub keys: KeysCard,
    /// MFA.
    pub mfa: MfaCard,
    /// The whitelist.
    pub allow_list: AllowListCard,
    /// The permissions.
    pub permissions: PermissionsCard,
    /// What the user's credentials did at the doors; `None`: not shown to the viewer.
    pub usage: Option<Chart>,
    /// What was done to and by the user.
    pub recent: Option<RecentCard>,
}

impl UserPage {
    fn allow_list_sentence(&self) -> String {
        match (self.allow_list.networks.len(), self.allow_list.of_customer) {
            (0, 0) => String::from("From every address: no IP whitelist."),
            (0, _) => String::from("Only from the addresses of the account's IP whitelist."),
            (own, 0) => format!("Only from {}.", networks(own)),
            (own, _) => {
                format!("Only from {}, and only if the account's IP whitelist has them too.", networks(own))
            }
        }
    }
}

fn networks(count: usize) -> String {
    counted(count, "address or range", "addresses or ranges")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::chart::Bucket;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, last_use, moment};
    use crate::console::testing::check_page;

    fn no(reason: &str, setting: &str) -> AccessAnswer {
        AccessAnswer::No { reason: reason.into(), setting: (!setting.is_empty()).then(|| setting.into()) }
    }

    fn path(rest: &str) -> String {
        format!("/account/users/alex/{rest}")
    }

    fn chart() -> Chart {
        let bucket = |hour: u64| Bucket {
            label: format!("{hour:02}:00"),
            requests: hour * 37 % 180,
            refusals: if hour.is_multiple_of(5) { hour } else { 0 },
        };
        Chart::new("usage", "Requests in the last 24 hours", "Hour", (0..24).map(bucket).collect())
    }

    fn page() -> UserPage {
        UserPage {
            frame: frame("Alex Doe", Place::Users),
            login: "alex".into(),
            email: "alex@acme.example".into(),
            state: UserState::Active,
            last_seen: Some(moment("2026-11-28T11:40:00Z")),
            actions: UserActions {
                edit: Some(path("edit")),
                deactivate: Some(path("deactivate")),
                reactivate: None,
                delete: Some(path("delete")),
                new_link: Some(path("link")),
                allow_password: None,
            },
            form_token: "single-use".into(),
            access: vec![
                AccessLine {
                    entrance: "Console",
                    password: AccessAnswer::Yes("then MFA".into()),
                    key: AccessAnswer::NoSuchWay,
                },
                AccessLine {
                    entrance: "API",
                    password: no("an API key exists", "/account/users/alex/api-keys"),
                    key: AccessAnswer::Yes("2 keys".into()),
                },
                AccessLine {
                    entrance: "IsProxy",
                    password: no("MFA is on", "/account/users/alex/mfa"),
                    key: no("no key has IsProxy access", ""),
                },
            ],
            keys: KeysCard {
                count: 2,
                newest: Some(moment("2026-11-20T08:00:00Z")),
                last_use: Some(last_use()),
                link: Some(path("api-keys")),
            },
            mfa: MfaCard {
                standing: MfaStanding::On("1 app, 2 security keys".into()),
                required_by: RequiredBy::Administrator,
                offer: MfaOffer::Manage("/account/users/alex/mfa".into()),
            },
            allow_list: AllowListCard {
                networks: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()],
                of_customer: 0,
                link: Some(path("ip-whitelist")),
            },
            permissions: PermissionsCard {
                administrator: false,
                permissions: vec![("MANAGE_API_KEY", "Creates, replaces and deletes the own API keys.")],
            },
            usage: Some(chart()),
            recent: Some(RecentCard {
                lines: vec![
                    RecentLine {
                        at: moment("2026-11-28T11:40:00Z"),
                        text: "created API key “Billing server”".into(),
                    },
                    RecentLine {
                        at: moment("2026-11-27T09:12:00Z"),
                        text: "signed in to the console".into(),
                    },
                ],
                link: Some("/account/activity?user=alex".into()),
            }),
        }
    }

    #[test]
    fn the_page_says_how_the_user_gets_in_and_each_no_leads_to_its_cause() {
        let html = check_page("user", &page());
        assert!(html.contains("<strong>Yes</strong> – then MFA"), "{html}");
        assert!(
            html.contains(
                "<strong>No</strong> – <a href=\"/account/users/alex/api-keys\">an API key exists</a>"
            ),
            "{html}"
        );
        assert!(html.contains("<strong>No</strong> – no key has IsProxy access"), "{html}");
        assert!(html.contains("Only from 2 addresses or ranges."), "{html}");
    }

    #[test]
    fn r57_the_page_leads_to_the_management_of_mfa_and_r18_to_the_keys() {
        let html = check_page("user", &page());
        assert!(html.contains("href=\"/account/users/alex/mfa\">Manage</a>"), "{html}");
        assert!(html.contains("href=\"/account/users/alex/api-keys\">API keys</a>"), "{html}");
        let own = MfaCard {
            standing: MfaStanding::Off,
            required_by: RequiredBy::Nobody,
            offer: MfaOffer::SetUpOwn,
        };
        let html = check_page("user-own", &UserPage { mfa: own, ..page() });
        assert!(
            html.contains("Activate authenticator app") && html.contains("Set up security key"),
            "{html}"
        );
    }

    #[test]
    fn whoever_lacks_a_right_does_not_see_the_control() {
        let card = page().mfa;
        let bare = UserPage {
            actions: UserActions::default(),
            keys: KeysCard { link: None, last_use: None, newest: None, count: 0 },
            mfa: MfaCard { offer: MfaOffer::Nothing, ..card },
            allow_list: AllowListCard { networks: Vec::new(), of_customer: 2, link: None },
            permissions: PermissionsCard { administrator: false, permissions: Vec::new() },
            access: Vec::new(),
            usage: None,
            recent: None,
            ..page()
        };
        let html = check_page("user-bare", &bare);
        for absent in
            ["/edit", "/deactivate", "/delete", "/api-keys", "/mfa", "/ip-whitelist", "Recent activity"]
        {
            assert!(!html.contains(absent), "{absent}: {html}");
        }
        assert!(html.contains("Only from the addresses of the account&#39;s IP whitelist."), "{html}");
    }

    #[test]
    fn s87_names_and_descriptions_with_markup_are_shown_as_text() {
        let line = RecentLine {
            at: moment("2026-11-28T11:40:00Z"),
            text: format!("created API key “{MARKUP}”"),
        };
        let recent = Some(RecentCard { lines: vec![line], link: None });
        let html = check_page(
            "user-markup",
            &UserPage { frame: frame(MARKUP, Place::Users), email: MARKUP.into(), recent, ..page() },
        );
        assert_escaped(&html);
    }
}
