//! What every page of the console shows around its content: title, menu, notices, summary of errors.
//!
//! Plain data for `templates/console/layout.html`; every page struct has a field `frame`. Whoever answers a request
//! fills it in.

use super::assets;
use crate::model::Timestamp;

mod notice;

pub use notice::{FieldError, Link, Notice, NoticeKind};

/// The frame of one page.
#[derive(Clone, Default)]
pub struct Frame {
    /// The page's name, which `<title>` and mostly the heading show.
    pub title: String,
    /// Who is signed in; without, there is neither menu nor sign-out.
    pub viewer: Option<Viewer>,
    /// The menu entry that the page belongs to.
    pub place: Option<Place>,
    /// The value of the hidden field `csrf` of every form.
    pub csrf: String,
    /// Shown on top, in this order.
    pub notices: Vec<Notice>,
    /// What was wrong with the form that was sent.
    pub errors: Vec<FieldError>,
}

/// The user who looks at a page.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// The customer's handle.
    pub customer: String,
    /// The login name.
    pub login: String,
    /// The full name; may be empty.
    pub full_name: String,
    /// Is the menu entry Users shown?
    pub may_see_users: bool,
    /// Is the menu entry Activity shown?
    pub may_see_activity: bool,
}

/// An entry of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The account's users.
    Users,
    /// Who did what.
    Activity,
    /// How an application connects.
    Connect,
    /// The own data, MFA, password, sessions.
    Profile,
}

/// A moment as pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for the attribute `datetime`.
    pub iso: String,
    /// For people, in UTC: `12 Aug 2026, 10:02 UTC`.
    pub text: String,
}

/// One of several answers that a form offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What people read.
    pub label: String,
}

impl Choice {
    /// A choice.
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into() }
    }

    /// Is this the choice that sends `value`?
    pub fn is(&self, value: &str) -> bool {
        self.value == value
    }
}

impl Frame {
    /// The frame of the page named `title`, for nobody in particular.
    pub fn new(title: &str, csrf: &str) -> Self {
        Self { title: title.to_owned(), csrf: csrf.to_owned(), ..Self::default() }
    }

    /// The same frame for a user who is signed in, at one of the menu's entries.
    #[must_use]
    pub fn seen_by(self, viewer: Viewer, place: Place) -> Self {
        Self { viewer: Some(viewer), place: Some(place), ..self }
    }

    /// The content of `<title>`: "Error: … – page – Latchkey" after a faulty form.
    pub fn full_title(&self) -> String {
        match self.errors.as_slice() {
            [] => format!("{} – Latchkey", self.title),
            [first, ..] => format!("Error: {} – {} – Latchkey", first.text, self.title),
        }
    }

    /// What was wrong with the field of this id.
    pub fn error(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.text.as_str())
    }

    /// The ids of a field's hint and error, for `aria-describedby`; `None` when it has neither.
    pub fn described_by(&self, field: &str, hint: &str) -> Option<String> {
        match (hint.is_empty(), self.error(field).is_some()) {
            (true, false) => None,
            (false, false) => Some(format!("{field}-hint")),
            (true, true) => Some(format!("{field}-error")),
            (false, true) => Some(format!("{field}-hint {field}-error")),
        }
    }

    /// The menu's entries under "Account details" that the viewer may open.
    pub fn account_places(&self) -> impl Iterator<Item = Place> {
        let may = |seen: fn(&Viewer) -> bool| self.viewer.as_ref().is_some_and(seen);
        let users = may(|viewer| viewer.may_see_users).then_some(Place::Users);
        let activity = may(|viewer| viewer.may_see_activity).then_some(Place::Activity);
        users.into_iter().chain(activity)
    }

    /// The menu's entries that every user has.
    pub fn own_places(&self) -> impl Iterator<Item = Place> {
        [Place::Connect, Place::Profile].into_iter()
    }

    /// Does the page belong to this entry?
    pub fn is_at(&self, place: &Place) -> bool {
        self.place.as_ref() == Some(place)
    }

    /// Does the focus go to this notice? To the first one that tells of a success, unless the form was faulty.
    pub fn takes_focus(&self, notice: &Notice) -> bool {
        let first = self.notices.iter().find(|notice| notice.kind == NoticeKind::Success);
        self.errors.is_empty() && first.is_some_and(|first| std::ptr::eq(first, notice))
    }

    /// The path of the style sheet.
    pub fn stylesheet(&self) -> &'static str {
        assets::stylesheet_path()
    }

    /// The path of the script.
    pub fn script(&self) -> &'static str {
        assets::script_path()
    }

    /// The path of the icon.
    pub fn icon(&self) -> &'static str {
        assets::icon_path()
    }
}

impl Viewer {
    /// The full name, or the login name of a user without one.
    pub fn name(&self) -> &str {
        if self.full_name.is_empty() { &self.login } else { &self.full_name }
    }
}

impl Place {
    /// Where the entry leads.
    pub const fn href(self) -> &'static str {
        match self {
            Self::Users => "/account/users",
            Self::Activity => "/account/activity",
            Self::Connect => "/connect",
            Self::Profile => "/profile",
        }
    }

    /// What the entry is called.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Users => "Users",
            Self::Activity => "Activity",
            Self::Connect => "Connect",
            Self::Profile => "Profile",
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        let format = time::macros::format_description!(
            "[day padding:none] [month repr:short] [year], [hour]:[minute] UTC"
        );
        let iso = at.to_string();
        let text = time::OffsetDateTime::from_unix_timestamp(at.unix_seconds())
            .ok()
            .and_then(|at| at.format(format).ok())
            .unwrap_or_else(|| iso.clone());
        Self { iso, text }
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;
    use crate::console::testing::check_page;

    #[derive(Template)]
    #[template(
        source = r#"{% extends "console/layout.html" %}
{% import "console/macros.html" as ui %}
{% block content %}<h1>Fields</h1>
<form method="post" action="/x">{% call ui::csrf(frame) %}{% endcall %}
{% call ui::text_field(frame, "login", "Login name", value, hint="Cannot be changed later.", max=60) %}{% endcall %}
{% call ui::text_area(frame, "list", "IP whitelist", value, class="mono") %}{% endcall %}
{% call ui::select(frame, "language", "Language", choices, "de") %}{% endcall %}
{% call ui::check(frame, "access-api", "access", "api", "API", checked=true, hint="For programs.") %}{% endcall %}
{% call ui::ago(moment) %}{% endcall %}{% call ui::at(moment) %}{% endcall %}
{% call ui::tag("Off", "warn") %}{% endcall %}{% call ui::tag("Plain") %}{% endcall %}
{% call ui::submit("Create user") %}{% endcall %}{% call ui::link_button("Cancel", "/y") %}{% endcall %}
</form>{% endblock %}"#,
        ext = "html"
    )]
    struct Fields {
        frame: Frame,
        value: String,
        choices: Vec<Choice>,
        moment: Moment,
    }

    fn fields() -> Fields {
        let viewer = Viewer {
            customer: "acme".to_owned(),
            login: "alex".to_owned(),
            full_name: "Alex <b>Doe</b>".to_owned(),
            may_see_users: true,
            may_see_activity: false,
        };
        Fields {
            frame: Frame::new("Fields", "token-of-the-form").seen_by(viewer, Place::Users),
            value: "<script>alert(1)</script>".to_owned(),
            choices: vec![Choice::new("en", "English"), Choice::new("de", "Deutsch")],
            moment: Moment::from("2026-08-02T10:02:00Z".parse::<Timestamp>().unwrap()),
        }
    }

    #[test]
    fn the_frame_has_landmarks_and_only_the_entries_that_the_user_may_open() {
        let page = check_page("frame", &fields());
        assert!(page.contains("<title>Fields – Latchkey</title>"), "{page}");
        assert!(page.contains(r#"<a href="/account/users" aria-current="page">Users</a>"#), "{page}");
        assert!(page.contains(r#"<a href="/profile">Profile</a>"#) && !page.contains("Activity"), "{page}");
        assert!(page.contains(r#"datetime="2026-08-02T10:02:00Z">2 Aug 2026, 10:02 UTC<"#), "{page}");
        assert!(page.contains(r#"<option value="de" selected>Deutsch"#), "{page}");
        assert!(page.contains(r#"value="api" checked aria-describedby="access-api-hint""#), "{page}");
    }

    #[test]
    fn s87_markup_in_names_and_values_is_text() {
        let page = check_page("frame-markup", &fields());
        assert!(!page.contains("<b>Doe") && !page.contains("<script>alert"), "{page}");
    }

    #[test]
    fn an_error_stands_in_the_title_in_the_summary_and_beside_its_field() {
        let mut fields = fields();
        fields.frame.errors =
            vec![FieldError::new("login", "Enter a login name."), FieldError::new("", "Try again.")];
        fields.frame.notices = vec![Notice::success("Saved.")];
        let page = check_page("frame-errors", &fields);
        assert!(page.contains("<title>Error: Enter a login name. – Fields – Latchkey</title>"), "{page}");
        assert!(page.contains("<a href=\"#login\">Enter a login name.</a>"), "{page}");
        assert!(page.contains(r#"aria-describedby="login-hint login-error" aria-invalid="true""#), "{page}");
        assert!(!page.contains("data-autofocus"), "the summary takes the focus: {page}");
    }

    #[test]
    fn the_first_success_takes_the_focus() {
        let mut fields = fields();
        let link = Link::new("Replace recovery codes", "/profile/mfa/recovery-codes/replace");
        fields.frame.notices = vec![
            Notice::warning("3 are left.").with_link(link),
            Notice::success("Deleted."),
            Notice::info("So."),
        ];
        let page = check_page("frame-notices", &fields);
        assert_eq!(page.matches("data-autofocus").count(), 1, "{page}");
        assert!(
            page.contains(r#"class="notice success" role="status" tabindex="-1" data-autofocus"#),
            "{page}"
        );
    }
}
