//! What the doors count of each credential: requests, refusals, and the addresses that were let in last.
//!
//! Each thread counts in tables of its own and reads no clock for it, so that the hot path gains nothing that threads
//! share: a table's lock is taken by its thread and, for as long as it takes to swap the table, by
//! [`UsageMeter::collect`] every few seconds. The thread never waits for it: of its two tables `collect` holds one at
//! most, and the thread counts in the other. Who was let in is noted in a row at first, and looked up some dozens at a
//! time: one by one each would wait for memory, and together they wait at once. That allocates only where a credential
//! is the first of a table that has grown beyond its last size. What is not used takes no memory, so that the index
//! need not grow by a counter a key. Called by `authenticator`; `app::usage` collects and writes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use thread_local::ThreadLocal;

use super::decision::{Denial, Permit};
use crate::model::{ClientIp, Membership, Recognised, Service};

/// Credentials that a thread counts between two collections, in each table; of others nothing is known but their
/// number. Some 8 MiB a table, for as long as so many are in use.
const CREDENTIALS_AT_ONCE: usize = 65_536;
/// Addresses of a credential that are remembered between two collections.
const ADDRESSES_AT_ONCE: usize = 4;

/// Admissions that are looked up together.
const LOOKED_UP_TOGETHER: usize = 64;

/// Counts on every thread, beside the others.
#[derive(Debug, Default)]
pub(super) struct UsageMeter {
    lanes: ThreadLocal<[Half; 2]>,
    uncounted: AtomicU64,
}

/// One of a thread's two tables.
#[derive(Debug, Default)]
struct Half {
    counted: Mutex<Counted>,
    /// Credentials that it held at the last collection: the next one will hold about as many.
    expected: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counted {
    table: Table,
    /// What is still to be looked up, in the order in which it came.
    admissions: Vec<Admission>,
    /// Requests and refusals that there was no place to count for.
    uncounted: u64,
}

/// Requests that a credential was let in for.
#[derive(Clone, Copy, Debug)]
struct Admission {
    whose: Recognised,
    membership: Membership,
    service: Service,
    client_ip: ClientIp,
    requests: u32,
}

/// Its keys are ours, not a peer's, and need no slower hash.
type Table = HashMap<(Recognised, Service), Counts, foldhash::fast::FixedState>;

#[derive(Clone, Copy, Debug)]
struct Counts {
    /// Of whom the credential is: it may be deleted before anybody can ask.
    membership: Membership,
    requests: u32,
    refusals: u32,
    /// From where it was let in, the latest first.
    addresses: [Option<ClientIp>; ADDRESSES_AT_ONCE],
}

/// What one credential did at one door between two collections. One credential may come several times, once a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedUse {
    /// Whose credential it was.
    pub whose: Recognised,
    /// Of whom it was.
    pub membership: Membership,
    /// At which door.
    pub service: Service,
    /// Requests that were let in: of the API, or `IS` lines.
    pub requests: u32,
    /// Requests and logins that were refused.
    pub refusals: u32,
    addresses: [Option<ClientIp>; ADDRESSES_AT_ONCE],
}

impl CountedUse {
    /// From where it was let in, the latest first; some of them.
    pub fn addresses(&self) -> impl Iterator<Item = ClientIp> {
        self.addresses.into_iter().flatten()
    }
}

/// What was counted between two collections.
#[derive(Debug)]
pub struct CollectedUsage {
    /// By thread, credential and door.
    pub uses: Vec<CountedUse>,
    /// Requests and refusals that there was no place to count for.
    pub uncounted: u64,
}

impl UsageMeter {
    /// A credential was let in. At `IsProxy` its requests count, and not what logs in for them.
    pub(super) fn count_admission(&self, permit: &Permit) {
        match permit.service() {
            Service::Api => self.count_requests(permit, 1),
            Service::IsProxy => self.count_requests(permit, 0),
        }
    }

    /// So many requests were let in.
    pub(super) fn count_requests(&self, permit: &Permit, requests: u32) {
        let (whose, membership) = (permit.recognised(), permit.user().membership());
        let (service, client_ip) = (permit.service(), permit.client_ip());
        self.count(|counted| {
            counted.admit(Admission { whose, membership, service, client_ip, requests });
        });
    }

    /// A credential was refused; one that nobody knows is nobody's. From where is not remembered: whoever guesses
    /// passwords would push a user's own addresses out.
    pub(super) fn count_refusal(&self, denial: Denial, service: Service) {
        if let (Some(whose), Some(membership)) = (denial.recognised, denial.membership) {
            self.count(|counted| match counted.of(whose, membership, service) {
                Some(counts) => counts.refusals = counts.refusals.saturating_add(1),
                None => counted.uncounted += 1,
            });
        }
    }

    /// Takes out what was counted since the last time.
    pub(super) fn collect(&self) -> CollectedUsage {
        let mut collected =
            CollectedUsage { uses: Vec::new(), uncounted: self.uncounted.swap(0, Ordering::Relaxed) };
        for half in self.lanes.iter().flatten() {
            let mut counted = half.take();
            counted.look_up();
            collected.uncounted += counted.uncounted;
            collected.uses.extend(counted.table.into_iter().map(|((whose, service), counts)| CountedUse {
                whose,
                membership: counts.membership,
                service,
                requests: counts.requests,
                refusals: counts.refusals,
                addresses: counts.addresses,
            }));
        }
        collected
    }

    fn count(&self, change: impl FnOnce(&mut Counted)) {
        // One may be held by `collect`, which never holds the other one too.
        match self.lanes.get_or_default().iter().find_map(|half| half.counted.try_lock().ok()) {
            Some(mut counted) => change(&mut counted),
            None => drop(self.uncounted.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Counted {
    fn admit(&mut self, admission: Admission) {
        self.admissions.push(admission);
        if self.admissions.len() >= LOOKED_UP_TOGETHER {
            self.look_up();
        }
    }

    fn look_up(&mut self) {
        let mut admissions = std::mem::take(&mut self.admissions);
        for Admission { whose, membership, service, client_ip, requests } in admissions.drain(..) {
            match self.of(whose, membership, service) {
                Some(counts) => {
                    counts.requests = counts.requests.saturating_add(requests);
                    counts.saw(client_ip);
                }
                None => self.uncounted += 1,
            }
        }
        self.admissions = admissions;
    }

    /// The counts of one credential at one door; `None`: there is no place for any more.
    fn of(&mut self, whose: Recognised, membership: Membership, service: Service) -> Option<&mut Counts> {
        let has_room = self.table.len() < CREDENTIALS_AT_ONCE;
        match self.table.entry((whose, service)) {
            Entry::Occupied(counts) => Some(counts.into_mut()),
            Entry::Vacant(free) => has_room.then(|| free.insert(Counts::of(membership))),
        }
    }
}

impl Half {
    /// Takes out what was counted and leaves a table of about its size, made before the lock is taken.
    fn take(&self) -> Counted {
        let expected = self.expected.load(Ordering::Relaxed);
        let spare = Counted {
            table: Table::with_capacity_and_hasher(expected, foldhash::fast::FixedState::default()),
            admissions: Vec::with_capacity(if expected == 0 { 0 } else { LOOKED_UP_TOGETHER }),
            uncounted: 0,
        };
        // Poisoned: its thread ended in a panic while it counted, and what it counted goes with it.
        let Ok(taken) = self.counted.lock().map(|mut counted| std::mem::replace(&mut *counted, spare)) else {
            return Counted::default();
        };
        self.expected.store(taken.table.len(), Ordering::Relaxed);
        taken
    }
}

impl Counts {
    const fn of(membership: Membership) -> Self {
        Self { membership, requests: 0, refusals: 0, addresses: [None; ADDRESSES_AT_ONCE] }
    }

    /// Puts `address` in front.
    fn saw(&mut self, address: ClientIp) {
        let place = self.addresses.iter().position(|known| *known == Some(address));
        let place = place.unwrap_or(ADDRESSES_AT_ONCE - 1);
        if let Some(newer) = self.addresses.get_mut(..=place) {
            newer.rotate_right(1);
        }
        if let Some(first) = self.addresses.first_mut() {
            *first = Some(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{PASSWORD, World};
    use crate::auth::{AuthMethod, Decision, DenialReason, Refusal};
    use crate::config::Limits;
    use crate::model::{CustomerId, KeyId, UserId};

    const KEY: Recognised = Recognised::Key(KeyId::from_random(7));
    const MEMBERSHIP: Membership = Membership { user: UserId(1), customer: CustomerId(2) };

    fn ip(last: u8) -> ClientIp {
        ClientIp::new(std::net::Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn refuse(meter: &UsageMeter, whose: Recognised) {
        let denial = Denial::new(Refusal::Forbidden, DenialReason::ScopeMissing);
        let denial = Denial { recognised: Some(whose), membership: Some(MEMBERSHIP), ..denial };
        meter.count_refusal(denial, Service::Api);
    }

    /// Requests and refusals of `whose` at `service`, over all threads.
    fn sums(collected: &CollectedUsage, whose: Recognised, service: Service) -> (u32, u32) {
        let of = collected.uses.iter().filter(|used| used.whose == whose && used.service == service);
        of.fold((0, 0), |(requests, refusals), used| (requests + used.requests, refusals + used.refusals))
    }

    #[test]
    fn the_latest_addresses_stay_newest_first_and_each_once() {
        let mut counts = Counts::of(MEMBERSHIP);
        for last in [1, 2, 1, 3, 4, 5, 5] {
            counts.saw(ip(last));
        }
        assert_eq!(counts.addresses, [5, 4, 3, 1].map(|last| Some(ip(last))));
    }

    #[test]
    fn threads_count_beside_each_other_and_nothing_is_lost_unnoticed_while_somebody_collects() {
        const EACH: u32 = 20_000;
        let meter = UsageMeter::default();
        let mut collected = Vec::new();
        std::thread::scope(|scope| {
            let counting: Vec<_> =
                (0..3).map(|_| scope.spawn(|| (0..EACH).for_each(|_| refuse(&meter, KEY)))).collect();
            while !counting.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                collected.push(meter.collect());
            }
        });
        collected.push(meter.collect());
        let refusals: u32 = collected.iter().map(|collected| sums(collected, KEY, Service::Api).1).sum();
        // Who collects without a pause may come to the second table just when a thread does that found the first taken.
        let uncounted: u64 = collected.iter().map(|collected| collected.uncounted).sum();
        assert_eq!(u64::from(refusals) + uncounted, u64::from(3 * EACH));
    }

    #[test]
    fn a_thread_whose_table_is_being_taken_counts_in_the_other_one_without_waiting() {
        let meter = UsageMeter::default();
        refuse(&meter, KEY);
        let [first, second] = meter.lanes.get().unwrap();
        {
            let _taken = first.counted.lock().unwrap();
            refuse(&meter, KEY);
            let _both = second.counted.lock().unwrap();
            refuse(&meter, KEY);
        }
        let collected = meter.collect();
        assert_eq!((sums(&collected, KEY, Service::Api), collected.uncounted), ((0, 2), 1));
    }

    #[test]
    fn a_table_takes_so_many_credentials_and_no_more_and_those_that_it_has_go_on() {
        let meter = UsageMeter::default();
        let most = u64::try_from(CREDENTIALS_AT_ONCE).unwrap();
        for number in 0..=most {
            refuse(&meter, Recognised::Key(KeyId::from_random(number)));
        }
        refuse(&meter, KEY);
        let collected = meter.collect();
        assert_eq!((collected.uses.len(), collected.uncounted), (CREDENTIALS_AT_ONCE, 1));
        assert_eq!(sums(&collected, KEY, Service::Api), (0, 2));
        refuse(&meter, Recognised::Key(KeyId::from_random(most)));
        assert_eq!(meter.collect().uses.len(), 1, "there is room again");
    }

    #[tokio::test]
    async fn requests_lines_and_refusals_count_for_the_credential_and_logins_only_by_their_address() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("api,isproxy").await;
        let (key, user) = (Recognised::Key(record.id), Recognised::Password(world.user));
        for _ in 0..2 {
            assert!(matches!(world.key(&text, Service::Api).await, Decision::Allow(_)));
        }
        let Decision::Allow(permit) = world.key(&text, Service::IsProxy).await else { panic!() };
        for requests in [2, 0, 1] {
            world.authenticator.count_requests(&permit, requests);
        }
        let Decision::Allow(permit) = world.password(PASSWORD, Service::IsProxy).await else { panic!() };
        assert_eq!(permit.method(), AuthMethod::Password);
        world.password("wrong", Service::Api).await;
        world.key("nobody's", Service::Api).await;
        world.change_user(|user| user.active = false).await;
        world.key(&text, Service::Api).await;
        let collected = world.authenticator.collect_usage();
        assert_eq!(sums(&collected, key, Service::Api), (2, 1));
        assert_eq!(sums(&collected, key, Service::IsProxy), (3, 0));
        assert_eq!(sums(&collected, user, Service::IsProxy), (0, 0));
        assert_eq!(sums(&collected, user, Service::Api), (0, 1));
        assert_eq!(collected.uses.len(), 4);
        let membership = world.index.user(world.user).unwrap().membership();
        assert!(collected.uses.iter().all(|used| used.membership == membership));
        let from = |whose, service| {
            let found = collected.uses.iter().find(|used| (used.whose, used.service) == (whose, service));
            found.unwrap().addresses().collect::<Vec<_>>()
        };
        assert_eq!(from(user, Service::IsProxy), [ip(1)], "a login without a line is a use all the same");
        assert!(from(user, Service::Api).is_empty(), "where guesses come from is not kept");
        assert!(world.authenticator.collect_usage().uses.is_empty());
    }
}
