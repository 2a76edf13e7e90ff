//! Small things that several pages about an account show: whether a control is there, pages of a list, where a user may
//! go in, and the last use of a credential.
//!
//! Plain data with its markup; who may see what, the handlers ask `auth`. Used by `pages`.

use super::frame::Moment;
use crate::model::{AccessPoint, AccessPoints, Service, ServiceScope};

/// Is a control on the page? Whoever lacks the right does not see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is there.
    Yes,
    /// It is not.
    No,
}

impl Shown {
    /// Is it there?
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// Which part of a list is shown, and where the parts beside it are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// For example `1–50 of 1,000 users`.
    pub summary: String,
    /// The address of the part before; `None`: this is the first.
    pub previous: Option<String>,
    /// The address of the part after; `None`: this is the last.
    pub next: Option<String>,
}

impl Paging {
    /// Is there anything to be said?
    pub const fn is_shown(&self) -> bool {
        !self.summary.is_empty() || self.previous.is_some() || self.next.is_some()
    }
}

/// Where and when a credential was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Moment,
    /// From which address; empty: not noted.
    pub address: String,
}

/// A use that a change would end, told before the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was used: `The password`, or a key by its description.
    pub what: String,
    /// At which door.
    pub door: Service,
    /// When and from where.
    pub last_use: LastUse,
}

impl Evidence {
    /// The door in a sentence.
    pub const fn at_door(&self) -> &'static str {
        match self.door {
            Service::Api => "the API",
            Service::IsProxy => "IsProxy",
        }
    }
}

/// The name of a door on tags.
pub const fn door_name(door: Service) -> &'static str {
    match door {
        Service::Api => "API",
        Service::IsProxy => "IsProxy",
    }
}

/// The words of the tags that tell where a user may go in.
pub fn entrance_tags(points: AccessPoints) -> Vec<&'static str> {
    let named =
        [(AccessPoint::Console, "Console"), (AccessPoint::Api, "API"), (AccessPoint::IsProxy, "IsProxy")];
    named.into_iter().filter(|(point, _)| points.holds(*point)).map(|(_, name)| name).collect()
}

/// The words of the tags that tell what a key opens.
pub fn scope_tags(scope: ServiceScope) -> Vec<&'static str> {
    let doors = [Service::Api, Service::IsProxy].into_iter().filter(|door| scope.holds(*door)).map(door_name);
    doors.chain(scope.manages().then_some("Manage")).collect()
}

/// Languages that can be chosen, each in its own words.
pub const LANGUAGES: [(&str, &str); 12] = [
    ("da", "Dansk"),
    ("de", "Deutsch"),
    ("en", "English"),
    ("es", "Español"),
    ("fr", "Français"),
    ("it", "Italiano"),
    ("nl", "Nederlands"),
    ("pl", "Polski"),
    ("pt", "Português"),
    ("sv", "Svenska"),
    ("tr", "Türkçe"),
    ("zh", "中文"),
];

/// The language of a tag in its own words; the tag where it is none of [`LANGUAGES`].
pub fn language_name(tag: &str) -> &str {
    LANGUAGES.iter().find(|(known, _)| *known == tag).map_or(tag, |(_, name)| *name)
}

/// The day of a moment, without the time.
pub fn day(moment: &Moment) -> &str {
    moment.text.split_once(',').map_or(moment.text.as_str(), |(day, _)| day)
}

/// `1 key`, `2 keys`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn tags_name_what_is_open_in_the_order_of_the_console() {
        assert_eq!(entrance_tags(AccessPoints::ALL), ["Console", "API", "IsProxy"]);
        assert!(entrance_tags("none".parse().unwrap()).is_empty());
        assert_eq!(scope_tags("manage,api".parse().unwrap()), ["API", "Manage"]);
    }

    #[test]
    fn a_day_is_a_moment_without_its_time() {
        let moment = Moment::from("2026-08-02T10:02:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(day(&moment), "2 Aug 2026");
        assert_eq!(day(&Moment { iso: "-".into(), text: "-".into() }), "-");
    }

    #[test]
    fn a_language_is_told_in_its_own_words_where_they_are_known() {
        assert_eq!([language_name("de"), language_name("pt-BR")], ["Deutsch", "pt-BR"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "key", "keys"), "1 key");
        assert_eq!(counted(0, "key", "keys"), "0 keys");
    }
}
