//! Answers of the management API that are no problems, and the descriptions of those that are.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use super::problem::Problem;

/// `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(body).map_err(|error| Problem::defect(error.to_string()))?;
    let mut answer = (status, text).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// 200 with `body`.
pub(super) fn ok(body: &impl Serialize) -> Result<Response, Problem> {
    json(StatusCode::OK, body)
}

/// 201 with `body`.
pub(super) fn created(body: &impl Serialize) -> Result<Response, Problem> {
    json(StatusCode::CREATED, body)
}

/// 204: it is done, and there is nothing to tell.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

type Described = BTreeMap<String, RefOr<utoipa::openapi::Response>>;

fn problems(told: &[(&str, &str)]) -> Described {
    let described = told.iter().map(|(status, text)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*text).content("application/json", content).build();
        ((*status).to_owned(), RefOr::T(response))
    });
    described.collect()
}

/// What any request can be answered that is judged.
pub(super) struct OfAny;

impl IntoResponses for OfAny {
    fn responses() -> Described {
        problems(&[
            ("401", "No credential, or one that is not accepted"),
            (
                "403",
                "Not allowed: `AuthorizationError`. With a session also `mfa_setup_required`, `new_password_required`, \
                 `authentication_stale`, `csrf_token_invalid`: what to do first",
            ),
            ("429", "Too many failed authentications; `Retry-After` says how long to wait"),
            ("500", "A defect of the gateway"),
            ("503", "The store cannot be written at the moment, or the request took too long"),
        ])
    }
}

/// What a request about something named can be answered.
pub(super) struct OfNamed;

impl IntoResponses for OfNamed {
    fn responses() -> Described {
        problems(&[("404", "No such thing, or not one of this account")])
    }
}

/// What a request with parameters, or with a header that is read, can be answered.
pub(super) struct OfValues;

impl IntoResponses for OfValues {
    fn responses() -> Described {
        problems(&[("422", "A value is not what is described, or makes no sense")])
    }
}

/// What a request with a body can be answered.
pub(super) struct OfBody;

impl IntoResponses for OfBody {
    fn responses() -> Described {
        let body = problems(&[
            ("400", "The body is no JSON"),
            ("413", "The body is too large"),
            ("415", "`Content-Type` is not `application/json`"),
        ]);
        body.into_iter().chain(OfValues::responses()).collect()
    }
}

/// What a request can be answered that is right, and impossible as things are.
pub(super) struct OfConflict;

impl IntoResponses for OfConflict {
    fn responses() -> Described {
        problems(&[(
            "409",
            "Not as things are: `UserExists`, `LastAdministrator`, `MfaRequiredByCustomer`, `KeysLeft`, \
             `EndsPasswordAccess`, `KeyDisabled`, `KeyExpired`",
        )])
    }
}
