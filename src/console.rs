//! The console's listener and what carries its pages: the server, the guards around every request, the route table.
//!
//! It sees `auth`, and neither the crypto nor the store behind it. Runs on the control runtime, beside the doors.
//! Called by `app`.

mod answering;
mod client;
pub mod cookies;
mod host_check;
mod idle;
mod origin_check;
mod plain_answer;
mod request_log;
mod response_headers;
mod server;
mod state;
#[cfg(test)]
mod test_console;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::middleware::from_fn_with_state;
use http::StatusCode;

pub use client::{ConsoleClient, Transport};
pub use origin_check::{Verdict, judge_origin};
pub use plain_answer::LoggedReason;
pub use server::{
    BoundConsole, ConsoleDoor, ConsoleSettings, ServerParts, console_connection_limits, console_slots,
    serve_console,
};
pub use state::{ConsoleParts, ConsoleState};

/// Every route of the console, behind the guards that all of them have.
pub fn router(state: ConsoleState) -> Router {
    guarded(Router::new(), state)
}

/// `routes` behind the guards.
fn guarded(routes: Router, state: ConsoleState) -> Router {
    // The last one comes first: whatever is answered behind it has its headers.
    routes
        .fallback(not_found)
        .layer(from_fn_with_state(state.clone(), origin_check::check_origin))
        .layer(from_fn_with_state(state.clone(), host_check::check_host))
        .layer(from_fn_with_state(state, response_headers::put_on_answers))
}

async fn not_found() -> axum::response::Response {
    let text = "This page does not exist. It may have been deleted.";
    plain_answer::plain_answer(StatusCode::NOT_FOUND, "not_found", text)
}
