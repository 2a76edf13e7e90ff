//! What the tests of the account's pages show: a viewer, moments, uses, and text that must stay text.

use crate::console::frame::{Frame, Moment, Place, Viewer};
use crate::console::parts::{Evidence, LastUse};
use crate::model::{Service, Timestamp};

/// Text that is markup if a page forgets to escape it.
pub(super) const MARKUP: &str = "<script>alert(1)</script>\"'><b>";

/// The frame of a page named `title`, for an administrator.
pub(super) fn frame(title: &str, place: Place) -> Frame {
    let viewer = Viewer {
        customer: "acme".into(),
        login: "admin".into(),
        full_name: "Robin Example".into(),
        may_see_users: true,
        may_see_activity: true,
    };
    Frame::new(title, "token-of-the-form").seen_by(viewer, place)
}

pub(super) fn moment(text: &str) -> Moment {
    Moment::from(text.parse::<Timestamp>().unwrap())
}

pub(super) fn last_use() -> LastUse {
    LastUse { at: moment("2026-11-28T11:40:00Z"), address: "192.0.2.7".into() }
}

/// Uses that a change would end.
pub(super) fn evidence() -> Vec<Evidence> {
    vec![
        Evidence { what: "The password".into(), door: Service::Api, last_use: last_use() },
        Evidence {
            what: "The key “Billing server”".into(),
            door: Service::IsProxy,
            last_use: LastUse { at: moment("2026-11-20T08:00:00Z"), address: String::new() },
        },
    ]
}

/// Fails where the page holds [`MARKUP`] as markup, or not at all.
pub(super) fn assert_escaped(page: &str) {
    assert!(
        page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"),
        "the sample is not in the page: {page}"
    );
    assert!(
        !page.contains("<script>alert") && !page.contains("\"'><b>"),
        "markup of a user in the page: {page}"
    );
}
