//! The time of day as a `Date` field has it, written once a second: a calendar costs as much as a digest. Pure.
//!
//! Called by `fast_path`, for answers that do not say when they were made.

use crate::clock::system_time;
use crate::model::Timestamp;

/// The second of the last answer as text (RFC 9110 §5.6.7).
#[derive(Debug, Default)]
pub struct WrittenDate {
    unix_seconds: i64,
    text: String,
}

impl WrittenDate {
    /// `now`, as `Date` has it.
    pub fn at(&mut self, now: Timestamp) -> &str {
        let unix_seconds = now.unix_seconds();
        if self.text.is_empty() || self.unix_seconds != unix_seconds {
            self.unix_seconds = unix_seconds;
            self.text = httpdate::fmt_http_date(system_time(now));
        }
        &self.text
    }
}
