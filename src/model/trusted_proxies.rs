//! Networks whose word about a client's address is believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{AllowList, ClientIp};

/// The proxies in front of a listener; nobody by default (SECURITY S105).
///
/// The opposite of an [`AllowList`] where nothing is written: an empty list admits every client, and trusts no proxy.
/// Hence a type of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(AllowList);

impl TrustedProxies {
    /// The hosts of `networks`; of an empty list nobody.
    pub const fn new(networks: AllowList) -> Self {
        Self(networks)
    }

    /// Is the host at `address` believed? An IPv4-mapped address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && self.0.admits(ClientIp::new(address))
    }

    /// The networks as they were written.
    pub fn networks(&self) -> &[IpNet] {
        self.0.networks()
    }

    /// Is nobody believed?
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s105_an_empty_list_trusts_nobody() {
        let nobody = TrustedProxies::default();
        assert!(nobody.is_empty());
        for address in ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!nobody.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_hosts_of_its_networks_are_trusted_and_no_others() {
        let trusted = TrustedProxies::new("10.0.0.0/8, 2001:db8::/32".parse().unwrap());
        assert!(!trusted.is_empty());
        for (address, expected) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::7", true),
            ("11.0.0.1", false),
            ("2001:db9::7", false),
            ("::1", false),
        ] {
            assert_eq!(trusted.contains(address.parse().unwrap()), expected, "{address}");
        }
    }
}
