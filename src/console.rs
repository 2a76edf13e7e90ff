//! The web console: a listener, the guards around every request, pages, and the management API.
//!
//! It sees `auth`, and neither the crypto nor the store behind it. Runs on the control runtime, beside the doors.
//! Reading order: `server` → `answering` → [`router`] → `guard` → a handler in `handlers` → a page in `pages`. Called by
//! `app`. What it reads of a request by itself is public, so that `fuzz` can have it read anything.

mod answering;
mod api;
pub mod assets;
pub mod chart;
mod client;
pub mod cookies;
mod failure;
mod form;
pub mod frame;
mod guard;
mod handlers;
mod host_check;
mod idle;
mod origin_check;
mod page;
pub mod pages;
pub mod parts;
mod plain_answer;
mod request_log;
mod response_headers;
mod server;
mod state;
#[cfg(test)]
mod test_browser;
#[cfg(test)]
mod test_console;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unsent;
mod visit;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub use api::presented_key;
pub use client::{ConsoleClient, Transport};
pub use handlers::{TypedNetworks, as_lines, read_networks};
pub use host_check::is_meant;
pub use origin_check::{Verdict, judge_origin};
pub use page::own_path;
pub use plain_answer::LoggedReason;
pub use request_log::loggable;
pub use server::{
    BoundConsole, ConsoleDoor, ConsoleServer, ConsoleSettings, ServerParts, console_connection_limits,
    console_slots,
};
pub use state::{ConsoleParts, ConsoleState, DoorAddresses};

/// Every route of the console, behind the guards that all of them have.
pub fn router(state: ConsoleState) -> Router {
    let pages = handlers::routes().fallback(handlers::not_found);
    let pages = pages.layer(from_fn_with_state(state.clone(), guard::guard)).with_state(state.clone());
    let api = api::router(&state).with_state(state.clone());
    guarded(handlers::assets().merge(api::root()).nest(api::BASE, api).merge(pages), state)
}

/// `routes` behind the guards.
fn guarded(routes: Router, state: ConsoleState) -> Router {
    // The last one comes first: whatever is answered behind it has its headers.
    routes
        .layer(from_fn_with_state(state.clone(), origin_check::check_origin))
        .layer(from_fn_with_state(state.clone(), host_check::check_host))
        .layer(from_fn_with_state(state, response_headers::put_on_answers))
}
