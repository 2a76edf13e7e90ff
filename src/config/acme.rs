//! `acme:` the authority that issues certificates, and how it is shown whose the names are (RFC 8555).
//!
//! Only what the configuration says; `app` orders, keeps and renews.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::Secret;

/// From whom certificates are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The https URL of the authority's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// Where the authority may write to, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// How control of the names is shown.
    pub challenge: AcmeChallenge,
    /// The folder of the account's key and of what was issued.
    pub cache: PathBuf,
    /// Who vouches for the directory's certificate; `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    /// An account that the authority knows otherwise, to which the new one is bound (RFC 8555 §7.3.4).
    pub external_account: Option<ExternalAccount>,
}

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// In a TLS handshake at port 443 of the name (RFC 8737), which listeners answer.
    TlsAlpn01,
    /// By a request to port 80 of the name (RFC 8555 §8.3), answered at this address while one is expected.
    Http01(SocketAddr),
}

/// What an authority gave to somebody whom it knows otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The name of the key.
    pub key_id: String,
    /// The key itself, decoded.
    pub hmac_key: Secret<Vec<u8>>,
}
