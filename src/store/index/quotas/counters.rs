//! The counters of one quota: what is used of its day and its month, here and at all other gateways.
//!
//! Called by `quotas`, which says whose they are.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::model::{QuotaMoment, QuotaPeriod, QuotaTerms};
use crate::store::QuotaSums;

/// Bits of a packed [`Count`] that hold requests: room for more than `QUOTA_MAX`. The period's number has the rest.
const REQUEST_BITS: u32 = 40;
/// So shortly before a period ends, whoever reads the clock may be behind others, who read that the next one has begun.
const JUST_BEFORE_SECONDS: u32 = 60;

/// What is counted against the quota of one owner.
#[derive(Debug, Default)]
pub(super) struct Counter {
    day: PeriodCounter,
    month: PeriodCounter,
}

/// The same of its day, or its month.
#[derive(Debug, Default)]
pub(super) struct PeriodCounter {
    /// Requests that may be made; 0: as many as one likes.
    pub(super) limit: AtomicU64,
    /// What this gateway let in, a [`Count`].
    own: AtomicU64,
    /// The same when it was last marked.
    marked: AtomicU64,
    /// What all others let in, as far as it is known, a [`Count`].
    pub(super) others: AtomicU64,
    /// The last period of which it was told that most is used.
    pub(super) told: AtomicU32,
}

/// Requests within one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store::index) struct Count {
    number: u32,
    requests: u64,
}

impl Counter {
    pub(super) fn having_used(used: Option<(QuotaMoment, QuotaSums)>) -> Self {
        let counter = Self::default();
        if let Some((moment, used)) = used {
            counter.learn(used, moment);
        }
        counter
    }

    pub(super) fn learn(&self, written: QuotaSums, moment: QuotaMoment) {
        for period in QuotaPeriod::ALL {
            self.of(period).learn(written.of(period), moment, period);
        }
    }

    pub(super) const fn of(&self, period: QuotaPeriod) -> &PeriodCounter {
        match period {
            QuotaPeriod::Day => &self.day,
            QuotaPeriod::Month => &self.month,
        }
    }

    pub(super) fn set_terms(&self, terms: QuotaTerms) {
        for period in QuotaPeriod::ALL {
            let limit = terms.limit(period).map_or(0, std::num::NonZeroU64::get);
            if self.of(period).limit.swap(limit, Ordering::Relaxed) != limit {
                self.of(period).told.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The month first: where both are used up, it is the longer wait that is told.
    pub(super) fn take(&self, moment: QuotaMoment) -> Result<(), QuotaPeriod> {
        if !self.month.take(moment, QuotaPeriod::Month) {
            return Err(QuotaPeriod::Month);
        }
        if !self.day.take(moment, QuotaPeriod::Day) {
            self.month.give_back();
            return Err(QuotaPeriod::Day);
        }
        Ok(())
    }

    /// What was taken for a request that another quota has refused.
    pub(super) fn give_back(&self) {
        self.month.give_back();
        self.day.give_back();
    }
}

impl PeriodCounter {
    /// `false`: it is used up.
    fn take(&self, moment: QuotaMoment, period: QuotaPeriod) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return true;
        }
        let others = Count::unpacked(self.others.load(Ordering::Relaxed));
        let taken = self.own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| {
            let own = Count::unpacked(own).carried_to(moment, period);
            let used = own.requests.saturating_add(others.within(own.number));
            (used < limit).then(|| Count { requests: own.requests + 1, ..own }.packed())
        });
        taken.is_ok()
    }

    fn give_back(&self) {
        if self.limit.load(Ordering::Relaxed) == 0 {
            return;
        }
        let less = |own| {
            let own = Count::unpacked(own);
            Some(Count { requests: own.requests.saturating_sub(1), ..own }.packed())
        };
        // It never refuses.
        let _ = self.own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(super) fn used(&self, number: u32) -> u64 {
        let [own, others] =
            [&self.own, &self.others].map(|count| Count::unpacked(count.load(Ordering::Relaxed)));
        own.within(number).saturating_add(others.within(number))
    }

    pub(super) fn mark(&self) {
        self.marked.store(self.own.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What others had let in is what was `written`, without what is marked of our own; more of it than was known, never
    /// less.
    fn learn(&self, written: u64, moment: QuotaMoment, period: QuotaPeriod) {
        let number = moment.number(period);
        let own = Count::unpacked(self.marked.load(Ordering::Relaxed)).within(number);
        let others = written.saturating_sub(own);
        let newer = |known| {
            let known = Count::unpacked(known).carried_to(moment, period);
            let requests = others.max(known.requests);
            (known.number == number).then(|| Count { number, requests }.packed())
        };
        // Of the period that begins in a moment more is known already.
        let _ = self.others.fetch_update(Ordering::Relaxed, Ordering::Relaxed, newer);
    }
}

impl Count {
    pub(in crate::store::index) const fn new(number: u32, requests: u64) -> Self {
        Self { number, requests }
    }

    pub(in crate::store::index) const fn parts(self) -> (u32, u64) {
        (self.number, self.requests)
    }

    fn unpacked(packed: u64) -> Self {
        // What is shifted out leaves 24 bits.
        let number = u32::try_from(packed >> REQUEST_BITS).unwrap_or(u32::MAX);
        Self { number, requests: packed & ((1 << REQUEST_BITS) - 1) }
    }

    pub(super) fn packed(self) -> u64 {
        let most = (1 << REQUEST_BITS) - 1;
        u64::from(self.number) << REQUEST_BITS | self.requests.min(most)
    }

    /// Requests within the period `number`.
    const fn within(self, number: u32) -> u64 {
        if self.number == number { self.requests } else { 0 }
    }

    /// As it is counted on in the period of `moment`. Whoever read the clock just before the next period began counts in that
    /// one. A count of any other period begins anew: that of a later one is of a clock that was ahead, and what it has
    /// pushed out is read back from the store.
    fn carried_to(self, moment: QuotaMoment, period: QuotaPeriod) -> Self {
        let number = moment.number(period);
        let is_next = self.number == number.saturating_add(1);
        let is_ending = || moment.seconds_left(period).get() <= JUST_BEFORE_SECONDS;
        if self.number == number || is_next && is_ending() { self } else { Self { number, requests: 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_count_survives_being_packed() {
        let last = QuotaMoment::of(Timestamp::from_unix_milliseconds(253_402_300_799_000));
        for number in [0, 1, last.number(QuotaPeriod::Day)] {
            for requests in [0, 1, crate::model::QUOTA_MAX] {
                let count = Count { number, requests };
                assert_eq!(Count::unpacked(count.packed()), count);
            }
        }
    }
}
