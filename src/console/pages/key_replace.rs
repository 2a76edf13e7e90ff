//! The page that makes a key like another one and ends that one (`…/api-keys/{id}/replace`).
//!
//! Fields: `csrf`, `form_token`, `old_ends` (`now`, `1h`, `24h`, `7d`).

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::console::parts::{LastUse, scope_tags};
use crate::model::ServiceScope;

/// When the old key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldEnds {
    /// With the making of the new one.
    Now,
    /// After an hour.
    AfterHour,
    /// After a day.
    AfterDay,
    /// After a week.
    AfterWeek,
}

impl OldEnds {
    /// Every choice, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Now, Self::AfterHour, Self::AfterDay, Self::AfterWeek];

    /// The value of the field `old_ends`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::AfterHour => "1h",
            Self::AfterDay => "24h",
            Self::AfterWeek => "7d",
        }
    }

    /// The choice of a field's value.
    pub fn from_field(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == value)
    }

    /// Seconds until the old key ends.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Now => 0,
            Self::AfterHour => 3_600,
            Self::AfterDay => 86_400,
            Self::AfterWeek => 604_800,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Now => "Now – applications that still use it lose access at once",
            Self::AfterHour => "In 1 hour",
            Self::AfterDay => "In 24 hours",
            Self::AfterWeek => "In 7 days",
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "console/key_replace.html")]
pub struct KeyReplacePage {
    /// What surrounds it; its title is [`KeyReplacePage::title`].
    pub frame: Frame,
    /// The address of the list.
    pub base: String,
    /// The old key's public name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Its last characters.
    pub last_characters: String,
    /// What it opens, as the new one will.
    pub scope: ServiceScope,
    /// Its last use; `None`: never.
    pub last_use: Option<LastUse>,
    /// When the new key will end; `None`: never.
    pub new_expires: Option<Moment>,
    /// Networks that both may come from; empty: it narrows nothing.
    pub allow_list: Vec<String>,
    /// Makes a double click or a reload harmless.
    pub form_token: String,
    /// What is chosen.
    pub old_ends: OldEnds,
}

impl KeyReplacePage {
    /// The page's title.
    pub fn title(description: &str) -> String {
        format!("Replace “{description}”")
    }

    fn tags(&self) -> Vec<&'static str> {
        scope_tags(self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, last_use, moment};
    use crate::console::testing::check_page;

    fn page(description: &str) -> KeyReplacePage {
        KeyReplacePage {
            frame: frame(&KeyReplacePage::title(description), Place::Users),
            base: "/profile/api-keys".into(),
            id: "key_0c1x8n4t7q2vz".into(),
            description: description.into(),
            last_characters: "db38".into(),
            scope: "api".parse().unwrap(),
            last_use: Some(last_use()),
            new_expires: Some(moment("2027-11-28T11:40:00Z")),
            allow_list: vec!["192.0.2.0/24".into()],
            form_token: "single-use".into(),
            old_ends: OldEnds::AfterDay,
        }
    }

    #[test]
    fn the_page_says_what_the_new_key_is_and_asks_when_the_old_one_ends() {
        let html = check_page("key-replace", &page("Billing server"));
        assert!(html.contains("value=\"24h\" checked") && html.contains("name=\"form_token\""), "{html}");
        assert!(html.contains("action=\"/profile/api-keys/key_0c1x8n4t7q2vz/replace\""), "{html}");
        for choice in OldEnds::ALL {
            assert!(html.contains(choice.label()), "{html}");
            assert_eq!(OldEnds::from_field(choice.as_str()), Some(choice));
        }
        assert_eq!(OldEnds::from_field("never"), None);
        assert_eq!(OldEnds::ALL.map(OldEnds::seconds), [0, 3_600, 86_400, 604_800]);
    }

    #[test]
    fn s87_a_description_with_markup_is_shown_as_text() {
        assert_escaped(&check_page("key-replace-markup", &page(MARKUP)));
    }
}
