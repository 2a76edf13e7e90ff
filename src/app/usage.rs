//! Writes what the doors counted of each credential, and lets go of what is too old.
//!
//! The doors are asked every few seconds; what they tell is added up here and written in small commits, so many rows at
//! once and no more, so that a busy installation's changes do not wait behind its statistics. The more there was to
//! write, the longer nothing is written: the statistics of many keys are up to a minute old, and cost the machine
//! that serves their requests next to nothing. What cannot be written waits for the next time; what there is no room
//! for is counted and let go. What all gateways have written is read back for quotas, and it is told where most of one is
//! used. Runs on the control plane's threads.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::auth::{CollectedUsage, ControlPlane, QUOTA_WARNING_PERCENT};
use crate::model::{ClientIp, QuotaMoment, Recognised, Service, Timestamp};
use crate::store::index::QuotaMarks;
use crate::store::{
    SeenAddress, Store, StoreError, USAGE_LET_GO_AT_ONCE, USAGE_ROWS_PER_COMMIT, UsageCount, UsageHour,
};
use crate::telemetry::UncountedUses;

/// The doors are asked, and what they counted is written, at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// The same where much is to be written.
const WRITE_AT_LEAST_EVERY: Duration = Duration::from_mins(1);
/// Rows a second in the long run; nothing more is written until so many would have been.
const ROWS_PER_SECOND: u64 = 200;
/// Commits of each kind at once: 10,000 credentials a minute in the long run.
const COMMITS_AT_ONCE: usize = 20;
/// Counts that may wait to be written; some 20 MiB. The same for addresses.
const WAITING: usize = 200_000;
/// That a credential came from an address is written at most this often.
const NOTE_ADDRESS_EVERY_SECONDS: i64 = 60;
/// What is too old is looked for at most this often.
const LET_GO_EVERY: Duration = Duration::from_hours(1);

/// What was counted and is not written yet.
#[derive(Debug, Default)]
struct Ledger {
    counts: HashMap<Counted, Figures>,
    /// What `counts` holds, in the order of coming, so that each has its turn.
    order: VecDeque<Counted>,
    addresses: VecDeque<SeenAddress>,
    /// When it was last noted that a credential came from an address, if that was within a minute.
    noted: HashMap<(Recognised, Service, ClientIp), Timestamp>,
    uncounted: u64,
}

/// What is counted together: a credential at a door within an hour.
type Counted = (Recognised, Service, UsageHour);

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    requests: u64,
    refusals: u64,
}

/// How much is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Portion {
    /// So much that nobody else waits for long.
    Bounded,
    /// All of it.
    Rest,
}

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
    let mut looked_at: Option<Instant> = None;
    let mut pause = WRITE_EVERY;
    loop {
        let stopping = timeout(pause, stop.cancelled()).await.is_ok();
        let now = shared.clock.now();
        ledger.add(&shared.authenticator.collect_usage(), now);
        uncounted.add(std::mem::take(&mut ledger.uncounted));
        // Behind what was collected and before it is written: then nothing that is read back is missing in it.
        let marks = shared.index.quotas().marks();
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
        look_at_quotas(&shared, &store, &plane, &marks).await;
        if looked_at.is_none_or(|looked_at| looked_at.elapsed() >= LET_GO_EVERY) {
            match let_go(&store, now).await {
                Ok(Left::Nothing) => looked_at = Some(Instant::now()),
                Ok(Left::More) => {}
                Err(error) => tracing::warn!(%error, "old usage could not be let go"),
            }
        }
    }
}

/// Learns what other gateways have let in, and tells whose quotas are used for the most part. While the store is away
/// what is known goes on to count.
async fn look_at_quotas(shared: &Shared, store: &Store, plane: &ControlPlane, marks: &QuotaMarks) {
    let moment = QuotaMoment::of(shared.clock.now());
    if let Err(error) = shared.index.look_at_quotas(store, marks, moment).await {
        tracing::warn!(%error, "what other gateways let in could not be read; quotas count on from what is known");
        return;
    }
    for levels in shared.index.quotas().newly_above(QUOTA_WARNING_PERCENT, moment).chunks(QUOTAS_TOLD_AT_ONCE)
    {
        if let Err(error) = plane.tell_quota_levels(levels).await {
            tracing::warn!(%error, quotas = levels.len(), "that quotas are nearly used up could not be written");
        }
    }
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

/// Lets go of what is too old; more at once than is written meanwhile, so that a backlog shrinks.
async fn let_go(store: &Store, now: Timestamp) -> Result<Left, StoreError> {
    for _ in 0..COMMITS_AT_ONCE {
        if store.let_usage_go(now).await? < USAGE_LET_GO_AT_ONCE {
            return Ok(Left::Nothing);
        }
    }
    Ok(Left::More)
}

impl Ledger {
    /// Takes over what was counted until `now`. All of it is put into the present hour: it is seconds old.
    fn add(&mut self, collected: &CollectedUsage, now: Timestamp) {
        self.uncounted += collected.uncounted;
        // A clock that was set back must not keep an address from being noted.
        self.noted.retain(|_, at| at.plus_seconds(NOTE_ADDRESS_EVERY_SECONDS) > now && *at <= now);
        let hour = UsageHour::of(now);
        for used in &collected.uses {
            self.add_count(used.whose, used.service, hour, [used.requests, used.refusals].map(u64::from));
            for (address, place) in used.addresses().zip(0..) {
                self.add_address(used.whose, used.service, address, now, place);
            }
        }
    }

    fn add_count(&mut self, whose: Recognised, service: Service, hour: UsageHour, figures: [u64; 2]) {
        let [requests, refusals] = figures;
        if requests == 0 && refusals == 0 {
            return;
        }
        let has_room = self.counts.len() < WAITING;
        let known = (whose, service, hour);
        if has_room || self.counts.contains_key(&known) {
            let sum = self.counts.entry(known).or_insert_with(|| {
                self.order.push_back(known);
                Figures::default()
            });
            sum.requests = sum.requests.saturating_add(requests);
            sum.refusals = sum.refusals.saturating_add(refusals);
        } else {
            self.uncounted = self.uncounted.saturating_add(requests).saturating_add(refusals);
        }
    }

    /// `place`: how many newer addresses of the credential there are; a millisecond each keeps them apart.
    fn add_address(
        &mut self,
        whose: Recognised,
        service: Service,
        address: ClientIp,
        now: Timestamp,
        place: i64,
    ) {
        let has_room = self.noted.len() < WAITING && self.addresses.len() < WAITING;
        if !has_room || self.noted.contains_key(&(whose, service, address)) {
            return;
        }
        self.noted.insert((whose, service, address), now);
        let at = Timestamp::from_unix_milliseconds(now.unix_milliseconds().saturating_sub(place));
        self.addresses.push_back(SeenAddress { whose, entrance: service.into(), address, at });
    }

    /// Writes what waits, in small commits, and answers how many rows that were; what was not written goes on waiting.
    async fn write(&mut self, store: &Store, portion: Portion) -> Result<usize, StoreError> {
        let (mut commits, mut rows) = (0, 0);
        while portion == Portion::Rest || commits < COMMITS_AT_ONCE {
            let turn = self.order.iter().take(USAGE_ROWS_PER_COMMIT);
            let counts: Vec<_> =
                turn.filter_map(|known| Some(as_count(*known, self.counts.get(known)?))).collect();
            let seen: Vec<_> = self.addresses.iter().take(USAGE_ROWS_PER_COMMIT).copied().collect();
            if counts.is_empty() && seen.is_empty() {
                break;
            }
            // Addresses first: whoever sees a figure also sees where it came from.
            store.note_addresses(&seen).await?;
            drop(self.addresses.drain(..seen.len()));
            store.add_usage(&counts).await?;
            for known in self.order.drain(..counts.len()) {
                self.counts.remove(&known);
            }
            commits += 1;
            rows += counts.len() + seen.len();
        }
        Ok(rows)
    }
}

const fn as_count(known: Counted, figures: &Figures) -> UsageCount {
    let (whose, service, hour) = known;
    UsageCount { whose, service, hour, requests: figures.requests, refusals: figures.refusals }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, World};
    use crate::config::Limits;
    use crate::model::KeyId;
    use crate::store::{UsageLength, UsageOf};

    fn key(number: usize) -> Recognised {
        Recognised::Key(KeyId::from_random(u64::try_from(number).unwrap()))
    }

    async fn requests(world: &World, key: KeyId) -> u64 {
        let hours =
            world.store.usage(UsageOf::Key(key), UsageLength::Hour, UsageHour::of(NOW)).await.unwrap();
        hours.iter().map(|hour| hour.requests).sum()
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_waits_and_is_written_once() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("api").await;
        let (_folder, away) = crate::store::testing::empty_store().await;
        away.close().await;
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            world.key(&text, Service::Api).await;
            ledger.add(&world.authenticator.collect_usage(), NOW);
            ledger.write(&away, Portion::Bounded).await.unwrap_err();
        }
        for _ in 0..2 {
            ledger.write(&world.store, Portion::Rest).await.unwrap();
            assert_eq!(requests(&world, record.id).await, 2);
        }
        let seen = world.store.addresses_of_key(record.id, NOW.plus_seconds(-1)).await.unwrap();
        assert_eq!((seen.len(), seen[0].address.to_string().as_str()), (1, "192.0.2.1"));
    }

    #[tokio::test]
    async fn that_a_credential_came_from_an_address_is_noted_once_a_minute() {
        let world = World::new(Limits::default()).await;
        let (text, _) = world.add_key("api").await;
        let mut ledger = Ledger::default();
        for (seconds, noted) in [(0, 1), (5, 1), (59, 1), (60, 2), (65, 2), (30, 3)] {
            world.key(&text, Service::Api).await;
            ledger.add(&world.authenticator.collect_usage(), NOW.plus_seconds(seconds));
            assert_eq!(ledger.addresses.len(), noted, "after {seconds} s");
        }
        assert_eq!(ledger.counts.values().map(|figures| figures.requests).sum::<u64>(), 6);
    }

    #[tokio::test]
    async fn so_much_is_written_at_once_and_the_rest_the_next_time() {
        let world = World::new(Limits::default()).await;
        let mut ledger = Ledger::default();
        let at_once = COMMITS_AT_ONCE * USAGE_ROWS_PER_COMMIT;
        for number in 0..=at_once {
            ledger.add_count(key(number), Service::Api, UsageHour::of(NOW), [1, 0]);
        }
        ledger.write(&world.store, Portion::Bounded).await.unwrap();
        let last = (key(at_once), Service::Api, UsageHour::of(NOW));
        assert_eq!(ledger.counts.keys().collect::<Vec<_>>(), [&last]);
        // Whoever goes on counting takes nobody's turn.
        for number in 0..at_once {
            ledger.add_count(key(number), Service::Api, UsageHour::of(NOW), [1, 0]);
        }
        ledger.write(&world.store, Portion::Bounded).await.unwrap();
        assert!(ledger.counts.len() == 1 && !ledger.counts.contains_key(&last));
        ledger.write(&world.store, Portion::Rest).await.unwrap();
        assert!(ledger.counts.is_empty() && ledger.order.is_empty());
    }

    #[test]
    fn the_more_was_written_the_longer_nothing_is() {
        for (rows, seconds) in [(0, 5), (999, 5), (2_000, 10), (10_000, 50), (1_000_000, 60)] {
            assert_eq!(pause_after(rows), Duration::from_secs(seconds), "{rows}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_what_is_known_goes_on() {
        let mut ledger = Ledger::default();
        for number in 0..=WAITING {
            ledger.add_count(key(number), Service::Api, UsageHour::of(NOW), [1, 1]);
        }
        ledger.add_count(key(0), Service::Api, UsageHour::of(NOW), [3, 0]);
        assert_eq!((ledger.counts.len(), ledger.uncounted), (WAITING, 2));
        assert_eq!(ledger.counts[&(key(0), Service::Api, UsageHour::of(NOW))].requests, 4);
    }
}
