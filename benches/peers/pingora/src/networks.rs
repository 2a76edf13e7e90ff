//! A list of IPv4 networks as sorted ranges, which one binary search answers from.

use std::net::{IpAddr, Ipv4Addr};

/// First and last addresses, sorted; no two overlap.
pub struct Networks(Vec<(u32, u32)>);

impl Networks {
    /// Parses a network in CIDR a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut ranges = text.lines().map(parse_range).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        ranges.dedup_by(|later, earlier| {
            let overlaps = later.0 <= earlier.1;
            if overlaps {
                earlier.1 = earlier.1.max(later.1);
            }
            overlaps
        });
        Ok(Self(ranges))
    }

    /// Is the address in one of them? IPv4 in IPv6's mapped form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else { return false };
        let address = u32::from(address);
        let next = self.0.partition_point(|(first, _)| *first <= address);
        next.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, last)| address <= *last)
    }
}

fn parse_range(line: &str) -> Result<(u32, u32), String> {
    let fault = || format!("not a network: {line}");
    let (address, length) = line.split_once('/').ok_or_else(fault)?;
    let address = u32::from(address.parse::<Ipv4Addr>().map_err(|_| fault())?);
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32).ok_or_else(fault)?;
    let host_bits = u32::MAX.checked_shr(length).unwrap_or(0);
    Ok((address & !host_bits, address | host_bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nested_networks_are_found_and_their_neighbours_are_not() {
        let networks = Networks::parse("10.0.0.0/28\n10.0.0.0/8\n192.0.2.7/32\n").unwrap();
        for (address, expected) in [
            ("10.0.0.3", true),
            ("10.200.0.1", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.1.1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for line in ["10.0.0.1", "10.0.0.0/33", "example.com/8"] {
            assert!(Networks::parse(line).is_err(), "{line}");
        }
    }
}
