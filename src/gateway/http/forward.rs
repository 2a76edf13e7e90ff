//! An admitted request on its way to the upstream, and the answer on its way back.
//!
//! The only way upstream, and it takes a [`Permit`] (invariant 1). Heads are changed in place and never copied,
//! bodies pass through. Called by `server::handle_request`.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::HttpDoor;
use super::client::Origin;
use super::cookies::{join_cookie_crumbs, strip_own_cookies, strip_own_set_cookies};
use super::deadlines::Spoken;
use super::denial::Fault;
use super::door_body::DoorBody;
use super::headers::{
    IdentityRules, Told, X_REQUEST_ID, append_via, has_field, strip_claims, strip_hop_by_hop,
};
use super::record::RequestRecord;
use super::request_body::{Gate, RequestBody, SendProgress};
use super::routes::{Resolved, Routes};
use super::target::host_name;
use super::trace_headers::strip_trace;
use super::upgrade::{Answer, Asked};
use super::upstream::{HttpUpstream, UpstreamBody, Waited};
use crate::auth::Permit;

/// How long a refused HTTP/2 request's stream stays open for the rest of its body.
const READ_THE_ANSWER: Duration = Duration::from_secs(1);

/// Sends `request`, whose head was settled, to its upstream, and answers with what comes back.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice, and a request is large")]
pub fn forward_request(
    door: &HttpDoor,
    routes: &Routes<HttpUpstream>,
    origin: &Origin,
    permit: Permit,
    mut request: Request<Incoming>,
    mut record: Box<RequestRecord>,
) -> impl Future<Output = Response<DoorBody>> {
    async move {
        let route = route(routes, &request);
        let id = record.id_value();
        let traceparent = record.trace().map(|trace| {
            strip_trace(request.headers_mut(), || trace.is_continued());
            trace.traceparent()
        });
        let permit = record.admitted(permit, route);
        let Some(Resolved { upstream, upgrades, .. }) = route else {
            return door.refuse(Fault::NoRoute, request, record);
        };
        let asked = match Asked::read(&mut request, upgrades) {
            Ok(asked) => asked,
            Err(fault) => return door.refuse(fault, request, record),
        };
        if is_last_hop(&request) {
            return answer_options(record);
        }
        if exceeds(request.body(), door.limits.http_body_bytes) {
            return door.refuse(Fault::BodyTooLong, request, record);
        }
        let received = request.version();
        let (request, progress) = prepare(upstream, request, door.limits.http_body_bytes);
        let told = Told {
            permit,
            rules: upstream.identity_rules(),
            facts: &origin.forwarded,
            request_id: id.as_bytes(),
            traceparent: traceparent.as_ref().map(<[u8; _]>::as_slice),
            received,
        };
        let mut waited = Waited::default();
        let answer = match asked {
            None => upstream.send(&told, &mut Some(request), progress, &mut waited).await,
            // Boxed: hardly any request is one of these.
            Some(asked) => {
                let began = Instant::now();
                let answer = Box::pin(asked.ask(upstream, &told, request)).await;
                waited.count(began);
                match answer {
                    Ok(Answer::Switched(switched)) => {
                        let permit = permit.clone();
                        record.passed_on(&waited, Ok(StatusCode::SWITCHING_PROTOCOLS));
                        return asked.open(door, &permit, switched, record);
                    }
                    Ok(Answer::Ordinary(response)) => Ok(response),
                    Err(fault) => Err(fault),
                }
            }
        };
        match answer {
            Ok(response) => pass_back(response, id, record, &waited),
            Err(fault) => {
                record.passed_on(&waited, Err(fault));
                record.leaves_unread();
                super::server::render_refusal(fault, record)
            }
        }
    }
}

/// Where the request goes, by its settled host and its path as it was sent.
fn route<'a>(
    routes: &'a Routes<HttpUpstream>,
    request: &Request<Incoming>,
) -> Option<&'a Resolved<HttpUpstream>> {
    let host = || request.headers().get(HOST).and_then(|host| host_name(host.as_bytes()));
    routes.find(host, request.uri().path())
}

/// Is the request meant for us and nobody behind us (RFC 9110 §7.6.2)?
fn is_last_hop(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS && request.headers().get(MAX_FORWARDS).is_some_and(|left| left == "0")
}

fn answer_options(mut record: Box<RequestRecord>) -> Response<DoorBody> {
    record.answered(StatusCode::OK);
    let id = record.id_value();
    let mut response = Response::new(DoorBody::own(Bytes::new(), record));
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    response
}

/// Is the body known to be longer than `limit_bytes` (0: unbounded)? A longer one of unknown length is cut later.
fn exceeds(body: &Incoming, limit_bytes: u64) -> bool {
    limit_bytes != 0 && body.size_hint().lower() > limit_bytes
}

/// Makes the client's request the upstream's: its head, and its body as it is to be sent.
fn prepare(
    upstream: &Rc<HttpUpstream>,
    request: Request<Incoming>,
    limit_bytes: u64,
) -> (Request<RequestBody>, Option<Rc<SendProgress>>) {
    let (mut head, incoming) = request.into_parts();
    prepare_head(&mut head, &incoming, upstream.identity_rules());
    if incoming.is_end_stream() {
        return (Request::from_parts(head, RequestBody::Empty), None);
    }
    let gate = if has_field(&head.headers, &EXPECT) { Gate::AwaitsContinue } else { Gate::Open };
    let progress = SendProgress::new(gate);
    let body = RequestBody::new(incoming, &progress, upstream, limit_bytes);
    (Request::from_parts(head, body), Some(progress))
}

/// Makes the head of the client's request, which comes with `body`, the upstream's: origin form, HTTP/1.1, its own
/// framing, nothing of the client's connection, no credential.
pub fn prepare_head(head: &mut request::Parts, body: &impl Body, rules: &IdentityRules) {
    if head.uri.scheme().is_some()
        && let Some(path) = head.uri.path_and_query().cloned()
    {
        head.uri = Uri::from(path);
    }
    let of_http2 = head.version == Version::HTTP_2;
    head.version = Version::HTTP_11;
    head.extensions.clear();
    strip_hop_by_hop(&mut head.headers);
    strip_claims(&mut head.headers, rules);
    strip_own_cookies(&mut head.headers);
    if of_http2 {
        join_cookie_crumbs(&mut head.headers);
    }
    count_hop(&head.method, &mut head.headers);
    let bodiless = body.is_end_stream();
    if (bodiless || of_http2) && has_field(&head.headers, &EXPECT) {
        // hyper sends no 1xx over HTTP/2; such a client sends its body after a while of its own.
        head.headers.remove(EXPECT);
    }
    if !bodiless && body.size_hint().exact().is_none() {
        // Said outright: hyper's client would drop the body of a GET that does not (S08).
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Takes one from `Max-Forwards` of an OPTIONS request (RFC 9110 §7.6.2); an unreadable one is left as it is.
fn count_hop(method: &Method, headers: &mut HeaderMap) {
    if method != Method::OPTIONS {
        return;
    }
    let left = headers.get(MAX_FORWARDS).and_then(|left| left.to_str().ok()?.parse::<u32>().ok());
    if let Some(left) = left {
        headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Makes the upstream's answer, which the request waited for, the client's.
pub fn pass_back(
    response: Response<UpstreamBody>,
    id: HeaderValue,
    mut record: Box<RequestRecord>,
    waited: &Waited,
) -> Response<DoorBody> {
    let (mut head, mut body) = response.into_parts();
    let received = head.version;
    head.version = Version::HTTP_11;
    if has_field(&head.headers, &TRANSFER_ENCODING) || head.status == StatusCode::NO_CONTENT {
        // Chunks outrank a length that came with them (RFC 9112 §6.3); and 204 has none (RFC 9110 §8.6).
        head.headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(&mut head.headers);
    // `trailers` may be left of it, and means nothing in an answer.
    head.headers.remove(TE);
    strip_own_set_cookies(&mut head.headers);
    head.headers.insert(X_REQUEST_ID, id);
    append_via(&mut head.headers, received);
    record.answered(head.status);
    record.passed_on(waited, Ok(head.status));
    body.release_if_empty();
    Response::from_parts(head, DoorBody::upstream(body, record))
}

/// The rest of a refused request's body, so that it is never read as a next request (S09).
pub fn discard(body: Incoming, headers: &HeaderMap, spoken: Spoken, limits: &crate::config::Limits) {
    if body.is_end_stream() {
        return;
    }
    if spoken == Spoken::Http2 {
        // Letting go of the body resets the stream (RFC 9113 §8.1), and some clients lose an answer that a reset
        // follows at once (curl 7). They get a moment to read it, and to end the stream themselves.
        tokio::task::spawn_local(timeout(READ_THE_ANSWER, async {
            if let Some(_unread) = drain(body).await {
                pending::<()>().await;
            }
        }));
    } else if !has_field(headers, &EXPECT) {
        // A client that waits for `100 Continue` gets the answer instead, and the connection closes, because nobody
        // knows whether it will send the body after all.
        let idle = Duration::from_secs(limits.http_body_idle_seconds.into());
        tokio::task::spawn_local(timeout(idle, drain(body)));
    }
}

/// Reads and forgets up to 64 KiB; answers the body when more is left, for which hyper closes an HTTP/1 connection.
async fn drain(mut body: Incoming) -> Option<Incoming> {
    const DRAINED_BYTES: usize = 64 * 1024;
    let mut read = 0;
    while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > DRAINED_BYTES {
            return Some(body);
        }
    }
    None
}
