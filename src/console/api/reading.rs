//! What is read of a request: names in paths, parameters, JSON, and the key that makes a call one call.
//!
//! Own extractors, so that whatever cannot be read is told as JSON and stands in the document.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::HeaderName;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::{DeserializeOwned, IgnoredAny};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::super::ConsoleState;
use super::caller::Caller;
use super::problem::Problem;
use crate::auth::ControlPlane;
use crate::model::{KeyId, UserName};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest one that is taken, in bytes.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 128;
/// What a login name looks like, for the document.
const LOGIN_PATTERN: &str = "^[A-Za-z0-9._@+-]{1,64}$";

/// A body of JSON, as `T` wants it.
#[derive(Debug)]
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ConsoleState> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ConsoleState) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::media_type());
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| Problem::malformed("the body could not be read"))?;
        // Is it JSON at all? Asked by itself, since reading a `T` may stop at a wrong value before a broken end.
        serde_json::from_slice::<IgnoredAny>(&body).map_err(|error| Problem::malformed(error.to_string()))?;
        // A list would be read as the members of an object without their names.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::invalid("the body must be an object"));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| Problem::invalid(error.to_string()))
    }
}

/// `application/json`, with whatever parameters; JSON is UTF-8 whatever they say (RFC 8259 §8.1).
fn is_json(request: &Request) -> bool {
    let mut fields = request.headers().get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let text = field.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The parameters behind `?`, as `T` wants them.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<ConsoleState> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ConsoleState) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        serde_html_form::from_str(query).map(Self).map_err(|error| Problem::invalid(error.to_string()))
    }
}

/// The user whom the path names by its login name, within the caller's account. What is no name is nobody's.
#[derive(Debug)]
pub(super) struct UserInPath(pub(super) UserName);

impl FromRequestParts<ConsoleState> for UserInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ConsoleState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let login = the_name(parts, state).await?.parse().map_err(|_| Problem::not_found())?;
        Ok(Self(caller.user(login)))
    }
}

/// The key that the path names by its id. What is no id is no key's.
#[derive(Debug)]
pub(super) struct KeyInPath(pub(super) KeyId);

impl FromRequestParts<ConsoleState> for KeyInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ConsoleState) -> Result<Self, Problem> {
        the_name(parts, state).await?.parse().map(Self).map_err(|_| Problem::not_found())
    }
}

async fn the_name(parts: &mut Parts, state: &ConsoleState) -> Result<String, Problem> {
    let named = Path::<String>::from_request_parts(parts, state).await;
    named.map(|Path(name)| name).map_err(|_| Problem::not_found())
}

/// What makes a call one call, however often it is sent.
#[derive(Debug)]
pub(super) struct Once(Option<String>);

impl Once {
    /// The use cases as `caller`, who makes something with them once.
    pub(super) fn plane(&self, caller: &Caller) -> ControlPlane {
        let plane = caller.plane();
        self.0.as_ref().map_or(plane.clone(), |token| plane.once(token))
    }
}

impl FromRequestParts<ConsoleState> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ConsoleState) -> Result<Self, Problem> {
        let mut fields = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let (field, further) = (fields.next(), fields.next());
        let Some(field) = field else { return Ok(Self(None)) };
        let is_key = further.is_none()
            && (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&field.len())
            && field.as_bytes().iter().all(u8::is_ascii_graphic);
        if !is_key {
            return Err(Problem::invalid(
                "`Idempotency-Key` is to be one of 1 to 128 visible ASCII characters",
            ));
        }
        // The same key for another call is another key.
        let text = String::from_utf8_lossy(field.as_bytes());
        Ok(Self(Some(format!("{} {} {text}", parts.method, parts.uri.path()))))
    }
}

fn text_parameter(name: &str, place: ParameterIn, pattern: &str, description: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build();
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

impl IntoParams for UserInPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![text_parameter("login", ParameterIn::Path, LOGIN_PATTERN, "The user's login name")]
    }
}

impl IntoParams for KeyInPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![text_parameter("id", ParameterIn::Path, "^key_[0-9a-hjkmnp-tv-z]{13}$", "The key's id")]
    }
}

impl IntoParams for Once {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = "Sent again with the same value, the call makes nothing again: the answer is 200 with the id of what \
                    was made, and never the secret. Remembered for a day at least, for this caller and this address";
        vec![text_parameter("Idempotency-Key", ParameterIn::Header, "^[!-~]{1,128}$", text)]
    }
}
