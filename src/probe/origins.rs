//! From which addresses the probe comes to a listener, so that its lists keep their meaning. Pure.
//!
//! A right request must come from an address that the lists admit and nobody trusts; an outsider's from one that they
//! do not admit. Where a list leaves no room for the first, the copy of it gains one address, which the report tells.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::config::{ClientAddressRules, ProxyProtocol};
use crate::model::{AllowList, ClientIp, TrustedProxies};

/// Addresses of this machine that a client may bind to.
const HERE: [Ipv4Addr; 5] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 1, 2, 3),
    Ipv4Addr::new(127, 77, 0, 7),
    Ipv4Addr::new(127, 200, 200, 200),
];
/// Addresses that no client has (RFC 5737), for PROXY protocol headers.
const NOWHERE: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(203, 0, 113, 7),
    Ipv4Addr::new(192, 0, 2, 7),
    Ipv4Addr::new(198, 51, 100, 200),
];
/// What headers claim where the list has no address that is worth claiming.
const CLAIMED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// How a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The address that it is made from.
    pub(super) peer: Ipv4Addr,
    /// What a PROXY protocol header says before anything else; `None`: there is none.
    pub(super) announced: Option<Ipv4Addr>,
}

/// From where the attacks on one listener come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origins {
    /// Admitted by the listener's list.
    pub(super) client: Origin,
    /// Whether the client's own word about its address counts.
    pub(super) client_word: Word,
    /// Not admitted by the listener's list; `None`: it admits all that the probe could be.
    pub(super) outsider: Option<Origin>,
    /// No trusted proxy, where only those may connect.
    pub(super) stranger: Option<Origin>,
    /// Admitted, and not the client's: what forged headers claim.
    pub(super) claimed: IpAddr,
}

/// Does `X-Forwarded-For` of a client count?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Every address that the probe could come from is a trusted proxy's.
    Believed,
    /// It is a stranger's.
    Ignored,
}

/// A listener's rules of addresses, as the copy has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) allow_list: AllowList,
    pub(super) client_address: ClientAddressRules,
    pub(super) origins: Origins,
    /// What the copy's lists have and the operator's have not: the key, and the network.
    pub(super) added: Vec<(&'static str, IpNet)>,
}

/// Chooses addresses, and adds to the lists what these need.
pub(super) fn admission(allow_list: &AllowList, rules: &ClientAddressRules) -> Admission {
    let mut added = Vec::new();
    let reads_headers = rules.proxy_protocol == ProxyProtocol::Accept;
    let trusted = if reads_headers && !rules.trusted_proxies.contains(Ipv4Addr::LOCALHOST.into()) {
        let here = network(Ipv4Addr::LOCALHOST.into());
        added.push(("trusted_proxies", here));
        TrustedProxies::new(extended(rules.trusted_proxies.networks(), here))
    } else {
        rules.trusted_proxies.clone()
    };
    let candidates: &[Ipv4Addr] = if reads_headers { &NOWHERE } else { &HERE };
    let origin = |address| match rules.proxy_protocol {
        ProxyProtocol::Accept => Origin { peer: Ipv4Addr::LOCALHOST, announced: Some(address) },
        ProxyProtocol::Refuse => Origin { peer: address, announced: None },
    };
    let strangers = || candidates.iter().copied().filter(|address| !trusted.contains((*address).into()));
    let admits = |list: &AllowList, address: Ipv4Addr| list.admits(ClientIp::new(address.into()));
    // One that is admitted as it is, before one for which the list has to grow.
    let client = strangers().find(|address| admits(allow_list, *address)).or_else(|| strangers().next());
    let client_word = if client.is_some() { Word::Ignored } else { Word::Believed };
    let client = client.or_else(|| candidates.first().copied()).unwrap_or(Ipv4Addr::LOCALHOST);
    let mut own_list = allow_list.clone();
    if !admits(allow_list, client) {
        added.push(("allow_list", network(client.into())));
        own_list = extended(allow_list.networks(), network(client.into()));
    }
    let outsider = strangers().find(|address| !admits(&own_list, *address)).map(origin);
    let stranger = HERE.into_iter().find(|address| !trusted.contains((*address).into()));
    let stranger = stranger.filter(|_| reads_headers).map(|peer| Origin { peer, announced: Some(client) });
    let mut networks = allow_list.networks().iter().map(IpNet::addr);
    let claimed = networks.find(|address| *address != IpAddr::V4(client)).unwrap_or(CLAIMED.into());
    Admission {
        allow_list: own_list,
        client_address: ClientAddressRules {
            trusted_proxies: trusted.clone(),
            proxy_protocol: rules.proxy_protocol,
        },
        origins: Origins { client: origin(client), client_word, outsider, stranger, claimed },
        added,
    }
}

impl Origin {
    /// Whom the listener takes for the client.
    pub(super) fn client(self) -> Ipv4Addr {
        self.announced.unwrap_or(self.peer)
    }

    /// What the connection begins with.
    pub(super) fn header(self) -> Vec<u8> {
        self.announced.map(|address| proxy_header(address.into())).unwrap_or_default()
    }
}

/// A PROXY protocol header of version 1 for a connection from `source`.
pub(super) fn proxy_header(source: IpAddr) -> Vec<u8> {
    let (family, here) = if source.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
    format!("PROXY {family} {source} {here} 4711 443\r\n").into_bytes()
}

/// The network of one address.
pub(super) fn network(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

fn extended(networks: &[IpNet], further: IpNet) -> AllowList {
    AllowList::new(networks.iter().copied().chain([further]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission_of(allow: &str, trusted: &str, proxy_protocol: ProxyProtocol) -> Admission {
        let trusted_proxies = TrustedProxies::new(trusted.parse().unwrap());
        admission(&allow.parse().unwrap(), &ClientAddressRules { trusted_proxies, proxy_protocol })
    }

    fn added(admission: &Admission) -> Vec<String> {
        admission.added.iter().map(|(key, network)| format!("{key} {network}")).collect()
    }

    #[test]
    fn without_lists_the_probe_comes_as_it_is_and_nothing_is_added() {
        let found = admission_of("", "", ProxyProtocol::Refuse);
        assert_eq!(found.origins.client, Origin { peer: Ipv4Addr::LOCALHOST, announced: None });
        assert_eq!((found.origins.client_word, found.origins.outsider), (Word::Ignored, None));
        assert_eq!(found.origins.claimed, IpAddr::V4(CLAIMED));
        assert!(found.added.is_empty() && found.allow_list.is_empty());
    }

    #[test]
    fn s14_the_client_is_no_trusted_proxy_and_the_claimed_address_is_one_that_the_list_admits() {
        let found = admission_of("10.0.0.0/8", "127.0.0.1", ProxyProtocol::Refuse);
        assert_eq!(found.origins.client.peer, Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(found.origins.claimed.to_string(), "10.0.0.0");
        assert_eq!(found.origins.outsider.unwrap().peer, Ipv4Addr::new(127, 1, 2, 3));
        assert_eq!(added(&found), ["allow_list 127.0.0.2/32"]);
        let kept = admission_of("127.0.0.1", "", ProxyProtocol::Refuse);
        assert!(kept.added.is_empty());
        assert_eq!(kept.origins.claimed, IpAddr::V4(CLAIMED), "the client's own address claims nothing");
        let all = admission_of("", "127.0.0.0/8", ProxyProtocol::Refuse);
        assert_eq!(all.origins.client_word, Word::Believed);
    }

    #[test]
    fn s15_where_headers_are_read_this_machine_becomes_a_proxy_and_announces_a_stranger() {
        let found = admission_of("192.0.2.0/24", "10.0.0.0/8", ProxyProtocol::Accept);
        let announced = Some(Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(found.origins.client, Origin { peer: Ipv4Addr::LOCALHOST, announced });
        assert_eq!(added(&found), ["trusted_proxies 127.0.0.1/32"]);
        assert_eq!(found.origins.client.header(), b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n");
        let stranger = found.origins.stranger.unwrap();
        assert!(!found.client_address.trusted_proxies.contains(stranger.peer.into()));
        assert_eq!(found.origins.outsider.unwrap().announced, Some(Ipv4Addr::new(198, 51, 100, 7)));
        let everybody = admission_of("", "0.0.0.0/0", ProxyProtocol::Accept);
        assert_eq!(everybody.origins.client_word, Word::Believed);
        assert_eq!(everybody.origins.stranger, None);
    }
}
