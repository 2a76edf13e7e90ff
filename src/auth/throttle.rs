//! Counts failed credentials by address, and failed passwords by user name, so that nobody guesses for long.
//!
//! An address has a number of failures free in ten minutes. A user name has a few free, then a delay that doubles from
//! a second to five minutes. Names are counted as they were sent, whether there is such a user or not. Only passwords
//! are refused for either, before they are hashed; a key is judged first, so no valid one is ever refused here. Called
//! by `authenticator`; docs/decisions/0013 says why it is as it is.

mod table;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use self::table::{Rule, TICKS_PER_SECOND, Table, Tally, Tick};
use super::decision::{Denial, DenialReason, Refusal};
use super::shared_failures::SharedCount;
use crate::config::Limits;
use crate::crypto::DigestKey;
use crate::model::ClientIp;
use crate::store::FailureCount;

/// Failures of an address are counted over this long from the first one (SECURITY S44).
const ADDRESS_WINDOW: Tick = 600 * TICKS_PER_SECOND;
/// A user name's first delay; each further failure doubles it.
const FIRST_DELAY: Tick = TICKS_PER_SECOND;
/// A user name's longest delay.
const LONGEST_DELAY: Tick = 300 * TICKS_PER_SECOND;
/// A user name that failed is forgotten after this long without another failure.
const NAME_QUIET: Tick = 1_800 * TICKS_PER_SECOND;
/// With these, 2 million addresses take 34 MB and 1 million names 17 MB, and never more (SECURITY S45: 64 MiB).
const ADDRESSES_PER_SET: usize = 128;
const NAMES_PER_SET: usize = 64;

/// Failures of each address (IPv6 by its /64) and of each user name.
#[derive(Debug)]
pub(super) struct FailureThrottle {
    addresses: Table<PerAddress>,
    names: Table<PerName>,
    /// The process's own: nobody can choose an address or a name that is counted as another's.
    key: DigestKey,
    began: Instant,
}

/// A password that was counted as failed before it is hashed, so that many at once are not all hashed.
///
/// Dropped, it stays counted: the password was wrong, or whoever sent it has gone.
#[derive(Debug)]
pub(super) struct CountedPassword<'t> {
    throttle: &'t FailureThrottle,
    client_ip: ClientIp,
    name: &'t str,
    shared: Option<SharedCount>,
}

impl FailureThrottle {
    /// Nothing counted yet; a limit of 0 counts nothing. `key` is to be random.
    pub(super) fn new(limits: &Limits, key: DigestKey) -> Self {
        let throttle = Self {
            addresses: Table::new(PerAddress::default(), ADDRESSES_PER_SET),
            names: Table::new(PerName::default(), NAMES_PER_SET),
            key,
            began: Instant::now(),
        };
        throttle.set_limits(limits);
        throttle
    }

    /// Allows what `limits` say from now on; what is counted already stays counted.
    pub(super) fn set_limits(&self, limits: &Limits) {
        self.addresses.rule().limit.store(limits.failed_credentials_per_address, Ordering::Relaxed);
        self.names.rule().free.store(limits.failed_passwords_per_user, Ordering::Relaxed);
    }

    /// Counts a credential that was judged and failed; seconds to wait where too many failed before it.
    pub(super) fn count_failure(&self, client_ip: ClientIp) -> Option<NonZeroU32> {
        if self.addresses.rule().is_off() {
            return None;
        }
        self.addresses.count(self.address_key(client_ip), self.now()).err().map(seconds)
    }

    /// Refuses a password that must wait. Nothing is counted.
    pub(super) fn admit_password(&self, client_ip: ClientIp, name: &str) -> Result<(), Denial> {
        let now = self.now();
        if let Some(wait) = self.addresses.wait(self.address_key(client_ip), now) {
            return Err(denial(wait, DenialReason::TooManyFailures));
        }
        let wait = self.names.wait(self.name_key(name), now);
        wait.map_or(Ok(()), |wait| Err(denial(wait, DenialReason::UserThrottled)))
    }

    /// Refuses a password that must wait, and counts any other as failed until it has proved right.
    pub(super) fn count_password<'t>(
        &'t self,
        client_ip: ClientIp,
        name: &'t str,
    ) -> Result<CountedPassword<'t>, Denial> {
        let counted = self.addresses.count(self.address_key(client_ip), self.now());
        counted.map_err(|wait| denial(wait, DenialReason::TooManyFailures))?;
        if let Err(wait) = self.names.count(self.name_key(name), self.now()) {
            self.take_back_address(client_ip);
            return Err(denial(wait, DenialReason::UserThrottled));
        }
        Ok(CountedPassword { throttle: self, client_ip, name, shared: None })
    }

    /// The limits by which passwords are counted for all gateways; `None` where nothing is counted.
    pub(super) fn shared_rules(&self) -> Option<SharedRules> {
        let (addresses, names) = (self.addresses.rule(), self.names.rule());
        let rules = SharedRules {
            failed_credentials_per_address: addresses.limit.load(Ordering::Relaxed),
            failed_passwords_per_user: names.free.load(Ordering::Relaxed),
        };
        (!addresses.is_off() || !names.is_off()).then_some(rules)
    }

    /// A password for `name` let in: what failed before is forgotten.
    pub(super) fn forget_name(&self, name: &str) {
        self.names.forget(self.name_key(name));
    }

    fn take_back_address(&self, client_ip: ClientIp) {
        self.addresses.take_back(self.address_key(client_ip));
    }

    fn address_key(&self, client_ip: ClientIp) -> u64 {
        match client_ip.throttle_prefix() {
            IpAddr::V4(address) => self.short_digest(&address.octets()),
            IpAddr::V6(address) => self.short_digest(&address.octets()),
        }
    }

    fn name_key(&self, name: &str) -> u64 {
        self.short_digest(name.as_bytes())
    }

    fn short_digest(&self, text: &[u8]) -> u64 {
        self.key.digest(text).0.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    fn now(&self) -> Tick {
        let ticks = self.began.elapsed().as_millis() * u128::from(TICKS_PER_SECOND) / 1_000;
        Tick::try_from(ticks).unwrap_or(Tick::MAX)
    }
}

impl CountedPassword<'_> {
    /// It is counted in a shared store too.
    pub(super) fn also_in_the_store(self, count: SharedCount) -> Self {
        Self { shared: Some(count), ..self }
    }

    /// It let in: it is no failure of the address, and what failed before for the name is forgotten.
    pub(super) fn let_in(self) {
        self.throttle.take_back_address(self.client_ip);
        self.throttle.forget_name(self.name);
        if let Some(shared) = self.shared {
            shared.take_back(true);
        }
    }

    /// It was not hashed after all: it is no failure.
    pub(super) fn not_hashed(self) {
        self.throttle.take_back_address(self.client_ip);
        self.throttle.names.take_back(self.throttle.name_key(self.name));
        if let Some(shared) = self.shared {
            shared.take_back(false);
        }
    }
}

/// The limits that hold for all gateways of a shared store; 0: nothing is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedRules {
    failed_credentials_per_address: u32,
    failed_passwords_per_user: u32,
}

/// From where ticks of a shared store are counted: 2026-01-01T00:00:00Z, in milliseconds since 1970.
const SHARED_TICKS_BEGAN: i64 = 1_767_225_600_000;
const MILLISECONDS_PER_TICK: i64 = 1_000 / TICKS_PER_SECOND as i64;

/// Counts a password of an address and for a name as failed, unless either must wait, by the same rules as one gateway
/// does. Times are the store's, in milliseconds since 1970.
pub(super) fn judge_shared(
    rules: SharedRules,
    [address, name]: [FailureCount; 2],
    now_milliseconds: i64,
) -> Result<[FailureCount; 2], Denial> {
    let addresses = PerAddress { limit: AtomicU32::new(rules.failed_credentials_per_address) };
    let names = PerName { free: AtomicU32::new(rules.failed_passwords_per_user) };
    let address = count_shared(&addresses, address, now_milliseconds, DenialReason::TooManyFailures)?;
    let name = count_shared(&names, name, now_milliseconds, DenialReason::UserThrottled)?;
    Ok([address, name])
}

fn count_shared(
    rule: &impl Rule,
    known: FailureCount,
    now: i64,
    reason: DenialReason,
) -> Result<FailureCount, Denial> {
    if rule.is_off() {
        return Ok(known);
    }
    let tick = |milliseconds: i64| {
        let ticks = milliseconds.saturating_sub(SHARED_TICKS_BEGAN).div_euclid(MILLISECONDS_PER_TICK);
        Tick::try_from(ticks.max(0)).unwrap_or(Tick::MAX)
    };
    let tally = Tally { failures: known.failures, at: tick(known.at) };
    if let Some(wait) = rule.wait(tally, tick(now)) {
        return Err(denial(wait, reason));
    }
    let Tally { failures, at } = rule.counted(tally, tick(now));
    let at = SHARED_TICKS_BEGAN.saturating_add(i64::from(at).saturating_mul(MILLISECONDS_PER_TICK));
    Ok(FailureCount { failures, at })
}

/// So many failures in [`ADDRESS_WINDOW`] from the first; then none until it is over.
#[derive(Debug, Default)]
struct PerAddress {
    limit: AtomicU32,
}

impl Rule for PerAddress {
    fn is_off(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == 0
    }

    fn counted(&self, tally: Tally, now: Tick) -> Tally {
        if self.is_forgotten(tally, now) {
            return Tally { failures: 1, at: now };
        }
        Tally { failures: tally.failures.saturating_add(1), at: tally.at }
    }

    fn wait(&self, tally: Tally, now: Tick) -> Option<Tick> {
        (tally.failures >= self.limit.load(Ordering::Relaxed))
            .then(|| left(tally.at, ADDRESS_WINDOW, now))
            .flatten()
    }

    fn is_forgotten(&self, tally: Tally, now: Tick) -> bool {
        tally.failures == 0 || left(tally.at, ADDRESS_WINDOW, now).is_none()
    }
}

/// So many failures without a delay; then each must wait longer, from the last one on.
#[derive(Debug, Default)]
struct PerName {
    free: AtomicU32,
}

impl Rule for PerName {
    fn is_off(&self) -> bool {
        self.free.load(Ordering::Relaxed) == 0
    }

    fn counted(&self, tally: Tally, now: Tick) -> Tally {
        let before = if self.is_forgotten(tally, now) { 0 } else { tally.failures };
        Tally { failures: before.saturating_add(1), at: now }
    }

    fn wait(&self, tally: Tally, now: Tick) -> Option<Tick> {
        let beyond = tally.failures.checked_sub(self.free.load(Ordering::Relaxed))?;
        let delay = 1_u32
            .checked_shl(beyond)
            .map_or(LONGEST_DELAY, |factor| FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY));
        left(tally.at, delay, now)
    }

    fn is_forgotten(&self, tally: Tally, now: Tick) -> bool {
        tally.failures == 0 || left(tally.at, NAME_QUIET, now).is_none()
    }
}

/// What is left at `now` of `span` from `began` on.
fn left(began: Tick, span: Tick, now: Tick) -> Option<Tick> {
    began.saturating_add(span).checked_sub(now).filter(|left| *left > 0)
}

fn denial(wait: Tick, reason: DenialReason) -> Denial {
    Denial::new(Refusal::TooManyFailures { retry_after_seconds: seconds(wait) }, reason)
}

/// Whole seconds, never too few.
fn seconds(wait: Tick) -> NonZeroU32 {
    NonZeroU32::new(wait.div_ceil(TICKS_PER_SECOND)).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> ClientIp {
        ClientIp::new(text.parse().unwrap())
    }

    fn throttle(per_address: u32, per_user: u32) -> FailureThrottle {
        let limits = Limits {
            failed_credentials_per_address: per_address,
            failed_passwords_per_user: per_user,
            ..Limits::default()
        };
        FailureThrottle::new(&limits, DigestKey::new([3; 32]))
    }

    /// Seconds to wait; 0: admitted.
    fn wait(throttle: &FailureThrottle, address: &str, name: &str) -> u32 {
        throttle.admit_password(ip(address), name).map_or_else(retry_after, |()| 0)
    }

    fn retry_after(denial: Denial) -> u32 {
        match denial.refusal {
            Refusal::TooManyFailures { retry_after_seconds } => retry_after_seconds.get(),
            other => panic!("{other:?}"),
        }
    }

    /// A wrong password; seconds to wait instead, 0: it was evaluated.
    fn fail(throttle: &FailureThrottle, address: &str, name: &str) -> u32 {
        throttle.count_password(ip(address), name).map_or_else(retry_after, |_| 0)
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[test]
    fn s44_what_is_counted_for_all_gateways_follows_the_same_rules() {
        let rules = SharedRules { failed_credentials_per_address: 3, failed_passwords_per_user: 2 };
        let now = SHARED_TICKS_BEGAN + 86_400_000;
        let mut known = [FailureCount::default(); 2];
        for at in [now, now + 100] {
            known = judge_shared(rules, known, at).unwrap();
        }
        assert_eq!(known.map(|count| (count.failures, count.at)), [(2, now), (2, now + 100)]);
        let refused = judge_shared(rules, known, now + 1_000).unwrap_err();
        assert_eq!((refused.reason, retry_after(refused)), (DenialReason::UserThrottled, 1));
        known = judge_shared(rules, known, now + 1_200).unwrap();
        let elsewhere = judge_shared(rules, [known[0], FailureCount::default()], now + 1_200).unwrap_err();
        assert_eq!((elsewhere.reason, retry_after(elsewhere)), (DenialReason::TooManyFailures, 599));
        let other_address = [FailureCount::default(), known[1]];
        assert_eq!(retry_after(judge_shared(rules, other_address, now + 1_200).unwrap_err()), 2);
        assert!(judge_shared(rules, known, now + 2_000_000).is_ok(), "long ago");
        let off = SharedRules { failed_credentials_per_address: 0, failed_passwords_per_user: 0 };
        assert_eq!(judge_shared(off, known, now + 1_200).unwrap(), known);
    }

    #[tokio::test(start_paused = true)]
    async fn s44_an_address_is_told_to_wait_once_its_failures_are_used_up() {
        let throttle = throttle(3, 0);
        for _ in 0..3 {
            assert_eq!(wait(&throttle, "192.0.2.1", "a"), 0);
            assert_eq!(throttle.count_failure(ip("192.0.2.1")), None);
        }
        assert_eq!(wait(&throttle, "192.0.2.1", "a"), 600);
        pass(599).await;
        assert_eq!(throttle.count_failure(ip("192.0.2.1")).unwrap().get(), 1);
        assert_eq!(wait(&throttle, "192.0.2.2", "a"), 0, "another address is not touched");
        pass(1).await;
        assert_eq!(wait(&throttle, "192.0.2.1", "a"), 0);
        assert_eq!(throttle.count_failure(ip("192.0.2.1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn s44_of_passwords_at_once_no_more_are_hashed_than_one_after_the_other() {
        let throttle = throttle(5, 3);
        let at_once: Vec<_> =
            (0..20).filter_map(|_| throttle.count_password(ip("192.0.2.1"), "acme/alex").ok()).collect();
        assert_eq!(at_once.len(), 3, "the name's");
        let others: Vec<_> =
            (0..20).filter_map(|_| throttle.count_password(ip("192.0.2.1"), "acme/other").ok()).collect();
        assert_eq!(others.len(), 2, "what the address has left; what the name refused was not counted");
    }

    #[tokio::test(start_paused = true)]
    async fn s44_a_right_password_is_no_failure_of_its_address_and_frees_its_name() {
        let throttle = throttle(4, 3);
        for _ in 0..50 {
            throttle.count_password(ip("192.0.2.1"), "acme/alex").unwrap().let_in();
        }
        assert_eq!(
            [fail(&throttle, "192.0.2.1", "acme/alex"), fail(&throttle, "192.0.2.1", "acme/alex")],
            [0; 2]
        );
        throttle.count_password(ip("192.0.2.2"), "acme/alex").unwrap().let_in();
        assert_eq!(
            [fail(&throttle, "192.0.2.3", "acme/alex"), fail(&throttle, "192.0.2.3", "acme/alex")],
            [0; 2]
        );
        assert_eq!([fail(&throttle, "192.0.2.1", "b"), fail(&throttle, "192.0.2.1", "c")], [0; 2]);
        assert_eq!(fail(&throttle, "192.0.2.1", "d"), 600, "the address' own failures stay");
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_was_not_hashed_is_no_failure() {
        let throttle = throttle(2, 2);
        for _ in 0..10 {
            throttle.count_password(ip("192.0.2.1"), "acme/alex").unwrap().not_hashed();
        }
        assert_eq!(wait(&throttle, "192.0.2.1", "acme/alex"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn s44_a_names_delay_doubles_from_a_second_to_five_minutes() {
        let throttle = throttle(0, 3);
        assert_eq!([(); 3].map(|()| fail(&throttle, "192.0.2.1", "acme/alex")), [0; 3]);
        for delay in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
            // From whichever address; what is refused is not counted, so it makes nothing longer.
            assert_eq!(fail(&throttle, "192.0.2.2", "acme/alex"), delay);
            assert_eq!(wait(&throttle, "192.0.2.3", "acme/alex"), delay);
            assert_eq!(wait(&throttle, "192.0.2.2", "acme/other"), 0);
            pass(delay.into()).await;
            assert_eq!(wait(&throttle, "192.0.2.1", "acme/alex"), 0);
            assert_eq!(fail(&throttle, "192.0.2.1", "acme/alex"), 0);
        }
        pass(1_799).await;
        assert_eq!(
            [fail(&throttle, "192.0.2.1", "acme/alex"), wait(&throttle, "192.0.2.1", "acme/alex")],
            [0, 300]
        );
        pass(1_800).await;
        assert_eq!([(); 3].map(|()| fail(&throttle, "192.0.2.1", "acme/alex")), [0; 3], "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn s45_ipv6_is_counted_by_its_64_and_zero_counts_nothing() {
        let one = throttle(1, 0);
        one.count_failure(ip("2001:db8::1"));
        assert_eq!(wait(&one, "2001:db8::ffff", "a"), 600);
        assert_eq!(wait(&one, "2001:db8:0:1::1", "a"), 0);
        let off = throttle(0, 0);
        for _ in 0..1_000 {
            assert_eq!(off.count_failure(ip("192.0.2.1")), None);
            assert_eq!(fail(&off, "192.0.2.1", "acme/alex"), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_at_once_for_what_is_counted_already() {
        let throttle = throttle(2, 0);
        let set = |per_address, per_user| {
            throttle.set_limits(&Limits {
                failed_credentials_per_address: per_address,
                failed_passwords_per_user: per_user,
                ..Limits::default()
            });
        };
        assert_eq!([(); 2].map(|()| fail(&throttle, "192.0.2.1", "acme/alex")), [0; 2]);
        assert_eq!(wait(&throttle, "192.0.2.1", "acme/alex"), 600);
        set(3, 1);
        assert_eq!(wait(&throttle, "192.0.2.1", "acme/alex"), 0);
        assert_eq!(fail(&throttle, "192.0.2.1", "acme/alex"), 0);
        assert_eq!(wait(&throttle, "192.0.2.2", "acme/alex"), 1);
        set(0, 0);
        assert_eq!(wait(&throttle, "192.0.2.1", "acme/alex"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn s45_one_password_for_very_many_names_is_refused_by_address() {
        let throttle = throttle(100, 10);
        let evaluated =
            (0..10_000).filter(|n| fail(&throttle, "192.0.2.1", &format!("acme/user{n}")) == 0).count();
        assert_eq!(evaluated, 100);
    }

    #[test]
    fn s45_a_million_addresses_and_half_a_million_names_take_less_than_64_mib() {
        let addresses = table::bytes_with(PerAddress { limit: 100.into() }, ADDRESSES_PER_SET, 1_000_000);
        let names = table::bytes_with(PerName { free: 10.into() }, NAMES_PER_SET, 500_000);
        assert!((24_000_000..48_000_000).contains(&(addresses + names)), "{addresses} and {names} bytes");
        // However many come, there are no more slots.
        let bound = table::bytes_with(PerAddress { limit: 1.into() }, ADDRESSES_PER_SET, 50_000_000)
            + table::bytes_with(PerName { free: 1.into() }, NAMES_PER_SET, 50_000_000);
        assert!(bound < 64 * 1_048_576, "{bound} bytes");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_too_short() {
        for (ticks, expected) in [(1, 1), (9, 1), (10, 1), (11, 2), (6_000, 600)] {
            assert_eq!(seconds(ticks).get(), expected, "{ticks}");
        }
    }
}
