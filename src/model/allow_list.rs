//! Networks that a client may come from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ClientIp;

/// A list of networks; an empty one narrows nothing (PROTOCOL section 3, point 9).
///
/// Kept twice: as the operator wrote it, to show, and aggregated into sorted, disjoint networks,
/// so that a look-up is one binary search however long the list is. Clones share both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowList(Option<Arc<Networks>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Networks {
    written: Box<[IpNet]>,
    v4: Box<[Ipv4Net]>,
    v6: Box<[Ipv6Net]>,
}

/// An entry that is no network.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a network; write an address or CIDR, for example 192.0.2.0/24 or 2001:db8::/32")]
pub struct AllowListError(String);

impl AllowList {
    /// A list of `networks`, each reduced to its network address; IPv4-mapped IPv6 counts as IPv4.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let written: Box<[IpNet]> = networks.into_iter().map(canonical).collect();
        if written.is_empty() {
            return Self(None);
        }
        let v4: Vec<Ipv4Net> =
            written.iter().filter_map(|net| if let IpNet::V4(v4) = net { Some(*v4) } else { None }).collect();
        let v6: Vec<Ipv6Net> =
            written.iter().filter_map(|net| if let IpNet::V6(v6) = net { Some(*v6) } else { None }).collect();
        let networks =
            Networks { v4: Ipv4Net::aggregate(&v4).into(), v6: Ipv6Net::aggregate(&v6).into(), written };
        Self(Some(Arc::new(networks)))
    }

    /// Reads one network per item: an address alone stands for itself.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, AllowListError> {
        Ok(Self::new(texts.into_iter().map(parse_network).collect::<Result<Vec<_>, _>>()?))
    }

    /// May a client at `address` come in?
    pub fn admits(&self, address: ClientIp) -> bool {
        let Some(networks) = &self.0 else { return true };
        match address.address() {
            IpAddr::V4(v4) => {
                let after = networks.v4.partition_point(|net| net.network() <= v4);
                after.checked_sub(1).and_then(|i| networks.v4.get(i)).is_some_and(|net| net.contains(&v4))
            }
            IpAddr::V6(v6) => {
                let after = networks.v6.partition_point(|net| net.network() <= v6);
                after.checked_sub(1).and_then(|i| networks.v6.get(i)).is_some_and(|net| net.contains(&v6))
            }
        }
    }

    /// Does the list narrow nothing?
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The networks as they were written.
    pub fn networks(&self) -> &[IpNet] {
        self.0.as_ref().map_or(&[], |networks| &networks.written)
    }
}

/// Reads `192.0.2.0/24` or a bare address.
fn parse_network(text: &str) -> Result<IpNet, AllowListError> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(canonical)
        .map_err(|_| AllowListError(text.chars().take(60).flat_map(char::escape_default).collect()))
}

fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.network().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(network, IpNet::V4),
            None => network.trunc(),
        },
        _ => network.trunc(),
    }
}

impl FromStr for AllowList {
    type Err = AllowListError;

    /// Networks separated by commas, blanks or line ends; nothing is the empty list.
    fn from_str(text: &str) -> Result<Self, AllowListError> {
        Self::parse(text.split([',', ' ', '\t', '\n', '\r']).filter(|part| !part.is_empty()))
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, network) in self.networks().iter().enumerate() {
            write!(f, "{}{network}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> ClientIp {
        ClientIp::new(text.parse().unwrap())
    }

    #[test]
    fn s89_an_empty_list_narrows_nothing() {
        assert!(AllowList::default().admits(ip("203.0.113.9")));
        assert!("".parse::<AllowList>().unwrap().is_empty());
    }

    #[test]
    fn s89_networks_admit_their_own_and_nothing_else() {
        let list: AllowList =
            "192.0.2.0/24, 198.51.100.7 2001:db8::/32\n::ffff:203.0.113.0/120".parse().unwrap();
        for inside in [
            "192.0.2.0",
            "192.0.2.255",
            "198.51.100.7",
            "2001:db8:ffff::1",
            "203.0.113.80",
            "::ffff:192.0.2.1",
        ] {
            assert!(list.admits(ip(inside)), "{inside}");
        }
        for outside in
            ["192.0.1.255", "192.0.3.0", "198.51.100.6", "198.51.100.8", "2001:db9::", "::1", "203.0.114.1"]
        {
            assert!(!list.admits(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn s89_bad_entries_are_refused() {
        for text in
            ["192.0.2.0/33", "192.0.2", "example.com", "192.0.2.1-192.0.2.9", "2001:db8::/129", "0x7f.1"]
        {
            assert!(text.parse::<AllowList>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_a_walk_over_the_list(
            nets in proptest::collection::vec((any::<u32>(), 8u8..=32), 1..60),
            probes in proptest::collection::vec(any::<u32>(), 1..60),
        ) {
            let nets: Vec<IpNet> =
                nets.into_iter().map(|(bits, len)| Ipv4Net::new(bits.into(), len).unwrap().into()).collect();
            let list = AllowList::new(nets.iter().copied());
            let near = nets.iter().map(|net| match net.network() { IpAddr::V4(a) => u32::from(a).wrapping_sub(1), IpAddr::V6(_) => 0 });
            for probe in probes.into_iter().chain(near) {
                let address = IpAddr::V4(probe.into());
                let walked = nets.iter().any(|net| net.contains(&address));
                prop_assert_eq!(list.admits(ClientIp::new(address)), walked);
            }
        }
    }
}
