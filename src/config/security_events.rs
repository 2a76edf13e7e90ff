//! `security_events:` whom to tell of what concerns an account's safety.
//!
//! Only what the configuration says; `auth` decides what is told, and runs and sends it.

use std::path::PathBuf;

use crate::model::Secret;

/// Whom to tell; at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEvents {
    /// A program that is run for each event.
    pub command: Option<EventCommand>,
    /// An address that each event is posted to.
    pub webhook: Option<EventWebhook>,
}

/// A program with its arguments; no shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCommand {
    /// A path, or a name without `/` that is looked up in `PATH` when it is run.
    pub program: PathBuf,
    /// In their order.
    pub arguments: Vec<String>,
}

/// Where events are posted to, and how the receiver knows that they are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWebhook {
    /// https, or http to this machine. Secret, because receivers put tokens into paths and queries.
    pub url: Secret<String>,
    /// 16 to 256 visible ASCII characters, which both sides know: the key of the signature.
    pub secret: Secret<String>,
}
