//! What the API door answers itself, and how it is written (PROTOCOL section 2). Pure.
//!
//! One table from fault to status, type and message. All refusals of a credential read alike; the reason stands in
//! the log only. Called wherever a request ends without an answer of the upstream.

use std::num::NonZeroU32;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::auth::{Denial, DenialReason, Quota, Refusal};
use crate::model::QuotaPeriod;
use crate::net::upstream::ConnectError;
use crate::telemetry::RequestId;

const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Why the gateway answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The credential, the address or the way it came was refused.
    Denied(Denial),
    /// The head breaks a rule of HTTP; the text says which, for the client's developer.
    Malformed(&'static str),
    /// A trusted proxy's forwarding header cannot be read, so nobody knows whose request it is (SECURITY S105).
    UnreadableForwarding,
    /// CONNECT and TRACE: a tunnel, and a mirror that would show the key.
    MethodRefused,
    /// `/v2/session` with another method than POST and DELETE.
    SessionMethodRefused,
    /// Sessions can be neither opened nor closed now: the store is away, or too much waits for it.
    SessionsUnavailable,
    /// An `Expect` that is not `100-continue`.
    UnknownExpectation,
    /// A transfer coding that is not `chunked` alone (RFC 9112 §6.1).
    UnknownCoding,
    /// The target is longer than `limits.http_target_bytes`.
    TargetTooLong,
    /// More fields than `limits.http_header_fields`.
    TooManyFields,
    /// The body is longer than `limits.http_body_bytes`.
    BodyTooLong,
    /// The client sent nothing of its body for `limits.http_body_idle_seconds`.
    BodyTooSlow,
    /// The client's body ended early, or its framing is wrong.
    BodyBroken,
    /// No route has this host and path.
    NoRoute,
    /// The health check finds every server of the upstream unhealthy.
    NoHealthyServer {
        /// For `Retry-After`.
        retry_after_seconds: NonZeroU32,
    },
    /// No connection to the upstream came about.
    UpstreamUnreachable,
    /// The TLS handshake with the upstream failed, for a bad certificate for example (S78).
    UpstreamTlsFailed,
    /// The upstream closed, or its answer is no HTTP.
    UpstreamBroke,
    /// The upstream answered with a change of protocol that nobody asked for (S57).
    UpstreamUpgraded,
    /// The upstream neither agreed to an upgrade nor declined it in a way that can be passed on.
    UpgradeFailed,
    /// The upstream took longer than a deadline.
    UpstreamTooSlow,
    /// The operating system gave no random bytes.
    NoRandomBytes,
}

/// What every 401 says, so that nobody learns from it which part was wrong.
const UNAUTHENTICATED: &str = "The credential is missing, not valid, or not accepted.";

impl Fault {
    /// A refusal by the door itself, before any credential is judged.
    pub const fn forbidden(reason: DenialReason) -> Self {
        Self::Denied(Denial::new(Refusal::Forbidden, reason))
    }

    /// No connection to an upstream's server came about.
    pub const fn of_connecting(error: &ConnectError) -> Self {
        match error {
            ConnectError::Socket(_) => Self::UpstreamUnreachable,
            ConnectError::Tls(_) => Self::UpstreamTlsFailed,
            ConnectError::NotHttp2(_) => Self::UpstreamBroke,
            ConnectError::TooLate => Self::UpstreamTooSlow,
        }
    }

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        self.terms().0
    }

    /// Is the upstream to blame, so far as one can tell from here (RFC 9110 §15.6.3, §15.6.5)?
    pub const fn is_upstreams(self) -> bool {
        matches!(self.status(), StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    /// What happened, for the access log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.reason.as_str(),
            Self::Malformed(_) => "malformed_request",
            Self::UnreadableForwarding => "unreadable_forwarding_header",
            Self::MethodRefused => "method_refused",
            Self::SessionMethodRefused => "session_method_refused",
            Self::SessionsUnavailable => "sessions_unavailable",
            Self::UnknownExpectation => "unknown_expectation",
            Self::UnknownCoding => "unknown_coding",
            Self::TargetTooLong => "target_too_long",
            Self::TooManyFields => "too_many_fields",
            Self::BodyTooLong => "body_too_long",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::NoRoute => "no_route",
            Self::NoHealthyServer { .. } => "no_healthy_server",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTlsFailed => "upstream_tls_failed",
            Self::UpstreamBroke => "upstream_broke",
            Self::UpstreamUpgraded => "upstream_upgraded",
            Self::UpgradeFailed => "upgrade_failed",
            Self::UpstreamTooSlow => "upstream_too_slow",
            Self::NoRandomBytes => "no_random_bytes",
        }
    }

    /// Status, type and message.
    const fn terms(self) -> (StatusCode, &'static str, &'static str) {
        const INVALID: &str = "InvalidMessage";
        const PROVIDER: &str = "ProviderConnectionError";
        match self {
            Self::Denied(denial) => Self::terms_of_denial(denial),
            Self::Malformed(message) => (StatusCode::BAD_REQUEST, INVALID, message),
            Self::UnreadableForwarding => (
                StatusCode::BAD_REQUEST,
                INVALID,
                "X-Forwarded-For or X-Forwarded-Proto, as the proxy in front sent it, cannot be read.",
            ),
            Self::MethodRefused => {
                (StatusCode::METHOD_NOT_ALLOWED, INVALID, "This method is not accepted here.")
            }
            Self::SessionMethodRefused => {
                (StatusCode::METHOD_NOT_ALLOWED, INVALID, "POST opens a session here, and DELETE ends it.")
            }
            Self::SessionsUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ProviderUnavailable",
                "Sessions cannot be opened or ended at the moment; try again shortly.",
            ),
            Self::UnknownExpectation => {
                (StatusCode::EXPECTATION_FAILED, INVALID, "Only the expectation 100-continue is known.")
            }
            Self::UnknownCoding => {
                (StatusCode::NOT_IMPLEMENTED, INVALID, "No transfer coding is known but chunked alone.")
            }
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, INVALID, "The request's target is too long."),
            Self::TooManyFields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                INVALID,
                "The request has too many header fields.",
            ),
            Self::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "The request's body is too long."),
            Self::BodyTooSlow => {
                (StatusCode::REQUEST_TIMEOUT, INVALID, "The request's body did not arrive in time.")
            }
            Self::BodyBroken => {
                (StatusCode::BAD_REQUEST, INVALID, "The request's body ended early or is malformed.")
            }
            Self::NoRoute => {
                (StatusCode::NOT_FOUND, "NotFound", "Nothing is served under this host and path.")
            }
            Self::NoHealthyServer { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ProviderUnavailable",
                "The service behind the gateway is unavailable; try again shortly.",
            ),
            Self::UpstreamUnreachable | Self::UpstreamTlsFailed => {
                (StatusCode::BAD_GATEWAY, PROVIDER, "The service behind the gateway cannot be reached.")
            }
            Self::UpstreamBroke | Self::UpstreamUpgraded | Self::UpgradeFailed => {
                (StatusCode::BAD_GATEWAY, PROVIDER, "The service behind the gateway gave no proper answer.")
            }
            Self::UpstreamTooSlow => (
                StatusCode::GATEWAY_TIMEOUT,
                PROVIDER,
                "The service behind the gateway did not answer in time.",
            ),
            Self::NoRandomBytes => {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalSRSError", "The gateway failed.")
            }
        }
    }

    const fn terms_of_denial(denial: Denial) -> (StatusCode, &'static str, &'static str) {
        const FORBIDDEN: &str = "AuthorizationError";
        match (denial.refusal, denial.reason) {
            (Refusal::Unauthenticated, _) => {
                (StatusCode::UNAUTHORIZED, "AuthenticationError", UNAUTHENTICATED)
            }
            (Refusal::Forbidden, DenialReason::PlaintextCredential) => (
                StatusCode::FORBIDDEN,
                FORBIDDEN,
                "Credentials are not accepted without TLS; this one must be taken for exposed.",
            ),
            (Refusal::Forbidden, _) => {
                (StatusCode::FORBIDDEN, FORBIDDEN, "This is not allowed here, or not from your address.")
            }
            (Refusal::TooManyFailures { .. }, _) => (
                StatusCode::TOO_MANY_REQUESTS,
                "AuthenticationRatelimitedError",
                "Too many failed authentications; wait before the next one.",
            ),
            (Refusal::TooManyRequests { .. }, _) => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "This key makes more requests than it may.",
            ),
            (Refusal::QuotaExhausted { period: QuotaPeriod::Day, .. }, _) => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "The quota of requests for today is used up; it begins anew at midnight UTC.",
            ),
            (Refusal::QuotaExhausted { period: QuotaPeriod::Month, .. }, _) => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "The quota of requests for this month is used up; it begins anew with the next month (UTC).",
            ),
            (Refusal::Busy, _) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ProviderUnavailable",
                "The gateway is busy; try again shortly.",
            ),
        }
    }

    /// For `Allow`, on 405.
    const fn allowed_methods(self) -> &'static str {
        match self {
            Self::SessionMethodRefused => "POST, DELETE",
            _ => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }
    }

    /// What is left of the limit that a key is over.
    pub const fn quota(self) -> Option<Quota> {
        match self {
            Self::Denied(Denial { refusal: Refusal::TooManyRequests { quota, .. }, .. }) => Some(quota),
            _ => None,
        }
    }

    /// Seconds for `Retry-After`, on 429 and 503.
    const fn retry_after_seconds(self) -> Option<NonZeroU32> {
        match self {
            Self::Denied(Denial {
                refusal:
                    Refusal::TooManyFailures { retry_after_seconds }
                    | Refusal::TooManyRequests { retry_after_seconds, .. }
                    | Refusal::QuotaExhausted { retry_after_seconds, .. },
                ..
            })
            | Self::NoHealthyServer { retry_after_seconds } => Some(retry_after_seconds),
            Self::Denied(Denial { refusal: Refusal::Busy, .. }) | Self::SessionsUnavailable => {
                Some(NonZeroU32::MIN)
            }
            _ => None,
        }
    }
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// What a field of the gateway's own answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A text that is always the same.
    Text(&'static str),
    /// A number.
    Number(u32),
}

impl From<Said> for HeaderValue {
    fn from(said: Said) -> Self {
        match said {
            Said::Text(text) => Self::from_static(text),
            Said::Number(number) => Self::from(number),
        }
    }
}

/// The whole answer but `X-Request-Id`, which every answer gets in one place.
pub fn render_fault(fault: Fault, request_id: RequestId) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body_of_fault(fault, &request_id.to_ascii()).concat()));
    *response.status_mut() = fault.status();
    let headers = response.headers_mut();
    each_of_fault(fault, |name, said| drop(headers.insert(name, said.into())));
    if let Some(quota) = fault.quota() {
        put_quota(headers, quota);
    }
    response
}

/// The body of the answer to the request of this name, in parts.
pub fn body_of_fault(fault: Fault, request_id: &[u8; 16]) -> [&[u8]; 7] {
    let (_, kind, message) = fault.terms();
    // No text here holds a character that JSON escapes; a test over all of them keeps it so.
    [
        b"{\"type\":\"",
        kind.as_bytes(),
        b"\",\"message\":\"",
        message.as_bytes(),
        b"\",\"requestId\":\"",
        request_id,
        b"\"}",
    ]
}

/// Calls `put` with each field that the answer has because of `fault`, but for those that tell of a quota.
pub fn each_of_fault(fault: Fault, mut put: impl FnMut(HeaderName, Said)) {
    put(CONTENT_TYPE, Said::Text("application/json"));
    match fault.status() {
        // Never `Basic`: that would tell whose password is on.
        StatusCode::UNAUTHORIZED => put(WWW_AUTHENTICATE, Said::Text("ApiKey realm=\"latchkey\"")),
        StatusCode::METHOD_NOT_ALLOWED => put(ALLOW, Said::Text(fault.allowed_methods())),
        _ => {}
    }
    if let Some(seconds) = fault.retry_after_seconds() {
        put(RETRY_AFTER, Said::Number(seconds.get()));
    }
}

/// Tells a key's client what it has left (draft-ietf-httpapi-ratelimit-headers-03 §3), in place of what an upstream
/// may have said of a limit of its own.
pub fn put_quota(headers: &mut HeaderMap, quota: Quota) {
    each_of_quota(quota, |name, value| {
        headers.insert(name, HeaderValue::from(value));
    });
}

/// Calls `put` with each field that tells of `quota`.
pub fn each_of_quota(quota: Quota, mut put: impl FnMut(HeaderName, u32)) {
    put(RATELIMIT_LIMIT, quota.limit);
    put(RATELIMIT_REMAINING, quota.remaining);
    put(RATELIMIT_RESET, quota.reset_seconds);
}

/// Is `name`, in any case, one of those fields?
pub fn is_of_quota(name: &[u8]) -> bool {
    [RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET]
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RequestIds;

    const QUOTA: Quota = Quota { limit: 20, remaining: 0, reset_seconds: 10 };

    fn denied(refusal: Refusal, reason: DenialReason) -> Fault {
        Fault::Denied(Denial::new(refusal, reason))
    }

    fn every_fault() -> Vec<Fault> {
        let retry_after_seconds = NonZeroU32::new(17).unwrap();
        let refusals = [
            Refusal::Unauthenticated,
            Refusal::Forbidden,
            Refusal::TooManyFailures { retry_after_seconds },
            Refusal::TooManyRequests { quota: QUOTA, retry_after_seconds },
            Refusal::QuotaExhausted { period: QuotaPeriod::Day, retry_after_seconds },
            Refusal::QuotaExhausted { period: QuotaPeriod::Month, retry_after_seconds },
            Refusal::Busy,
        ];
        let denials =
            refusals.into_iter().flat_map(|refusal| DenialReason::ALL.map(|reason| denied(refusal, reason)));
        denials
            .chain([
                Fault::Malformed("The Host header is missing."),
                Fault::UnreadableForwarding,
                Fault::MethodRefused,
                Fault::SessionMethodRefused,
                Fault::SessionsUnavailable,
                Fault::UnknownExpectation,
                Fault::TargetTooLong,
                Fault::TooManyFields,
                Fault::BodyTooLong,
                Fault::BodyTooSlow,
                Fault::BodyBroken,
                Fault::NoRoute,
                Fault::NoHealthyServer { retry_after_seconds },
                Fault::UpstreamUnreachable,
                Fault::UpstreamTlsFailed,
                Fault::UpstreamBroke,
                Fault::UpstreamUpgraded,
                Fault::UpgradeFailed,
                Fault::UpstreamTooSlow,
                Fault::NoRandomBytes,
            ])
            .collect()
    }

    #[test]
    fn an_operator_is_told_what_every_fault_means() {
        for fault in every_fault() {
            assert!(crate::auth::is_explained(fault.reason()), "{fault:?}");
        }
    }

    #[test]
    fn faults_answer_as_the_protocol_table_says() {
        let retry_after_seconds = NonZeroU32::new(17).unwrap();
        for (fault, status, kind) in [
            (denied(Refusal::Unauthenticated, DenialReason::UnknownKey), 401, "AuthenticationError"),
            (denied(Refusal::Forbidden, DenialReason::ScopeMissing), 403, "AuthorizationError"),
            (Fault::forbidden(DenialReason::PlaintextCredential), 403, "AuthorizationError"),
            (
                denied(Refusal::TooManyFailures { retry_after_seconds }, DenialReason::TooManyFailures),
                429,
                "AuthenticationRatelimitedError",
            ),
            (
                denied(Refusal::TooManyFailures { retry_after_seconds }, DenialReason::UserThrottled),
                429,
                "AuthenticationRatelimitedError",
            ),
            (
                denied(
                    Refusal::TooManyRequests { quota: QUOTA, retry_after_seconds },
                    DenialReason::TooManyRequests,
                ),
                429,
                "TooManyRequests",
            ),
            (
                denied(
                    Refusal::QuotaExhausted { period: QuotaPeriod::Day, retry_after_seconds },
                    DenialReason::QuotaExhausted(crate::auth::ExhaustedQuota::UserDay),
                ),
                429,
                "TooManyRequests",
            ),
            (denied(Refusal::Busy, DenialReason::PasswordQueueFull), 503, "ProviderUnavailable"),
            (Fault::Malformed("No."), 400, "InvalidMessage"),
            (Fault::UnreadableForwarding, 400, "InvalidMessage"),
            (Fault::SessionMethodRefused, 405, "InvalidMessage"),
            (Fault::SessionsUnavailable, 503, "ProviderUnavailable"),
            (Fault::NoHealthyServer { retry_after_seconds }, 503, "ProviderUnavailable"),
            (Fault::UpstreamUnreachable, 502, "ProviderConnectionError"),
            (Fault::UpstreamTlsFailed, 502, "ProviderConnectionError"),
            (Fault::UpstreamBroke, 502, "ProviderConnectionError"),
            (Fault::UpgradeFailed, 502, "ProviderConnectionError"),
            (Fault::UpstreamTooSlow, 504, "ProviderConnectionError"),
            (Fault::NoRandomBytes, 500, "InternalSRSError"),
            (Fault::NoRoute, 404, "NotFound"),
            (Fault::BodyTooLong, 413, "InvalidMessage"),
            (Fault::TargetTooLong, 414, "InvalidMessage"),
            (Fault::TooManyFields, 431, "InvalidMessage"),
        ] {
            let response = render_fault(fault, RequestIds::new(1).next_id());
            assert_eq!(response.status().as_u16(), status, "{fault:?}");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["type"], kind, "{fault:?}");
        }
    }

    #[test]
    fn every_answer_is_json_with_type_message_and_request_id() {
        let id = RequestIds::new(1).next_id();
        for fault in every_fault() {
            let response = render_fault(fault, id);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert!(body["type"].as_str().is_some_and(|text| !text.is_empty()), "{fault:?}");
            assert!(body["message"].as_str().is_some_and(|text| text.ends_with('.')), "{fault:?}");
            assert_eq!(body["requestId"], id.to_string());
            assert_eq!(body.as_object().unwrap().len(), 3);
        }
    }

    #[test]
    fn s70_a_401_offers_api_keys_only_and_no_other_answer_offers_anything() {
        for fault in every_fault() {
            let response = render_fault(fault, RequestIds::new(1).next_id());
            let offered = response.headers().get(WWW_AUTHENTICATE);
            if response.status() == 401 {
                assert_eq!(offered.unwrap(), "ApiKey realm=\"latchkey\"");
            } else {
                assert_eq!(offered, None, "{fault:?}");
            }
        }
    }

    #[test]
    fn s38_every_reason_for_a_401_reads_the_same() {
        let id = RequestIds::new(1).next_id();
        let first = render_fault(denied(Refusal::Unauthenticated, DenialReason::NoCredential), id);
        for reason in DenialReason::ALL {
            let other = render_fault(denied(Refusal::Unauthenticated, reason), id);
            assert_eq!((other.headers(), other.body()), (first.headers(), first.body()), "{reason:?}");
        }
    }

    #[test]
    fn only_a_key_over_its_limit_is_told_what_it_has_left() {
        for fault in every_fault() {
            let response = render_fault(fault, RequestIds::new(1).next_id());
            let told: Vec<_> = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
                .into_iter()
                .filter_map(|name| response.headers().get(name)?.to_str().ok())
                .collect();
            let limited =
                matches!(fault, Fault::Denied(Denial { refusal: Refusal::TooManyRequests { .. }, .. }));
            assert_eq!(told, if limited { vec!["20", "0", "10"] } else { vec![] }, "{fault:?}");
        }
    }

    #[test]
    fn retry_after_stands_on_429_and_503_only() {
        for fault in every_fault() {
            let response = render_fault(fault, RequestIds::new(1).next_id());
            let expected = match response.status().as_u16() {
                429 => Some("17"),
                503 if matches!(fault, Fault::NoHealthyServer { .. }) => Some("17"),
                503 => Some("1"),
                _ => None,
            };
            let given = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(given, expected, "{fault:?}");
        }
    }
}
