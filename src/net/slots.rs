//! How many connections are open, in all and by address, and how many may be.
//!
//! Shared by the accept loops of all threads. It counts and nothing else: what happens to a connection beyond the
//! limit is the accept loop's matter.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::ClientIp;

/// Counts open connections against `limits.connections` and `limits.connections_per_address`.
#[derive(Debug)]
pub struct ConnectionSlots {
    total_limit: u32,
    per_address_limit: u32,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// One open connection; dropping it frees its place.
#[derive(Debug)]
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    address: IpAddr,
}

impl ConnectionSlots {
    /// At most `total` connections, and `per_address` of one address (IPv6: of one /64); 0 per address: unbounded.
    pub fn new(total: u32, per_address: u32) -> Arc<Self> {
        Arc::new(Self { total_limit: total, per_address_limit: per_address, open: Mutex::default() })
    }

    /// Takes a place for a connection from `peer`; `None`: there is none left.
    pub fn take(self: &Arc<Self>, peer: ClientIp) -> Option<ConnectionSlot> {
        let address = peer.throttle_prefix();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total_limit {
            return None;
        }
        let of_address = open.by_address.entry(address).or_default();
        if self.per_address_limit != 0 && *of_address >= self.per_address_limit {
            return None;
        }
        *of_address += 1;
        open.total += 1;
        drop(open);
        Some(ConnectionSlot { slots: Arc::clone(self), address })
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u32 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
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

    fn from(address: &str) -> ClientIp {
        ClientIp::new(address.parse().unwrap())
    }

    #[test]
    fn s75_connections_are_limited_in_all_and_by_address() {
        let slots = ConnectionSlots::new(3, 2);
        let first = slots.take(from("192.0.2.1")).unwrap();
        let second = slots.take(from("192.0.2.1")).unwrap();
        assert!(slots.take(from("192.0.2.1")).is_none(), "two of one address are open");
        let other = slots.take(from("192.0.2.2")).unwrap();
        assert!(slots.take(from("192.0.2.3")).is_none(), "three are open");
        drop(first);
        assert!(slots.take(from("192.0.2.1")).is_some(), "a place is free again");
        drop((second, other));
        assert_eq!(slots.open_connections(), 0);
        assert!(slots.open.lock().unwrap().by_address.is_empty(), "addresses are forgotten");
    }

    #[test]
    fn s75_one_ipv6_network_is_one_address() {
        let slots = ConnectionSlots::new(10, 1);
        let _held = slots.take(from("2001:db8::1")).unwrap();
        assert!(slots.take(from("2001:db8::2")).is_none());
        assert!(slots.take(from("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn zero_per_address_is_unbounded() {
        let slots = ConnectionSlots::new(1_000, 0);
        let held: Vec<_> = (0..500).map_while(|_| slots.take(from("192.0.2.1"))).collect();
        assert_eq!(held.len(), 500);
    }
}
