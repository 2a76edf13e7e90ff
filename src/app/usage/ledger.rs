//! What the doors counted and the store has not got yet: added up by credential, user and customer, and written in turns.
//!
//! Whoever has a quota is written first, then customers and users, then everybody's credentials, each kind with a share
//! of its own in every turn: however many credentials are in use, what is read back for quotas is as new as it can be, and
//! what a process cannot write any more at its end are figures of single credentials. Called by `usage`.

use std::collections::{HashMap, VecDeque};

use crate::auth::CollectedUsage;
use crate::model::{ClientIp, Membership, Recognised, Service, Timestamp};
use crate::store::index::{Metering, Quotas};
use crate::store::{
    SeenAddress, Store, StoreError, USAGE_ROWS_PER_COMMIT, UsageCount, UsageHour, UsageSubject,
};

/// Rows of each kind in one turn: 10,000 credentials a minute in the long run, and as many with quotas.
const ROWS_AT_ONCE: usize = 10_000;
/// Counts of each kind that may wait to be written; some 20 MiB. The same for addresses.
const WAITING: usize = 200_000;
/// That a credential came from an address is written at most this often.
const NOTE_ADDRESS_EVERY_SECONDS: i64 = 60;

/// What was counted and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of whoever has a quota.
    limited: Waiting,
    /// Of all other customers and users.
    sums: Waiting,
    /// Of all other credentials.
    credentials: Waiting,
    addresses: VecDeque<SeenAddress>,
    /// When it was last noted that a credential came from an address, if that was within a minute.
    noted: HashMap<(Recognised, Service, ClientIp), Timestamp>,
    uncounted: u64,
}

/// Counts of one kind.
#[derive(Debug, Default)]
struct Waiting {
    counts: HashMap<Counted, Figures>,
    /// What `counts` holds, in the order of coming, so that each has its turn.
    order: VecDeque<Counted>,
}

/// What is counted together: a subject at a door within an hour.
type Counted = (UsageSubject, Service, UsageHour);

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    requests: u64,
    refusals: u64,
}

/// How much is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// So much that nobody else waits for long.
    Bounded,
    /// All of it, and addresses last: the process is about to end.
    Rest,
}

impl Ledger {
    /// Takes over what was counted until `now`. All of it is put into the present hour: it is seconds old.
    pub(super) fn add(&mut self, collected: &CollectedUsage, now: Timestamp, quotas: &Quotas) {
        self.uncounted += collected.uncounted;
        // A clock that was set back must not keep an address from being noted.
        self.noted.retain(|_, at| at.plus_seconds(NOTE_ADDRESS_EVERY_SECONDS) > now && *at <= now);
        let hour = UsageHour::of(now);
        for used in &collected.uses {
            let figures = Figures { requests: used.requests.into(), refusals: used.refusals.into() };
            self.add_use(used.whose, used.membership, (used.service, hour), figures, quotas);
            for (address, place) in used.addresses().zip(0..) {
                self.add_address(used.whose, used.service, address, now, place);
            }
        }
    }

    /// Takes out how many requests and refusals are missing somewhere, since the last time.
    pub(super) fn take_uncounted(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }

    fn add_use(
        &mut self,
        whose: Recognised,
        Membership { user, customer }: Membership,
        (service, hour): (Service, UsageHour),
        figures: Figures,
        quotas: &Quotas,
    ) {
        if figures.requests == 0 && figures.refusals == 0 {
            return;
        }
        let mut has_room = true;
        for subject in
            [UsageSubject::Customer(customer), UsageSubject::User(user), UsageSubject::Credential(whose)]
        {
            has_room &= self.waiting_for(subject, quotas).add((subject, service, hour), figures);
        }
        if !has_room {
            self.uncounted = self.uncounted.saturating_add(figures.requests).saturating_add(figures.refusals);
        }
    }

    fn waiting_for(&mut self, subject: UsageSubject, quotas: &Quotas) -> &mut Waiting {
        let metering = subject.quota_owner().map_or(Metering::Off, |owner| quotas.metering(owner));
        match (metering, subject) {
            (Metering::On, _) => &mut self.limited,
            (Metering::Off, UsageSubject::Customer(_) | UsageSubject::User(_)) => &mut self.sums,
            (Metering::Off, UsageSubject::Credential(_)) => &mut self.credentials,
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
    pub(super) async fn write(&mut self, store: &Store, portion: Portion) -> Result<usize, StoreError> {
        let most = if portion == Portion::Rest { usize::MAX } else { ROWS_AT_ONCE };
        let (mut left, mut addresses_left, mut rows) = ([most; 3], most, 0);
        for waiting in self.in_turn() {
            sort_first(&mut waiting.order, most, |(subject, ..)| subject.place());
        }
        sort_first(&mut self.addresses, most, |seen| UsageSubject::Credential(seen.whose).place());
        loop {
            let mut counts = Vec::new();
            let mut taken = [0; 3];
            for ((waiting, left), taken) in self.in_turn().into_iter().zip(&left).zip(&mut taken) {
                let free = USAGE_ROWS_PER_COMMIT.saturating_sub(counts.len());
                let before = counts.len();
                counts.extend(waiting.first(free.min(*left)));
                *taken = counts.len() - before;
            }
            let addresses = match portion {
                Portion::Rest if !counts.is_empty() => 0,
                Portion::Rest | Portion::Bounded => addresses_left.min(USAGE_ROWS_PER_COMMIT),
            };
            let seen: Vec<_> = self.addresses.iter().take(addresses).copied().collect();
            if counts.is_empty() && seen.is_empty() {
                return Ok(rows);
            }
            // Addresses first: whoever sees a figure also sees where it came from.
            store.note_addresses(&seen).await?;
            drop(self.addresses.drain(..seen.len()));
            addresses_left -= seen.len();
            store.add_usage(&counts).await?;
            for ((waiting, left), taken) in self.in_turn().into_iter().zip(&mut left).zip(taken) {
                waiting.remove_first(taken);
                *left -= taken;
            }
            rows += counts.len() + seen.len();
        }
    }

    const fn in_turn(&mut self) -> [&mut Waiting; 3] {
        [&mut self.limited, &mut self.sums, &mut self.credentials]
    }
}

/// Sorts the first `count`, whose turn it is, by their places in the store. Those of one place stay in order.
fn sort_first<T>(waiting: &mut VecDeque<T>, count: usize, place: impl Fn(&T) -> (&'static str, i64)) {
    let count = count.min(waiting.len());
    let (first, _) = waiting.make_contiguous().split_at_mut(count);
    first.sort_by_cached_key(place);
}

impl Waiting {
    /// `false`: there is no room.
    fn add(&mut self, known: Counted, more: Figures) -> bool {
        let has_room = self.counts.len() < WAITING || self.counts.contains_key(&known);
        if has_room {
            let sum = self.counts.entry(known).or_insert_with(|| {
                self.order.push_back(known);
                Figures::default()
            });
            sum.requests = sum.requests.saturating_add(more.requests);
            sum.refusals = sum.refusals.saturating_add(more.refusals);
        }
        has_room
    }

    fn first(&self, count: usize) -> impl Iterator<Item = UsageCount> {
        self.order.iter().take(count).filter_map(|known| {
            let (whose, service, hour) = *known;
            let Figures { requests, refusals } = *self.counts.get(known)?;
            Some(UsageCount { whose, service, hour, requests, refusals })
        })
    }

    fn remove_first(&mut self, count: usize) {
        for known in self.order.drain(..count) {
            self.counts.remove(&known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, World};
    use crate::config::Limits;
    use crate::model::{CustomerId, KeyId, QuotaMoment, QuotaOwner, QuotaTerms, UserId};
    use crate::store::{UsageLength, UsageOf};

    /// Of nobody that a store knows: it leaves them out.
    const MEMBERSHIP: Membership = Membership { user: UserId(99), customer: CustomerId(99) };

    fn key(number: usize) -> Recognised {
        Recognised::Key(KeyId::from_random(u64::try_from(number).unwrap()))
    }

    impl Ledger {
        fn add_one(&mut self, whose: Recognised, quotas: &Quotas) {
            let figures = Figures { requests: 1, refusals: 1 };
            self.add_use(whose, MEMBERSHIP, (Service::Api, UsageHour::of(NOW)), figures, quotas);
        }

        fn waiting(&mut self) -> [usize; 3] {
            self.in_turn().map(|waiting| {
                assert_eq!(waiting.counts.len(), waiting.order.len());
                waiting.counts.len()
            })
        }
    }

    async fn requests(world: &World, whose: UsageOf) -> u64 {
        let hour = UsageHour::of(NOW);
        let hours = world.store.usage(whose, UsageLength::Hour, hour..hour.plus(1)).await.unwrap();
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
            ledger.add(&world.authenticator.collect_usage(), NOW, world.index.quotas());
            ledger.write(&away, Portion::Bounded).await.unwrap_err();
        }
        for _ in 0..2 {
            ledger.write(&world.store, Portion::Rest).await.unwrap();
            assert_eq!(requests(&world, UsageOf::Key(record.id)).await, 2);
        }
        let seen = world.store.addresses_of_key(record.id, NOW.plus_seconds(-1)).await.unwrap();
        assert_eq!((seen.len(), seen[0].address.to_string().as_str()), (1, "192.0.2.1"));
    }

    #[tokio::test]
    async fn what_a_key_did_that_is_deleted_before_it_is_written_counts_for_its_user_and_customer() {
        let world = World::new(Limits::default()).await;
        let customer = world.index.user(world.user).unwrap().customer().id();
        let (of_user, of_customer) = (QuotaOwner::User(world.user), QuotaOwner::Customer(customer));
        let mut change = world.store.mutate().await.unwrap();
        change.set_quota(of_customer, Some(QuotaTerms::new(None, Some(100)).unwrap())).await.unwrap();
        change.commit().await.unwrap();
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            let (text, record) = world.add_key("api").await;
            world.key(&text, Service::Api).await;
            world.key(&text, Service::IsProxy).await;
            let mut change = world.store.mutate().await.unwrap();
            change.delete_key(&record, NOW).await.unwrap();
            change.commit().await.unwrap();
            ledger.add(&world.authenticator.collect_usage(), NOW, world.index.quotas());
            ledger.write(&world.store, Portion::Bounded).await.unwrap();
            assert_eq!(requests(&world, UsageOf::Key(record.id)).await, 0);
        }
        let moment = QuotaMoment::of(NOW);
        for owner in [of_user, of_customer] {
            assert_eq!(world.store.requests_of(owner, moment).await.unwrap().month, 2, "{owner:?}");
        }
        let hour = UsageHour::of(NOW);
        let of_user = UsageOf::User(world.user);
        let sums = world.store.usage(of_user, UsageLength::Hour, hour..hour.plus(1)).await.unwrap();
        assert_eq!(sums.iter().map(|sum| sum.refusals).sum::<u64>(), 2);
    }

    #[tokio::test]
    async fn that_a_credential_came_from_an_address_is_noted_once_a_minute() {
        let world = World::new(Limits::default()).await;
        let (text, _) = world.add_key("api").await;
        let mut ledger = Ledger::default();
        for (seconds, noted) in [(0, 1), (5, 1), (59, 1), (60, 2), (65, 2), (30, 3)] {
            world.key(&text, Service::Api).await;
            let now = NOW.plus_seconds(seconds);
            ledger.add(&world.authenticator.collect_usage(), now, world.index.quotas());
            assert_eq!(ledger.addresses.len(), noted, "after {seconds} s");
        }
        for waiting in [&ledger.credentials, &ledger.sums] {
            let requests = waiting.counts.values().map(|figures| figures.requests);
            assert_eq!(requests.max(), Some(6));
        }
    }

    #[tokio::test]
    async fn whoever_has_a_quota_is_written_first_then_users_and_of_each_kind_so_much_at_once() {
        let world = World::new(Limits::default()).await;
        let (_, record) = world.add_key("api").await;
        let mut change = world.store.mutate().await.unwrap();
        let terms = QuotaTerms::new(Some(10), None).unwrap();
        change.set_quota(QuotaOwner::Key(record.id), Some(terms)).await.unwrap();
        change.commit().await.unwrap();
        world.index.resynchronise(&world.store).await.unwrap();
        let (mut ledger, quotas) = (Ledger::default(), world.index.quotas());
        for number in 0..=ROWS_AT_ONCE {
            ledger.add_one(key(number), quotas);
        }
        ledger.add_one(Recognised::Key(record.id), quotas);
        assert_eq!(ledger.waiting(), [1, 2, ROWS_AT_ONCE + 1]);
        ledger.write(&world.store, Portion::Bounded).await.unwrap();
        assert_eq!(ledger.waiting(), [0, 0, 1]);
        assert_eq!(requests(&world, UsageOf::Key(record.id)).await, 1);
        // Whoever goes on counting takes nobody's turn.
        for number in 0..ROWS_AT_ONCE {
            ledger.add_one(key(number), quotas);
        }
        ledger.write(&world.store, Portion::Bounded).await.unwrap();
        let last = (UsageSubject::Credential(key(ROWS_AT_ONCE)), Service::Api, UsageHour::of(NOW));
        assert!(ledger.waiting() == [0, 0, 1] && !ledger.credentials.counts.contains_key(&last));
        ledger.write(&world.store, Portion::Rest).await.unwrap();
        assert_eq!(ledger.waiting(), [0, 0, 0]);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_what_is_known_goes_on() {
        let (mut ledger, quotas) = (Ledger::default(), Quotas::default());
        for number in 0..=WAITING {
            ledger.add_one(key(number), &quotas);
        }
        ledger.add_one(key(0), &quotas);
        assert_eq!((ledger.waiting(), ledger.take_uncounted()), ([0, 2, WAITING], 2));
        let known = |subject| (subject, Service::Api, UsageHour::of(NOW));
        let first = known(UsageSubject::Credential(key(0)));
        assert_eq!(ledger.credentials.counts[&first].requests, 2);
        let of_user = known(UsageSubject::User(MEMBERSHIP.user));
        assert_eq!(ledger.sums.counts[&of_user].requests, u64::try_from(WAITING).unwrap() + 2);
    }
}
