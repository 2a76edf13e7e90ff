//! `upstreams:` as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Required;
use crate::config::PlaintextCredentials;

/// One upstream.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(in crate::config) struct RawUpstream {
    /// Unique name: 1 to 64 of a-z, A-Z, digits, `.`, `_` and `-`; used by routes, in logs and metrics.
    pub(in crate::config) name: Required<String>,
    /// What it speaks.
    pub(in crate::config) protocol: Required<RawUpstreamProtocol>,
    /// One to 64. http: `http://HOST[:PORT]` and `https://HOST[:PORT]`; isproxy: `HOST:PORT`.
    pub(in crate::config) servers: Required<Vec<Required<String>>>,
    /// http: headers to set, in place of what the client sent. Values may be secrets: `"ApiKey ${file:PATH}"`.
    #[serde(default)]
    pub(in crate::config) set_headers: BTreeMap<String, Required<String>>,
    /// http: names of the headers that tell the upstream who the caller is; `null` drops one.
    #[serde(default)]
    pub(in crate::config) identity_headers: RawIdentityHeaders,
    /// Asks every server regularly whether it is well; left out: none is asked. http: by a `GET`. isproxy: by a
    /// connection, `STARTTLS` and `LOGIN` where configured, and `QUIT`.
    pub(in crate::config) health_check: Option<RawHealthCheck>,
    /// http: how `https` servers are verified, by the system's authorities where it is left out. isproxy: `none`,
    /// `starttls`, or the keys below, which stand for `starttls` and say how servers are verified.
    pub(in crate::config) tls: Option<RawUpstreamTls>,
    /// isproxy: the file of the key that Latchkey itself logs in with, mode 0600: 1 to 256 visible ASCII characters.
    pub(in crate::config) login_key_file: Option<String>,
    /// isproxy: may the login key go in clear to servers that are not on this machine?
    #[serde(default)]
    pub(in crate::config) plaintext_credentials: PlaintextCredentials,
    /// http: whether HTTP/2 is spoken to the servers. `auto`, the default: to `https` servers that choose it. `never`:
    /// HTTP/1.1 alone. `always`: HTTP/2 alone, to `http` servers without asking first, as gRPC servers in clear want it.
    pub(in crate::config) http2: Option<RawHttp2Use>,
}

/// Whether HTTP/2 is spoken to the servers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum RawHttp2Use {
    /// To `https` servers that choose it.
    Auto,
    /// HTTP/1.1 alone.
    Never,
    /// HTTP/2 alone.
    Always,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum RawUpstreamProtocol {
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// The `IsProxy` line protocol.
    IsProxy,
}

/// `tls:` of an upstream: a mapping for both, or a word for isproxy.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum RawUpstreamTls {
    /// isproxy.
    Word(RawUpstreamTlsWord),
    /// How servers are verified, and what they are shown. All files are PEM.
    Files(RawUpstreamTlsFiles),
}

/// How the connection to an `IsProxy` upstream is protected.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum RawUpstreamTlsWord {
    /// Not at all: keep it on one machine or network.
    None,
    /// By TLS, begun with `STARTTLS`; a server that does not offer it is not used.
    StartTls,
}

/// How servers are verified, and what they are shown. All PEM files.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(in crate::config) struct RawUpstreamTlsFiles {
    /// The authorities to trust instead of the system's.
    pub(in crate::config) ca: Option<String>,
    /// The certificate to show, leaf first; with `client_private_key`.
    pub(in crate::config) client_certificate: Option<String>,
    /// The private key of `client_certificate`.
    pub(in crate::config) client_private_key: Option<String>,
    /// The name that certificates must be for, instead of the server's host.
    pub(in crate::config) server_name: Option<String>,
}

/// Asks every server regularly whether it is well.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(in crate::config) struct RawHealthCheck {
    /// http: what is asked for; starts with `/`. An answer of 200 to 399 is well.
    pub(in crate::config) path: String,
    /// From one check to the next.
    #[schemars(range(min = 1, max = 3_600))]
    pub(in crate::config) interval_seconds: u32,
    /// The longest that a check may take, connecting included.
    #[schemars(range(min = 10, max = 60_000))]
    pub(in crate::config) timeout_milliseconds: u32,
    /// Checks that must go well in a row before an unhealthy server is asked again.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) healthy_after: u32,
    /// Checks that must fail in a row before a server is unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) unhealthy_after: u32,
}

impl Default for RawHealthCheck {
    fn default() -> Self {
        Self {
            path: String::from("/healthz"),
            interval_seconds: 10,
            timeout_milliseconds: 1_000,
            healthy_after: 2,
            unhealthy_after: 2,
        }
    }
}

/// Names of the headers that carry the identity.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(in crate::config) struct RawIdentityHeaders {
    /// The customer's handle.
    pub(in crate::config) customer: Option<String>,
    /// The user's login name.
    pub(in crate::config) user: Option<String>,
    /// The key's id, where a key was used.
    pub(in crate::config) key_id: Option<String>,
    /// `api-key`, `password` or `session`.
    pub(in crate::config) method: Option<String>,
}

impl Default for RawIdentityHeaders {
    fn default() -> Self {
        let name = |text: &str| Some(text.to_owned());
        Self {
            customer: name("X-Auth-Customer"),
            user: name("X-Auth-User"),
            key_id: name("X-Auth-Key-Id"),
            method: name("X-Auth-Method"),
        }
    }
}
