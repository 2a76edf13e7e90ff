//! How many connections are open, in all, by address and by thread, and how many may be.
//!
//! Shared by the accept loops of all threads. It counts, and says which thread has room for a connection: what happens
//! to one beyond the limit, and how one gets to its thread, is the accept loop's and `app`'s matter.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::thread_loads::ThreadLoads;
use crate::model::ClientIp;
use crate::telemetry::ThreadGauge;

/// Counts open connections against `limits.connections` and `limits.connections_per_address`.
#[derive(Debug)]
pub struct ConnectionSlots {
    open: Mutex<Open>,
    /// Connections of each thread, for whoever reads the metrics.
    gauges: Vec<ThreadGauge>,
}

#[derive(Debug)]
struct Open {
    limits: ConnectionLimits,
    total: u32,
    by_address: HashMap<IpAddr, u32>,
    /// Of each listener that has connections.
    by_thread: HashMap<ListenerId, ThreadLoads>,
}

/// A listener, told from all others of the process: one that moves, or speaks another protocol, is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

/// How many connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Over all listeners.
    pub total: u32,
    /// Of one address (IPv6: of one /64); 0: unbounded.
    pub per_address: u32,
}

/// Where a connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedAt {
    /// The listener.
    pub listener: ListenerId,
    /// The thread, counted from 0.
    pub thread: usize,
}

/// One open connection; dropping it frees its place.
#[derive(Debug)]
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    address: IpAddr,
    listener: ListenerId,
    thread: usize,
}

impl ConnectionSlots {
    /// Room for connections on as many threads as there are `gauges`.
    pub fn new(limits: ConnectionLimits, gauges: Vec<ThreadGauge>) -> Arc<Self> {
        let open = Open { limits, total: 0, by_address: HashMap::new(), by_thread: HashMap::new() };
        Arc::new(Self { open: Mutex::new(open), gauges })
    }

    /// Counts against these limits from now on; what is open stays open.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).limits = limits;
    }

    /// Takes a place for a connection from `peer`, and chooses the thread that is to serve it; `None`: there is no
    /// place left.
    pub fn take(self: &Arc<Self>, peer: ClientIp, at: AcceptedAt) -> Option<ConnectionSlot> {
        let address = peer.throttle_prefix();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = open.limits;
        if open.total >= limits.total {
            return None;
        }
        let of_address = open.by_address.entry(address).or_default();
        if limits.per_address != 0 && *of_address >= limits.per_address {
            return None;
        }
        *of_address += 1;
        open.total += 1;
        let threads = self.gauges.len();
        let loads = open.by_thread.entry(at.listener).or_insert_with(|| ThreadLoads::new(threads));
        let thread = loads.place(at.thread);
        drop(open);
        if let Some(gauge) = self.gauges.get(thread) {
            gauge.connection_opened();
        }
        Some(ConnectionSlot { slots: Arc::clone(self), address, listener: at.listener, thread })
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u32 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl ConnectionSlot {
    /// The thread that is to serve the connection, counted from 0.
    pub const fn thread(&self) -> usize {
        self.thread
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(gauge) = self.slots.gauges.get(self.thread) {
            gauge.connection_closed();
        }
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(loads) = open.by_thread.get_mut(&self.listener) {
            loads.leave(self.thread);
            // A listener without connections may be gone for good.
            if loads.are_empty() {
                open.by_thread.remove(&self.listener);
            }
        }
        // An address without connections is forgotten, so that the table is bounded by what is open.
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: AcceptedAt = AcceptedAt { listener: ListenerId(0), thread: 0 };

    fn slots(total: u32, per_address: u32) -> Arc<ConnectionSlots> {
        ConnectionSlots::new(ConnectionLimits { total, per_address }, Vec::new())
    }

    fn from(address: &str) -> ClientIp {
        ClientIp::new(address.parse().unwrap())
    }

    #[test]
    fn s75_connections_are_limited_in_all_and_by_address() {
        let slots = slots(3, 2);
        let first = slots.take(from("192.0.2.1"), HERE).unwrap();
        let second = slots.take(from("192.0.2.1"), HERE).unwrap();
        assert!(slots.take(from("192.0.2.1"), HERE).is_none(), "two of one address are open");
        let other = slots.take(from("192.0.2.2"), HERE).unwrap();
        assert!(slots.take(from("192.0.2.3"), HERE).is_none(), "three are open");
        drop(first);
        assert!(slots.take(from("192.0.2.1"), HERE).is_some(), "a place is free again");
        drop((second, other));
        assert_eq!(slots.open_connections(), 0);
        assert!(slots.open.lock().unwrap().by_address.is_empty(), "addresses are forgotten");
    }

    #[test]
    fn s75_one_ipv6_network_is_one_address() {
        let slots = slots(10, 1);
        let _held = slots.take(from("2001:db8::1"), HERE).unwrap();
        assert!(slots.take(from("2001:db8::2"), HERE).is_none());
        assert!(slots.take(from("2001:db8:0:1::1"), HERE).is_some());
    }

    #[test]
    fn zero_per_address_is_unbounded() {
        let slots = slots(1_000, 0);
        let held: Vec<_> = (0..500).map_while(|_| slots.take(from("192.0.2.1"), HERE)).collect();
        assert_eq!(held.len(), 500);
    }

    #[test]
    fn new_limits_count_from_the_next_connection_on_and_end_none_that_is_open() {
        let slots = slots(2, 0);
        let held =
            [slots.take(from("192.0.2.1"), HERE).unwrap(), slots.take(from("192.0.2.2"), HERE).unwrap()];
        slots.set_limits(ConnectionLimits { total: 1, per_address: 0 });
        assert_eq!(slots.open_connections(), 2);
        let [first, second] = held;
        drop(first);
        assert!(slots.take(from("192.0.2.3"), HERE).is_none(), "one is open, and one may be");
        drop(second);
        assert!(slots.take(from("192.0.2.3"), HERE).is_some());
        slots.set_limits(ConnectionLimits { total: 3, per_address: 1 });
        let _held = slots.take(from("192.0.2.1"), HERE).unwrap();
        assert!(slots.take(from("192.0.2.1"), HERE).is_none(), "one of this address is open");
    }

    #[test]
    fn a_listeners_connections_are_spread_over_the_threads_wherever_they_are_accepted() {
        let gauges = vec![ThreadGauge::default(), ThreadGauge::default()];
        let slots = ConnectionSlots::new(ConnectionLimits { total: 100, per_address: 0 }, gauges.clone());
        let take = |listener| {
            let at = AcceptedAt { listener: ListenerId(listener), thread: 0 };
            slots.take(from("192.0.2.1"), at).unwrap()
        };
        let held: Vec<_> = (0..16).map(|_| take(0)).collect();
        let on_first = held.iter().filter(|slot| slot.thread() == 0).count();
        assert!((6..=10).contains(&on_first), "{on_first} of 16");
        assert_eq!(take(1).thread(), 0, "another listener is counted by itself");
        assert_eq!(gauges[0].connections() + gauges[1].connections(), 16);
        drop(held);
        assert_eq!((gauges[0].connections(), gauges[1].connections()), (0, 0));
        assert!(slots.open.lock().unwrap().by_thread.is_empty(), "listeners that may be gone are forgotten");
    }
}
