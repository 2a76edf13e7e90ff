//! The address that allow-lists and throttles judge.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address of a client, as resolved by `net`: never an IPv4-mapped IPv6 address.
///
/// A newtype, so that a peer's address (perhaps a balancer's) cannot be passed for a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(IpAddr);

impl ClientIp {
    /// Takes `address` for the client's; `::ffff:a.b.c.d` becomes `a.b.c.d` (PROTOCOL: allow-lists).
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The canonical address.
    pub const fn address(self) -> IpAddr {
        self.0
    }

    /// The address that counters are kept by: IPv4 whole, IPv6 by its /64, which one host commands entirely.
    pub fn throttle_prefix(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        }
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let mapped = ClientIp::new("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(mapped, ClientIp::new("192.0.2.7".parse().unwrap()));
        assert_eq!(mapped.to_string(), "192.0.2.7");
    }

    #[test]
    fn counters_take_ipv6_by_its_64() {
        let one = ClientIp::new("2001:db8:1:2:3::4".parse().unwrap());
        let other = ClientIp::new("2001:db8:1:2:ffff::".parse().unwrap());
        assert_eq!(one.throttle_prefix(), other.throttle_prefix());
        assert_eq!(one.throttle_prefix().to_string(), "2001:db8:1:2::");
    }
}
