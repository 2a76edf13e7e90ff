//! The API keys of a user: the list and the form for a new one (`…/api-keys`).
//!
//! `base` is `/profile/api-keys` for the viewer's own, `/account/users/{login}/api-keys` otherwise. The form is sent to
//! `base` with the fields `csrf`, `form_token`, `description`, `access` (several: `api`, `isproxy`, and `manage` where it is offered), `expires` (`never`,
//! `30`, `90`, `365` days, or `date`), `expires_date` (`2027-01-31`), `allow_list`, and `understood` (`yes`; asked for only while
//! the first key would end a password that works). What is shown after creation is `key_made`'s.

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::console::parts::{Evidence, LastUse, Shown, scope_tags};
use crate::model::ServiceScope;

/// Something to be told beside a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMark {
    /// It was made by the request before this one.
    JustCreated,
    /// It is unused for 90 days: since which day, for example `12 Aug`; since its making where it never was used.
    NotUsedSince(String),
    /// Its time is over.
    Expired,
    /// It was disabled.
    Disabled,
}

impl KeyMark {
    /// The word of the tag.
    pub fn label(&self) -> String {
        match self {
            Self::JustCreated => String::from("Just created"),
            Self::NotUsedSince(day) => format!("Not used since {day}"),
            Self::Expired => String::from("Expired"),
            Self::Disabled => String::from("Disabled"),
        }
    }

    /// The look of the tag.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::JustCreated => "ok",
            Self::NotUsedSince(_) => "warn",
            Self::Expired | Self::Disabled => "off",
        }
    }
}

/// A line of the list.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// The public name, part of addresses.
    pub id: String,
    /// What it is for, in its owner's words.
    pub description: String,
    /// The last characters of the key.
    pub last_characters: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// When it was made.
    pub created: Moment,
    /// By whom; empty: not known any more.
    pub created_by: String,
    /// Its last use; `None`: never.
    pub last_use: Option<LastUse>,
    /// When it ends; `None`: never.
    pub expires: Option<Moment>,
    /// Networks that it may come from; empty: it narrows nothing.
    pub allow_list: Vec<String>,
    /// What else is to be told.
    pub marks: Vec<KeyMark>,
    /// Is there **Replace**?
    pub replace: Shown,
    /// Is there **Delete**?
    pub delete: Shown,
}

impl KeyRow {
    fn is_new(&self) -> bool {
        self.marks.contains(&KeyMark::JustCreated)
    }

    fn tags(&self) -> Vec<&'static str> {
        scope_tags(self.scope)
    }
}

/// What a first key would change, told above the form only while it would.
#[derive(Clone, Debug)]
pub enum FirstKey {
    /// Nothing: there was a key, or the password is off already.
    ChangesNothing,
    /// Password access to the API ends; what used it in the last 30 days.
    EndsPassword(Vec<Evidence>),
}

impl FirstKey {
    /// What would end, while something would.
    fn ended(&self) -> Option<&[Evidence]> {
        match self {
            Self::ChangesNothing => None,
            Self::EndsPassword(uses) => Some(uses),
        }
    }
}

/// The choices of the field `expires`.
pub const EXPIRIES: [(&str, &str); 5] = [
    ("never", "Never"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In 365 days"),
    ("date", "On a date"),
];

/// What stands in the fields.
#[derive(Clone, Debug, Default)]
pub struct KeyValues {
    /// The description.
    pub description: String,
    /// What is ticked; `None`: nothing.
    pub scope: Option<ServiceScope>,
    /// One of [`EXPIRIES`]; empty: never.
    pub expires: String,
    /// The date, where one is chosen.
    pub expires_date: String,
    /// One address or range a line.
    pub allow_list: String,
}

impl KeyValues {
    fn is_ticked(&self, word: &str) -> bool {
        self.scope.is_some_and(|scope| scope.to_string().split(',').any(|ticked| ticked == word))
    }

    fn is_expiry(&self, word: &str) -> bool {
        self.expires == word || (self.expires.is_empty() && word == "never")
    }
}

/// The form; absent where the viewer may look only.
#[derive(Clone, Debug)]
pub struct KeyForm {
    /// Makes a double click or a reload harmless.
    pub form_token: String,
    /// What a first key would change.
    pub first_key: FirstKey,
    /// Is a key for the management API offered?
    pub manage: Shown,
    /// What stands in the fields.
    pub values: KeyValues,
}

/// The page.
#[derive(Template)]
#[template(path = "console/api_keys.html")]
pub struct ApiKeysPage {
    /// What surrounds it; its title is [`ApiKeysPage::title`].
    pub frame: Frame,
    /// Where it stands; see above.
    pub base: String,
    /// Whose keys they are; `None`: the viewer's own.
    pub of_other: Option<String>,
    /// The keys, newest first.
    pub keys: Vec<KeyRow>,
    /// The form.
    pub form: Option<KeyForm>,
}

impl ApiKeysPage {
    /// The page's title; `None`: the keys are the viewer's own.
    pub fn title(of_other: Option<&str>) -> String {
        of_other.map_or_else(|| String::from("Your API keys"), |login| format!("API keys of {login}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::{FieldError, Place};
    use crate::console::pages::samples::{MARKUP, assert_escaped, evidence, frame, last_use, moment};
    use crate::console::testing::check_page;

    fn key(description: &str) -> KeyRow {
        KeyRow {
            id: "key_0c1x8n4t7q2vz".into(),
            description: description.into(),
            last_characters: "db38".into(),
            scope: "api,isproxy".parse().unwrap(),
            created: moment("2026-08-02T10:00:00Z"),
            created_by: "acme/admin".into(),
            last_use: Some(last_use()),
            expires: None,
            allow_list: Vec::new(),
            marks: Vec::new(),
            replace: Shown::Yes,
            delete: Shown::Yes,
        }
    }

    fn form() -> KeyForm {
        KeyForm {
            form_token: "single-use".into(),
            first_key: FirstKey::ChangesNothing,
            manage: Shown::No,
            values: KeyValues::default(),
        }
    }

    fn page() -> ApiKeysPage {
        ApiKeysPage {
            frame: frame(&ApiKeysPage::title(Some("alex")), Place::Users),
            base: "/account/users/alex/api-keys".into(),
            of_other: Some("alex".into()),
            keys: vec![
                KeyRow { marks: vec![KeyMark::JustCreated], last_use: None, ..key("Billing server") },
                KeyRow {
                    allow_list: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()],
                    expires: Some(moment("2027-01-31T00:00:00Z")),
                    scope: "api".parse().unwrap(),
                    ..key("Domain checks")
                },
                KeyRow {
                    marks: vec![KeyMark::NotUsedSince("12 Aug".into()), KeyMark::Disabled],
                    scope: "isproxy".parse().unwrap(),
                    replace: Shown::No,
                    ..key(
                        "Old importer with a description that goes on and on, up to the hundred characters it may have",
                    )
                },
            ],
            form: Some(form()),
        }
    }

    #[test]
    fn r9_the_keys_are_listed_without_anything_that_could_be_used() {
        let html = check_page("api-keys", &page());
        for text in
            ["…db38", "Just created", "Not used since 12 Aug", "Disabled", "by acme/admin", "Only from"]
        {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(html.contains("<tr role=\"row\" class=\"new\">"), "{html}");
        assert_eq!(html.matches("/delete\"").count(), 3, "{html}");
        assert_eq!(html.matches("/replace\"").count(), 2, "{html}");
        assert!(!html.contains("name=\"understood\""), "nothing would change: {html}");
    }

    #[test]
    fn r9_without_keys_the_page_says_what_to_do() {
        let own = ApiKeysPage {
            frame: frame(&ApiKeysPage::title(None), Place::Profile),
            base: "/profile/api-keys".into(),
            of_other: None,
            keys: Vec::new(),
            ..page()
        };
        let html = check_page("api-keys-empty", &own);
        assert!(html.contains("<strong>No API keys yet</strong>"), "{html}");
        assert!(html.contains("Your API keys") && html.contains("action=\"/profile/api-keys\""), "{html}");
    }

    #[test]
    fn r8_the_warning_stands_above_the_form_only_while_the_first_key_ends_the_password() {
        let first = KeyForm { first_key: FirstKey::EndsPassword(evidence()), ..form() };
        let html =
            check_page("api-keys-first", &ApiKeysPage { keys: Vec::new(), form: Some(first), ..page() });
        assert!(html.contains("password authentication to the API stops"), "{html}");
        assert!(
            html.contains("The password was last used at the API") && html.contains("192.0.2.7"),
            "{html}"
        );
        assert!(html.contains("name=\"understood\" value=\"yes\""), "{html}");
        let unused = KeyForm { first_key: FirstKey::EndsPassword(Vec::new()), ..form() };
        let html = ApiKeysPage { keys: Vec::new(), form: Some(unused), ..page() }.render().unwrap();
        assert!(html.contains("No use was noted in the last 30 days."), "{html}");
    }

    #[test]
    fn r12_a_faulty_form_comes_back_as_it_was() {
        let values = KeyValues {
            scope: Some("isproxy".parse().unwrap()),
            expires: "date".into(),
            expires_date: "2020-01-01".into(),
            allow_list: "192.0.2.0/24".into(),
            ..KeyValues::default()
        };
        let mut page = ApiKeysPage { form: Some(KeyForm { values, manage: Shown::Yes, ..form() }), ..page() };
        page.frame.errors = vec![
            FieldError::new("description", "Enter a description."),
            FieldError::new("access", "Choose API, IsProxy or both."),
            FieldError::new("expires_date", "The date is in the past."),
            FieldError::new("understood", "Tick the box."),
        ];
        let html = check_page("api-keys-errors", &page);
        assert!(
            html.contains("value=\"isproxy\" checked") && !html.contains("value=\"api\" checked"),
            "{html}"
        );
        assert!(html.contains("value=\"date\" checked") && html.contains("value=\"2020-01-01\""), "{html}");
        assert!(
            html.contains("<fieldset id=\"access\" tabindex=\"-1\" aria-describedby=\"access-error\""),
            "{html}"
        );
        assert!(html.contains("value=\"manage\""), "{html}");
    }

    #[test]
    fn r3_whoever_may_not_change_keys_sees_no_control() {
        let look = KeyRow { replace: Shown::No, delete: Shown::No, ..key("Billing server") };
        let html = check_page("api-keys-look", &ApiKeysPage { keys: vec![look], form: None, ..page() });
        assert!(!html.contains("Create API key") && !html.contains("/delete\""), "{html}");
    }

    #[test]
    fn s87_a_description_with_markup_is_shown_as_text() {
        let html = check_page("api-keys-markup", &ApiKeysPage { keys: vec![key(MARKUP)], ..page() });
        assert_escaped(&html);
    }
}
