//! How long things took, counted in buckets: for `/metrics`, and for the median that a person reads.
//!
//! A time costs a search over twelve bounds and two additions in memory of the caller's own. The bounds are fixed, each
//! about three times the one before, so that a histogram has always the same series. Which thread counts where is the callers' matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of a histogram; times beyond the last one have a bucket of their own.
const BOUNDS: usize = 12;
const BUCKETS: usize = BOUNDS + 1;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// Upper bounds in nanoseconds, each within its bucket.
type Bounds = [u64; BOUNDS];

const OF_A_DECISION: Bounds = steps_from(MICROSECOND);
const OF_ADDED_LATENCY: Bounds = steps_from(10 * MICROSECOND);
const OF_AN_UPSTREAM: Bounds = steps_from(100 * MICROSECOND);

/// What is measured, and with it where the buckets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// A decision about a credential: 1 µs to 300 ms, since keys take microseconds and passwords are hashed.
    Decision,
    /// What the gateway adds to a request: 10 µs to 3 s.
    AddedLatency,
    /// What an upstream takes: 100 µs to 30 s.
    Upstream,
}

impl Measured {
    const fn bounds(self) -> &'static Bounds {
        match self {
            Self::Decision => &OF_A_DECISION,
            Self::AddedLatency => &OF_ADDED_LATENCY,
            Self::Upstream => &OF_AN_UPSTREAM,
        }
    }
}

/// 1, 3, 10, 30 … times `first`.
const fn steps_from(first: u64) -> Bounds {
    [
        first,
        3 * first,
        10 * first,
        30 * first,
        100 * first,
        300 * first,
        1_000 * first,
        3_000 * first,
        10_000 * first,
        30_000 * first,
        100_000 * first,
        300_000 * first,
    ]
}

/// Times that one thread counts and others read. Aligned, so that two threads' counts never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Histogram {
    bounds: &'static Bounds,
    buckets: [AtomicU64; BUCKETS],
    /// In nanoseconds; 584 years fit in.
    sum: AtomicU64,
}

/// What a histogram held when it was read, or several of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    bounds: &'static Bounds,
    buckets: [u64; BUCKETS],
    sum_nanoseconds: u64,
}

/// What was measured, as far as it is known; of times, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// This much.
    Known(u64),
    /// More than this, the last bound of a histogram, and so than all that it knows.
    MoreThan(u64),
}

impl Amount {
    /// What is certain.
    pub const fn at_least(self) -> u64 {
        match self {
            Self::Known(amount) | Self::MoreThan(amount) => amount,
        }
    }
}

impl Histogram {
    /// Nothing was counted yet.
    pub(super) fn new(measured: Measured) -> Self {
        Self { bounds: measured.bounds(), buckets: Default::default(), sum: AtomicU64::new(0) }
    }

    /// It took so long once more.
    pub(super) fn count(&self, took: Duration) {
        self.count_times(took, 1);
    }

    /// It took so long so many times.
    pub(super) fn count_times(&self, took: Duration, times: u32) {
        let nanoseconds = took.as_secs().saturating_mul(SECOND).saturating_add(took.subsec_nanos().into());
        let place = self.bounds.partition_point(|bound| *bound < nanoseconds);
        if let Some(bucket) = self.buckets.get(place) {
            let times = u64::from(times);
            bucket.fetch_add(times, Ordering::Relaxed);
            self.sum.fetch_add(nanoseconds.wrapping_mul(times), Ordering::Relaxed);
        }
    }

    /// Adds what was counted so far to `times`, which are of the same kind.
    pub(super) fn add_to(&self, times: &mut Times) {
        for (all, own) in times.buckets.iter_mut().zip(&self.buckets) {
            *all = all.saturating_add(own.load(Ordering::Relaxed));
        }
        times.sum_nanoseconds = times.sum_nanoseconds.saturating_add(self.sum.load(Ordering::Relaxed));
    }
}

impl Times {
    /// None yet.
    pub(super) const fn none(measured: Measured) -> Self {
        Self { bounds: measured.bounds(), buckets: [0; BUCKETS], sum_nanoseconds: 0 }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }

    /// All of them together, in nanoseconds.
    pub const fn sum_nanoseconds(&self) -> u64 {
        self.sum_nanoseconds
    }

    /// Upper bounds in nanoseconds with the times up to each and above the one before; `None`: no bound.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        self.bounds.iter().copied().map(Some).chain([None]).zip(self.buckets)
    }

    /// Adds `others`, which are of the same kind.
    pub fn add(&mut self, others: &Self) {
        for (all, other) in self.buckets.iter_mut().zip(&others.buckets) {
            *all = all.saturating_add(*other);
        }
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(others.sum_nanoseconds);
    }

    /// Those that came since `before`, which was read earlier.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut new = self.clone();
        for (new, before) in new.buckets.iter_mut().zip(&before.buckets) {
            *new = new.saturating_sub(*before);
        }
        new.sum_nanoseconds = new.sum_nanoseconds.saturating_sub(before.sum_nanoseconds);
        new
    }

    /// The time that `permille` of a thousand did not exceed: 500 is the median. Within a bucket times are taken to be
    /// spread evenly. `None`: there were none.
    pub fn quantile(&self, permille: u64) -> Option<Amount> {
        let rank = self.count().saturating_mul(permille.min(1_000)).div_ceil(1_000).max(1);
        let (mut below, mut lower) = (0_u64, 0_u64);
        for (bound, count) in self.buckets() {
            if count > 0 && below.saturating_add(count) >= rank {
                let Some(upper) = bound else { return Some(Amount::MoreThan(lower)) };
                let width = upper.saturating_sub(lower);
                let share = u128::from(width) * u128::from(rank.saturating_sub(below)) / u128::from(count);
                return Some(Amount::Known(lower.saturating_add(u64::try_from(share).unwrap_or(width))));
            }
            below = below.saturating_add(count);
            lower = bound.unwrap_or(lower);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Measured; 3] = [Measured::Decision, Measured::AddedLatency, Measured::Upstream];

    fn counted(measured: Measured, nanoseconds: &[u64]) -> Times {
        let histogram = Histogram::new(measured);
        for time in nanoseconds {
            histogram.count(Duration::from_nanos(*time));
        }
        let mut times = Times::none(measured);
        histogram.add_to(&mut times);
        times
    }

    #[test]
    fn bounds_rise_and_a_time_on_a_bound_is_within_it() {
        for measured in ALL {
            let bounds = measured.bounds();
            assert!(bounds.is_sorted_by(|one, next| one * 3 <= *next && *next <= one * 4), "{bounds:?}");
            for (place, bound) in bounds.iter().enumerate() {
                let times = counted(measured, &[*bound, bound + 1]);
                let buckets: Vec<u64> = times.buckets().map(|(_, count)| count).collect();
                assert_eq!((buckets[place], buckets[place + 1]), (1, 1), "{bound}");
            }
        }
    }

    #[test]
    fn the_shortest_and_the_longest_time_are_counted_too() {
        let times = counted(Measured::Upstream, &[0, u64::MAX / 4]);
        assert_eq!((times.count(), times.sum_nanoseconds()), (2, u64::MAX / 4));
        assert_eq!(times.quantile(1_000), Some(Amount::MoreThan(30 * SECOND)));
        assert_eq!(times.quantile(500), Some(Amount::Known(100 * MICROSECOND)));
        assert!(times.quantile(1_000) > Some(Amount::Known(30 * SECOND)), "the plots look for the longest");
    }

    #[test]
    fn a_histogram_fills_a_cache_line_of_its_own() {
        assert_eq!(size_of::<Histogram>(), 128);
    }

    #[test]
    fn quantiles_are_found_within_their_bucket() {
        let nothing = Times::none(Measured::Decision);
        assert_eq!(nothing.quantile(500), None);
        // Ten times between 10 and 30 µs: taken to be spread evenly.
        let even = counted(Measured::Decision, &[20 * MICROSECOND; 10]);
        assert_eq!(even.quantile(500), Some(Amount::Known(20 * MICROSECOND)));
        assert_eq!(even.quantile(1_000), Some(Amount::Known(30 * MICROSECOND)));
        let mut slow = vec![MICROSECOND; 98];
        slow.extend([100 * MILLISECOND; 2]);
        let slow = counted(Measured::Decision, &slow);
        assert!(slow.quantile(500).unwrap().at_least() <= MICROSECOND);
        assert!((30 * MILLISECOND..=100 * MILLISECOND).contains(&slow.quantile(990).unwrap().at_least()));
    }

    #[test]
    fn times_are_added_up_and_what_is_new_is_told() {
        let before = counted(Measured::AddedLatency, &[5, 50_000]);
        let mut all = before.clone();
        let new = counted(Measured::AddedLatency, &[50_000, SECOND]);
        all.add(&new);
        assert_eq!(all.since(&before), new);
        assert_eq!(before.since(&all).count(), 0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_in_the_bucket_of_the_time_it_stands_for(
            mut times in proptest::collection::vec(1_u64..40 * SECOND, 1..200), permille in 1_u64..1_000
        ) {
            let found = counted(Measured::Upstream, &times).quantile(permille).unwrap();
            times.sort_unstable();
            let rank = (times.len() * usize::try_from(permille).unwrap()).div_ceil(1_000).max(1);
            let exact = times[rank - 1];
            let bounds = Measured::Upstream.bounds();
            let place = bounds.partition_point(|bound| *bound < exact);
            let lower = if place == 0 { 0 } else { bounds[place - 1] };
            if let Some(upper) = bounds.get(place) {
                prop_assert!((lower..=*upper).contains(&found.at_least()), "{found:?} for {exact}");
                prop_assert_eq!(found, Amount::Known(found.at_least()));
            } else {
                prop_assert_eq!(found, Amount::MoreThan(lower));
            }
        }
    }
}
