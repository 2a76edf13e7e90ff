//! `listeners:` what they mean. Those of the console stand in `console`, those that proxies ask in `forward_auth`,
//! certificates in `tls`.

mod console;
mod forward_auth;
mod tls;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use self::console::{FirstPublicUrl, console_listener};
use self::forward_auth::forward_auth_listener;
use self::tls::tls;
use super::upstreams::KnownUpstreams;
use super::{Review, is_host};
use crate::config::faults::KeyPath;
use crate::config::interpolation::{read_text, reason};
use crate::config::raw::{RawListener, RawProtocol, RawRoute, RawUpstreamProtocol, Required};
use crate::config::{
    ClientAddressRules, HttpListener, IsProxyListener, Listener, ListenerProtocol, PlaintextCredentials,
    ProxyProtocol, Route, TlsSettings,
};
use crate::model::{AllowList, TrustedProxies};

/// The protocols that ask for a credential.
const PROTECTED: &[&str] = &["http", "isproxy", "console", "forward_auth"];

/// Which protocols a key belongs to, for keys that do not belong to all.
const BELONGING: &[(&str, &[&str])] = &[
    ("tls", PROTECTED),
    ("plaintext_credentials", PROTECTED),
    ("trusted_proxies", PROTECTED),
    ("proxy_protocol", PROTECTED),
    ("allow_list", PROTECTED),
    ("allow_list_file", PROTECTED),
    ("routes", &["http"]),
    ("upstream", &["isproxy"]),
    ("public_url", &["console"]),
    ("identity_headers", &["forward_auth"]),
];

/// The largest `allow_list_file`, in bytes: some 400,000 networks.
const ALLOW_LIST_FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// How many bad lines of an `allow_list_file` are named.
const BAD_LINES_MAX: usize = 10;

/// The sound listeners.
pub(super) fn listeners(
    raw: Vec<Required<RawListener>>,
    known: &KnownUpstreams,
    review: &mut Review<'_>,
) -> Vec<Listener> {
    let all = KeyPath::default().key("listeners");
    if raw.is_empty() {
        review.refuse(&all, "is empty; at least one listener is needed", None);
    }
    let mut taken = Taken { names: HashMap::new(), addresses: HashMap::new(), public_url: None };
    raw.into_iter()
        .enumerate()
        .filter_map(|(position, raw)| listener(raw.0?, &all.index(position), &mut taken, known, review))
        .collect()
}

struct Taken {
    names: HashMap<String, String>,
    addresses: HashMap<SocketAddr, String>,
    public_url: FirstPublicUrl,
}

fn listener(
    raw: RawListener,
    path: &KeyPath,
    taken: &mut Taken,
    known: &KnownUpstreams,
    review: &mut Review<'_>,
) -> Option<Listener> {
    let name = review.name(&path.key("name"), raw.name, &mut taken.names);
    let address = raw
        .address
        .0
        .and_then(|text| self::address(&text, &path.key("address"), &mut taken.addresses, review));
    if let Some(protocol) = raw.protocol.0 {
        review.refuse_misplaced(path, BELONGING, word(protocol));
    }
    let client_address = client_address(raw.trusted_proxies, raw.proxy_protocol, path, review);
    let tls = match raw.tls {
        Some(raw) => tls(raw, &path.key("tls"), review).map(Some).ok_or(Unsound),
        None => Ok(None),
    };
    let allow_list = allow_list(raw.allow_list, raw.allow_list_file, path, review);
    let shared = Shared { tls, plaintext_credentials: raw.plaintext_credentials, client_address, allow_list };
    let is_routed = !raw.routes.is_empty();
    let routes = routes(raw.routes, &path.key("routes"), known, review);
    let is_relayed = raw.upstream.is_some();
    let upstream = raw
        .upstream
        .and_then(|text| known.resolve(&path.key("upstream"), text, RawUpstreamProtocol::IsProxy, review));
    let protocol = match raw.protocol.0? {
        RawProtocol::Http => {
            if !is_routed {
                review.refuse_missing(path, "routes", "at least one, such as { path: /, upstream: NAME }");
            }
            ListenerProtocol::Http(http_listener(shared, routes)?)
        }
        RawProtocol::IsProxy => {
            if !is_relayed {
                review.refuse_missing(path, "upstream", "the name of one with `protocol: isproxy`");
            }
            ListenerProtocol::IsProxy(isproxy_listener(shared, upstream, path, review)?)
        }
        RawProtocol::Console => {
            let first = &mut taken.public_url;
            let console = console_listener(raw.public_url, address, shared, path, first, review);
            ListenerProtocol::Console(console?)
        }
        RawProtocol::Ops => ListenerProtocol::Ops,
        RawProtocol::ForwardAuth => {
            let asked = forward_auth_listener(raw.identity_headers, shared, path, review);
            ListenerProtocol::ForwardAuth(asked?)
        }
    };
    Some(Listener { name: name?, address: address?, protocol })
}

/// What the listeners of credentials have in common.
struct Shared {
    tls: Result<Option<TlsSettings>, Unsound>,
    plaintext_credentials: PlaintextCredentials,
    client_address: ClientAddressRules,
    allow_list: AllowList,
}

/// It is there and means nothing, which has been told.
struct Unsound;

fn http_listener(shared: Shared, routes: Vec<Route>) -> Option<HttpListener> {
    let Shared { tls, plaintext_credentials, client_address, allow_list } = shared;
    Some(HttpListener { tls: tls.ok()?, plaintext_credentials, client_address, allow_list, routes })
}

fn isproxy_listener(
    shared: Shared,
    upstream: Option<String>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<IsProxyListener> {
    let Shared { tls, plaintext_credentials, client_address, allow_list } = shared;
    if client_address.proxy_protocol == ProxyProtocol::Refuse && !client_address.trusted_proxies.is_empty() {
        let message = "nobody is asked: lines carry no address, and `proxy_protocol` is `refuse`";
        let help = "write `proxy_protocol: accept` where a balancer sends that header";
        review.refuse(&path.key("trusted_proxies"), message, Some(help));
    }
    let (tls, upstream) = (tls.ok()?, upstream?);
    Some(IsProxyListener { tls, plaintext_credentials, client_address, allow_list, upstream })
}

fn word(protocol: RawProtocol) -> &'static str {
    match protocol {
        RawProtocol::Http => "http",
        RawProtocol::IsProxy => "isproxy",
        RawProtocol::Console => "console",
        RawProtocol::Ops => "ops",
        RawProtocol::ForwardAuth => "forward_auth",
    }
}

fn address(
    text: &str,
    path: &KeyPath,
    taken: &mut HashMap<SocketAddr, String>,
    review: &mut Review<'_>,
) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let help = "for example 127.0.0.1:8443 or [::]:8443; an address, not a name";
        review.refuse(path, "must be ADDRESS:PORT", Some(help));
        return None;
    };
    // With SO_REUSEPORT the system would not object: both listeners would get a part of the connections each.
    if let Some(owner) = taken.get(&address).filter(|_| address.port() != 0) {
        review.refuse(path, format!("this address is taken: {owner}"), None);
        return None;
    }
    taken.insert(address, path.to_string());
    Some(address)
}

fn allow_list(
    raw: Vec<Required<String>>,
    file: Option<String>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> AllowList {
    let mut networks = networks(raw, &path.key("allow_list"), review);
    if let Some(file) = file {
        networks.extend(allow_list_file(file, &path.key("allow_list_file"), review));
    }
    AllowList::new(networks)
}

fn client_address(
    raw: Vec<Required<String>>,
    proxy_protocol: ProxyProtocol,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> ClientAddressRules {
    if raw.is_empty() && proxy_protocol == ProxyProtocol::Accept {
        let message =
            "`accept` needs `trusted_proxies`: connections of all others are closed, so nobody could come in";
        let help = "name the balancer's network, for example trusted_proxies: [10.0.0.0/24]";
        review.refuse(&path.key("proxy_protocol"), message, Some(help));
    }
    let networks = networks(raw, &path.key("trusted_proxies"), review);
    ClientAddressRules { trusted_proxies: TrustedProxies::new(AllowList::new(networks)), proxy_protocol }
}

/// The sound ones of a list of networks.
fn networks(raw: Vec<Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (position, text) in raw.into_iter().enumerate() {
        let path = path.index(position);
        let Some(text) = text.0 else { continue };
        match AllowList::parse([text.as_str()]) {
            Ok(one) => networks.extend(one.networks()),
            Err(error) if review.is_written(&path) => review.refuse(&path, error.to_string(), None),
            Err(_) => review.refuse(&path, "must be an address or CIDR", None),
        }
    }
    networks
}

/// Reads one network a line. A bad line is named by its number and not shown: the file may be the wrong one.
fn allow_list_file(text: String, path: &KeyPath, review: &mut Review<'_>) -> Vec<IpNet> {
    let Some(file) = review.path(path, Required(Some(text))) else { return Vec::new() };
    review.files.insert(file.clone());
    let named = review.file_named(path);
    let text = match read_text(&file, ALLOW_LIST_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(error) => {
            review.refuse(path, format!("{}{named}", reason(&error)), None);
            return Vec::new();
        }
    };
    let (mut networks, mut bad_lines) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim();
        match AllowList::parse([entry]) {
            Ok(one) => networks.extend(one.networks()),
            Err(_) if entry.is_empty() => {}
            Err(_) => bad_lines.push(number),
        }
    }
    if !bad_lines.is_empty() {
        let file = named.trim_start_matches(": ");
        let places: Vec<String> =
            bad_lines.iter().take(BAD_LINES_MAX).map(|number: &u32| format!("{file}:{number}")).collect();
        let further = if bad_lines.len() > BAD_LINES_MAX { " and further" } else { "" };
        let help =
            "one address or CIDR a line, for example 192.0.2.0/24 or 2001:db8::/32; `#` starts a comment";
        review.refuse(path, format!("not a network: {}{further}", places.join(", ")), Some(help));
    } else if networks.is_empty() {
        // Emptied by mistake, or half written: without this the listener would be open to everybody.
        let help = "an empty list would let everybody in; leave the key out where that is meant";
        review.refuse(path, format!("holds no network{named}"), Some(help));
    }
    networks
}

fn routes(
    raw: Vec<Required<RawRoute>>,
    path: &KeyPath,
    known: &KnownUpstreams,
    review: &mut Review<'_>,
) -> Vec<Route> {
    let mut taken = HashSet::new();
    let mut sound = Vec::new();
    for (position, raw) in raw.into_iter().enumerate() {
        let path = path.index(position);
        let Some(raw) = raw.0 else { continue };
        let upstream = raw
            .upstream
            .0
            .and_then(|text| known.resolve(&path.key("upstream"), text, RawUpstreamProtocol::Http, review));
        let hosts = hosts(raw.hosts, &path.key("hosts"), review);
        let upgrades = raw.upgrades.into_iter().filter_map(|upgrade| upgrade.0).collect();
        let prefix = raw.path.0.filter(|prefix| is_path(prefix, &path.key("path"), review));
        let Some(prefix) = prefix else { continue };
        // A route without hosts stands for any host, which no name can be: `` is none.
        let any_host = if hosts.is_empty() { vec![String::new()] } else { hosts.clone() };
        if any_host.into_iter().filter(|host| !taken.insert((host.clone(), prefix.clone()))).count() > 0 {
            review.refuse(&path.key("path"), "an earlier route has this path for the same host", None);
        }
        sound.extend(upstream.map(|upstream| Route { hosts, path: prefix, upstream, upgrades }));
    }
    sound
}

fn is_path(text: &str, path: &KeyPath, review: &mut Review<'_>) -> bool {
    let sound =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if !sound {
        review.refuse(path, "must start with `/` and hold neither blank, `?` nor `#`", None);
    }
    sound
}

fn hosts(raw: Vec<Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> Vec<String> {
    let mut sound = Vec::new();
    for (position, text) in raw.into_iter().enumerate() {
        let Some(text) = text.0 else { continue };
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if is_host(&text) || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
            sound.push(text.to_ascii_lowercase());
        } else {
            let help = "for example api.example.com; no port, no `*`; leave `hosts` out for any host";
            review.refuse(&path.index(position), "must be a host name", Some(help));
        }
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upgrade;
    use crate::config::testing::{BASE, TestFolder};
    use crate::model::ClientIp;

    /// What is told about the smallest sound configuration after replacing `from`; one fault is expected.
    fn told(from: &str, to: &str) -> String {
        let text = BASE.replacen(from, to, 1);
        assert_ne!(text, BASE);
        let told = TestFolder::new().faults(&text);
        assert!(told.ends_with("\n1 error"), "{told}");
        told
    }

    fn parsed_listener(folder: &TestFolder, setting: &str) -> HttpListener {
        let text = BASE.replacen("    routes:", &format!("    {setting}\n    routes:"), 1);
        let config = folder.parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
        match config.listeners.into_iter().next().map(|listener| listener.protocol) {
            Some(ListenerProtocol::Http(http)) => http,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_is_numbers_and_belongs_to_one_listener() {
        for address in
            ["localhost:8443", "127.0.0.1", "127.0.0.1:99999", ":8443", "http://127.0.0.1:1", "\"\""]
        {
            let told = told("127.0.0.1:8443", address);
            assert!(
                told.starts_with("f.yaml:4:14  error  listeners[0].address: must be ADDRESS:PORT"),
                "{told}"
            );
        }
        let second = |address: &str, name: &str| {
            let listener =
                format!("listeners:\n  - name: {name}\n    protocol: ops\n    address: \"{address}\"\n");
            BASE.replacen("listeners:\n", &listener, 1)
        };
        let folder = TestFolder::new();
        let taken = folder.faults(&second("127.0.0.1:8443", "ops"));
        assert!(taken.starts_with(
            "f.yaml:7:14  error  listeners[1].address: this address is taken: listeners[0].address"
        ));
        let taken = folder.faults(&second("127.0.0.1:1", "api"));
        assert!(taken.starts_with(
            "f.yaml:5:11  error  listeners[1].name: the name `api` is taken: listeners[0].name"
        ));
        assert!(folder.parse(&second("[::1]:8443", "ops")).is_ok());
        let any_port = second("127.0.0.1:0", "ops").replace("127.0.0.1:8443", "127.0.0.1:0");
        assert_eq!(
            folder.parse(&any_port).unwrap().listeners.len(),
            2,
            "port 0 is a port of its own each time"
        );
    }

    #[test]
    fn credentials_over_plaintext_are_a_choice() {
        let folder = TestFolder::new();
        assert_eq!(
            parsed_listener(&folder, "proxy_protocol: refuse").plaintext_credentials,
            PlaintextCredentials::Refuse
        );
        let allowing = parsed_listener(&folder, "plaintext_credentials: allow");
        assert_eq!(allowing.plaintext_credentials, PlaintextCredentials::Allow);
    }

    #[test]
    fn an_allow_list_is_the_list_and_the_file_together() {
        let folder = TestFolder::new();
        folder.write("offices.txt", "# offices\n\n192.0.2.0/24  # Berlin\r\n2001:db8::/32\n");
        let setting = "allow_list: [198.51.100.7]\n    allow_list_file: offices.txt";
        let list = parsed_listener(&folder, setting).allow_list;
        let admits = |address: &str| list.admits(ClientIp::new(address.parse().unwrap()));
        assert!(admits("192.0.2.9") && admits("198.51.100.7") && admits("2001:db8::1"));
        assert!(!admits("198.51.100.8"));
    }

    #[test]
    fn a_bad_network_is_named_by_its_place() {
        let bad = told("    routes:", "    allow_list: [192.0.2.0/24, 192.0.2.0/33]\n    routes:");
        assert!(
            bad.starts_with(
                "f.yaml:5:32  error  listeners[0].allow_list[1]: `192.0.2.0/33` is not a network"
            ),
            "{bad}"
        );
        let folder = TestFolder::new();
        folder.write("offices.txt", "192.0.2.0/24\nhunter2\n\n10.0.0.0/99\n");
        let text = BASE.replacen("    routes:", "    allow_list_file: offices.txt\n    routes:", 1);
        let bad = folder.faults(&text);
        assert!(bad.starts_with("f.yaml:5:22  error  listeners[0].allow_list_file: not a network: offices.txt:2, offices.txt:4\n"), "{bad}");
        assert!(!bad.contains("hunter2"), "the file may be the wrong one: {bad}");
        folder.write("offices.txt", &"x\n".repeat(100));
        assert!(folder.faults(&text).contains("offices.txt:10 and further"));
        let missing = told("    routes:", "    allow_list_file: none.txt\n    routes:");
        assert!(missing.contains("listeners[0].allow_list_file: file not found: none.txt"), "{missing}");
    }

    #[test]
    fn a_file_without_a_network_does_not_let_everybody_in() {
        let folder = TestFolder::new();
        let text = BASE.replacen("    routes:", "    allow_list_file: offices.txt\n    routes:", 1);
        for emptied in ["", "\n", "# 192.0.2.0/24\n"] {
            folder.write("offices.txt", emptied);
            let fault = folder.faults(&text);
            assert!(fault.contains("allow_list_file: holds no network: offices.txt\n"), "{fault}");
        }
    }

    #[test]
    fn a_route_leads_to_an_http_upstream() {
        for (from, to, expected) in [
            (
                "upstream: registry",
                "upstream: registyr",
                "f.yaml:6:30  error  listeners[0].routes[0].upstream: there is no upstream `registyr`; did you mean `registry`?",
            ),
            (
                "upstream: registry",
                "upstream: other",
                "f.yaml:6:30  error  listeners[0].routes[0].upstream: there is no upstream `other`\n",
            ),
            ("path: /,", "path: v2,", "f.yaml:6:17  error  listeners[0].routes[0].path: must start with `/`"),
            (
                "path: /,",
                "path: \"/a b\",",
                "f.yaml:6:17  error  listeners[0].routes[0].path: must start with `/`",
            ),
            (
                "path: /,",
                "path: \"/a?b\",",
                "f.yaml:6:17  error  listeners[0].routes[0].path: must start with `/`",
            ),
            ("path: /, ", "", "f.yaml:6:9  error  listeners[0].routes[0]: missing key `path`"),
            (
                "path: /,",
                "path: /, hosts: [\"a:80\"],",
                "f.yaml:6:28  error  listeners[0].routes[0].hosts[0]: must be a host name",
            ),
            (
                "path: /,",
                "path: /, hosts: [\"*.a\"],",
                "f.yaml:6:28  error  listeners[0].routes[0].hosts[0]: must be a host name",
            ),
            (
                "    routes:\n      - { path: /, upstream: registry }\n",
                "",
                "f.yaml:2:5  error  listeners[0]: missing key `routes`: at least one",
            ),
            (
                "\n      - { path: /, upstream: registry }",
                " []",
                "f.yaml:5:13  error  listeners[0]: missing key `routes`",
            ),
        ] {
            let told = told(from, to);
            assert!(
                told.starts_with(expected)
                    || expected.contains("missing key `routes`") && told.contains("missing key `routes`"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_path_is_routed_once_for_a_host() {
        let folder = TestFolder::new();
        let route = "      - { path: /, upstream: registry }\n";
        let with = |more: &str| BASE.replacen(route, &format!("{route}{more}"), 1);
        let twice = folder.faults(&with(route));
        assert!(
            twice.starts_with(
                "f.yaml:7:17  error  listeners[0].routes[1].path: an earlier route has this path"
            ),
            "{twice}"
        );
        let hosts = "      - { path: /, upstream: registry, hosts: [API.example, \"[::1]\"] }\n";
        let config = folder.parse(&with(hosts)).unwrap();
        let ListenerProtocol::Http(http) = &config.listeners[0].protocol else { panic!("not HTTP") };
        assert_eq!(http.routes[1].hosts, ["api.example", "[::1]"]);
    }

    #[test]
    fn an_isproxy_listener_leads_to_an_isproxy_upstream() {
        let relay = |upstream: &str| {
            let listener = format!(
                "listeners:\n  - name: lines\n    protocol: isproxy\n    address: 127.0.0.1:2001\n{upstream}"
            );
            BASE.replacen("listeners:\n", &listener, 1)
                + "  - { name: availability, protocol: isproxy, servers: [\"127.0.0.1:9001\"] }\n"
        };
        let folder = TestFolder::new();
        let config = folder.parse(&relay("    upstream: availability\n")).unwrap();
        assert!(
            matches!(&config.listeners[0].protocol, ListenerProtocol::IsProxy(door) if door.upstream == "availability")
        );
        let wrong = folder.faults(&relay("    upstream: registry\n"));
        assert!(wrong.starts_with("f.yaml:5:15  error  listeners[0].upstream: the upstream `registry` speaks http; this needs one with `protocol: isproxy`"), "{wrong}");
        let missing = folder.faults(&relay(""));
        assert!(missing.starts_with("f.yaml:2:5  error  listeners[0]: missing key `upstream`"), "{missing}");
        let unasked = folder.faults(&relay("    upstream: availability\n    trusted_proxies: [10.0.0.1]\n"));
        assert!(
            unasked.starts_with("f.yaml:6:22  error  listeners[0].trusted_proxies: nobody is asked"),
            "{unasked}"
        );
    }

    #[test]
    fn a_key_of_another_protocol_is_refused() {
        let told = told("    routes:", "    upstream: registry\n    routes:");
        assert!(
            told.starts_with(
                "f.yaml:5:5  error  listeners[0]: key `upstream` belongs to protocol isproxy, not http"
            ),
            "{told}"
        );
        let ops = BASE.replacen("protocol: http", "protocol: ops", 1);
        assert!(
            TestFolder::new().faults(&ops).starts_with(
                "f.yaml:5:5  error  listeners[0]: key `routes` belongs to protocol http, not ops"
            )
        );
    }

    #[test]
    fn s105_nobody_is_a_trusted_proxy_by_default() {
        let folder = TestFolder::new();
        for setting in ["trusted_proxies: []", "allow_list: []"] {
            let rules = parsed_listener(&folder, setting).client_address;
            assert_eq!(rules, ClientAddressRules::default(), "{setting}");
            assert!(rules.trusted_proxies.is_empty() && rules.proxy_protocol == ProxyProtocol::Refuse);
        }
    }

    #[test]
    fn trusted_proxies_are_networks() {
        let folder = TestFolder::new();
        let rules = parsed_listener(&folder, "trusted_proxies: [10.0.0.0/8, \"::1\"]").client_address;
        for (address, trusted) in [("10.2.3.4", true), ("::1", true), ("192.0.2.1", false)] {
            assert_eq!(rules.trusted_proxies.contains(address.parse().unwrap()), trusted, "{address}");
        }
        let wrong = told("    routes:", "    trusted_proxies: [10.0.0.0/8, balancer.example]\n    routes:");
        assert!(
            wrong.starts_with(
                "f.yaml:5:35  error  listeners[0].trusted_proxies[1]: `balancer.example` is not a network"
            ),
            "{wrong}"
        );
        let misplaced =
            BASE.replacen("protocol: http", "protocol: ops\n    trusted_proxies: [10.0.0.0/8]", 1);
        assert!(
            folder.faults(&misplaced).contains(
                "key `trusted_proxies` belongs to protocol http, isproxy, console and forward_auth"
            )
        );
    }

    #[test]
    fn s15_a_proxy_header_is_accepted_from_trusted_proxies_only() {
        let folder = TestFolder::new();
        let rules = parsed_listener(&folder, "trusted_proxies: [10.0.0.1]\n    proxy_protocol: accept");
        assert_eq!(rules.client_address.proxy_protocol, ProxyProtocol::Accept);
        let nobody = told("    routes:", "    proxy_protocol: accept\n    routes:");
        assert!(
            nobody.starts_with(
                "f.yaml:5:21  error  listeners[0].proxy_protocol: `accept` needs `trusted_proxies`"
            ),
            "{nobody}"
        );
    }

    #[test]
    fn s57_a_route_upgrades_to_nothing_but_what_it_names() {
        let folder = TestFolder::new();
        let upgrades = |text: &str| match folder.parse(text).unwrap().listeners.remove(0).protocol {
            ListenerProtocol::Http(mut http) => http.routes.remove(0).upgrades,
            other => panic!("{other:?}"),
        };
        assert_eq!(upgrades(BASE), []);
        let allowing = |words: &str| {
            BASE.replacen("upstream: registry }", &format!("upstream: registry, upgrades: [{words}] }}"), 1)
        };
        assert_eq!(upgrades(&allowing("websocket")), [Upgrade::WebSocket]);
        let told = folder.faults(&allowing("h2c"));
        assert!(told.starts_with("f.yaml:6:51  error  listeners[0].routes[0].upgrades[0]: "), "{told}");
        assert!(told.ends_with("allowed: websocket\n1 error"), "{told}");
    }

    #[test]
    fn an_unreadable_upstream_makes_no_reference_wrong() {
        let told = told("name: registry", "name: 7");
        assert!(
            told.starts_with("f.yaml:8:11  error  upstreams[0].name: must be text, not a number"),
            "{told}"
        );
    }

    #[test]
    fn at_least_one_listener_is_needed() {
        let told = TestFolder::new().faults("listeners: []\n");
        assert_eq!(told, "f.yaml:1:12  error  listeners: is empty; at least one listener is needed\n1 error");
    }
}
