//! Forms: read, and taken only from pages of the session that sends them (S85). And what an address says behind its path.

use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ConsoleState;
use super::failure::Failure;
use super::visit::Visit;

/// The fields of a form, as `T` wants them. Where there is a session, the form says its proof.
#[derive(Debug)]
pub(super) struct Form<T>(pub(super) T);

/// Of a form that says nothing but that it was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {}

#[derive(Deserialize)]
struct Proof {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<ConsoleState> for Form<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &ConsoleState) -> Result<Self, Failure> {
        let visit = request.extensions().get::<Visit>().cloned();
        let visit = visit.ok_or_else(|| Failure::defect("a form that no guard stands before"))?;
        let body = Bytes::from_request(request, state).await.map_err(|_| Failure::form())?;
        if let Some(session) = visit.session() {
            let Proof { csrf } = serde_html_form::from_bytes(&body).map_err(|_| Failure::form())?;
            if !visit.access().is_form_of(session, &csrf) {
                return Err(Failure::form());
            }
            visit.sends(&body);
        }
        serde_html_form::from_bytes(&body).map(Self).map_err(|_| Failure::form())
    }
}

/// The parameters of an address, as `T` wants them; those that cannot be read say nothing.
#[derive(Debug)]
pub(super) struct Queried<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequestParts<S> for Queried<T> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(serde_html_form::from_str(parts.uri.query().unwrap_or_default()).unwrap_or_default()))
    }
}
