//! `listeners:` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{RawIdentityHeaders, Required};
use crate::config::{PlaintextCredentials, ProxyProtocol, UnknownNames, Upgrade};

/// One listener.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(in crate::config) struct RawListener {
    /// Unique name: 1 to 64 of a-z, A-Z, digits, `.`, `_` and `-`; used in logs and metrics.
    pub(in crate::config) name: Required<String>,
    /// What it speaks.
    pub(in crate::config) protocol: Required<RawProtocol>,
    /// ADDRESS:PORT; port 0 takes any free port.
    pub(in crate::config) address: Required<String>,
    /// All but ops: `certificate` and `private_key`; or `certificates`, of which each client is shown the one for the name
    /// that it asks for; or `acme_hosts`. isproxy offers TLS through STARTTLS, the others speak it from the first byte.
    pub(in crate::config) tls: Option<RawTls>,
    /// All but ops: are credentials taken where there is no TLS? A console without TLS that is not at a loopback
    /// address needs `allow`, and something trusted in front that ends TLS.
    #[serde(default)]
    pub(in crate::config) plaintext_credentials: PlaintextCredentials,
    /// All but ops: networks of the proxies whose `X-Forwarded-For` or PROXY protocol header is believed; default: none.
    /// Proxies that ask at `forward_auth` belong here: whatever they ask about counts as their own otherwise.
    #[serde(default)]
    pub(in crate::config) trusted_proxies: Vec<Required<String>>,
    /// All but ops: is a PROXY protocol header read, before TLS? `accept` needs `trusted_proxies`.
    #[serde(default)]
    pub(in crate::config) proxy_protocol: ProxyProtocol,
    /// All but ops: networks of the clients that may come in at all; an empty list narrows nothing.
    #[serde(default)]
    pub(in crate::config) allow_list: Vec<Required<String>>,
    /// All but ops: more networks for `allow_list`, one a line, at least one; blank lines and what follows `#` are
    /// ignored.
    pub(in crate::config) allow_list_file: Option<String>,
    /// http: where requests go; at least one.
    #[serde(default)]
    pub(in crate::config) routes: Vec<Required<RawRoute>>,
    /// isproxy: the name of an upstream with `protocol: isproxy`.
    pub(in crate::config) upstream: Option<String>,
    /// console: what browsers call it by, `https://HOST[:PORT]` or `http://localhost[:PORT]`, without a path. Security
    /// keys are bound to the host; browsers refuse them where it is an IP address, and everything else works there.
    pub(in crate::config) public_url: Option<String>,
    /// `forward_auth`: names of the headers that tell the asking proxy who the caller is; `null` drops one.
    #[serde(default)]
    pub(in crate::config) identity_headers: RawIdentityHeaders,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum RawProtocol {
    /// The API door.
    Http,
    /// The `IsProxy` door.
    IsProxy,
    /// The web console and the management API.
    Console,
    /// The live page at `/`, `/livez`, `/readyz`, `/metrics`, without a credential: for a loopback or internal address.
    Ops,
    /// Answers proxies that ask whether a request may pass, and forward it themselves: nginx `auth_request`, Caddy
    /// `forward_auth`, Envoy `ext_authz`, Traefik `forwardAuth`.
    #[serde(rename = "forward_auth")]
    ForwardAuth,
}

/// The certificates of a listener, all of them PEM files.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawTls {
    /// The chain of the only certificate, leaf first; with `private_key`.
    pub(in crate::config) certificate: Option<String>,
    /// The private key of `certificate`.
    pub(in crate::config) private_key: Option<String>,
    /// Several certificates instead of the one; the first is for clients whose name decides nothing.
    pub(in crate::config) certificates: Option<Vec<Required<RawCertificate>>>,
    /// Host names, for which the authority of `acme` issues a certificate instead: at least one, at most 100, none with
    /// `*`. Listeners with the same names share it.
    pub(in crate::config) acme_hosts: Option<Vec<Required<String>>>,
    /// What clients get that ask for a name in none of the certificates, or for no name.
    #[serde(default)]
    pub(in crate::config) unknown_names: UnknownNames,
}

/// One of several certificates, shown to clients that ask for a name in it. An exact name goes before one with `*`; no
/// two certificates may hold the same name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawCertificate {
    /// The chain, leaf first.
    pub(in crate::config) certificate: Required<String>,
    /// The private key.
    pub(in crate::config) private_key: Required<String>,
}

/// Requests whose target starts with `path` go to `upstream`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(in crate::config) struct RawRoute {
    /// Host names without port; none: any host. A named host wins over any.
    #[serde(default)]
    pub(in crate::config) hosts: Vec<Required<String>>,
    /// A prefix of whole segments, starts with `/`; the longest wins.
    pub(in crate::config) path: Required<String>,
    /// The name of an upstream with `protocol: http`.
    pub(in crate::config) upstream: Required<String>,
    /// What a connection may become on a client's request; default: none.
    #[serde(default)]
    pub(in crate::config) upgrades: Vec<Required<Upgrade>>,
}
