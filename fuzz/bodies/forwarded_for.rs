//! Any bytes as `X-Forwarded-For` of a trusted proxy, a field a line: read or refused, and the connection's source stays the last.

use std::net::{IpAddr, Ipv4Addr};

use latchkey::model::{ClientIp, TrustedProxies};
use latchkey::net::client_ip::{MAX_FORWARDED_ADDRESSES, resolve};

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let trusted = TrustedProxies::new("10.0.0.0/8".parse().expect("a network"));
    let source = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    if let Ok(found) = resolve(source, &trusted, input.split(|byte| *byte == b'\n')) {
        assert!(found.chain.len() <= MAX_FORWARDED_ADDRESSES + 1);
        assert_eq!(found.chain.last(), Some(&ClientIp::new(source)));
        assert_eq!(found.chain.first(), Some(&found.client));
        // Everybody behind the client is trusted.
        assert!(found.chain.iter().skip(1).all(|hop| trusted.contains(hop.address())));
    }
}
