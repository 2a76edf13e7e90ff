//! A user's own MFA: what is on, renaming, removing, replacing recovery codes, and the advice to set it up.
//!
//! The set-up is in `set_up`. Nobody sets up MFA for another person, so there is no other user in these pages.

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::model::MfaRequirement;

mod set_up;

pub use set_up::{AppSetUp, CodesFor, KeySetUp, MethodDone, RecoveryCodes};

/// `/profile/mfa`: the methods, or the two ways to begin. It has no form.
#[derive(Template)]
#[template(path = "console/mfa/overview.html")]
pub struct MfaOverview {
    /// The frame at Profile.
    pub frame: Frame,
    /// What is set up, in the order of their addition; MFA is on when there is one.
    pub methods: Vec<Method>,
    /// How many recovery codes are unused.
    pub recovery_codes_left: usize,
    /// Is MFA demanded of the user?
    pub required: MfaRequirement,
    /// Has the user an API key?
    pub has_api_key: bool,
    /// May the user make API keys?
    pub may_make_keys: bool,
}

/// A method that is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// App or key.
    pub kind: NewMethod,
    /// Its id, as in `/profile/mfa/key/{id}/rename`.
    pub id: String,
    /// The name the user gave it.
    pub name: String,
    /// When it was confirmed.
    pub added: Moment,
    /// When it last signed somebody in; `None` for never.
    pub last_used: Option<Moment>,
}

/// The kinds of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewMethod {
    /// An authenticator app (TOTP).
    App,
    /// A security key (WebAuthn).
    Key,
}

/// `/profile/mfa/{app|key}/{id}/rename`. Fields: `name`.
#[derive(Template)]
#[template(path = "console/mfa/rename.html")]
pub struct RenameMethod {
    /// The frame at Profile.
    pub frame: Frame,
    /// What is renamed.
    pub method: Method,
    /// What was typed, at first the present name.
    pub name: String,
}

/// `/profile/mfa/{app|key}/{id}/remove`.
///
/// Fields: none, or `password` with the last method; `user` beside it is there for password safes.
#[derive(Template)]
#[template(path = "console/mfa/remove.html")]
pub struct RemoveMethod {
    /// The frame at Profile.
    pub frame: Frame,
    /// Whose method: `acme/alex`.
    pub user: String,
    /// What is removed.
    pub method: Method,
    /// What follows.
    pub removal: Removal,
}

/// What follows from the removal of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is the last one, and MFA is required.
    Refused,
    /// Another method stays.
    OthersRemain,
    /// It is the last one.
    EndsMfa {
        /// What happens to password access, as a sentence: "Your password then works at the API again."
        password_access: String,
        /// The length that the new password must have, which is to stand alone.
        least_characters: usize,
    },
}

/// `/profile/mfa/recovery-codes/replace`, before: what is lost. Fields: none.
#[derive(Template)]
#[template(path = "console/mfa/replace_codes.html")]
pub struct ReplaceCodes {
    /// The frame at Profile.
    pub frame: Frame,
    /// How many codes are unused.
    pub left: usize,
}

/// After sign-in without MFA, where it is not required: the advice, with Not now. It has no form.
#[derive(Template)]
#[template(path = "console/mfa/advice.html")]
pub struct MfaAdvice {
    /// The frame at Profile.
    pub frame: Frame,
    /// Where Not now leads.
    pub next: String,
}

impl MfaOverview {
    /// "MFA is on – 1 app, 2 security keys, 8 recovery codes left", or "MFA is off".
    pub fn status(&self) -> String {
        if self.methods.is_empty() {
            return "MFA is off".to_owned();
        }
        let of = |kind| self.methods.iter().filter(|method| method.kind == kind).count();
        let parts = [
            count(of(NewMethod::App), "app", "apps"),
            count(of(NewMethod::Key), "security key", "security keys"),
        ];
        let mut parts: Vec<String> = parts.into_iter().filter(|part| !part.starts_with("0 ")).collect();
        parts.push(self.codes_left());
        format!("MFA is on – {}", parts.join(", "))
    }

    /// "8 recovery codes left".
    pub fn codes_left(&self) -> String {
        format!("{} left", count(self.recovery_codes_left, "recovery code", "recovery codes"))
    }
}

impl Method {
    /// Where the method is renamed and removed, without the last part.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.set_up_path(), self.id)
    }
}

impl NewMethod {
    /// The value of the field `then`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
        }
    }

    /// What people call it, at the beginning of a sentence.
    pub const fn label(self) -> &'static str {
        match self {
            Self::App => "Authenticator app",
            Self::Key => "Security key",
        }
    }

    /// Where the set-up of a first method begins: with the recovery codes.
    pub const fn first_step(self) -> &'static str {
        match self {
            Self::App => "/profile/mfa/recovery-codes?then=app",
            Self::Key => "/profile/mfa/recovery-codes?then=key",
        }
    }

    /// What the second step is called.
    pub const fn second_step(self) -> &'static str {
        match self {
            Self::App => "Set up authenticator app",
            Self::Key => "Set up security key",
        }
    }

    /// Where a method of the kind is set up once the user has recovery codes.
    pub const fn set_up_path(self) -> &'static str {
        match self {
            Self::App => "/profile/mfa/app",
            Self::Key => "/profile/mfa/key",
        }
    }
}

impl Removal {
    /// The words on the red button; `None` when there is nothing to confirm.
    pub const fn verb(&self) -> Option<&'static str> {
        match self {
            Self::Refused => None,
            Self::OthersRemain => Some("Remove this method"),
            Self::EndsMfa { .. } => Some("I understand, turn MFA off"),
        }
    }

    /// The id of the field to blame when it could not be done; empty: none.
    pub const fn error_field(&self) -> &'static str {
        match self {
            Self::EndsMfa { .. } => "password",
            Self::Refused | Self::OthersRemain => "",
        }
    }
}

impl ReplaceCodes {
    /// What becomes of the present codes.
    pub fn consequence(&self) -> String {
        match self.left {
            0 => "You have used all your recovery codes.".to_owned(),
            1 => "Your last recovery code stops working at once.".to_owned(),
            left => format!("Your {left} unused recovery codes stop working at once."),
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::testing::{check_page, sample_frame};
    use crate::model::Timestamp;

    fn method(kind: NewMethod, id: &str, name: &str) -> Method {
        let at = |text: &str| Moment::from(text.parse::<Timestamp>().unwrap());
        Method {
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            added: at("2026-08-02T10:02:00Z"),
            last_used: (kind == NewMethod::App).then(|| at("2026-11-27T08:15:00Z")),
        }
    }

    fn overview(methods: Vec<Method>) -> MfaOverview {
        MfaOverview {
            frame: titled("Multi-factor authentication"),
            methods,
            recovery_codes_left: 8,
            required: MfaRequirement::Optional,
            has_api_key: false,
            may_make_keys: true,
        }
    }

    fn titled(title: &str) -> Frame {
        Frame { title: title.to_owned(), ..sample_frame() }
    }

    #[test]
    fn r32_r43_without_mfa_both_methods_are_offered_with_what_follows() {
        let html = check_page("mfa-off", &overview(Vec::new()));
        for part in [
            "<strong>MFA is off</strong>",
            "Activate authenticator app</a>",
            "Set up security key</a>",
            r#"href="/profile/mfa/recovery-codes?then=app""#,
            "password access to the API and IsProxy is off for you",
            "create one first</a>",
            "We recommend MFA",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }

    #[test]
    fn r54_the_page_says_that_the_administrator_requires_mfa() {
        let page =
            MfaOverview { required: MfaRequirement::Required, has_api_key: true, ..overview(Vec::new()) };
        let html = check_page("mfa-required", &page);
        assert!(html.contains("Your administrator requires MFA."), "{html}");
        assert!(!html.contains("We recommend") && !html.contains("You have no API key"), "{html}");
    }

    #[test]
    fn the_status_counts_what_is_set_up() {
        let page = overview(vec![
            method(NewMethod::App, "7", "Authenticator app"),
            method(NewMethod::Key, "8", "Blue key"),
            method(NewMethod::Key, "9", "Spare"),
        ]);
        let html = check_page("mfa-on", &page);
        assert!(html.contains("MFA is on – 1 app, 2 security keys, 8 recovery codes left"), "{html}");
        assert!(html.contains(r#"href="/profile/mfa/key/8/rename""#), "{html}");
        assert!(html.contains(r#"href="/profile/mfa/app/7/remove""#), "{html}");
    }

    #[test]
    fn s87_the_name_of_a_method_is_text() {
        let bad = method(NewMethod::Key, "8", "<script>alert(1)</script>");
        let rename = RenameMethod { frame: titled("Rename"), name: bad.name.clone(), method: bad.clone() };
        let removal = Removal::OthersRemain;
        let remove = RemoveMethod {
            frame: titled("Remove"),
            user: "acme/alex".to_owned(),
            method: bad.clone(),
            removal,
        };
        for html in [
            check_page("mfa-markup", &overview(vec![bad])),
            check_page("mfa-rename", &rename),
            check_page("mfa-remove", &remove),
        ] {
            assert!(!html.contains("<script>alert"), "{html}");
        }
    }

    #[test]
    fn s36_the_last_method_of_a_user_who_must_have_one_has_no_remove_button() {
        let page = |removal| RemoveMethod {
            frame: titled("Remove “Blue key”?"),
            user: "acme/alex".to_owned(),
            method: method(NewMethod::Key, "8", "Blue key"),
            removal,
        };
        let html = check_page("mfa-remove-refused", &page(Removal::Refused));
        assert!(html.contains("MFA is required for you. Add another method first."), "{html}");
        assert!(!html.contains("button danger"), "{html}");
        let html = check_page(
            "mfa-remove-last",
            &page(Removal::EndsMfa {
                password_access: "Your password then works at the API and IsProxy again.".to_owned(),
                least_characters: 15,
            }),
        );
        assert!(html.contains("MFA will be off. Your recovery codes stop working."), "{html}");
        assert!(html.contains("At least 15 characters") && html.contains("turn MFA off</button>"), "{html}");
    }

    #[test]
    fn replacing_codes_and_the_advice_tell_what_follows() {
        let html =
            check_page("mfa-replace", &ReplaceCodes { frame: titled("Replace recovery codes"), left: 3 });
        assert!(html.contains("Your 3 unused recovery codes stop working at once."), "{html}");
        let advice = MfaAdvice { frame: titled("Protect your sign-in"), next: "/account/users".to_owned() };
        let html = check_page("mfa-advice", &advice);
        assert!(
            html.contains(r#"href="/account/users">Not now</a>"#) && html.contains("Set up MFA</a>"),
            "{html}"
        );
    }
}
