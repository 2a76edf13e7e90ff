//! The only place that reads the time.
//!
//! Wall-clock moments come from here; deadlines on peers use tokio's timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

/// A source of wall-clock time: the machine's, or one that a test sets.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Given(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::set`] moves it; clones move together.
    pub fn given(start: Timestamp) -> Self {
        Self(Source::Given(Arc::new(AtomicI64::new(start.unix_milliseconds()))))
    }

    /// Moves a given clock; the machine's clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        if let Source::Given(at) = &self.0 {
            at.store(to.unix_milliseconds(), Ordering::Relaxed);
        }
    }

    /// The present moment. A machine whose clock stands before 1970 is taken to stand there.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(match &self.0 {
            Source::Given(at) => at.load(Ordering::Relaxed),
            Source::System => i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// The present moment in nanoseconds since 1970, as finely as the machine tells it: for traces, which are laid beside
    /// those of other programs.
    pub fn unix_nanoseconds(&self) -> u64 {
        match &self.0 {
            Source::Given(at) => {
                u64::try_from(at.load(Ordering::Relaxed)).unwrap_or(0).saturating_mul(1_000_000)
            }
            Source::System => u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// `at` as the standard library has it, within the years 1970 to 9999, which is all that some formats can tell.
pub fn system_time(at: Timestamp) -> SystemTime {
    const LAST_SECOND: u64 = 253_402_300_799;
    let seconds = u64::try_from(at.unix_seconds()).unwrap_or(0).min(LAST_SECOND);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds of the clock that systemd compares by (`CLOCK_MONOTONIC`), which nobody sets.
pub fn monotonic_microseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
    u64::try_from(microseconds).unwrap_or_default()
}
