//! `listeners:` what the gateway listens on.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IdentityHeaders, PublicUrl, TlsSettings};
use crate::model::{AllowList, TrustedProxies};

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique name, used in logs and metrics.
    pub name: String,
    /// Where it listens; port 0 takes any free port.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: ListenerProtocol,
}

/// What a listener speaks, with what that needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// The API door.
    Http(HttpListener),
    /// The `IsProxy` door.
    IsProxy(IsProxyListener),
    /// The web console and the management API.
    Console(ConsoleListener),
    /// The live page, `/livez`, `/readyz`, `/metrics`.
    Ops,
    /// Answers proxies that ask whether a request may pass.
    ForwardAuth(ForwardAuthListener),
}

/// An API listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpListener {
    /// TLS from the first byte, or none.
    pub tls: Option<TlsSettings>,
    /// Are credentials taken where there is no TLS?
    pub plaintext_credentials: PlaintextCredentials,
    /// Whose word about a client's address is believed.
    pub client_address: ClientAddressRules,
    /// Who may come in at all.
    pub allow_list: AllowList,
    /// By host and prefix; at least one.
    pub routes: Vec<Route>,
}

/// A listener that proxies ask about requests which they forward themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuthListener {
    /// TLS from the first byte, or none.
    pub tls: Option<TlsSettings>,
    /// Are credentials taken where there is no TLS?
    pub plaintext_credentials: PlaintextCredentials,
    /// Whose word about a client's address is believed: that of the proxies that ask.
    pub client_address: ClientAddressRules,
    /// Which clients may come in at all.
    pub allow_list: AllowList,
    /// In which headers a proxy is told who calls.
    pub identity_headers: IdentityHeaders,
}

/// An `IsProxy` listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsProxyListener {
    /// Offered through `STARTTLS`.
    pub tls: Option<TlsSettings>,
    /// Is `LOGIN` taken without TLS?
    pub plaintext_credentials: PlaintextCredentials,
    /// Whose word about a client's address is believed.
    pub client_address: ClientAddressRules,
    /// Who may come in at all.
    pub allow_list: AllowList,
    /// The name of an upstream with `protocol: isproxy`.
    pub upstream: String,
}

/// A listener of the console. What it serves in clear is behind something that ends TLS, or stays on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleListener {
    /// TLS from the first byte, or none.
    pub tls: Option<TlsSettings>,
    /// What browsers call it by.
    pub public_url: PublicUrl,
    /// Whose word about a client's address is believed.
    pub client_address: ClientAddressRules,
    /// Who may come in at all.
    pub allow_list: AllowList,
}

/// How a listener learns from where a client comes. The default believes nobody: the peer is the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAddressRules {
    /// Who is believed.
    pub trusted_proxies: TrustedProxies,
    /// Does every connection begin with a PROXY protocol header?
    pub proxy_protocol: ProxyProtocol,
}

/// Is a PROXY protocol header read?
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ProxyProtocol {
    /// It is not; bytes that look like one are refused like any other. The default.
    #[default]
    Refuse,
    /// Every connection must begin with one, of version 1 or 2, and come from a trusted proxy.
    Accept,
}

/// May a credential travel without TLS?
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PlaintextCredentials {
    /// Refused; the default.
    #[default]
    Refuse,
    /// Taken: something in front ends TLS.
    Allow,
}

/// Requests whose target starts with `path` (whole segments) go to `upstream`; the longest path wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Lower-case host names without port; empty: any host. A named host wins over any.
    pub hosts: Vec<String>,
    /// Starts with `/`.
    pub path: String,
    /// The name of an upstream with `protocol: http`.
    pub upstream: String,
    /// What a connection may become; empty: it stays HTTP.
    pub upgrades: Vec<Upgrade>,
}

/// A protocol that a connection of an API listener may change to. Others are never passed on.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Upgrade {
    /// RFC 6455, over HTTP/2 by RFC 8441.
    WebSocket,
}
