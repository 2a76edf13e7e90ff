//! Small things that several pages about an account show: whether a control is there, pages of a list, where a user may
//! go in, and the last use of a credential.
//!
//! Plain data with its markup; who may see what, the handlers ask `auth`. Used by `pages`.

use super::frame::Moment;
use crate::figures::grouped;
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

/// A part of a list that is cut into parts of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one it is, from 0.
    pub number: u32,
    /// How many a part holds at most.
    pub length: u32,
    /// How many this one holds.
    pub shown: usize,
    /// How many the whole list holds.
    pub matching: usize,
}

impl Paging {
    /// The paging of `part`, of things that are called `one` and `many`. `address` makes the address of a part of what its
    /// field `page` says: the number from 1, and nothing for the first.
    pub fn of(part: Part, (one, many): (&str, &str), address: impl Fn(&str) -> String) -> Self {
        let count = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let Part { number, length, shown, matching } = part;
        let before = usize::try_from(number.saturating_mul(length)).unwrap_or(usize::MAX);
        let (first, last) = (before.saturating_add(1), before.saturating_add(shown));
        let name = if matching == 1 { one } else { many };
        let summary = match (number, last >= matching) {
            (0, true) if shown == 0 => String::new(),
            (0, true) => format!("{} {name}", count(matching)),
            _ => format!("{}–{} of {} {name}", count(first), count(last), count(matching)),
        };
        let at = |number: u32| address(&if number == 0 { String::new() } else { (number + 1).to_string() });
        Self {
            summary,
            previous: number.checked_sub(1).map(at),
            next: (last < matching).then(|| at(number.saturating_add(1))),
        }
    }

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
    fn a_part_leads_to_those_beside_it_and_says_how_many_there_are() {
        let paging = |number, shown, matching| {
            let part = Part { number, length: 50, shown, matching };
            let paging = Paging::of(part, ("user", "users"), |page| format!("/x?page={page}"));
            (paging.summary, paging.previous.unwrap_or_default(), paging.next.unwrap_or_default())
        };
        let told = |summary: &str, previous: &str, next: &str| {
            (summary.to_owned(), previous.to_owned(), next.to_owned())
        };
        assert_eq!(paging(0, 0, 0), told("", "", ""));
        assert_eq!(paging(0, 1, 1), told("1 user", "", ""));
        assert_eq!(paging(0, 50, 50), told("50 users", "", ""));
        assert_eq!(paging(0, 50, 1_234), told("1–50 of 1,234 users", "", "/x?page=2"));
        assert_eq!(paging(1, 50, 1_234), told("51–100 of 1,234 users", "/x?page=", "/x?page=3"));
        assert_eq!(paging(24, 34, 1_234), told("1,201–1,234 of 1,234 users", "/x?page=24", ""));
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "key", "keys"), "1 key");
        assert_eq!(counted(0, "key", "keys"), "0 keys");
    }
}
