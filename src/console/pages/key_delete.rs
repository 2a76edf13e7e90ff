//! The page that asks before a key is deleted (`…/api-keys/{id}/delete`). Fields: `csrf`.

use askama::Template;

use crate::console::frame::{Frame, Moment};
use crate::console::parts::{LastUse, counted, scope_tags};
use crate::model::ServiceScope;

/// How long ago a key was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recency {
    /// Never.
    Never,
    /// More than 24 hours ago.
    Earlier(LastUse),
    /// Within the last 24 hours: in red.
    Lately(LastUse),
}

/// The page.
#[derive(Template)]
#[template(path = "console/key_delete.html")]
pub struct KeyDeletePage {
    /// What surrounds it; its title is [`KeyDeletePage::title`].
    pub frame: Frame,
    /// The address of the list.
    pub base: String,
    /// The key's public name.
    pub id: String,
    /// Its last characters.
    pub last_characters: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// When it was made.
    pub created: Moment,
    /// By whom; empty: not known any more.
    pub created_by: String,
    /// When and from where it was last used.
    pub last_use: Recency,
    /// Connections and sessions that it holds open now.
    pub open_now: usize,
}

impl KeyDeletePage {
    /// The page's title.
    pub fn title(description: &str) -> String {
        format!("Delete “{description}”?")
    }

    fn tags(&self) -> Vec<&'static str> {
        scope_tags(self.scope)
    }

    fn open_now_text(&self) -> String {
        counted(self.open_now, "connection or session", "connections and sessions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, last_use, moment};
    use crate::console::testing::check_page;

    fn page(description: &str, last_use: Recency) -> KeyDeletePage {
        KeyDeletePage {
            frame: frame(&KeyDeletePage::title(description), Place::Users),
            base: "/account/users/alex/api-keys".into(),
            id: "key_0c1x8n4t7q2vz".into(),
            last_characters: "db38".into(),
            scope: "api,isproxy".parse().unwrap(),
            created: moment("2026-08-02T10:00:00Z"),
            created_by: "acme/admin".into(),
            open_now: usize::from(matches!(last_use, Recency::Lately(_))) * 3,
            last_use,
        }
    }

    #[test]
    fn r19_a_key_is_deleted_only_after_the_words_of_the_button() {
        let html = check_page("key-delete", &page("Billing server", Recency::Lately(last_use())));
        assert!(html.contains("Delete “Billing server”?"), "{html}");
        assert!(
            html.contains("class=\"button danger\">I understand, delete this API key</button>"),
            "{html}"
        );
        assert!(html.contains("action=\"/account/users/alex/api-keys/key_0c1x8n4t7q2vz/delete\""), "{html}");
        assert!(html.contains("loses access at once. This cannot be undone."), "{html}");
        assert!(html.contains("3 connections and sessions"), "{html}");
    }

    #[test]
    fn a_use_of_the_last_day_is_in_red_and_in_words() {
        let html = page("a", Recency::Lately(last_use())).render().unwrap();
        assert!(html.contains("<dd class=\"recent\"><time") && html.contains("still in use"), "{html}");
        for calm in [Recency::Earlier(last_use()), Recency::Never] {
            let html = page("a", calm).render().unwrap();
            assert!(!html.contains("class=\"recent\""), "{html}");
        }
    }

    #[test]
    fn s87_a_description_with_markup_is_shown_as_text() {
        assert_escaped(&check_page("key-delete-markup", &page(MARKUP, Recency::Never)));
    }
}
