//! What follows the making of a key: the page that shows it once, and the answer to the same form once more.
//!
//! The key is in the answer to the request that made it and nowhere else (S97). **I have saved the key** leads to the list with
//! `?made=ID`, by which the list marks the row.

use askama::Template;

use super::connect::{api_request, isproxy_request};
use crate::console::frame::{Frame, Moment};
use crate::console::parts::scope_tags;
use crate::model::{Secret, Service, ServiceScope};

/// A key that was just made.
#[derive(Template)]
#[template(path = "console/key_made.html")]
pub struct KeyMadePage {
    /// What surrounds it.
    pub frame: Frame,
    /// The address of the list.
    pub base: String,
    /// The public name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// The key itself.
    pub key: Secret<String>,
    /// When it ends; `None`: never.
    pub expires: Option<Moment>,
    /// The API's address, for the sample; `None`: none is known.
    pub api: Option<String>,
    /// Host and port of `IsProxy`, for the sample; `None`: none is known.
    pub isproxy: Option<String>,
    /// When the key that it replaces ends; `None`: it replaces none.
    pub replaces_until: Option<Moment>,
}

impl KeyMadePage {
    /// The page's title.
    pub const TITLE: &str = "Save your new key now";

    /// The list, where the new row is marked.
    fn next(&self) -> String {
        format!("{}?made={}", self.base, self.id)
    }

    fn tags(&self) -> Vec<&'static str> {
        scope_tags(self.scope)
    }

    fn has_samples(&self) -> bool {
        self.api_sample().or_else(|| self.isproxy_sample()).is_some()
    }

    /// The sample request for the API, with `$API_KEY` in place of the key.
    fn api_sample(&self) -> Option<String> {
        let api = self.api.as_ref().filter(|_| self.scope.holds(Service::Api))?;
        Some(api_request(api))
    }

    /// The sample request for `IsProxy`.
    fn isproxy_sample(&self) -> Option<String> {
        let isproxy = self.isproxy.as_ref().filter(|_| self.scope.holds(Service::IsProxy))?;
        Some(isproxy_request(isproxy))
    }
}

/// The answer to the same form once more, by reload or by Back.
#[derive(Template)]
#[template(path = "console/key_shown.html")]
pub struct KeyShownPage {
    /// What surrounds it.
    pub frame: Frame,
    /// The address of the list.
    pub base: String,
}

impl KeyShownPage {
    /// The page's title.
    pub const TITLE: &str = "This key was already shown";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::{MARKUP, assert_escaped, frame, moment};
    use crate::console::testing::check_page;

    const KEY: &str = "lk_9f8e7d6c5b4a39281706f5e4d3c2b1a0998877665544332211_db38";

    fn page(scope: &str) -> KeyMadePage {
        KeyMadePage {
            frame: frame(KeyMadePage::TITLE, Place::Users),
            base: "/account/users/alex/api-keys".into(),
            id: "key_0c1x8n4t7q2vz".into(),
            description: "Billing server".into(),
            scope: scope.parse().unwrap(),
            key: Secret::new(KEY.into()),
            expires: None,
            api: Some("https://api.example:8701/".into()),
            isproxy: Some("is.example:2001".into()),
            replaces_until: None,
        }
    }

    #[test]
    fn r14_the_key_is_shown_on_a_page_of_its_own_that_tells_to_save_it() {
        let html = check_page("key-made", &page("api,isproxy"));
        assert!(html.contains("<h1 tabindex=\"-1\" data-autofocus>Save your new key now</h1>"), "{html}");
        assert!(html.contains("This is the only time the key is shown."), "{html}");
        assert_eq!(html.matches(KEY).count(), 1, "the key stands in its block and nowhere else: {html}");
        let block = html.split("data-secret").nth(1).unwrap();
        assert!(block.split("</code>").next().unwrap().contains(KEY), "{html}");
        assert!(html.contains("href=\"/account/users/alex/api-keys?made=key_0c1x8n4t7q2vz\""), "{html}");
    }

    #[test]
    fn the_samples_are_for_the_doors_that_the_key_opens_and_name_a_variable() {
        let html = check_page("key-made-api", &page("api"));
        assert!(html.contains("ApiKey $API_KEY") && !html.contains("is.example"), "{html}");
        let html = check_page("key-made-isproxy", &page("isproxy"));
        assert!(html.contains("is.example:2001") && !html.contains("ApiKey $API_KEY"), "{html}");
        let html = page("manage").render().unwrap();
        assert!(!html.contains("Try it"), "{html}");
    }

    #[test]
    fn a_replacement_says_when_the_old_key_ends() {
        let until = Some(moment("2026-11-29T11:40:00Z"));
        let html = check_page("key-made-replaces", &KeyMadePage { replaces_until: until, ..page("api") });
        assert!(html.contains("The old key") && html.contains("29 Nov 2026, 11:40 UTC"), "{html}");
    }

    #[test]
    fn r15_a_reload_shows_no_key() {
        let html = check_page(
            "key-shown",
            &KeyShownPage {
                frame: frame(KeyShownPage::TITLE, Place::Users),
                base: "/profile/api-keys".into(),
            },
        );
        assert!(html.contains("This key was already shown") && !html.contains("data-secret"), "{html}");
    }

    #[test]
    fn s87_a_description_with_markup_is_shown_as_text() {
        let html = KeyMadePage { description: MARKUP.into(), ..page("api") }.render().unwrap();
        assert_escaped(&html);
    }
}
