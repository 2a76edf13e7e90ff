//! What is known of one request of the console, kept until its answer has ended, and then written down once.
//!
//! Dropping it writes the access log and the metrics, so that no way out of a request can forget them. One-time links
//! are credentials: their part of a target is not written (SECURITY S102), and neither is any query.

use std::sync::{Arc, Mutex, PoisonError};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response};
use tokio::time::Instant;

use super::plain_answer::LoggedReason;
use crate::clock::Clock;
use crate::model::{AccessPoint, ClientIp, Timestamp, UserName};
use crate::telemetry::{AccessLog, AccessLogWriter, AccessRecord, DoorMetrics, RequestId, RequestIds};

/// Segments of a path that are no longer than this are written: those that are could be credentials, and no route, name
/// or id of ours is.
const SEGMENT_MAX_BYTES: usize = 40;
/// The first segment of one-time links.
const WELCOME: &str = "welcome";
const REDACTED: &str = "***";

/// Where all connections of the console write to.
#[derive(Debug)]
pub(super) struct RequestLog {
    writer: Mutex<AccessLogWriter>,
    ids: Mutex<RequestIds>,
    metrics: DoorMetrics,
    clock: Clock,
}

/// One request from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct RequestRecord {
    log: Arc<RequestLog>,
    listener: Arc<str>,
    client_ip: ClientIp,
    id: RequestId,
    at: Timestamp,
    began: Instant,
    method: Method,
    target: String,
    status: u16,
    reason: Option<&'static str>,
    user: Option<UserName>,
    response_bytes: u64,
}

impl RequestLog {
    /// A log whose request ids start at `seed`, which must be random.
    pub(super) fn new(access_log: &AccessLog, metrics: DoorMetrics, clock: Clock, seed: u64) -> Arc<Self> {
        let (writer, ids) = (Mutex::new(access_log.writer()), Mutex::new(RequestIds::new(seed)));
        Arc::new(Self { writer, ids, metrics, clock })
    }

    /// Begins with the head of `request`, which came from `source` as far as is known.
    pub(super) fn begin<B>(
        self: &Arc<Self>,
        listener: &Arc<str>,
        source: ClientIp,
        request: &Request<B>,
    ) -> RequestRecord {
        RequestRecord {
            log: Arc::clone(self),
            listener: Arc::clone(listener),
            client_ip: source,
            id: self.ids.lock().unwrap_or_else(PoisonError::into_inner).next_id(),
            at: self.clock.now(),
            began: Instant::now(),
            method: request.method().clone(),
            target: loggable(request.uri().path_and_query().map_or("", PathAndQuery::path)),
            status: 0,
            reason: None,
            user: None,
            response_bytes: 0,
        }
    }

    /// Hands buffered lines on.
    pub(super) fn flush(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    /// What the console counts in.
    pub(super) const fn metrics(&self) -> &DoorMetrics {
        &self.metrics
    }
}

impl RequestRecord {
    /// The request's name.
    pub(super) const fn id(&self) -> RequestId {
        self.id
    }

    /// The request's name as the value of `X-Request-Id`.
    pub(super) fn id_value(&self) -> HeaderValue {
        // Hexadecimal digits are always a header's value.
        HeaderValue::from_bytes(&self.id.to_ascii()).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    /// From whom the request is.
    pub(super) const fn is_from(&mut self, client_ip: ClientIp) {
        self.client_ip = client_ip;
    }

    /// Takes over what an answer tells the log in its extensions: a [`LoggedReason`], and the [`UserName`] of who asked.
    pub(super) fn answered<B>(&mut self, answer: &Response<B>) {
        self.status = answer.status().as_u16();
        self.reason = answer.extensions().get::<LoggedReason>().map(|reason| reason.0);
        self.user = answer.extensions().get::<UserName>().cloned();
    }

    /// Bytes of the answer's body that were handed to the connection.
    pub(super) const fn sent(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if self.status == 0 {
            // Nothing was answered: only the client's going away drops a request that early.
            self.reason = Some("client_gone");
        }
        self.log.metrics.answered(self.status);
        let user = self.user.as_ref();
        let line = AccessRecord {
            at: self.at,
            service: AccessPoint::Console,
            listener: &self.listener,
            request_id: self.id,
            client_ip: self.client_ip,
            method: self.method.as_str(),
            target: &self.target,
            status: self.status,
            reason: self.reason,
            customer: user.map(|user| user.customer.as_str()),
            user: user.map(|user| user.login.as_str()),
            key_id: None,
            auth_method: None,
            upstream: None,
            duration_microseconds: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            response_bytes: self.response_bytes,
            trace_id: None,
        };
        self.log.writer.lock().unwrap_or_else(PoisonError::into_inner).write(&line);
    }
}

/// `path` without what could be a credential: whatever stands behind `/welcome/`, and every long segment.
pub fn loggable(path: &str) -> String {
    let mut is_link = false;
    let segments = path.split('/').map(|segment| {
        let shown = if (is_link && !segment.is_empty()) || segment.len() > SEGMENT_MAX_BYTES {
            REDACTED
        } else {
            segment
        };
        is_link |= segment.eq_ignore_ascii_case(WELCOME);
        shown
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s102_one_time_links_are_not_written_down() {
        let token = "x".repeat(43);
        for (path, expected) in [
            ("/", "/"),
            ("", ""),
            ("/account/users/alex/api-keys", "/account/users/alex/api-keys"),
            ("/welcome", "/welcome"),
            ("/welcome/", "/welcome/"),
            ("/welcome/abc", "/welcome/***"),
            ("/welcome/abc/def", "/welcome/***/***"),
            ("//Welcome//abc", "//Welcome//***"),
            (&format!("/%77elcome/{token}"), "/%77elcome/***"),
            (&format!("/{token}"), "/***"),
        ] {
            assert_eq!(loggable(path), expected, "{path}");
        }
    }
}
