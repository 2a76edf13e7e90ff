//! Where applications find the doors, as far as the configuration tells: for the console's samples.
//!
//! What stands in front of the gateway it cannot know. Called by `consoles`, with each configuration.

use std::net::SocketAddr;

use super::sockets::Sockets;
use crate::config::{Config, HttpListener, IsProxyListener, ListenerProtocol, PlaintextCredentials};
use crate::console::DoorAddresses;

/// How fit a listener is to be told of; the fittest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    RefusesKeysInClear,
    TakesKeysInClear,
    Tls,
}

/// The addresses of the doors of `config`, which listen at `sockets`, in the same order.
pub(super) fn door_addresses(config: &Config, sockets: &Sockets) -> DoorAddresses {
    of_listeners(config, sockets.held().iter().map(|held| held.bound.address))
}

fn of_listeners(config: &Config, addresses: impl Iterator<Item = SocketAddr>) -> DoorAddresses {
    let (mut api, mut isproxy) = (None, None);
    for (listener, address) in config.listeners.iter().zip(addresses) {
        match &listener.protocol {
            ListenerProtocol::Http(http) => keep_fitter(&mut api, of_api(config, http, address)),
            ListenerProtocol::IsProxy(door) => keep_fitter(&mut isproxy, of_isproxy(config, door, address)),
            // One that proxies ask is no place for applications.
            ListenerProtocol::Console(_) | ListenerProtocol::Ops | ListenerProtocol::ForwardAuth(_) => {}
        }
    }
    DoorAddresses { api: api.map(|(_, text)| text), isproxy: isproxy.map(|(_, text)| text) }
}

/// The first of the fittest stays.
fn keep_fitter(kept: &mut Option<(Fitness, String)>, other: (Fitness, String)) {
    if kept.as_ref().is_none_or(|(fitness, _)| *fitness < other.0) {
        *kept = Some(other);
    }
}

const fn fitness(has_tls: Option<()>, in_clear: PlaintextCredentials) -> Fitness {
    match (has_tls, in_clear) {
        (Some(()), _) => Fitness::Tls,
        (None, PlaintextCredentials::Allow) => Fitness::TakesKeysInClear,
        (None, PlaintextCredentials::Refuse) => Fitness::RefusesKeysInClear,
    }
}

fn of_api(config: &Config, listener: &HttpListener, address: SocketAddr) -> (Fitness, String) {
    let (scheme, usual_port) = if listener.tls.is_some() { ("https", 443) } else { ("http", 80) };
    // A listener with routes for named hosts is called by one of them.
    let named = listener.routes.iter().find_map(|route| route.hosts.first().cloned());
    let host = named.unwrap_or_else(|| host_of(config, address));
    let port = if address.port() == usual_port { String::new() } else { format!(":{}", address.port()) };
    let fitness = fitness(listener.tls.as_ref().map(|_| ()), listener.plaintext_credentials);
    (fitness, format!("{scheme}://{host}{port}/"))
}

fn of_isproxy(config: &Config, listener: &IsProxyListener, address: SocketAddr) -> (Fitness, String) {
    let fitness = fitness(listener.tls.as_ref().map(|_| ()), listener.plaintext_credentials);
    (fitness, format!("{}:{}", host_of(config, address), address.port()))
}

/// The address itself; where it stands for all of the machine's, the host that the console is called by.
fn host_of(config: &Config, address: SocketAddr) -> String {
    match config.public_url() {
        Some(url) if address.ip().is_unspecified() => url.host().to_string(),
        _ if address.is_ipv6() => format!("[{}]", address.ip()),
        _ => address.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn told(listeners: &str) -> DoorAddresses {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listeners:\n  - {{ name: console, protocol: console, address: \"127.0.0.1:8443\", public_url: \"https://console.example\" }}\n\
             {listeners}upstreams:\n  - {{ name: up, protocol: http, servers: [\"http://127.0.0.1:1\"] }}\n  \
             - {{ name: is, protocol: isproxy, servers: [\"127.0.0.1:2\"], login_key_file: k }}\n"
        );
        let key_file = folder.path().join("k");
        std::fs::write(&key_file, "x").unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = crate::config::parse(&text, Path::new("f.yaml"), folder.path(), &|_| None)
            .unwrap_or_else(|faults| panic!("{faults}"));
        let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.address).collect();
        of_listeners(&config, addresses.into_iter())
    }

    #[test]
    fn without_doors_nothing_is_told() {
        assert_eq!(told(""), DoorAddresses::default());
    }

    #[test]
    fn an_address_for_all_of_the_machine_is_told_by_the_consoles_host() {
        let told = told(
            "  - { name: a, protocol: http, address: \"0.0.0.0:80\", plaintext_credentials: allow, routes: [{ path: /, upstream: up }] }\n  \
             - { name: i, protocol: isproxy, address: \"0.0.0.0:2001\", plaintext_credentials: allow, upstream: is }\n",
        );
        assert_eq!(told.api.as_deref(), Some("http://console.example/"));
        assert_eq!(told.isproxy.as_deref(), Some("console.example:2001"));
    }

    #[test]
    fn a_listener_that_takes_keys_is_told_before_one_that_refuses_them() {
        let told = told(
            "  - { name: a, protocol: http, address: \"127.0.0.1:8080\", routes: [{ path: /, upstream: up }] }\n  \
             - { name: b, protocol: http, address: \"[::1]:8081\", plaintext_credentials: allow, routes: [{ hosts: [api.example], path: /, upstream: up }] }\n",
        );
        assert_eq!(told.api.as_deref(), Some("http://api.example:8081/"));
    }
}
