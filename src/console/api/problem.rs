//! What goes wrong at the management API, and how it is told: one table from failures to statuses and types.
//!
//! A handler returns a [`Problem`]; the outermost layer, which knows the request's number, writes it as JSON (PROTOCOL
//! section 2: `{"type","message","requestId"}` on every 4xx and 5xx). What is ours to mend is logged here, once.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::plain_answer::{LoggedReason, PlainText};
use crate::auth::{ControlError, Denial, Forbidden, Refusal};
use crate::telemetry::RequestId;

/// An error, as it is told.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// What kind of error it is, for programs
    #[schema(examples("AuthorizationError"))]
    r#type: &'a str,
    /// What is wrong, for people
    message: &'a str,
    /// The number of the request, by which the operator finds it in the log
    #[serde(rename = "requestId")]
    #[schema(examples("9f86d081884c7d65"))]
    request_id: &'a str,
}

/// Why a request came to nothing.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// For the access log.
    reason: &'static str,
    retry_after: Option<NonZeroU32>,
    /// What is ours to mend: logged, and not told.
    defect: Option<String>,
}

/// What the doors call a request that breaks the protocol.
const INVALID: &str = "InvalidMessage";

impl Problem {
    fn new(status: StatusCode, kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: sentence(&message.into()), reason, retry_after: None, defect: None }
    }

    /// There is nothing at that address, or nothing of that name.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "not_found", "there is no such thing")
    }

    /// There is something, and that is not done to it.
    pub(super) fn method_not_allowed() -> Self {
        let text = "this method is not accepted here; the header Allow says which are";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_refused", text)
    }

    /// The body is no JSON.
    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "malformed_request", text)
    }

    /// The body is something else than JSON.
    pub(super) fn media_type() -> Self {
        let text = "the body is to be JSON, and Content-Type to say so: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "media_type", text)
    }

    /// JSON, or a parameter, that is not what is described.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "ValidationError", "invalid", text)
    }

    /// Nobody is signed in, or not any more.
    pub(super) fn unauthenticated(reason: &'static str) -> Self {
        let text = "the credential is missing, not valid, or not accepted";
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationError", reason, text)
    }

    /// The session is good for something else first.
    pub(super) fn first(kind: &'static str, text: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, kind, kind, text)
    }

    /// A defect of ours; the text is logged and not told.
    pub(super) fn defect(text: impl Into<String>) -> Self {
        let told =
            "something went wrong on our side; give this request's number to whoever runs this gateway";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { defect: Some(text.into()), ..Self::new(status, "InternalSRSError", "defect", told) }
    }

    fn conflict(kind: &'static str, error: &ControlError) -> Self {
        Self::new(StatusCode::CONFLICT, kind, "conflict", error.to_string())
    }

    /// As JSON, in the place of whatever body `answer` has.
    fn write(&self, request_id: &str, answer: &mut Response) {
        if let Some(defect) = &self.defect {
            tracing::error!(request_id, error = defect, "a request of the management API failed");
        }
        let body = ProblemBody { r#type: self.kind, message: &self.message, request_id };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        *answer.status_mut() = self.status;
        *answer.body_mut() = Body::from(text);
        answer.extensions_mut().insert(LoggedReason(self.reason));
        let headers = answer.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey realm=\"latchkey\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.get()));
        }
    }
}

/// Writes the problems that come out of the routes.
pub(super) async fn tell_problems(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let mut answer = next.run(request).await;
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        problem.write(&request_id, &mut answer);
    }
    answer
}

/// Makes JSON of an answer that the console's server gave in place of a route.
pub(in crate::console) fn tell_plain_answer(request_id: RequestId, answer: &mut Response) {
    let Some(PlainText(text)) = answer.extensions_mut().remove::<PlainText>() else { return };
    let status = answer.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return;
    }
    let kind = match status {
        StatusCode::FORBIDDEN => "AuthorizationError",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalSRSError",
        status if status.is_server_error() => "ProviderUnavailable",
        _ => INVALID,
    };
    let reason = answer.extensions().get::<LoggedReason>().map_or("refused", |reason| reason.0);
    Problem::new(status, kind, reason, text).write(&request_id.to_string(), answer);
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    // Names in backquotes keep their spelling.
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let text: String = first.chain(letters).collect();
    if text.ends_with(['.', '?', '!']) { text } else { format!("{text}.") }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = self.status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let reason = denial.reason.as_str();
        match denial.refusal {
            Refusal::Unauthenticated => Self::unauthenticated(reason),
            Refusal::Forbidden => {
                let text = "this is not allowed here, or not from your address";
                Self::new(StatusCode::FORBIDDEN, "AuthorizationError", reason, text)
            }
            Refusal::TooManyFailures { retry_after_seconds } => {
                let text = "too many failed authentications; wait before the next one";
                let kind = "AuthenticationRatelimitedError";
                let told = Self::new(StatusCode::TOO_MANY_REQUESTS, kind, reason, text);
                Self { retry_after: Some(retry_after_seconds), ..told }
            }
            Refusal::TooManyRequests { retry_after_seconds, .. } => {
                let text = "this key makes more requests than it may";
                let told = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", reason, text);
                Self { retry_after: Some(retry_after_seconds), ..told }
            }
            Refusal::QuotaExhausted { retry_after_seconds, .. } => {
                let text = "the quota of requests is used up";
                let told = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", reason, text);
                Self { retry_after: Some(retry_after_seconds), ..told }
            }
            Refusal::Busy => {
                let text = "the gateway is busy; try again shortly";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ProviderUnavailable", reason, text)
            }
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Unknown => Self::not_found(),
            Forbidden::StaleAuthentication => Self::first(
                "authentication_stale",
                "the sign-in is older than ten minutes; confirm who you are at /confirm",
            ),
            Forbidden::MfaSetUp => Self::first("mfa_setup_required", "MFA is required; set it up first"),
            Forbidden::NewPassword => {
                Self::first("new_password_required", "choose a password of your own first")
            }
            Forbidden::Asker(reason) => Self::unauthenticated(reason.as_str()),
            told => Self::new(StatusCode::FORBIDDEN, "AuthorizationError", "not_permitted", told.to_string()),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::UnknownCustomer(_)
            | ControlError::UnknownUser(_)
            | ControlError::UnknownKey(_)
            | ControlError::NoQuota(_) => Self::not_found(),
            ControlError::Forbidden(forbidden) => Self::from(*forbidden),
            ControlError::UserExists(_) => Self::conflict("UserExists", &error),
            ControlError::LastAdministrator(_) => Self::conflict("LastAdministrator", &error),
            ControlError::MfaRequiredByCustomer(_) => Self::conflict("MfaRequiredByCustomer", &error),
            ControlError::KeysLeft { .. } => Self::conflict("KeysLeft", &error),
            ControlError::EndsPasswordAccess(_) => Self::conflict("EndsPasswordAccess", &error),
            ControlError::RotatesDisabledKey(_) => Self::conflict("KeyDisabled", &error),
            ControlError::RotatesExpiredKey(_) => Self::conflict("KeyExpired", &error),
            ControlError::ChangedMeanwhile => Self::conflict("ChangedMeanwhile", &error),
            ControlError::MadeBefore(_) => Self::conflict("MadeBefore", &error),
            ControlError::ManageKeyWithoutList
            | ControlError::ExpiresInThePast
            | ControlError::Text { .. }
            | ControlError::NotListed(_)
            | ControlError::Password(_) => Self::invalid(error.to_string()),
            ControlError::Store(store) if store.is_unwritable() => {
                let text = "nothing can be changed at the moment, because the store cannot be written; try again shortly";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ProviderUnavailable", "store_unwritable", text)
            }
            ControlError::HashingBusy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "ProviderUnavailable", "hashing_busy", error.to_string())
            }
            ControlError::Store(_)
            | ControlError::Copy(_)
            | ControlError::Backup(_)
            | ControlError::Restore(_)
            | ControlError::UntrustedBackup(_)
            | ControlError::Rotation(_)
            | ControlError::Hashing(_)
            | ControlError::SetUp(_)
            | ControlError::Seal(_)
            | ControlError::Random(_)
            | ControlError::KeyRing(_) => Self::defect(error.to_string()),
        }
    }
}
