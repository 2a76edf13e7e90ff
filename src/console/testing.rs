//! What the tests of every page check, and how its author looks at it.
//!
//! With `LATCHKEY_PAGES=FOLDER`, each checked page is also written to `FOLDER/NAME.html`, with the assets beside it:
//! `python3 -m http.server` in that folder shows them.

use std::fs;
use std::path::PathBuf;

use askama::Template;

use super::assets;
use super::frame::{Frame, Place, Viewer};

/// The frame of a page under "Profile" that an administrator sees.
pub(crate) fn sample_frame() -> Frame {
    let viewer = Viewer {
        customer: "acme".to_owned(),
        login: "alex".to_owned(),
        full_name: "Alex Miller".to_owned(),
        may_see_users: true,
        may_see_activity: true,
    };
    Frame::new("Sample", "token-of-the-form").seen_by(viewer, Place::Profile)
}

/// Renders `page`, holds it against the rules of all pages, and gives its HTML back.
pub(crate) fn check_page(name: &str, page: &impl Template) -> String {
    let html = page.render().unwrap();
    if let Some(folder) = std::env::var_os("LATCHKEY_PAGES").filter(|folder| !folder.is_empty()) {
        write_page(&PathBuf::from(folder), name, &html);
    }
    let tags = tags_of(&html);
    assert_eq!(tags.iter().filter(|tag| tag.name == "h1").count(), 1, "one heading: {html}");
    assert_eq!(tags.iter().filter(|tag| tag.name == "main").count(), 1, "one main part: {html}");
    for tag in &tags {
        check_tag(tag, &tags, &html);
    }
    let forms = html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap_or(rest));
    for form in forms.filter(|form| form.contains(r#"method="post""#)) {
        assert!(
            form.contains(r#"<input type="hidden" name="csrf" value=""#),
            "a form without its token: {form}"
        );
    }
    html
}

fn check_tag(tag: &Tag, tags: &[Tag], html: &str) {
    let has_id = |id: &str| tags.iter().filter(|tag| tag.attribute("id") == Some(id)).count() == 1;
    assert!(tag.name != "style" && tag.attribute("style").is_none(), "style in the page: {tag:?}");
    assert!(tag.name != "script" || tag.attribute("src").is_some(), "script in the page: {tag:?}");
    for (name, value) in &tag.attributes {
        assert!(!name.starts_with("on"), "a handler in the page: {tag:?}");
        assert!(!value.trim_start().starts_with("javascript:"), "script in the page: {tag:?}");
        if matches!(name.as_str(), "for" | "aria-describedby" | "aria-labelledby") {
            assert!(value.split(' ').all(has_id), "{name}={value} names nothing, or several: {html}");
        }
        if name == "id" {
            assert!(has_id(value), "the id {value} is not unique: {html}");
        }
    }
    let is_field = matches!(tag.name.as_str(), "input" | "select" | "textarea")
        && !matches!(tag.attribute("type"), Some("hidden" | "submit"));
    if is_field {
        let labelled = tags.iter().any(|label| {
            label.name == "label"
                && label.attribute("for").is_some()
                && label.attribute("for") == tag.attribute("id")
        });
        assert!(labelled, "a field without a label: {tag:?}");
    }
}

/// An opening tag.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The opening tags of `html`, whose attributes are all quoted or without a value.
fn tags_of(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            continue;
        }
        let name_ends = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap();
        let name = rest[..name_ends].to_owned();
        rest = &rest[name_ends..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|next: char| next.is_whitespace() || next == '/');
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let ends = rest.find(['=', '>', ' ', '\n', '/']).unwrap();
            let attribute = rest[..ends].to_ascii_lowercase();
            rest = &rest[ends..];
            let mut value = String::new();
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let (inside, after) = quoted.split_once('"').unwrap();
                inside.clone_into(&mut value);
                rest = after;
            }
            assert!(!rest.starts_with('='), "an attribute without quotes: {attribute} in {html}");
            attributes.push((attribute, value));
        }
        tags.push(Tag { name, attributes });
    }
    tags
}

fn write_page(folder: &std::path::Path, name: &str, html: &str) {
    fs::create_dir_all(folder.join("assets")).unwrap();
    for path in [assets::stylesheet_path(), assets::script_path(), assets::icon_path()] {
        fs::write(folder.join(&path[1..]), assets::lookup(path).unwrap().bytes).unwrap();
    }
    fs::write(folder.join(format!("{name}.html")), html).unwrap();
}
