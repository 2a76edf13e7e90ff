//! An API session as it is kept: never its key.

use std::fmt;

use super::{Timestamp, UserId};

/// A clock that stands this much behind a stored moment has been set back; less is how clocks are kept right.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// The keyed digest of a session's key: what the store and the index hold instead of it; prints nothing of itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionDigest(pub [u8; 32]);

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionDigest(…)")
    }
}

/// One open session of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiSessionRecord {
    /// What it is found by.
    pub digest: SessionDigest,
    /// Whose it is.
    pub user: UserId,
    /// The version of the password that opened it; it ends with that password.
    pub password_version: i64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The last use that is known.
    pub last_used_at: Timestamp,
}

/// How long sessions live (PROTOCOL section 3, point 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLifetime {
    /// After the last use.
    pub idle_seconds: u32,
    /// After the opening, however much it is used.
    pub total_seconds: u32,
}

/// The moments that tell whether a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionBounds {
    /// Opened then or before: too old.
    pub opened_until: Timestamp,
    /// Last used then or before: unused for too long.
    pub used_until: Timestamp,
    /// Opened or used later than this: the clock was set back, and nobody knows how old it is (SECURITY S83).
    pub later_than: Timestamp,
}

impl SessionLifetime {
    /// What a session is measured by at `now`.
    pub fn bounds(self, now: Timestamp) -> SessionBounds {
        SessionBounds {
            opened_until: now.plus_seconds(-i64::from(self.total_seconds)),
            used_until: now.plus_seconds(-i64::from(self.idle_seconds)),
            later_than: now.plus_seconds(CLOCK_TOLERANCE_SECONDS),
        }
    }

    /// Is a session over at `now`?
    pub fn is_over(self, opened_at: Timestamp, last_used_at: Timestamp, now: Timestamp) -> bool {
        let bounds = self.bounds(now);
        opened_at <= bounds.opened_until
            || last_used_at <= bounds.used_until
            || opened_at.max(last_used_at) > bounds.later_than
    }

    /// When a session is over unless it is used again.
    pub fn end(self, opened_at: Timestamp, last_used_at: Timestamp) -> Timestamp {
        let idle = last_used_at.plus_seconds(self.idle_seconds.into());
        opened_at.plus_seconds(self.total_seconds.into()).min(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: SessionLifetime = SessionLifetime { idle_seconds: 1_800, total_seconds: 43_200 };
    const OPENED: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn at(seconds: i64) -> Timestamp {
        OPENED.plus_seconds(seconds)
    }

    #[test]
    fn a_session_lives_30_minutes_after_its_last_use_and_12_hours_in_all() {
        for (used, now, over) in [
            (0, 0, false),
            (0, 1_799, false),
            (0, 1_800, true),
            (1_700, 3_499, false),
            (1_700, 3_500, true),
            (43_190, 43_199, false),
            (43_190, 43_200, true),
        ] {
            assert_eq!(LIFETIME.is_over(OPENED, at(used), at(now)), over, "used {used}, now {now}");
            assert_eq!(LIFETIME.end(OPENED, at(used)) <= at(now), over, "used {used}, now {now}");
        }
    }

    #[test]
    fn s83_a_clock_that_was_set_back_counts_as_expiry() {
        assert!(!LIFETIME.is_over(OPENED, at(0), at(-60)), "a small step is no jump");
        assert!(LIFETIME.is_over(OPENED, at(0), at(-61)));
        assert!(LIFETIME.is_over(OPENED, at(7_200), at(3_600)), "last used an hour ahead");
        assert!(LIFETIME.is_over(OPENED, at(0), at(-10 * 365 * 86_400)));
        assert!(LIFETIME.is_over(OPENED, at(0), at(10 * 365 * 86_400)));
    }

    #[test]
    fn a_digest_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", SessionDigest([7; 32])), "SessionDigest(…)");
    }
}
