//! The management API for people.

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::api;
use super::super::failure::Failure;
use super::super::frame::Place;
use super::super::page::page;
use super::super::visit::Person;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/api-reference", get(reference))
}

async fn reference(person: Person) -> Result<Response, Failure> {
    let document = serde_json::to_value(api::document(person.state()));
    let document = document.map_err(|error| Failure::defect(&error.to_string()))?;
    Ok(page(&api::reference_page(person.frame("Management API", Place::Connect), &document)))
}
