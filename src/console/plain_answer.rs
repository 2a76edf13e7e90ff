//! Answers of the console that need no page: short texts, for what goes wrong before there is anybody to show a page to.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

/// Why a request was refused, for the access log; put into an answer's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedReason(pub &'static str);

/// What a short answer says, for those who tell it in another form; in the answer's extensions too.
#[derive(Clone, Debug)]
pub(super) struct PlainText(pub(super) String);

/// `text` as a line, with `reason` for the access log.
pub(super) fn plain_answer(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Response {
    let text = text.into();
    let mut answer = (status, Body::from(format!("{text}\n"))).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.extensions_mut().insert(LoggedReason(reason));
    answer.extensions_mut().insert(PlainText(text));
    answer
}
