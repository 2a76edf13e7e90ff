//! How an application connects: the doors' addresses, and samples.

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::frame::Place;
use super::super::page::page;
use super::super::pages::connect::ConnectPage;
use super::super::visit::Person;
use crate::auth::{Action, KeyKind};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/connect", get(show))
}

async fn show(person: Person) -> Response {
    let doors = person.state().doors();
    let makes_keys = person.may(Action::ChangeKeys(&person.session().user, KeyKind::Door));
    page(&ConnectPage {
        frame: person.frame("Connect", Place::Connect),
        api: doors.api.clone(),
        isproxy: doors.isproxy.clone(),
        keys: makes_keys.then(|| String::from("/profile/api-keys")),
    })
}
