//! What the YAML says, section by section: the source of the schema, of every key's description and of most defaults.
//!
//! Holds no rules beyond types and ranges; what the values mean together is [`super::meaning`]'s. Made by
//! [`super::structure`]'s leave only, so reading it cannot fail.

mod acme;
mod listener;
mod policy;
mod security_events;
mod traces;
mod upstream;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

pub(super) use acme::{RawAcme, RawChallenge, RawExternalAccount};
pub(super) use listener::{RawCertificate, RawListener, RawProtocol, RawRoute, RawTls};
pub(super) use policy::{RawDoor, RawPolicy};
pub(super) use security_events::RawSecurityEvents;
pub(super) use traces::{RawAccessLog, RawTraces};
pub(super) use upstream::{
    RawHealthCheck, RawHttp2Use, RawIdentityHeaders, RawUpstream, RawUpstreamProtocol, RawUpstreamTls,
    RawUpstreamTlsFiles, RawUpstreamTlsWord,
};

use super::Limits;
use crate::model::Secret;

/// Where Latchkey listens, whom it lets in, and where it forwards to.
///
/// In values, `${NAME}` and `${NAME:-default}` are replaced from the environment and `${file:PATH}` from a file;
/// `$${` stands for `${`. Relative paths start at the configuration file's folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Latchkey configuration")]
pub(super) struct RawConfig {
    /// Where customers, users and keys are kept.
    #[serde(default)]
    pub(super) store: RawStore,
    /// The file of the master key, mode 0600; made on the first start beside an empty store. Default: master.key,
    /// unless the environment has `LATCHKEY_MASTER_KEY`.
    pub(super) master_key_file: Option<String>,
    /// The master key itself instead of its file: `${LATCHKEY_MASTER_KEY}`.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub(super) master_key: Option<Secret<String>>,
    /// What to listen on; at least one.
    pub(super) listeners: Required<Vec<Required<RawListener>>>,
    /// Where authorised traffic goes.
    #[serde(default)]
    pub(super) upstreams: Vec<Required<RawUpstream>>,
    /// Threads that serve the doors; 0: one per core.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1024))]
    pub(super) threads: u16,
    /// Rules an operator may choose.
    #[serde(default)]
    pub(super) policy: RawPolicy,
    /// Every bound and every deadline, with its unit in its name.
    #[serde(default)]
    pub(super) limits: Limits,
    /// One JSON object a request; left out: no log.
    pub(super) access_log: Option<RawAccessLog>,
    /// Spans of requests and sessions for OpenTelemetry; left out: none are made.
    pub(super) traces: Option<RawTraces>,
    /// Whom to tell of what concerns an account's safety, such as a new key or MFA that was reset; left out: nobody.
    pub(super) security_events: Option<RawSecurityEvents>,
    /// The authority that issues the certificates of listeners with `acme_hosts` (ACME, RFC 8555); left out: none.
    pub(super) acme: Option<RawAcme>,
}

/// `store:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct RawStore {
    /// `sqlite:PATH`, the embedded store: one file, made on the first start. Or `postgres://USER[:PASSWORD]@HOST/DATABASE`,
    /// which several gateways share; a host that is not this machine is spoken to over TLS with its certificate checked
    /// (`sslrootcert=FILE` names another authority), unless `sslmode` says otherwise.
    pub(super) url: String,
    /// Beside a database: where a gateway keeps, encrypted, what it needs to be started while the database is away. It is
    /// good for `policy.max_staleness`.
    #[schemars(with = "String", default = "snapshot_file")]
    pub(super) snapshot: Required<String>,
}

fn snapshot_file() -> String {
    String::from("latchkey.snapshot")
}

impl Default for RawStore {
    fn default() -> Self {
        Self { url: String::from("sqlite:data/latchkey.db"), snapshot: Required(Some(snapshot_file())) }
    }
}

/// A value that must be there. `None`: it is missing or unsound, and a fault says so already; then whatever depends
/// on it is not checked, and the rest is.
pub(super) struct Required<T>(pub(super) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Required<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Required<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(Secret::new))
}
