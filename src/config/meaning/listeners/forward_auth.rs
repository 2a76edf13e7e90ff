//! `protocol: forward_auth`: what an API listener demands, and in which headers the asking proxy is told who calls.

use super::Shared;
use crate::config::ForwardAuthListener;
use crate::config::faults::KeyPath;
use crate::config::meaning::Review;
use crate::config::meaning::upstreams::{RESERVED_HEADERS, identity_headers};
use crate::config::raw::RawIdentityHeaders;

/// Headers of an answer that mean something else to whoever asked: no identity can stand there.
const ANSWER_HEADERS: &[&str] = &[
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "location",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "set-cookie",
    "www-authenticate",
];

/// A listener that proxies ask, if that is sound.
pub(super) fn forward_auth_listener(
    headers: RawIdentityHeaders,
    shared: Shared,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<ForwardAuthListener> {
    let path = path.key("identity_headers");
    let identity_headers = identity_headers(headers, &path, &[RESERVED_HEADERS, ANSWER_HEADERS], review);
    let Shared { tls, plaintext_credentials, client_address, allow_list } = shared;
    let tls = tls.ok()?;
    Some(ForwardAuthListener { tls, plaintext_credentials, client_address, allow_list, identity_headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::TestFolder;
    use crate::config::{IdentityHeaders, ListenerProtocol, PlaintextCredentials, ProxyProtocol};

    /// A listener whose keys beside name, protocol and address are `rest`, from line 5 on.
    fn text(rest: &str) -> String {
        let front =
            "listeners:\n  - name: asked\n    protocol: forward_auth\n    address: 127.0.0.1:8445\n    ";
        front.to_owned() + &rest.replace("; ", "\n    ") + "\n"
    }

    fn listener(rest: &str) -> ForwardAuthListener {
        let config = TestFolder::new().parse(&text(rest)).unwrap_or_else(|faults| panic!("{rest}: {faults}"));
        match config.listeners.into_iter().next().map(|listener| listener.protocol) {
            Some(ListenerProtocol::ForwardAuth(listener)) => listener,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_takes_what_an_api_listener_takes_and_needs_no_upstream() {
        let found = listener(
            "tls: { certificate: certs/dev.crt, private_key: certs/dev.key }; trusted_proxies: [10.0.0.1]; \
             proxy_protocol: accept; allow_list: [192.0.2.0/24]",
        );
        assert!(found.tls.is_some() && !found.allow_list.is_empty());
        assert_eq!(found.client_address.proxy_protocol, ProxyProtocol::Accept);
        assert!(found.client_address.trusted_proxies.contains("10.0.0.1".parse().unwrap()));
        assert_eq!(found.plaintext_credentials, PlaintextCredentials::Refuse);
        assert_eq!(found.identity_headers, IdentityHeaders::default());
    }

    #[test]
    fn its_identity_headers_can_be_renamed_and_dropped() {
        let found = listener("identity_headers: { user: Remote-User, key_id: null }").identity_headers;
        assert_eq!(found.user.unwrap(), "remote-user");
        assert_eq!((found.key_id, found.customer), (None, IdentityHeaders::default().customer));
    }

    #[test]
    fn an_identity_may_not_stand_where_an_answer_says_something_else() {
        for name in ["Set-Cookie", "Retry-After", "WWW-Authenticate", "Content-Length", "X-Request-Id"] {
            let told = TestFolder::new().faults(&text(&format!("identity_headers: {{ user: {name} }}")));
            let expected = "f.yaml:5:31  error  listeners[0].identity_headers.user: this header steers the exchange itself";
            assert!(told.starts_with(expected), "{name}: {told}");
        }
    }

    #[test]
    fn it_has_neither_routes_nor_an_upstream() {
        for (key, owner) in [("routes: []", "http"), ("upstream: registry", "isproxy")] {
            let told = TestFolder::new().faults(&text(key));
            let expected = format!("belongs to protocol {owner}, not forward_auth");
            assert!(told.contains(&expected), "{told}");
        }
    }

    #[test]
    fn no_other_listener_has_identity_headers() {
        let ops = "listeners:\n  - name: ops\n    protocol: ops\n    address: 127.0.0.1:9100\n    identity_headers: {}\n";
        let told = TestFolder::new().faults(ops);
        assert!(told.contains("key `identity_headers` belongs to protocol forward_auth, not ops"), "{told}");
    }
}
