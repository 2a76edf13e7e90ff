//! How many requests a key may make: so many a second, with a burst (the generic cell rate algorithm).
//!
//! All that is kept of a key is one number in its index entry: the moment at which the key will have its whole burst
//! again, in nanoseconds since the limit's start; 0 for a key that was never used. It is moved by one compare and
//! swap, so the limit is exact however many threads ask. Who counts what is `authenticator`'s; on tokio's clock.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::decision::{Denial, DenialReason, Refusal};
use crate::config::Limits;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// The limit of every key, which may be changed while it is asked.
#[derive(Debug)]
pub(super) struct RateLimit {
    /// Requests a second in the upper half, 0: no limit; the burst in the lower. One number, so that nobody sees half a
    /// change.
    terms: AtomicU64,
    began: Instant,
}

/// A limit, as requests are counted by it.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// From one request to the next in the long run; rounded up, so that never too many are let through.
    interval_nanoseconds: u64,
    burst: u32,
}

/// What the terms were and are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TermsChange {
    /// The same.
    Same,
    /// Others: what was counted by the former ones means nothing any more.
    Other,
}

/// What a key has left of its limit (`RateLimit-*` of draft-ietf-httpapi-ratelimit-headers-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests that may come at once after a rest.
    pub limit: u32,
    /// Requests that may come now.
    pub remaining: u32,
    /// Seconds until `remaining` is `limit` again, if nothing is asked; rounded up.
    pub reset_seconds: u32,
}

impl RateLimit {
    /// The limit of every key.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { terms: AtomicU64::new(packed(limits)), began: Instant::now() }
    }

    /// Limits keys by `limits` from now on.
    pub(super) fn set_limits(&self, limits: &Limits) -> TermsChange {
        let terms = packed(limits);
        if self.terms.swap(terms, Ordering::Relaxed) == terms {
            TermsChange::Same
        } else {
            TermsChange::Other
        }
    }

    /// Is there a limit at all?
    pub(super) fn is_on(&self) -> bool {
        self.terms.load(Ordering::Relaxed) != 0
    }

    /// Takes a request of the key whose number is `meter`, or refuses it and takes nothing; `None`: no limit any more.
    pub(super) fn take(&self, meter: &AtomicU64) -> Result<Option<Quota>, Denial> {
        let Some(terms) = self.terms() else { return Ok(None) };
        let now = self.now();
        let taken = meter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = terms.after_one_more(full_at, now);
            (next.saturating_sub(now) <= terms.burst_nanoseconds()).then_some(next)
        });
        match taken {
            Ok(full_at) => Ok(Some(terms.quota(terms.after_one_more(full_at, now), now))),
            Err(full_at) => Err(terms.refusal(full_at, now)),
        }
    }

    /// Takes a request of the key whose number is `meter`, the next that may come; how long until then.
    pub(super) fn take_in_turn(&self, meter: &AtomicU64) -> Duration {
        let Some(terms) = self.terms() else { return Duration::ZERO };
        let now = self.now();
        let taken = meter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(terms.after_one_more(full_at, now))
        });
        let (Ok(full_at) | Err(full_at)) = taken;
        let ahead = terms.after_one_more(full_at, now).saturating_sub(now);
        Duration::from_nanos(ahead.saturating_sub(terms.burst_nanoseconds()))
    }

    fn terms(&self) -> Option<Terms> {
        let packed = self.terms.load(Ordering::Relaxed);
        let per_second = NonZeroU64::new(packed >> 32)?;
        let burst = u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Some(Terms { interval_nanoseconds: NANOSECONDS_PER_SECOND.div_ceil(per_second.get()), burst })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// `limits` as one number; 0: no limit.
fn packed(limits: &Limits) -> u64 {
    let per_second = limits.requests_per_second_per_key;
    let burst = if limits.request_burst_per_key == 0 { per_second } else { limits.request_burst_per_key };
    if per_second == 0 { 0 } else { u64::from(per_second) << 32 | u64::from(burst) }
}

impl Terms {
    fn after_one_more(self, full_at: u64, now: u64) -> u64 {
        full_at.max(now).saturating_add(self.interval_nanoseconds)
    }

    fn burst_nanoseconds(self) -> u64 {
        self.interval_nanoseconds.saturating_mul(self.burst.into())
    }

    fn quota(self, full_at: u64, now: u64) -> Quota {
        let ahead = full_at.saturating_sub(now);
        let remaining = self.burst_nanoseconds().saturating_sub(ahead) / self.interval_nanoseconds;
        Quota {
            limit: self.burst,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_seconds: whole_seconds(ahead),
        }
    }

    fn refusal(self, full_at: u64, now: u64) -> Denial {
        let ahead = self.after_one_more(full_at, now).saturating_sub(now);
        let wait = whole_seconds(ahead.saturating_sub(self.burst_nanoseconds()));
        let refusal = Refusal::TooManyRequests {
            quota: self.quota(full_at, now),
            retry_after_seconds: NonZeroU32::new(wait).unwrap_or(NonZeroU32::MIN),
        };
        Denial::new(refusal, DenialReason::TooManyRequests)
    }
}

fn whole_seconds(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds.div_ceil(NANOSECONDS_PER_SECOND)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(requests_per_second_per_key: u32, request_burst_per_key: u32) -> Limits {
        Limits { requests_per_second_per_key, request_burst_per_key, ..Limits::default() }
    }

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit::new(&limits(per_second, burst))
    }

    fn quota(limit: u32, remaining: u32, reset_seconds: u32) -> Quota {
        Quota { limit, remaining, reset_seconds }
    }

    fn refused(quota: Quota, retry_after_seconds: u32) -> Denial {
        let retry_after_seconds = NonZeroU32::new(retry_after_seconds).unwrap();
        let refusal = Refusal::TooManyRequests { quota, retry_after_seconds };
        Denial::new(refusal, DenialReason::TooManyRequests)
    }

    async fn pass(milliseconds: u64) {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_at_once_and_comes_back_at_its_rate() {
        let limit = limit(2, 4);
        let meter = AtomicU64::new(0);
        for (remaining, reset) in [(3, 1), (2, 1), (1, 2), (0, 2)] {
            assert_eq!(limit.take(&meter), Ok(Some(quota(4, remaining, reset))));
        }
        assert_eq!(limit.take(&meter), Err(refused(quota(4, 0, 2), 1)));
        pass(499).await;
        assert_eq!(limit.take(&meter), Err(refused(quota(4, 0, 2), 1)));
        pass(1).await;
        assert_eq!(limit.take(&meter), Ok(Some(quota(4, 0, 2))));
        pass(60_000).await;
        assert_eq!(limit.take(&meter), Ok(Some(quota(4, 3, 1))), "a rest gives no more than the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit_and_a_burst_of_zero_is_a_seconds_worth() {
        let none = limit(0, 7);
        let meter = AtomicU64::new(0);
        assert!(!none.is_on());
        assert_eq!((none.take(&meter), none.take_in_turn(&meter)), (Ok(None), Duration::ZERO));
        assert_eq!(meter.load(Ordering::Relaxed), 0);
        let limit = limit(3, 0);
        assert_eq!((0..10).filter(|_| limit.take(&meter).is_ok()).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn in_turn_each_request_is_due_an_interval_after_the_one_before() {
        let limit = limit(10, 2);
        let meter = AtomicU64::new(0);
        let waits: Vec<u128> = (0..5).map(|_| limit.take_in_turn(&meter).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200, 300]);
        assert!(limit.take(&meter).is_err(), "whoever waits in turn is before whoever does not");
        pass(400).await;
        assert_eq!(limit.take(&meter).unwrap().unwrap().remaining, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_from_the_next_request_on() {
        let limit = limit(0, 0);
        let meter = AtomicU64::new(0);
        assert_eq!(limit.set_limits(&limits(1, 5)), TermsChange::Other);
        assert_eq!(limit.set_limits(&limits(1, 5)), TermsChange::Same);
        assert_eq!(limit.take(&meter), Ok(Some(quota(5, 4, 1))));
        assert_eq!(limit.set_limits(&limits(1, 0)), TermsChange::Other);
        assert!(limit.take(&meter).is_err());
        assert_eq!(limit.set_limits(&limits(0, 0)), TermsChange::Other);
        assert_eq!(limit.take(&meter), Ok(None));
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let _guard = runtime.as_ref().unwrap().enter();
        let limit = limit(1, 1_000);
        let meter = AtomicU64::new(0);
        // At one a second nothing comes back while they ask.
        let taken: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| limit.take(&meter).is_ok()).count()))
                .collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1_000..=1_001).contains(&taken), "{taken}");
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_times_time_is_admitted(
            per_second in 1_u32..5_000,
            burst in 1_u32..50,
            asked in proptest::collection::vec((0_u64..2_000_000_000, any::<bool>()), 1..300),
        ) {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let outcome: Result<(), TestCaseError> = runtime.block_on(async {
                let limit = limit(per_second, burst);
                let meter = AtomicU64::new(0);
                let start = Instant::now();
                // When each admitted request was due, in nanoseconds.
                let mut admitted = Vec::new();
                for (pause, in_turn) in asked {
                    // Most requests come close together.
                    tokio::time::advance(Duration::from_nanos(pause / u64::from(per_second))).await;
                    let now = start.elapsed().as_nanos();
                    if in_turn {
                        admitted.push(now + limit.take_in_turn(&meter).as_nanos());
                    } else if limit.take(&meter).is_ok() {
                        admitted.push(now);
                    }
                }
                admitted.sort_unstable();
                for (first, from) in admitted.iter().enumerate() {
                    for (until, count) in admitted[first..].iter().zip(1_u128..) {
                        let allowed = u128::from(burst) + (until - from) * u128::from(per_second) / 1_000_000_000;
                        prop_assert!(count <= allowed, "{count} in {} ns", until - from);
                    }
                }
                Ok(())
            });
            outcome?;
        }
    }
}
