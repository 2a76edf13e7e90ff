//! `traces:` where spans go, and of which requests there are some.
//!
//! Only what the configuration says; `telemetry` makes the spans, and `app` posts them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SetHeaders;
use crate::model::{SampleRatio, Secret};

/// Traces of requests and sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The whole URL that spans are posted to: `https`, or `http` to this machine. Secret, because receivers put tokens into
    /// paths.
    pub otlp: Secret<String>,
    /// What traces call this program.
    pub service_name: String,
    /// Of the traces that begin here, the share that is written down.
    pub sample_ratio: SampleRatio,
    /// Whose word about the trace that a request is part of is believed.
    pub trust_incoming: TrustIncoming,
    /// Header fields of each post, such as a credential of the collector.
    pub headers: SetHeaders,
    /// The authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Whose `traceparent` is believed?
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TrustIncoming {
    /// Nobody's: every request begins a trace. The default.
    #[default]
    Never,
    /// That of the listener's `trusted_proxies`, who decide for their traces whether they are written down. Only with
    /// proxies that write `traceparent` themselves or remove the client's.
    TrustedProxies,
}
