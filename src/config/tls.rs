//! `tls:` of listeners: which certificates a listener shows, and to whom.
//!
//! Knows files and names; what stands in the files is read where a configuration is made ready to be served by.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a listener shows of itself in a TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where its certificates come from.
    pub certificates: CertificateSource,
    /// What clients get that ask for a name in none of them, or for no name.
    pub unknown_names: UnknownNames,
}

/// Where the certificates of a listener come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// One pair of files.
    Only(TlsFiles),
    /// A list of them, at least one; the first is for clients whose name decides nothing.
    Files(Vec<TlsFiles>),
    /// One that the authority of `acme` issues for these host names: in lower case, at least one, each once, and sorted,
    /// so that their order in the file makes no difference.
    Acme(Vec<String>),
}

impl CertificateSource {
    /// The pairs of files; none where it is issued.
    pub fn files(&self) -> &[TlsFiles] {
        match self {
            Self::Only(files) => std::slice::from_ref(files),
            Self::Files(files) => files,
            Self::Acme(_) => &[],
        }
    }
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub private_key: PathBuf,
}

/// What becomes of a client that asks for a name in no certificate of the listener, or for none at all.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum UnknownNames {
    /// It is shown the first certificate; the default.
    #[default]
    First,
    /// Its handshake is refused (`access_denied`).
    Refuse,
}
