//! `traces:` and `access_log:` as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Required;
use crate::config::TrustIncoming;

/// `traces:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawTraces {
    /// The URL of the collector, which takes OTLP over HTTP in binary protobuf: https, or http to this machine, since spans
    /// tell of customers and their clients. `/v1/traces` is added where it has no path.
    pub(in crate::config) otlp: Required<String>,
    /// What traces call this program, as `service.name`.
    #[serde(default = "service_name")]
    pub(in crate::config) service_name: String,
    /// Of the traces that begin here, the share that is written down. All others have names only.
    #[serde(default = "sample_ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub(in crate::config) sample_ratio: f64,
    /// Whose `traceparent` and `tracestate` are believed: a trace goes on then; otherwise a new one begins. Believe only
    /// proxies that write `traceparent` themselves or remove the client's.
    #[serde(default)]
    pub(in crate::config) trust_incoming: TrustIncoming,
    /// Headers of each post. Values may be secrets: `"Bearer ${file:PATH}"`.
    #[serde(default)]
    pub(in crate::config) headers: BTreeMap<String, Required<String>>,
    /// A PEM file of the authorities to trust instead of the system's.
    pub(in crate::config) ca: Option<String>,
}

fn service_name() -> String {
    String::from("latchkey")
}

const fn sample_ratio() -> f64 {
    0.01
}

/// `access_log:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawAccessLog {
    /// The file to append to, mode 0600; its folder is made. A line that the disk does not take in time is dropped and counted.
    pub(in crate::config) path: Required<String>,
    /// Which share of the lines is written; each line says it.
    #[serde(default)]
    pub(in crate::config) sample: RawAccessLogSample,
}

/// `access_log.sample:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawAccessLogSample {
    /// Of the requests that were let in and answered below 400, and of `IsProxy` sessions that ended as sessions do. What
    /// was refused or failed is always written.
    #[serde(default = "all")]
    #[schemars(range(min = 0, max = 1))]
    pub(in crate::config) allowed: f64,
}

impl Default for RawAccessLogSample {
    fn default() -> Self {
        Self { allowed: all() }
    }
}

const fn all() -> f64 {
    1.0
}
