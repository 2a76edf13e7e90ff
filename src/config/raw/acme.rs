//! `acme:` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Required;

/// `acme:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawAcme {
    /// The https URL of the authority's directory, such as `https://acme-v02.api.letsencrypt.org/directory`.
    pub(in crate::config) directory: Required<String>,
    /// `true`: whoever runs this has read the authority's terms of service and agrees to them. Nothing is ordered
    /// otherwise.
    pub(in crate::config) terms_accepted: Required<bool>,
    /// Where the authority may write to: `mailto:` URLs.
    #[serde(default)]
    pub(in crate::config) contact: Vec<Required<String>>,
    /// How the authority is shown that a name leads here.
    #[serde(default)]
    pub(in crate::config) challenge: RawChallenge,
    /// http-01: ADDRESS:PORT where the authority's questions are answered, and nothing else, while one is expected; port
    /// 80 of every name must lead there.
    pub(in crate::config) http_01_address: Option<String>,
    /// The folder of the account's key and of what was issued, which are files of mode 0600. Where it is missing it is made
    /// with mode 0700; one that is there stays as it is. Each gateway needs its own.
    #[schemars(with = "String", default = "cache")]
    #[serde(default = "default_cache")]
    pub(in crate::config) cache: Required<String>,
    /// Authorities that vouch for the directory's certificate instead of the system's, as PEM: of a private authority.
    pub(in crate::config) ca: Option<String>,
    /// Binds the account to one that the authority knows otherwise; only for authorities that ask for it.
    pub(in crate::config) external_account: Option<RawExternalAccount>,
}

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub(in crate::config) enum RawChallenge {
    /// In a TLS handshake at port 443 of the name (RFC 8737), which must lead to an http, `forward_auth` or
    /// console listener with `acme_hosts`; the default.
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a request to port 80 of the name, which must lead to `http_01_address`.
    #[serde(rename = "http-01")]
    Http01,
}

/// What the authority gave out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawExternalAccount {
    /// The name of the key.
    pub(in crate::config) key_id: Required<String>,
    /// The file of the key, mode 0600: base64url, as the authority shows it.
    pub(in crate::config) hmac_key_file: Required<String>,
}

fn cache() -> String {
    String::from("acme")
}

fn default_cache() -> Required<String> {
    Required(Some(cache()))
}
