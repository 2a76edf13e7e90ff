//! What is counted against quotas: of each owner, requests of this gateway, and what all others had let in when it was
//! last looked.
//!
//! Counters stand beside the generations of the index and outlive them. This gateway's own requests are exact; those of
//! the others are what stands in the store's sums without its own, and only ever grow within a period: what was not
//! written yet when it was looked is never counted twice. Whose requests are counted is `auth`'s to say.

mod counters;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

pub(super) use self::counters::Count;
use self::counters::Counter;
use super::Index;
use crate::model::{QuotaMoment, QuotaOwner, QuotaPeriod, QuotaTerms};
use crate::store::{QuotaSums, Store, StoreError};

/// Has somebody a quota? Told by what is loaded anyway for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metering {
    /// Nothing is counted.
    #[default]
    Off,
    /// Requests are counted, and refused once there were too many.
    On,
}

impl Metering {
    /// Of either of two.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::On => Self::On,
            Self::Off => other,
        }
    }
}

/// The counters of all quotas of one process.
#[derive(Debug, Default)]
pub struct Quotas {
    counters: DashMap<QuotaOwner, Arc<Counter>>,
    /// How many there are, so that whoever has none to ask about asks for nothing.
    count: AtomicUsize,
}

/// How much of a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLevel {
    /// Whose quota it is.
    pub owner: QuotaOwner,
    /// Of the day or of the month.
    pub period: QuotaPeriod,
    /// Which day or month it is.
    pub number: u32,
    /// Requests that were let in.
    pub used: u64,
    /// Requests that may be made.
    pub limit: u64,
}

impl Quotas {
    /// Has nobody a quota?
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Counts a request against the quota of each of `owners`; where one is used up, answers which and counts nothing.
    pub fn take(&self, owners: &[QuotaOwner], moment: QuotaMoment) -> Result<(), (QuotaOwner, QuotaPeriod)> {
        if self.is_empty() {
            return Ok(());
        }
        for (place, owner) in owners.iter().enumerate() {
            let Some(counter) = self.counter(*owner) else { continue };
            if let Err(period) = counter.take(moment) {
                for counter in owners.iter().take(place).filter_map(|owner| self.counter(*owner)) {
                    counter.give_back();
                }
                return Err((*owner, period));
            }
        }
        Ok(())
    }

    /// Requests of `owner` that are known of, in the day and the month of `moment`; `None`: it has no quota.
    pub fn used(&self, owner: QuotaOwner, moment: QuotaMoment) -> Option<QuotaSums> {
        let counter = self.counter(owner)?;
        let used = |period| counter.of(period).used(moment.number(period));
        Some(QuotaSums { day: used(QuotaPeriod::Day), month: used(QuotaPeriod::Month) })
    }

    /// Marks what this gateway has let in: behind what was collected for the store, and before that is written.
    pub fn mark(&self) {
        for counter in &self.counters {
            for period in QuotaPeriod::ALL {
                counter.of(period).mark();
            }
        }
    }

    /// Learns what all gateways have written of the requests of `owner`, of which nothing of this one's is later than
    /// [`mark`](Self::mark).
    pub fn learn(&self, owner: QuotaOwner, written: QuotaSums, moment: QuotaMoment) {
        if let Some(counter) = self.counter(owner) {
            counter.learn(written, moment);
        }
    }

    /// The quotas of which `percent` or more are used and this was not answered before in their period; whoever cannot tell
    /// it hands them to [`tell_again`](Self::tell_again).
    pub fn newly_above(&self, percent: u64, moment: QuotaMoment) -> Vec<QuotaLevel> {
        let mut levels = Vec::new();
        for entry in &self.counters {
            for period in QuotaPeriod::ALL {
                let (counter, number) = (entry.value().of(period), moment.number(period));
                let (used, limit) = (counter.used(number), counter.limit.load(Ordering::Relaxed));
                let is_above = limit > 0 && used.saturating_mul(100) >= limit.saturating_mul(percent);
                if is_above && counter.told.swap(number, Ordering::Relaxed) != number {
                    levels.push(QuotaLevel { owner: *entry.key(), period, number, used, limit });
                }
            }
        }
        levels
    }

    /// Lets [`newly_above`](Self::newly_above) answer `levels` again.
    pub fn tell_again(&self, levels: &[QuotaLevel]) {
        for level in levels {
            if let Some(counter) = self.counter(level.owner) {
                let told = &counter.of(level.period).told;
                // Of another period it may have been answered meanwhile.
                let _ = told.compare_exchange(level.number, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Takes over that of one `owner`; answers whether there is one. `used` is what was used of it so far in the periods of a
    /// moment, in case that it is new.
    pub(super) fn set(
        &self,
        owner: QuotaOwner,
        terms: Option<QuotaTerms>,
        used: Option<(QuotaMoment, QuotaSums)>,
    ) -> Metering {
        let metering = if let Some(terms) = terms {
            let known = self.counter(owner);
            let counter = known.unwrap_or_else(|| Arc::new(Counter::having_used(used)));
            counter.set_terms(terms);
            self.counters.insert(owner, counter);
            Metering::On
        } else {
            self.counters.remove(&owner);
            Metering::Off
        };
        self.count.store(self.counters.len(), Ordering::Relaxed);
        metering
    }

    /// Takes over all of them; what was counted stays counted, and new ones begin with what was `used` so far in the
    /// periods of `moment`.
    pub(super) fn replace(
        &self,
        all: &HashMap<QuotaOwner, QuotaTerms>,
        used: &HashMap<QuotaOwner, QuotaSums>,
        moment: QuotaMoment,
    ) {
        self.counters.retain(|owner, _| all.contains_key(owner));
        for (owner, terms) in all {
            let begin = || Arc::new(Counter::having_used(used.get(owner).map(|used| (moment, *used))));
            self.counters.entry(*owner).or_insert_with(begin).set_terms(*terms);
        }
        self.count.store(self.counters.len(), Ordering::Relaxed);
    }

    /// Does `owner` have one?
    pub fn metering(&self, owner: QuotaOwner) -> Metering {
        if self.is_empty() || !self.counters.contains_key(&owner) { Metering::Off } else { Metering::On }
    }

    /// Shows every quota to `look`, with what is known to be used of it in the day and the month of `moment`, until it fails.
    pub(super) fn try_each<E>(
        &self,
        moment: QuotaMoment,
        mut look: impl FnMut(QuotaOwner, [u64; 2], [Count; 2]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.counters.iter().try_for_each(|entry| {
            let counter = |period| entry.value().of(period);
            let limits = QuotaPeriod::ALL.map(|period| counter(period).limit.load(Ordering::Relaxed));
            let used = QuotaPeriod::ALL.map(|period| {
                let number = moment.number(period);
                Count::new(number, counter(period).used(number))
            });
            look(*entry.key(), limits, used)
        })
    }

    /// Takes over one that [`try_each`](Self::try_each) has shown.
    pub(super) fn put(&self, owner: QuotaOwner, terms: QuotaTerms, used: [Count; 2]) {
        let counter = Counter::default();
        for (period, used) in QuotaPeriod::ALL.into_iter().zip(used) {
            counter.of(period).others.store(used.packed(), Ordering::Relaxed);
        }
        counter.set_terms(terms);
        self.counters.insert(owner, Arc::new(counter));
        self.count.store(self.counters.len(), Ordering::Relaxed);
    }

    fn counter(&self, owner: QuotaOwner) -> Option<Arc<Counter>> {
        self.counters.get(&owner).map(|counter| Arc::clone(&counter))
    }
}

impl Index {
    /// The counters of quotas.
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Reads what all gateways have let in, of which nothing of this one's is later than [`Quotas::mark`]. Asks for nothing
    /// where nobody has a quota.
    pub async fn look_at_quotas(&self, store: &Store, moment: QuotaMoment) -> Result<(), StoreError> {
        if self.quotas.is_empty() {
            return Ok(());
        }
        store.each_quota_sum(moment, |owner, written| self.quotas.learn(owner, written, moment)).await
    }

    /// What was used so far of those of `all` quotas that are not known yet.
    pub(super) async fn used_of_new_quotas(
        &self,
        store: &Store,
        all: &HashMap<QuotaOwner, QuotaTerms>,
        moment: QuotaMoment,
    ) -> Result<HashMap<QuotaOwner, QuotaSums>, StoreError> {
        let is_new = |owner: &QuotaOwner| self.quotas.metering(*owner) == Metering::Off;
        let mut used = HashMap::new();
        if all.keys().any(is_new) {
            let look = |owner, sums| {
                if is_new(&owner) {
                    used.insert(owner, sums);
                }
            };
            store.each_quota_sum(moment, look).await?;
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CustomerId, KeyId, UserId};

    const USER: QuotaOwner = QuotaOwner::User(UserId(1));
    const CUSTOMER: QuotaOwner = QuotaOwner::Customer(CustomerId(1));
    const KEY: QuotaOwner = QuotaOwner::Key(KeyId::from_random(1));

    fn at(text: &str) -> QuotaMoment {
        QuotaMoment::of(text.parse().unwrap())
    }

    fn now() -> QuotaMoment {
        at("2027-01-15T08:00:00Z")
    }

    fn terms(day: Option<u64>, month: Option<u64>) -> QuotaTerms {
        QuotaTerms::new(day, month).unwrap()
    }

    fn with(owner: QuotaOwner, day: Option<u64>, month: Option<u64>) -> Quotas {
        let quotas = Quotas::default();
        assert_eq!(quotas.set(owner, Some(terms(day, month)), None), Metering::On);
        quotas
    }

    /// How many of `count` requests are let in.
    fn admitted(quotas: &Quotas, owners: &[QuotaOwner], count: u64, moment: QuotaMoment) -> u64 {
        (0..count).map(|_| u64::from(quotas.take(owners, moment).is_ok())).sum()
    }

    /// Looks when all gateways have written so many requests of the user, of which this one's were counted before `mark`.
    fn look(quotas: &Quotas, written: u64, moment: QuotaMoment) {
        quotas.learn(USER, QuotaSums { day: written, month: written }, moment);
    }

    #[test]
    fn so_many_are_let_in_and_not_one_more_until_the_period_ends() {
        let quotas = with(USER, Some(5), Some(8));
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 5);
        assert_eq!(quotas.take(&[USER], now()), Err((USER, QuotaPeriod::Day)));
        let (tomorrow, next_month) = (at("2027-01-16T00:00:00Z"), at("2027-02-01T00:00:00Z"));
        assert_eq!(admitted(&quotas, &[USER], 20, tomorrow), 3);
        assert_eq!(quotas.take(&[USER], tomorrow), Err((USER, QuotaPeriod::Month)));
        assert_eq!(quotas.used(USER, tomorrow), Some(QuotaSums { day: 3, month: 8 }));
        assert_eq!(admitted(&quotas, &[USER], 20, next_month), 5);
    }

    #[test]
    fn what_one_quota_refuses_is_taken_from_no_other() {
        let quotas = with(KEY, None, Some(100));
        quotas.set(CUSTOMER, Some(terms(Some(3), None)), None);
        assert_eq!(admitted(&quotas, &[KEY, USER, CUSTOMER], 10, now()), 3);
        assert_eq!(quotas.take(&[KEY, CUSTOMER], now()), Err((CUSTOMER, QuotaPeriod::Day)));
        assert_eq!(quotas.used(KEY, now()).unwrap().month, 3);
        assert_eq!(quotas.used(USER, now()), None);
        assert_eq!(quotas.set(CUSTOMER, None, None), Metering::Off);
        assert_eq!(admitted(&quotas, &[KEY, USER, CUSTOMER], 200, now()), 97);
        assert!(!quotas.is_empty());
        quotas.set(KEY, None, None);
        assert!(quotas.is_empty());
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let quotas = with(CUSTOMER, Some(1_000), None);
        let taken: u64 = std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| admitted(&quotas, &[CUSTOMER], 1_000, now()))).collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }

    #[test]
    fn after_a_restart_what_was_written_is_used_already() {
        let (all, seven) = (HashMap::from([(USER, terms(Some(10), None))]), QuotaSums { day: 7, month: 7 });
        let quotas = Quotas::default();
        quotas.replace(&all, &HashMap::new(), now());
        look(&quotas, 7, now());
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 3);
        // What is known of it already is not begun anew.
        quotas.replace(&all, &HashMap::from([(USER, QuotaSums { day: 0, month: 0 })]), now());
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 0);
        let quotas = Quotas::default();
        quotas.replace(&all, &HashMap::from([(USER, seven)]), now());
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 3);
        let given = Quotas::default();
        given.set(USER, Some(terms(Some(10), None)), Some((now(), seven)));
        assert_eq!(admitted(&given, &[USER], 20, now()), 3);
        // What was used yesterday is not used today.
        let given = Quotas::default();
        given.set(USER, Some(terms(Some(10), None)), Some((at("2027-01-14T08:00:00Z"), seven)));
        assert_eq!(admitted(&given, &[USER], 20, now()), 10);
    }

    #[test]
    fn one_gateway_is_exact_whenever_its_own_requests_are_written() {
        let quotas = with(USER, Some(100), None);
        assert_eq!(admitted(&quotas, &[USER], 30, now()), 30);
        quotas.mark();
        assert_eq!(admitted(&quotas, &[USER], 5, now()), 5);
        // Only a part was written by then.
        look(&quotas, 20, now());
        assert_eq!(quotas.used(USER, now()).unwrap().day, 35);
        look(&quotas, 30, now());
        assert_eq!(admitted(&quotas, &[USER], 200, now()), 65);
    }

    #[test]
    fn gateways_overrun_by_no_more_than_the_others_let_in_between_two_looks() {
        let gateways = [with(USER, Some(95), None), with(USER, Some(95), None)];
        let (mut stored, mut all) = (0, 0);
        for _ in 0..20 {
            // Each lets in ten at most from one look to the next.
            for gateway in &gateways {
                gateway.mark();
                look(gateway, stored, now());
            }
            let taken = gateways.each_ref().map(|gateway| admitted(gateway, &[USER], 10, now()));
            stored += taken.iter().sum::<u64>();
            all += taken.iter().sum::<u64>();
        }
        assert_eq!(all, 100, "at 80 neither knows of the other's next ten");
        // The store being away, each goes on from what it knows.
        assert_eq!(admitted(&gateways[0], &[USER], 10, now()), 0);
    }

    #[test]
    fn what_is_not_known_any_more_stays_known_within_its_period() {
        let quotas = with(USER, Some(10), None);
        look(&quotas, 9, now());
        look(&quotas, 0, now());
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 1);
        assert_eq!(admitted(&quotas, &[USER], 20, at("2027-01-16T00:00:00Z")), 10);
    }

    #[test]
    fn a_clock_just_before_midnight_counts_on_and_one_set_back_begins_anew() {
        let quotas = with(USER, Some(10), None);
        let (midnight, before) = (at("2027-01-16T00:00:00Z"), at("2027-01-15T23:59:00Z"));
        assert_eq!(admitted(&quotas, &[USER], 4, midnight), 4);
        look(&quotas, 3, midnight);
        look(&quotas, 9, before);
        assert_eq!(admitted(&quotas, &[USER], 20, before), 3);
        assert_eq!(quotas.used(USER, midnight).unwrap().day, 10);
        assert_eq!(admitted(&quotas, &[USER], 20, at("2020-01-01T00:00:00Z")), 10);
    }

    #[test]
    fn s83_a_clock_that_was_ahead_for_seconds_spoils_no_count_of_the_present() {
        let quotas = with(USER, None, Some(100));
        assert_eq!(admitted(&quotas, &[USER], 30, now()), 30);
        for ahead in [at("2027-02-01T00:00:10Z"), at("2037-01-15T08:00:00Z")] {
            assert_eq!(admitted(&quotas, &[USER], 2, ahead), 2);
            quotas.mark();
            look(&quotas, 2, ahead);
            assert_eq!(admitted(&quotas, &[USER], 1, now()), 1);
            // What it had let in before is among what is written.
            quotas.mark();
            look(&quotas, 50, now());
            assert_eq!(quotas.used(USER, now()).unwrap().month, 50);
        }
        look(&quotas, 51, now());
        assert_eq!(admitted(&quotas, &[USER], 200, now()), 49);
    }

    #[test]
    fn other_terms_leave_what_was_used_and_a_lower_one_refuses_at_once() {
        let quotas = with(USER, Some(10), None);
        assert_eq!(admitted(&quotas, &[USER], 6, now()), 6);
        quotas.set(USER, Some(terms(Some(8), None)), None);
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 2);
        quotas.replace(&HashMap::from([(USER, terms(Some(3), None))]), &HashMap::new(), now());
        assert_eq!(admitted(&quotas, &[USER], 20, now()), 0);
        assert_eq!(quotas.metering(USER), Metering::On);
        quotas.replace(&HashMap::new(), &HashMap::new(), now());
        assert_eq!(quotas.metering(USER), Metering::Off);
    }

    #[test]
    fn that_most_is_used_is_answered_once_a_period_and_anew_for_another_quota() {
        let quotas = with(USER, Some(10), None);
        admitted(&quotas, &[USER], 7, now());
        assert_eq!(quotas.newly_above(80, now()), []);
        admitted(&quotas, &[USER], 1, now());
        let number = now().number(QuotaPeriod::Day);
        let level = QuotaLevel { owner: USER, period: QuotaPeriod::Day, number, used: 8, limit: 10 };
        assert_eq!(quotas.newly_above(80, now()), [level]);
        assert_eq!(quotas.newly_above(80, now()), []);
        // It could not be told.
        quotas.tell_again(&[level]);
        assert_eq!(quotas.newly_above(80, now()), [level]);
        quotas.set(USER, Some(terms(Some(9), None)), None);
        assert_eq!(quotas.newly_above(80, now()), [QuotaLevel { limit: 9, ..level }]);
        admitted(&quotas, &[USER], 9, at("2027-01-16T00:00:00Z"));
        assert_eq!(quotas.newly_above(80, at("2027-01-16T00:00:00Z")).len(), 1);
    }
}
