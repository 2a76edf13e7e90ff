//! The forms for a new user and for changing one (`/account/users/new`, `/account/users/{login}/edit`).
//!
//! Which parts the viewer may change, the handler says in [`FormParts`]; what is not shown is not sent either, and must
//! be left as it is. Fields: `csrf`, `form_token` (new only), `version` (edit only), `login` (new only), `full_name`, `email`, `language`, `administrator`
//! (`yes`), `permission` (several), `access` (several: `console`, `api`, `isproxy`), `require_mfa` (`yes`), `allow_list`,
//! `password_by` (`link` or `typed`; new only) and `password`. The part that stands in the form is named by the hidden
//! field `parts` (several: `profile`, `access`, `rights`, `mfa`, `allow_list`), so that an unticked box differs from one that was not
//! there.

use askama::Template;

use crate::console::frame::{Choice, Frame};
use crate::console::parts::Shown;
use crate::model::{AccessPoint, AccessPoints, Permission, Permissions};

/// Is the user made or changed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Made.
    New,
    /// Changed.
    Edit,
}

impl Purpose {
    /// The page's title.
    pub fn title(self, login: &str) -> String {
        match self {
            Self::New => String::from("New user"),
            Self::Edit => format!("Edit {login}"),
        }
    }
}

/// How a new user comes to a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordBy {
    /// By a one-time link, which is shown once to whoever makes the user.
    Link,
    /// It is typed by whoever makes the user.
    Typed,
}

impl PasswordBy {
    /// The value of the field `password_by`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Typed => "typed",
        }
    }
}

/// The box **Require MFA**.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaPart {
    /// It can be ticked and unticked.
    Free,
    /// The customer requires it of everybody: it is said, and cannot be unticked.
    ByCustomer,
    /// It is not there.
    Hidden,
}

/// How a password gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordPart {
    /// By a link or typed, as is chosen.
    LinkOrTyped,
    /// By a link.
    LinkOnly,
    /// Not in this form.
    Hidden,
}

/// Which parts the viewer may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormParts {
    /// Full name, e-mail address, language.
    pub profile: Shown,
    /// The entrances.
    pub access: Shown,
    /// Administrator and permissions.
    pub rights: Shown,
    /// Require MFA.
    pub mfa: MfaPart,
    /// The IP whitelist.
    pub allow_list: Shown,
    /// The password.
    pub password: PasswordPart,
}

/// What stands in the fields: as stored, or as it was typed before an error. Never a password.
#[derive(Clone, Debug)]
pub struct UserValues {
    /// The login name.
    pub login: String,
    /// The person's name.
    pub full_name: String,
    /// The person's address.
    pub email: String,
    /// The person's language, a BCP 47 tag.
    pub language: String,
    /// Holds every permission.
    pub administrator: bool,
    /// Single permissions.
    pub permissions: Permissions,
    /// Open entrances.
    pub access: AccessPoints,
    /// MFA is required of the user.
    pub require_mfa: bool,
    /// One address or range a line.
    pub allow_list: String,
    /// How the password gets there.
    pub password_by: PasswordBy,
}

impl UserValues {
    /// What the form for a new user opens with.
    pub fn new() -> Self {
        Self {
            login: String::new(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access: AccessPoints::ALL,
            require_mfa: false,
            allow_list: String::new(),
            password_by: PasswordBy::Link,
        }
    }
}

impl Default for UserValues {
    fn default() -> Self {
        Self::new()
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/user_form.html")]
pub struct UserFormPage {
    /// What surrounds it; its title is [`Purpose::title`].
    pub frame: Frame,
    /// New or edit.
    pub purpose: Purpose,
    /// Makes a double click or a reload harmless; of a new user.
    pub form_token: String,
    /// What stands for the user as it is shown, so that a change in between is noticed; of an edit.
    pub version: String,
    /// What stands in the fields.
    pub values: UserValues,
    /// What is shown.
    pub parts: FormParts,
    /// The viewer's address, for the whitelist.
    pub own_address: String,
    /// The languages that can be chosen, by tag.
    pub languages: Vec<Choice>,
}

impl UserFormPage {
    fn is_by(&self, way: PasswordBy) -> bool {
        self.values.password_by == way
    }

    /// Where the form is sent.
    fn action(&self) -> String {
        match self.purpose {
            Purpose::New => String::from("/account/users/new"),
            Purpose::Edit => format!("/account/users/{}/edit", self.values.login),
        }
    }

    /// Where Cancel leads.
    fn back(&self) -> String {
        match self.purpose {
            Purpose::New => String::from("/account/users"),
            Purpose::Edit => format!("/account/users/{}", self.values.login),
        }
    }

    /// The shortest password that is taken.
    fn shortest_password(&self) -> usize {
        if self.values.require_mfa || self.parts.mfa == MfaPart::ByCustomer { 8 } else { 15 }
    }
}

/// What a permission lets its holder do, in a line.
pub const fn permission_effect(permission: Permission) -> &'static str {
    match permission {
        Permission::ManageApiKey => "Creates, replaces and deletes the own API keys.",
        Permission::ManageUser => {
            "Adds users and changes those who hold no more than the holder. Never administrators."
        }
        Permission::ManageIpWhitelist => "Changes the IP whitelists of other users. Never of administrators.",
        Permission::ViewAudit => "Sees who did what in this account.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::{FieldError, Place};
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame};
    use crate::console::testing::check_page;

    fn new_user() -> UserFormPage {
        UserFormPage {
            frame: frame(&Purpose::New.title(""), Place::Users),
            purpose: Purpose::New,
            form_token: "single-use".into(),
            version: String::new(),
            values: UserValues::new(),
            parts: FormParts {
                profile: Shown::Yes,
                access: Shown::Yes,
                rights: Shown::Yes,
                mfa: MfaPart::Free,
                allow_list: Shown::Yes,
                password: PasswordPart::LinkOrTyped,
            },
            own_address: "203.0.113.5".into(),
            languages: vec![Choice::new("en", "English"), Choice::new("de", "Deutsch")],
        }
    }

    fn edit() -> UserFormPage {
        let permissions = [Permission::ViewAudit].into_iter().collect();
        UserFormPage {
            frame: frame(&Purpose::Edit.title("alex"), Place::Users),
            purpose: Purpose::Edit,
            version: "as-shown".into(),
            values: UserValues {
                login: "alex".into(),
                full_name: "Alex Doe".into(),
                language: "de".into(),
                permissions,
                access: "api".parse().unwrap(),
                ..UserValues::new()
            },
            parts: FormParts { password: PasswordPart::Hidden, ..new_user().parts },
            ..new_user()
        }
    }

    #[test]
    fn r58_a_new_user_has_all_fields_and_the_consequences_are_told_before() {
        let html = check_page("user-new", &new_user());
        for name in [
            "login",
            "full_name",
            "email",
            "language",
            "administrator",
            "permission",
            "access",
            "require_mfa",
            "allow_list",
            "password_by",
            "password",
            "form_token",
            "csrf",
        ] {
            assert!(html.contains(&format!("name=\"{name}\"")), "{name}: {html}");
        }
        assert!(
            html.contains("It cannot be changed later.") && html.contains("Until MFA is set up"),
            "{html}"
        );
        assert!(
            html.contains("id=\"password_by-link\" name=\"password_by\" value=\"link\" checked"),
            "{html}"
        );
        assert!(html.contains("At least 15 characters"), "{html}");
        let required =
            UserFormPage { parts: FormParts { mfa: MfaPart::ByCustomer, ..new_user().parts }, ..new_user() };
        let html = check_page("user-new-required", &required);
        assert!(html.contains("At least 8 characters") && !html.contains("name=\"require_mfa\""), "{html}");
    }

    #[test]
    fn editing_opens_with_what_is_stored_and_never_with_a_password() {
        let html = check_page("user-edit", &edit());
        assert!(html.contains("action=\"/account/users/alex/edit\""), "{html}");
        assert!(html.contains("name=\"version\" value=\"as-shown\""), "{html}");
        assert!(
            html.contains("value=\"VIEW_AUDIT\" checked") && !html.contains("value=\"MANAGE_USER\" checked")
        );
        assert!(
            html.contains("value=\"api\" checked") && !html.contains("value=\"console\" checked"),
            "{html}"
        );
        assert!(html.contains("<option value=\"de\" selected>"), "{html}");
        assert!(!html.contains("type=\"password\"") && !html.contains("name=\"login\""), "{html}");
    }

    #[test]
    fn only_what_the_viewer_may_change_is_shown_and_named_as_sent() {
        let parts = FormParts {
            profile: Shown::No,
            access: Shown::No,
            rights: Shown::No,
            mfa: MfaPart::Hidden,
            allow_list: Shown::Yes,
            password: PasswordPart::Hidden,
        };
        let html = check_page("user-edit-list-only", &UserFormPage { parts, ..edit() });
        assert_eq!(html.matches("name=\"parts\"").count(), 1, "{html}");
        assert!(html.contains("name=\"parts\" value=\"allow_list\""), "{html}");
        for name in ["full_name", "permission", "administrator", "access", "require_mfa"] {
            assert!(!html.contains(&format!("name=\"{name}\"")), "{name}: {html}");
        }
    }

    #[test]
    fn a_faulty_form_comes_back_with_what_was_typed() {
        let mut page = new_user();
        page.values.login = "Alex!".into();
        page.values.full_name = "Alex Doe".into();
        page.frame.errors = vec![
            FieldError::new("login", "Use a–z, 0–9, dot, _ and - in the login name."),
            FieldError::new("password", "The password is too short: type at least 15 characters."),
        ];
        let html = check_page("user-new-errors", &page);
        assert!(html.contains("value=\"Alex!\"") && html.contains("value=\"Alex Doe\""), "{html}");
        assert!(html.contains("<a href=\"#password\">") && html.contains("id=\"password-error\""), "{html}");
    }

    #[test]
    fn s87_typed_markup_comes_back_as_text() {
        let mut page = new_user();
        page.values.full_name = MARKUP.into();
        page.values.allow_list = format!("</textarea>{MARKUP}");
        let html = check_page("user-new-markup", &page);
        assert_escaped(&html);
        assert_eq!(html.matches("</textarea>").count(), 1, "{html}");
    }
}
