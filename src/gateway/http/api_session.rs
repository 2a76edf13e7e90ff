//! `/v2/session`: API sessions are opened and closed here, and no upstream ever sees it (PROTOCOL section 2).
//!
//! A fixed path of every API listener, whatever the routes. Who may, and what a session is, is the authenticator's.
//! Called by `server::handle_request`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::HttpDoor;
use super::authorization::parse_authorization;
use super::denial::Fault;
use super::door_body::DoorBody;
use super::headers::X_REQUEST_ID;
use super::record::RequestRecord;
use crate::auth::{Attempt, Decision, Permit, SessionFault};
use crate::model::{ClientIp, Secret, Service};

/// What was done.
enum Done {
    /// A session with this key was opened.
    Opened(Secret<String>),
    /// The presented session was ended.
    Closed,
}

/// Is `path` the sessions' own? Clients differ in whether they end it with a slash.
pub fn is_session_path(path: &str) -> bool {
    matches!(path, "/v2/session" | "/v2/session/")
}

/// Opens or closes a session, or says why not.
pub async fn answer_session_request(
    door: &HttpDoor,
    client_ip: ClientIp,
    request: Request<Incoming>,
    mut record: Box<RequestRecord>,
) -> Response<DoorBody> {
    match open_or_close(door, client_ip, &request).await {
        Ok((permit, done)) => {
            record.admitted(permit, None);
            door.leave_body(request, &record);
            render(&done, record)
        }
        Err(fault) => door.refuse(fault, request, record),
    }
}

async fn open_or_close(
    door: &HttpDoor,
    client_ip: ClientIp,
    request: &Request<Incoming>,
) -> Result<(Permit, Done), Fault> {
    if !matches!(*request.method(), Method::POST | Method::DELETE) {
        return Err(Fault::SessionMethodRefused);
    }
    let authorization = parse_authorization(request.headers());
    let authorization = authorization.ok_or_else(|| door.authenticator.refuse_unreadable(client_ip))?;
    let credential = authorization.credential();
    let attempt = Attempt { credential, service: Service::Api, client_ip };
    let opens = request.method() == Method::POST;
    let decision = if opens {
        door.authenticator.authenticate(attempt).await
    } else {
        door.authenticator.authenticate_closing(attempt).await
    };
    let permit = match decision {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => return Err(denial.into()),
    };
    let done = if opens {
        Done::Opened(door.authenticator.open_api_session(&permit).await?)
    } else {
        door.authenticator.close_api_session(&permit).await?;
        Done::Closed
    };
    Ok((permit, done))
}

impl From<SessionFault> for Fault {
    fn from(fault: SessionFault) -> Self {
        match fault {
            SessionFault::Denied(denial) => Self::Denied(denial),
            SessionFault::Unavailable => Self::SessionsUnavailable,
        }
    }
}

fn render(done: &Done, mut record: Box<RequestRecord>) -> Response<DoorBody> {
    let (status, body) = match done {
        // A key is of letters and digits: nothing in it is escaped.
        Done::Opened(key) => (StatusCode::CREATED, ["{\"key\":\"", key.expose(), "\"}"].concat()),
        Done::Closed => (StatusCode::NO_CONTENT, String::new()),
    };
    record.answered(status);
    let id = record.id_value();
    let mut response = Response::new(DoorBody::own(Bytes::from(body), record));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::CREATED {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}
