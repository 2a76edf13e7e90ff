//! Counts failed credentials by address. Never asked before a key is judged, so it can refuse no valid key.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::model::ClientIp;

/// Failures are counted over this long from the first one (SECURITY S44).
const WINDOW: Duration = Duration::from_mins(10);
/// Addresses that are counted at once; some 40 MiB.
const TRACKED_ADDRESSES: usize = 500_000;
/// How often a full table is searched for windows that are over.
const PRUNE_EVERY: Duration = Duration::from_secs(5);

/// Failures of each address, IPv6 by its /64.
#[derive(Debug)]
pub(super) struct FailureThrottle {
    limit: AtomicU32,
    addresses: DashMap<IpAddr, Window>,
    pruned_at: Mutex<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    failures: u32,
    began: Instant,
}

impl FailureThrottle {
    /// Allows `limit` failures a window; 0: any number.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.into(), addresses: DashMap::new(), pruned_at: Mutex::new(Instant::now()) }
    }

    /// Allows `limit` failures a window from now on, those that are counted included.
    pub(super) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Counts a failure; seconds to wait once there were too many.
    pub(super) fn record_failure(&self, client_ip: ClientIp) -> Option<NonZeroU32> {
        let limit = self.limit();
        if limit == 0 {
            return None;
        }
        let prefix = client_ip.throttle_prefix();
        if self.addresses.len() >= TRACKED_ADDRESSES && !self.addresses.contains_key(&prefix) {
            self.prune();
            if self.addresses.len() >= TRACKED_ADDRESSES {
                return None;
            }
        }
        let now = Instant::now();
        let mut window = self.addresses.entry(prefix).or_insert(Window { failures: 0, began: now });
        if now.duration_since(window.began) >= WINDOW {
            *window = Window { failures: 0, began: now };
        }
        window.failures = window.failures.saturating_add(1);
        wait_of(*window, now, limit)
    }

    /// Seconds to wait, where the address has used its failures up.
    pub(super) fn wait(&self, client_ip: ClientIp) -> Option<NonZeroU32> {
        let limit = self.limit();
        if limit == 0 {
            return None;
        }
        let window = *self.addresses.get(&client_ip.throttle_prefix())?;
        wait_of(window, Instant::now(), limit.saturating_sub(1))
    }

    fn prune(&self) {
        let now = Instant::now();
        let Ok(mut pruned_at) = self.pruned_at.try_lock() else { return };
        if now.duration_since(*pruned_at) >= PRUNE_EVERY {
            *pruned_at = now;
            self.addresses.retain(|_, window| now.duration_since(window.began) < WINDOW);
        }
    }
}

/// Seconds left of a window with more than `allowed` failures.
fn wait_of(window: Window, now: Instant, allowed: u32) -> Option<NonZeroU32> {
    let left = WINDOW.checked_sub(now.duration_since(window.began)).filter(|left| !left.is_zero())?;
    (window.failures > allowed)
        .then(|| u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
        .and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> ClientIp {
        ClientIp::new(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn s44_an_address_is_told_to_wait_once_its_failures_are_used_up() {
        let throttle = FailureThrottle::new(3);
        for _ in 0..3 {
            assert_eq!(throttle.wait(ip("192.0.2.1")), None);
            assert_eq!(throttle.record_failure(ip("192.0.2.1")), None);
        }
        assert!(throttle.wait(ip("192.0.2.1")).is_some());
        assert_eq!(throttle.record_failure(ip("192.0.2.1")).unwrap().get(), 601);
        assert_eq!(throttle.wait(ip("192.0.2.2")), None, "another address is not touched");
        throttle.set_limit(5);
        assert_eq!(throttle.wait(ip("192.0.2.1")), None, "a higher limit counts at once");
        throttle.set_limit(3);
        assert!(throttle.wait(ip("192.0.2.1")).is_some());
        tokio::time::advance(WINDOW).await;
        assert_eq!(throttle.wait(ip("192.0.2.1")), None);
        assert_eq!(throttle.record_failure(ip("192.0.2.1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn s45_ipv6_is_counted_by_its_64_and_zero_counts_nothing() {
        let throttle = FailureThrottle::new(1);
        throttle.record_failure(ip("2001:db8::1"));
        assert!(throttle.wait(ip("2001:db8::ffff")).is_some());
        assert!(throttle.wait(ip("2001:db8:0:1::1")).is_none());
        let off = FailureThrottle::new(0);
        assert_eq!(off.record_failure(ip("192.0.2.1")), None);
        assert_eq!(off.wait(ip("192.0.2.1")), None);
    }
}
