//! API sessions (PROTOCOL section 2, row "session"; section 3, column "API open Session"), as a client lives through them.

mod endings;
mod opening;

use crate::harness::{Answer, Request, TestGateway};

/// What `POST /v2/session` answers.
#[track_caller]
fn post(gateway: &TestGateway, authorization: &str) -> Answer {
    gateway.connect("api").exchange(&Request::new("POST", "/v2/session").authorization(authorization))
}

/// What `DELETE /v2/session` answers.
#[track_caller]
fn delete(gateway: &TestGateway, authorization: &str) -> Answer {
    gateway.connect("api").exchange(&Request::new("DELETE", "/v2/session").authorization(authorization))
}

/// Opens a session; answers the value of `Authorization` that uses it.
#[track_caller]
fn open(gateway: &TestGateway, authorization: &str) -> String {
    let answer = post(gateway, authorization);
    assert_eq!(answer.status, 201, "{answer:?}");
    let token = answer.json()["key"].as_str().unwrap().to_owned();
    gateway.secrets().note("session token", &token);
    format!("Session {token}")
}

/// GET on so many connections that every thread has had one; all must be answered alike.
#[track_caller]
fn status_everywhere(gateway: &TestGateway, authorization: &str) -> u16 {
    let statuses: Vec<u16> = (0..12).map(|_| gateway.api_get("/v2/x", authorization).status).collect();
    assert!(statuses.iter().all(|status| *status == statuses[0]), "{statuses:?}");
    statuses[0]
}
