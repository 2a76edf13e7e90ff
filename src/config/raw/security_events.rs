//! `security_events:` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Required, secret};
use crate::model::Secret;

/// `security_events:`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct RawSecurityEvents {
    /// A program and its arguments, run for each event, which it gets as a JSON object on its standard input; no shell
    /// is used. A program without `/` in its name is looked up in `PATH`.
    #[serde(default)]
    pub(in crate::config) command: Vec<Required<String>>,
    /// The URL that each event is posted to as a JSON object: https, or http to this machine. Needs `secret_file`.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) webhook: Option<Secret<String>>,
    /// The file of the secret that posts to `webhook` are signed with (HMAC-SHA-256), mode 0600: 16 to 256 visible ASCII
    /// characters.
    pub(in crate::config) secret_file: Option<String>,
}
