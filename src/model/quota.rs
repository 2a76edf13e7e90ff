//! Quotas: how many requests a customer, a user or a key may make in a day and in a month of UTC.
//!
//! What a quota is and when its periods begin and end; who counts against it is `auth`'s, and what is counted the index's.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use time::{Date, Month, OffsetDateTime};

use super::{CustomerId, KeyId, Timestamp, UserId};

/// The largest quota, in requests.
pub const QUOTA_MAX: u64 = 1_000_000_000_000;

const SECONDS_PER_DAY: i64 = 86_400;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaOwner {
    /// Those of all users of a customer.
    Customer(CustomerId),
    /// Those of a user: by password, by API session, and by every key.
    User(UserId),
    /// Those of one key.
    Key(KeyId),
}

/// For how long requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaPeriod {
    /// A day of UTC.
    Day,
    /// A calendar month of UTC.
    Month,
}

/// A quota: requests a day, a month, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaTerms {
    day: Option<NonZeroU64>,
    month: Option<NonZeroU64>,
}

/// Numbers that make no quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuota {
    /// It would limit nothing.
    #[error("name how many requests a day, a month, or both")]
    Nothing,
    /// Beyond what is counted.
    #[error(
        "a quota is a whole number from 1 to {QUOTA_MAX}; to shut somebody out, disable the key or deactivate the user"
    )]
    OutOfRange,
}

/// The day and the month that a moment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaMoment {
    at: Timestamp,
    first_of_month: Date,
}

impl QuotaPeriod {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// `day` or `month`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl QuotaTerms {
    /// So many requests a day and a month; `None`: as many as one likes.
    pub fn new(day: Option<u64>, month: Option<u64>) -> Result<Self, InvalidQuota> {
        let checked = |limit: Option<u64>| match limit {
            None => Ok(None),
            Some(limit) => {
                let limit = NonZeroU64::new(limit).filter(|limit| limit.get() <= QUOTA_MAX);
                limit.map(Some).ok_or(InvalidQuota::OutOfRange)
            }
        };
        match (checked(day)?, checked(month)?) {
            (None, None) => Err(InvalidQuota::Nothing),
            (day, month) => Ok(Self { day, month }),
        }
    }

    /// Requests that may be made in a period; `None`: as many as one likes.
    pub const fn limit(self, period: QuotaPeriod) -> Option<NonZeroU64> {
        match period {
            QuotaPeriod::Day => self.day,
            QuotaPeriod::Month => self.month,
        }
    }
}

impl fmt::Display for QuotaTerms {
    /// `1000 a day, 20000 a month`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.day, self.month) {
            (Some(day), Some(month)) => write!(f, "{day} a day, {month} a month"),
            (Some(day), None) => write!(f, "{day} a day"),
            (None, Some(month)) => write!(f, "{month} a month"),
            (None, None) => f.write_str("none"),
        }
    }
}

impl QuotaMoment {
    /// The periods that hold `at`. What no calendar shows counts as 1970.
    pub fn of(at: Timestamp) -> Self {
        let shown = OffsetDateTime::from_unix_timestamp(at.unix_seconds()).ok();
        let date = shown.unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
        Self { at, first_of_month: date.replace_day(1).unwrap_or(date) }
    }

    /// Which one of all periods it is: a later one has a larger number.
    pub fn number(self, period: QuotaPeriod) -> u32 {
        let number = match period {
            QuotaPeriod::Day => self.at.unix_seconds().div_euclid(SECONDS_PER_DAY),
            QuotaPeriod::Month => {
                let month: u8 = self.first_of_month.month().into();
                i64::from(self.first_of_month.year()) * 12 + i64::from(month)
            }
        };
        u32::try_from(number).unwrap_or(0)
    }

    /// The first moment of the period.
    pub fn starts_at(self, period: QuotaPeriod) -> Timestamp {
        match period {
            QuotaPeriod::Day => {
                let day = self.at.unix_seconds().div_euclid(SECONDS_PER_DAY);
                Timestamp::from_unix_milliseconds(0).plus_seconds(day.saturating_mul(SECONDS_PER_DAY))
            }
            QuotaPeriod::Month => midnight_of(self.first_of_month),
        }
    }

    /// The first moment of the next period.
    pub fn ends_at(self, period: QuotaPeriod) -> Timestamp {
        match period {
            QuotaPeriod::Day => self.starts_at(period).plus_seconds(SECONDS_PER_DAY),
            QuotaPeriod::Month => {
                let (year, month) = (self.first_of_month.year(), self.first_of_month.month());
                let year = if month == Month::December { year + 1 } else { year };
                // The calendar's last month has no next one.
                midnight_of(Date::from_calendar_date(year, month.next(), 1).unwrap_or(Date::MAX))
            }
        }
    }

    /// Seconds until the next period, rounded up.
    pub fn seconds_left(self, period: QuotaPeriod) -> NonZeroU32 {
        let left = self.ends_at(period).unix_seconds().saturating_sub(self.at.unix_seconds());
        u32::try_from(left).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

fn midnight_of(date: Date) -> Timestamp {
    Timestamp::from_unix_milliseconds(0).plus_seconds(date.midnight().assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> QuotaMoment {
        QuotaMoment::of(text.parse().unwrap())
    }

    #[test]
    fn a_period_ends_where_the_next_one_of_utc_begins() {
        for (at, day_left, month_starts, month_ends) in [
            ("2027-01-15T08:00:00Z", 57_600, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            ("2027-01-31T23:59:59Z", 1, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            ("2027-02-01T00:00:00Z", 86_400, "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", 43_200, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2027-12-31T00:00:01Z", 86_399, "2027-12-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        ] {
            let moment = moment(at);
            assert_eq!(moment.seconds_left(QuotaPeriod::Day).get(), day_left, "{at}");
            assert_eq!(moment.starts_at(QuotaPeriod::Month).to_string(), month_starts, "{at}");
            assert_eq!(moment.ends_at(QuotaPeriod::Month).to_string(), month_ends, "{at}");
        }
    }

    #[test]
    fn the_next_period_has_the_next_number() {
        for (before, after, day, month) in [
            ("2027-01-31T23:59:59Z", "2027-02-01T00:00:00Z", 1, 1),
            ("2027-12-31T23:59:59Z", "2028-01-01T00:00:00Z", 1, 1),
            ("2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z", 1, 0),
            ("2027-03-01T00:00:00Z", "2027-03-01T23:59:59Z", 0, 0),
        ] {
            let grown = |period| moment(after).number(period) - moment(before).number(period);
            assert_eq!((grown(QuotaPeriod::Day), grown(QuotaPeriod::Month)), (day, month), "{before}");
        }
    }

    #[test]
    fn the_ends_of_time_are_periods_too() {
        for milliseconds in [i64::MIN, -1, i64::MAX] {
            let moment = QuotaMoment::of(Timestamp::from_unix_milliseconds(milliseconds));
            for period in QuotaPeriod::ALL {
                assert!(moment.seconds_left(period).get() > 0);
                assert!(moment.starts_at(period) <= moment.ends_at(period));
            }
        }
    }

    #[test]
    fn a_quota_limits_something_and_can_be_counted() {
        let terms = QuotaTerms::new(Some(1), None).unwrap();
        assert_eq!(terms.limit(QuotaPeriod::Day).map(NonZeroU64::get), Some(1));
        assert_eq!(terms.limit(QuotaPeriod::Month), None);
        assert_eq!(terms.to_string(), "1 a day");
        assert_eq!(
            QuotaTerms::new(Some(1_000), Some(20_000)).unwrap().to_string(),
            "1000 a day, 20000 a month"
        );
        assert!(QuotaTerms::new(None, Some(QUOTA_MAX)).is_ok());
        assert_eq!(QuotaTerms::new(None, None), Err(InvalidQuota::Nothing));
        for (day, month) in [(Some(0), None), (Some(1), Some(0)), (None, Some(QUOTA_MAX + 1))] {
            assert_eq!(QuotaTerms::new(day, month), Err(InvalidQuota::OutOfRange));
        }
    }
}
