//! Writes what the doors counted of each credential, and lets go of what is too old.
//!
//! The doors are asked every few seconds; what they tell is added up in the [`ledger`] and written in small commits, so many
//! rows at once and no more, so that a busy installation's changes do not wait behind its statistics. The more there was to
//! write, the longer nothing is written: the statistics of many keys are up to a minute old, and cost the machine
//! that serves their requests next to nothing. What cannot be written waits for the next time; what there is no room
//! for is counted and let go. What all gateways have written is read back for quotas, and it is told where most of one is
//! used. Runs on the control plane's threads.

mod ledger;

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::ledger::{Ledger, Portion};
use super::Shared;
use crate::auth::{ControlPlane, QUOTA_WARNING_PERCENT};
use crate::model::{QuotaMoment, Timestamp};
use crate::store::{Store, StoreError, USAGE_LET_GO_AT_ONCE};
use crate::telemetry::UncountedUses;

/// The doors are asked, and what they counted is written, at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// The same where much is to be written.
const WRITE_AT_LEAST_EVERY: Duration = Duration::from_mins(1);
/// Rows a second in the long run; nothing more is written until so many would have been.
const ROWS_PER_SECOND: u64 = 300;
/// What other gateways let in is not read for this many times as long as reading it has taken.
const LOOKS_APART: u32 = 20;
/// What is too old is looked for at most this often.
const LET_GO_EVERY: Duration = Duration::from_hours(1);
/// Rounds of letting go at once: more than is written meanwhile, so that a backlog shrinks.
const LET_GO_ROUNDS: usize = 20;

/// Quotas of which it is told at once that most is used: one change of the store each.
const QUOTAS_TOLD_AT_ONCE: usize = 100;

/// Keeps what the doors count until `stop`, and then what is left; `plane` acts for the gateway.
pub(super) async fn keep_usage(
    shared: Shared,
    store: Store,
    plane: ControlPlane,
    uncounted: UncountedUses,
    stop: CancellationToken,
) {
    let mut ledger = Ledger::default();
    let mut let_go_at: Option<Instant> = None;
    let mut look_after = Instant::now();
    let mut pause = WRITE_EVERY;
    loop {
        let stopping = timeout(pause, stop.cancelled()).await.is_ok();
        let now = shared.clock.now();
        ledger.add(&shared.authenticator.collect_usage(), now, shared.index.quotas());
        uncounted.add(ledger.take_uncounted());
        let looks = !stopping && Instant::now() >= look_after;
        if looks {
            // Behind what was collected and before it is written: then nothing that is read back is missing in it.
            shared.index.quotas().mark();
        }
        let portion = if stopping { Portion::Rest } else { Portion::Bounded };
        pause = match ledger.write(&store, portion).await {
            Ok(rows) => pause_after(rows),
            Err(error) => {
                tracing::warn!(%error, "usage could not be written; it waits for the next time");
                WRITE_EVERY
            }
        };
        if stopping {
            return;
        }
        if looks {
            look_after = look_at_quotas(&shared, &store, &plane).await;
        }
        if let_go_at.is_none_or(|let_go_at| let_go_at.elapsed() >= LET_GO_EVERY) {
            match let_go(&store, now).await {
                Ok(Left::Nothing) => let_go_at = Some(Instant::now()),
                Ok(Left::More) => {}
                Err(error) => tracing::warn!(%error, "old usage could not be let go"),
            }
        }
    }
}

/// Learns what other gateways have let in, and tells whose quotas are used for the most part. While the store is away
/// what is known goes on to count. Answers when it is to be done again.
async fn look_at_quotas(shared: &Shared, store: &Store, plane: &ControlPlane) -> Instant {
    let moment = QuotaMoment::of(shared.clock.now());
    let (quotas, began) = (shared.index.quotas(), Instant::now());
    if let Err(error) = store.in_time(shared.index.look_at_quotas(store, moment)).await {
        tracing::warn!(%error, "what other gateways let in could not be read; quotas count on from what is known");
        return began;
    }
    let look_after = Instant::now() + began.elapsed() * LOOKS_APART;
    for levels in quotas.newly_above(QUOTA_WARNING_PERCENT, moment).chunks(QUOTAS_TOLD_AT_ONCE) {
        if let Err(error) = store.in_time(plane.tell_quota_levels(levels)).await {
            quotas.tell_again(levels);
            tracing::warn!(%error, quotas = levels.len(), "that quotas are nearly used up could not be written");
        }
    }
    look_after
}

/// How long nothing is written after so many rows.
fn pause_after(rows: usize) -> Duration {
    let seconds = u64::try_from(rows).unwrap_or(u64::MAX) / ROWS_PER_SECOND;
    Duration::from_secs(seconds).clamp(WRITE_EVERY, WRITE_AT_LEAST_EVERY)
}

/// Is there more to let go of?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

/// Lets go of what is too old.
async fn let_go(store: &Store, now: Timestamp) -> Result<Left, StoreError> {
    for _ in 0..LET_GO_ROUNDS {
        if store.let_usage_go(now).await? < USAGE_LET_GO_AT_ONCE {
            return Ok(Left::Nothing);
        }
    }
    Ok(Left::More)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_was_written_the_longer_nothing_is() {
        for (rows, seconds) in [(0, 5), (1_499, 5), (3_000, 10), (15_000, 50), (1_000_000, 60)] {
            assert_eq!(pause_after(rows), Duration::from_secs(seconds), "{rows}");
        }
    }
}
