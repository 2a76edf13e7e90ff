//! Answers to proxies that ask whether a request may pass, and forward it themselves (`protocol: forward_auth`).
//!
//! What is asked about is judged by its `Authorization` and its client's address alone. Its method, its target and its
//! `Host` are the asker's matter: they are written down and refuse nothing. Nothing goes upstream from here, and no body
//! is read. That a client's own identity headers do not reach the application is up to the asker, too. Called by
//! `server::handle_request`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;

use super::HttpDoor;
use super::authorization::parse_authorization;
use super::client::ClientConnection;
use super::deadlines::Spoken;
use super::denial::{Fault, put_quota};
use super::door_body::DoorBody;
use super::forward::discard;
use super::headers::{X_REQUEST_ID, each_of_identity};
use super::record::RequestRecord;
use super::server::{check_entrance, render_refusal};
use crate::auth::{Attempt, Decision, Permit};
use crate::config::IdentityHeaders;
use crate::model::Service;

/// The method and the target that the client sent to the asker, as Caddy and Traefik name them.
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// 200 with `names` filled in, or the refusal that the API door would give.
pub async fn answer_asker(
    door: &HttpDoor,
    names: &IdentityHeaders,
    client: &ClientConnection,
    request: Request<Incoming>,
    mut record: Box<RequestRecord>,
) -> Response<DoorBody> {
    let (head, body) = request.into_parts();
    let spoken = record.spoken();
    let has_body = !body.is_end_stream();
    if has_body {
        record.leaves_unread();
    }
    let judged = judge(door, client, &head.method, &head.headers, &mut record).await;
    let mut response = match judged {
        Ok(permit) => tell(permit, names, record),
        Err(fault) => render_refusal(fault, record),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match spoken {
        Spoken::Http2 => discard(body, &head.headers, spoken, &door.limits),
        Spoken::Http1 if has_body => {
            // Askers that leave the body away and forget `Content-Length` are common: what they sent next on this
            // connection would be taken for it, and a request be answered for another.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Spoken::Http1 => {}
    }
    response
}

/// May it pass? Notes in `record` what it is about.
async fn judge(
    door: &HttpDoor,
    client: &ClientConnection,
    method: &Method,
    headers: &HeaderMap,
    record: &mut RequestRecord,
) -> Result<Permit, Fault> {
    let trusted = &door.entrance.client_address.trusted_proxies;
    if client.is_from(trusted) {
        record.is_about(forwarded_method(headers), forwarded_target(headers));
    }
    let client_ip = client.origin(headers, trusted)?.client_ip;
    record.is_from(client_ip);
    check_entrance(door, client, client_ip, headers)?;
    if *method == Method::CONNECT {
        // Any 2xx to it would make the connection a tunnel (RFC 9110 §9.3.6).
        return Err(Fault::MethodRefused);
    }
    let Some(authorization) = parse_authorization(headers) else {
        return Err(door.authenticator.refuse_unreadable(client_ip).into());
    };
    let credential = authorization.credential();
    let attempt = Attempt { credential, service: Service::Api, client_ip };
    let decision = door.authenticator.authenticate(attempt).await;
    record.judged();
    match decision {
        Decision::Allow(permit) => Ok(permit),
        Decision::Deny(denial) => Err(denial.into()),
    }
}

fn tell(permit: Permit, names: &IdentityHeaders, mut record: Box<RequestRecord>) -> Response<DoorBody> {
    record.answered(StatusCode::OK);
    record.told();
    let id = record.id_value();
    let permit = record.admitted(permit, None);
    let mut told = HeaderMap::with_capacity(8);
    each_of_identity(permit, names, |name, value| {
        // Whatever stands in a field is a value; were it none, the field would be left out rather than lie.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            told.insert(name, value);
        }
    });
    if let Some(quota) = permit.quota() {
        put_quota(&mut told, quota);
    }
    told.insert(X_REQUEST_ID, id);
    let mut response = Response::new(DoorBody::own(Bytes::new(), record));
    *response.headers_mut() = told;
    response
}

/// `None`: the asker does not say, or not so that it could be read.
fn forwarded_method(headers: &HeaderMap) -> Option<Method> {
    Method::from_bytes(only(headers, &X_FORWARDED_METHOD)?).ok()
}

/// Likewise. What is no path is not what a client asked this asker for.
fn forwarded_target(headers: &HeaderMap) -> Option<PathAndQuery> {
    let target = only(headers, &X_FORWARDED_URI)?;
    if target.starts_with(b"/") { PathAndQuery::try_from(target).ok() } else { None }
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(fields: &[(&HeaderName, &str)]) -> (Option<Method>, Option<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        (forwarded_method(&headers), forwarded_target(&headers).map(|target| target.to_string()))
    }

    #[test]
    fn what_was_asked_of_the_asker_is_read_where_it_says_so_once() {
        assert_eq!(about(&[]), (None, None));
        let post = (&X_FORWARDED_METHOD, "POST");
        let target = (&X_FORWARDED_URI, "/a%2e?b=c");
        assert_eq!(about(&[post, target]), (Some(Method::POST), Some("/a%2e?b=c".to_owned())));
        assert_eq!(about(&[post, post, target, target]), (None, None));
        for no_target in ["", "a", "*", "http://a.example/", "/a b"] {
            assert_eq!(about(&[(&X_FORWARDED_URI, no_target)]).1, None, "{no_target}");
        }
        assert_eq!(about(&[(&X_FORWARDED_METHOD, "A B")]).0, None);
    }
}
