//! Whose address allow-lists, throttles and the access log take for the client's. Pure.
//!
//! `X-Forwarded-For` is read from the right, through trusted proxies only: each of them is believed about the one
//! before it, and the first address that is no trusted proxy is the client's, whatever it claims itself. It reads no
//! other forwarding header. Called by the HTTP door for each request; where a PROXY protocol header names the source
//! of a connection, [`proxy_protocol`](super::proxy_protocol) has read it before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{ClientIp, TrustedProxies};

/// Addresses in all `X-Forwarded-For` fields of a request; real chains have a handful.
pub const MAX_FORWARDED_ADDRESSES: usize = 64;

/// From whom a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The client.
    pub client: ClientIp,
    /// The client, the trusted proxies that it came through, and the connection's source: what the next one may be
    /// told in `X-Forwarded-For`. What the client said about itself is not in it.
    pub chain: Vec<ClientIp>,
}

/// Why a trusted proxy's `X-Forwarded-For` cannot be read (SECURITY S105).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableForwarding {
    /// An element is no address.
    #[error("an element of X-Forwarded-For is not an address")]
    NotAnAddress,
    /// More than [`MAX_FORWARDED_ADDRESSES`].
    #[error("X-Forwarded-For has more than {MAX_FORWARDED_ADDRESSES} addresses")]
    TooMany,
}

/// Who sent a request over a connection from `source`, whose `X-Forwarded-For` fields are `forwarded_for`, in order.
///
/// The fields count only if `source` is a trusted proxy, and then all of them must be readable, also what stands left
/// of the client: what one parser skips is what another one would believe. If every address is a trusted proxy's, the
/// leftmost one is the client's; without any field, `source` is.
pub fn resolve<'a>(
    source: IpAddr,
    trusted: &TrustedProxies,
    forwarded_for: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Resolved, UnreadableForwarding> {
    let mut client = ClientIp::new(source);
    let mut chain = vec![client];
    if trusted.contains(source) {
        for address in parse_addresses(forwarded_for)?.into_iter().rev() {
            client = ClientIp::new(address);
            chain.push(client);
            if !trusted.contains(address) {
                break;
            }
        }
    }
    chain.reverse();
    Ok(Resolved { client, chain })
}

/// All addresses from left to right. Empty elements are passed over (RFC 9110 §5.6.1.2).
fn parse_addresses<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<IpAddr>, UnreadableForwarding> {
    let mut addresses = Vec::new();
    let elements = fields.into_iter().flat_map(|field| field.split(|byte| *byte == b','));
    for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
        if addresses.len() == MAX_FORWARDED_ADDRESSES {
            return Err(UnreadableForwarding::TooMany);
        }
        addresses.push(parse_forwarded_address(element).ok_or(UnreadableForwarding::NotAnAddress)?);
    }
    Ok(addresses)
}

/// One element: an address, with or without a port, IPv6 with or without brackets. Some balancers write
/// `192.0.2.1:5678` and `[2001:db8::1]:443`; their port says nothing and is dropped. Names, `unknown`, obfuscated
/// identifiers and zones are no addresses.
fn parse_forwarded_address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address.into());
    }
    let (address, port) = text.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(address.into())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new("10.0.0.0/8, 2001:db8:f::/48".parse().unwrap())
    }

    /// The client and the chain for the next one.
    fn resolved(source: &str, fields: &[&str]) -> Result<(String, String), UnreadableForwarding> {
        let fields = fields.iter().map(|field| field.as_bytes());
        let resolved = resolve(source.parse().unwrap(), &trusted(), fields)?;
        let chain: Vec<String> = resolved.chain.iter().map(ToString::to_string).collect();
        Ok((resolved.client.to_string(), chain.join(", ")))
    }

    #[test]
    fn s14_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        for (source, fields, client, chain) in [
            // Nobody is asked but a trusted proxy, not even whether it can be read.
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", &["10.0.0.9"], "192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", &["nonsense"], "192.0.2.1", "192.0.2.1"),
            ("::1", &["203.0.113.9"], "::1", "::1"),
            // One proxy, two, three.
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9", "203.0.113.9, 10.0.0.2, 10.0.0.1"),
            (
                "10.0.0.1",
                &["203.0.113.9,10.0.0.3 ,\t10.0.0.2"],
                "203.0.113.9",
                "203.0.113.9, 10.0.0.3, 10.0.0.2, 10.0.0.1",
            ),
            // What the client claims itself stands left of it, and counts for nothing.
            ("10.0.0.1", &["127.0.0.1, 203.0.113.9"], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
            (
                "10.0.0.1",
                &["10.0.0.7, 203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
                "203.0.113.9, 10.0.0.2, 10.0.0.1",
            ),
            // Several lines are one list, in their order.
            (
                "10.0.0.1",
                &["127.0.0.1", "203.0.113.9", "10.0.0.2"],
                "203.0.113.9",
                "203.0.113.9, 10.0.0.2, 10.0.0.1",
            ),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.4"], "198.51.100.4", "198.51.100.4, 10.0.0.1"),
            // All trusted: the leftmost. None at all: the source.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", &["", " , ,"], "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", &[", 203.0.113.9,"], "203.0.113.9", "203.0.113.9, 10.0.0.1"),
            // IPv6, and IPv4 in its clothes.
            ("2001:db8:f::1", &["2001:db8::7"], "2001:db8::7", "2001:db8::7, 2001:db8:f::1"),
            (
                "::ffff:10.0.0.1",
                &["::ffff:203.0.113.9, ::ffff:10.0.0.2"],
                "203.0.113.9",
                "203.0.113.9, 10.0.0.2, 10.0.0.1",
            ),
        ] {
            let expected = Ok((client.to_owned(), chain.to_owned()));
            assert_eq!(resolved(source, fields), expected, "{source} {fields:?}");
        }
    }

    #[test]
    fn s14_an_element_is_an_address_with_or_without_port_and_brackets() {
        for (element, address) in [
            ("203.0.113.9:5678", "203.0.113.9"),
            ("203.0.113.9:0", "203.0.113.9"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:DB8::7]:443", "2001:db8::7"),
            ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
        ] {
            assert_eq!(resolved("10.0.0.1", &[element]).unwrap().0, address, "{element}");
        }
    }

    #[test]
    fn s105_what_a_trusted_proxy_sends_and_cannot_be_read_is_an_error() {
        for element in [
            "unknown",
            "_hidden",
            "localhost",
            "for=203.0.113.9",
            "\"203.0.113.9\"",
            "203.0.113",
            "203.0.113.09",
            "203.0.113.256",
            "203.0.113.9/32",
            "203.0.113.9:",
            "203.0.113.9:+1",
            "203.0.113.9:65536",
            "203.0.113.9 198.51.100.4",
            "203.0.113.9;198.51.100.4",
            "0xcb.0.113.9",
            "3405803785",
            "[203.0.113.9]",
            "[2001:db8::7",
            "[2001:db8::7]443",
            "[2001:db8::7]:https",
            "2001:db8::7%eth0",
            "fe80::1%1",
            "\u{661}.2.3.4",
        ] {
            // Wherever it stands, also left of the client.
            for field in
                [element.to_owned(), format!("{element}, 203.0.113.9"), format!("203.0.113.9, {element}")]
            {
                assert_eq!(
                    resolved("10.0.0.1", &[&field]),
                    Err(UnreadableForwarding::NotAnAddress),
                    "{field}"
                );
            }
        }
        assert_eq!(
            resolve("10.0.0.1".parse().unwrap(), &trusted(), [&b"203.0.113.9\xff"[..]]),
            Err(UnreadableForwarding::NotAnAddress)
        );
    }

    #[test]
    fn a_chain_has_a_bound() {
        let longest = vec!["10.0.0.9"; MAX_FORWARDED_ADDRESSES];
        assert_eq!(resolved("10.0.0.1", &longest).unwrap().0, "10.0.0.9");
        let longer = [longest.as_slice(), &["10.0.0.9"]].concat();
        assert_eq!(resolved("10.0.0.1", &longer), Err(UnreadableForwarding::TooMany));
    }

    proptest! {
        #[test]
        fn s14_nothing_that_a_stranger_claims_decides_who_it_is(
            claims in proptest::collection::vec(any::<IpAddr>(), 0..8),
            proxies in proptest::collection::vec(0_u32..1 << 24, 0..8),
            stranger in any::<IpAddr>(),
            lines in proptest::collection::vec(any::<bool>(), 16),
        ) {
            prop_assume!(!trusted().contains(stranger));
            let proxies: Vec<IpAddr> =
                proxies.into_iter().map(|bits| Ipv4Addr::from_bits(0x0a00_0000 | bits).into()).collect();
            let all: Vec<IpAddr> =
                claims.iter().copied().chain([stranger]).chain(proxies.iter().copied()).collect();
            // The same list, broken into lines anywhere.
            let mut fields = vec![String::new()];
            for (address, breaks) in all.iter().zip(lines.into_iter().cycle()) {
                match fields.last_mut() {
                    Some(last) if !breaks && !last.is_empty() => *last = format!("{last}, {address}"),
                    Some(last) if last.is_empty() => *last = address.to_string(),
                    _ => fields.push(address.to_string()),
                }
            }
            let source: IpAddr = "10.0.0.1".parse().unwrap();
            let found = resolve(source, &trusted(), fields.iter().map(String::as_bytes)).unwrap();
            prop_assert_eq!(found.client, ClientIp::new(stranger));
            let expected: Vec<ClientIp> =
                [stranger].into_iter().chain(proxies).chain([source]).map(ClientIp::new).collect();
            prop_assert_eq!(found.chain, expected);
            // Straight from the stranger, the same header says nothing.
            let direct = resolve(stranger, &trusted(), fields.iter().map(String::as_bytes)).unwrap();
            prop_assert_eq!(direct, Resolved { client: ClientIp::new(stranger), chain: vec![ClientIp::new(stranger)] });
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_the_source_stays_the_last(
            fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4),
        ) {
            let source: IpAddr = "10.0.0.1".parse().unwrap();
            if let Ok(found) = resolve(source, &trusted(), fields.iter().map(Vec::as_slice)) {
                prop_assert_eq!(found.chain.last(), Some(&ClientIp::new(source)));
                prop_assert_eq!(found.chain.first(), Some(&found.client));
            }
        }
    }
}
