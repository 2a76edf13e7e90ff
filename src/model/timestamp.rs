//! A moment of wall-clock time.

use std::fmt;
use std::str::FromStr;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

/// Milliseconds since 1970-01-01T00:00:00Z; shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no moment.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a date; write 2027-01-31 or 2027-01-31T12:00:00Z")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// A moment by its milliseconds since 1970.
    pub const fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since 1970.
    pub const fn unix_milliseconds(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `seconds` later (or earlier, if negative); stays at the ends of time.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp(self.unix_seconds())
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("-"))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// A date is its first moment in UTC.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let read = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
            Ok(date) => Some(date.midnight().assume_utc()),
            Err(_) => OffsetDateTime::parse(text, &Rfc3339).ok(),
        };
        // Years of other than four digits could not be shown again (RFC 3339 §5.6).
        let at = read.and_then(|at| at.checked_to_offset(UtcOffset::UTC));
        let at = at.filter(|at| (0..=9_999).contains(&at.year()));
        let at = at.ok_or_else(|| InvalidTimestamp(text.chars().take(40).collect()))?;
        Ok(Self(at.unix_timestamp().saturating_mul(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_moment() {
        let date: Timestamp = "2020-04-30".parse().unwrap();
        assert_eq!(date.to_string(), "2020-04-30T00:00:00Z");
        assert_eq!("2020-04-30T02:00:00+02:00".parse(), Ok(date));
        assert_eq!(date.plus_seconds(-1).to_string(), "2020-04-29T23:59:59Z");
    }

    #[test]
    fn a_moment_that_could_not_be_shown_again_is_refused() {
        for text in ["-2020-01-01", "0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        for text in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        assert_eq!(Timestamp::from_unix_milliseconds(i64::MAX).plus_seconds(i64::MAX).to_string(), "-");
        assert!("2020-13-01".parse::<Timestamp>().is_err());
    }
}
