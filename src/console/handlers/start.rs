//! The start page: on to what its visitor has most to do with.

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::frame::Place;
use super::super::page::see_other;
use super::super::visit::Person;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/", get(start))
}

async fn start(person: Person) -> Response {
    let frame = person.peek_frame();
    let sees_users = frame.viewer.is_some_and(|viewer| viewer.may_see_users);
    see_other(if sees_users { Place::Users.href() } else { Place::Profile.href() })
}
