//! The configuration: what the YAML says ([`raw`]), turned into what it means ([`Config`]).
//!
//! [`load`] reads a file and answers either a [`Config`] or **all** its faults, each with its place. Binds nothing.

mod limits;
mod listener;
mod policy;
mod upstream;

use std::num::NonZeroUsize;
use std::path::PathBuf;

pub use limits::Limits;
pub use listener::{
    HttpListener, IsProxyListener, Listener, ListenerProtocol, PlaintextCredentials, Route, TlsFiles,
};
pub use policy::{MfaPolicy, Policy};
pub use upstream::{HttpServer, HttpUpstream, IdentityHeaders, IsProxyUpstream, Upstream, UpstreamProtocol};

use crate::model::Secret;

/// A whole configuration that has passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The embedded store's file.
    pub store: StoreLocation,
    /// Where the master key is.
    pub master_key: MasterKeySource,
    /// What to listen on, names and addresses unique.
    pub listeners: Vec<Listener>,
    /// Where to forward to, names unique.
    pub upstreams: Vec<Upstream>,
    /// Door threads; `threads: 0` in the file is one per core.
    pub threads: NonZeroUsize,
    /// Rules an operator may choose.
    pub policy: Policy,
    /// Every bound and deadline.
    pub limits: Limits,
    /// The access log's file; `None`: no log.
    pub access_log: Option<PathBuf>,
}

/// Which store to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// The embedded store, one file.
    Sqlite(PathBuf),
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub enum MasterKeySource {
    /// A file outside the data folder, mode 0600; made on first start beside an empty store.
    File(PathBuf),
    /// The text itself, from the environment.
    Text(Secret<String>),
}
