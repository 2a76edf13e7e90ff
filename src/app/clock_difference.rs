//! Tells when this gateway's clock and its shared database's differ by more than clocks do that are kept right.
//!
//! Expiry of keys and sessions is judged by each gateway's own clock, and a session that seems to be more than a minute from
//! the future counts as over. Corrects nothing. Asked by the follower's events.

use crate::clock::Clock;
use crate::model::Timestamp;

/// Two gateways that differ by as much in opposite directions still know each other's sessions.
const CLOCKS_DIFFER_BY_SECONDS: i64 = 20;

/// What was told of it last.
#[derive(Debug)]
pub(super) struct ClockDifference {
    clock: Clock,
    is_told: bool,
}

impl ClockDifference {
    pub(super) const fn new(clock: Clock) -> Self {
        Self { clock, is_told: false }
    }

    /// Compares the clocks, of which the database's says `database`; logs what is new.
    pub(super) fn compare(&mut self, database: Timestamp) {
        let seconds = self.clock.now().unix_seconds() - database.unix_seconds();
        let differs = seconds.abs() > CLOCKS_DIFFER_BY_SECONDS;
        if std::mem::replace(&mut self.is_told, differs) == differs {
            return;
        }
        if differs {
            let lies = if seconds < 0 { "behind" } else { "ahead of" };
            let seconds = seconds.unsigned_abs();
            tracing::warn!(
                seconds,
                "this gateway's clock is {lies} the database's by so much: keys and sessions end at another time here, and \
                 sessions opened here may be refused elsewhere; keep all clocks right by NTP"
            );
        } else {
            tracing::info!(seconds, "this gateway's clock agrees with the database's again");
        }
    }
}
