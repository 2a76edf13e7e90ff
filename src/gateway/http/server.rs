//! A client's connection from its beginning to its last byte: its deadlines, its requests, its end.
//!
//! The fast path and hyper read and write the protocol. What is decided about a request stands in [`handle_request`] and below it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::api_session::{answer_session_request, is_session_path};
use super::authorization::parse_authorization;
use super::beginning::{Begun, begin};
use super::client::{ClientConnection, Transport};
use super::cut_off::StreamTasks;
use super::deadlines::{ConnectionWatch, Spoken, WatchedIo};
use super::denial::{Fault, put_quota, render_fault};
use super::door_body::DoorBody;
use super::doorway::HttpDoorway;
use super::drive::{Driven, Gathered, drive};
use super::fast_path::{FastPath, Left};
use super::forward::{discard, forward_request};
use super::forward_auth::answer_asker;
use super::gathering::Gathering;
use super::headers::X_REQUEST_ID;
use super::record::RequestRecord;
use super::target::settle_head;
use super::upgrade::Detached;
use super::{HttpDoor, Purpose};
use crate::auth::{Attempt, Decision, DenialReason};
use crate::config::{Limits, PlaintextCredentials, Upgrade};
use crate::model::{ClientIp, Service};
use crate::net::Drain;

/// hyper refuses a smaller buffer.
const SMALLEST_BUFFER_BYTES: usize = 8_192;
/// How long, and how much, a client may go on sending after it was refused and its connection closed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;
/// So many streams of an HTTP/2 connection may break the protocol, or be more than may be open at once, before it is
/// ended (CVE-2025-8671).
const MOST_FAULTY_STREAMS: usize = 200;
/// What is kept of a body for a client that does not take it, beyond the part that was read last (S74).
const BODY_BUFFER_BYTES: usize = 64 * 1024;

/// Serves one connection until it ends, is silent for too long, or is drained.
///
/// What is needed only once, or only by one kind of connection, is boxed: this future stays for as long as the
/// connection does, and most connections are idle most of the time.
pub async fn serve(doorway: Rc<HttpDoorway>, stream: TcpStream, peer: SocketAddr, drain: Drain) {
    let watch = ConnectionWatch::new(&doorway.present().limits, Instant::now());
    let begun = tokio::select! {
        biased;
        begun = Box::pin(begin(doorway.present(), stream, peer, &watch)) => begun,
        () = drain.idle_ended() => None,
    };
    let Some((begun, source)) = begun else { return };
    match begun {
        Begun::Plaintext(io, spoken) => {
            let client = ClientConnection::new(peer.ip(), source.ip(), Transport::Plaintext, watch, drain);
            Box::pin(serve_protocol(doorway, io, client, spoken)).await;
        }
        Begun::Tls(io, spoken) => {
            let client = ClientConnection::new(peer.ip(), source.ip(), Transport::Tls, watch, drain);
            Box::pin(serve_protocol(doorway, *io, client, spoken)).await;
        }
    }
}

async fn serve_protocol<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    doorway: Rc<HttpDoorway>,
    io: WatchedIo<S>,
    client: Rc<ClientConnection>,
    spoken: Spoken,
) {
    let ClientConnection { watch, drain, tunnels, .. } = &*client;
    let present = doorway.present();
    let limits = Arc::clone(&present.limits);
    let takes_websockets = match &present.purpose {
        Purpose::Forward(routes) => routes.allow(Upgrade::WebSocket),
        Purpose::Answer(_) => false,
    };
    drop(present);
    let answer = |request| handle_request(doorway.present(), Rc::clone(&client), request);
    match spoken {
        Spoken::Http1 => {
            let service = service_fn(|request| answer(request).map(|answer| say_if_last(watch, answer)));
            let left = serve_http1(io, service, &http1_builder(&limits), &client, &doorway).await;
            match (tunnels.take_heir(), left) {
                (Some(heir), Some(left)) => {
                    let detached =
                        Detached { stream: Box::new(left.io.into_inner()), read_ahead: left.read_buf };
                    // An heir that is gone meanwhile lets it close.
                    let _ = heir.send(detached);
                }
                (None, Some(left)) if watch.has_unread() => {
                    let _ = timeout(LINGER, linger(left.io.into_inner())).await;
                }
                _ => {}
            }
        }
        Spoken::Http2 => {
            watch.speaks_http2();
            let mut builder = http2_builder(&limits, watch);
            if takes_websockets {
                builder.enable_connect_protocol();
            }
            // Boxed, because hyper moves it several times on its way to a task of its own.
            let service = service_fn(|request| Box::pin(answer(request)));
            let (io, release) = Gathering::new(io);
            let connection = Box::pin(builder.serve_connection(TokioIo::new(io), service));
            tokio::select! {
                _ = drive(Box::pin(Gathered::new(connection, release)), watch, drain, &doorway) => {}
                () = tunnels.stuck() => {}
            }
        }
    }
    tunnels.ended().await;
}

/// Tells the client where no further request will be answered on this connection.
fn say_if_last(
    watch: &ConnectionWatch,
    mut answer: Result<Response<DoorBody>, Infallible>,
) -> Result<Response<DoorBody>, Infallible> {
    if watch.answers_last()
        && let Ok(answer) = &mut answer
        && answer.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Serves HTTP/1 until the connection comes to its end, of which it answers what hyper has left, or is cut off: on the
/// fast path as long as that can, and by hyper from then on until the connection rests. While it does, both are gone, and
/// with them their buffers.
async fn serve_http1<S, V>(
    mut io: WatchedIo<S>,
    mut service: V,
    builder: &http1::Builder,
    client: &Rc<ClientConnection>,
    doorway: &HttpDoorway,
) -> Option<http1::Parts<TokioIo<WatchedIo<S>>, V>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: HttpService<Incoming, ResBody = DoorBody, Error = Infallible>,
{
    let ClientConnection { watch, drain, .. } = &**client;
    loop {
        let path = Box::pin(FastPath::new(&mut io, client, doorway));
        let rests = match drive(path, watch, drain, doorway).await {
            Driven::Ended(path) if path.left() == Some(Left::ForHyper) => false,
            Driven::Ended(_) | Driven::CutOff => return None,
            Driven::Rests(_) => true,
        };
        if rests {
            rest(&mut io, watch, drain).await;
            continue;
        }
        let connection = Box::pin(builder.serve_connection(TokioIo::new(io), service));
        match drive(connection, watch, drain, doorway).await {
            Driven::Ended(connection) => return Some(Pin::into_inner(connection).into_parts()),
            Driven::CutOff => return None,
            Driven::Rests(connection) => {
                let left = Pin::into_inner(connection).into_parts();
                (io, service) = (left.io.into_inner(), left.service);
                io.put_back(left.read_buf);
                rest(&mut io, watch, drain).await;
            }
        }
    }
}

/// Waits for whatever comes, which the next round sees to.
async fn rest<S: AsyncRead + Unpin>(io: &mut WatchedIo<S>, watch: &ConnectionWatch, drain: &Drain) {
    tokio::select! {
        () = io.readable() => {}
        () = sleep_until(watch.due().unwrap_or_else(Instant::now)) => {}
        () = drain.begun() => {}
    }
}

/// How HTTP/1 is read and written.
pub fn http1_builder(limits: &Limits) -> http1::Builder {
    let head_bytes =
        usize::try_from(limits.http_header_bytes).unwrap_or(usize::MAX).max(SMALLEST_BUFFER_BYTES);
    let mut builder = http1::Builder::new();
    // Deadlines are `deadlines`' matter: hyper's own begins too late, and costs an allocation a request.
    builder.header_read_timeout(None).timer(TokioTimer::new());
    builder.max_header_size(head_bytes).max_buf_size(head_bytes.max(BODY_BUFFER_BYTES));
    let fields = usize::try_from(limits.http_header_fields).unwrap_or(usize::MAX);
    if fields != 100 {
        // 100 is what hyper's parser has room for without an allocation, and its default.
        builder.max_headers(fields);
    }
    builder
}

fn http2_builder(limits: &Limits, watch: &Rc<ConnectionWatch>) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(StreamTasks::new(Rc::clone(watch)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_local_error_reset_streams(MOST_FAULTY_STREAMS)
        .max_header_list_size(limits.http_header_bytes);
    builder
}

/// Reads what a refused client still sends, so that the kernel does not reset the connection and with it the answer
/// that the client has yet to read (RFC 9112 §9.6). Our side is closed already.
async fn linger<S: AsyncRead + Unpin>(io: S) {
    // An end or an error are both the end of it.
    let _ = tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await;
}

/// One request: read it, have it judged, and pass it on or refuse it.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice, and a request is large")]
fn handle_request(
    door: Rc<HttpDoor>,
    client: Rc<ClientConnection>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<DoorBody>, Infallible>> {
    async move {
        if let Some(answer) = client.take_carried() {
            return Ok(answer);
        }
        let mut record = RequestRecord::begin(&door, &client, &request);
        let routes = match &door.purpose {
            Purpose::Forward(routes) => routes,
            Purpose::Answer(names) => {
                return Ok(Box::pin(answer_asker(&door, names, &client, request, record)).await);
            }
        };
        let origin = match client.origin(request.headers(), &door.entrance.client_address.trusted_proxies) {
            Ok(origin) => origin,
            Err(fault) => return Ok(door.refuse(fault, request, record)),
        };
        let client_ip = origin.client_ip;
        record.is_from(client_ip);
        if let Err(fault) = check_manners(&door, &client, client_ip, &mut request) {
            return Ok(door.refuse(fault, request, record));
        }
        if is_session_path(request.uri().path()) {
            return Ok(Box::pin(answer_session_request(&door, client_ip, request, record)).await);
        }
        let Some(authorization) = parse_authorization(request.headers()) else {
            let denial = door.authenticator.refuse_unreadable(client_ip);
            return Ok(door.refuse(denial.into(), request, record));
        };
        let credential = authorization.credential();
        let attempt = Attempt { credential, service: Service::Api, client_ip };
        let decision = door.authenticator.authenticate(attempt).await;
        record.judged();
        match decision {
            // Boxed: its state is large, and needed only while an upstream is asked.
            Decision::Allow(permit) => {
                let quota = permit.quota();
                let mut response =
                    Box::pin(forward_request(&door, routes, &origin, permit, request, record)).await;
                if let Some(quota) = quota {
                    put_quota(response.headers_mut(), quota);
                }
                Ok(response)
            }
            Decision::Deny(denial) => Ok(door.refuse(denial.into(), request, record)),
        }
    }
}

/// What stands before any credential: what the listener demands, and the rules of HTTP.
fn check_manners(
    door: &HttpDoor,
    client: &ClientConnection,
    client_ip: ClientIp,
    request: &mut Request<Incoming>,
) -> Result<(), Fault> {
    check_entrance(door, client, client_ip, request.headers())?;
    if client.watch.saw_fragment() {
        return Err(Fault::Malformed("The request's target holds a fragment."));
    }
    settle_head(request, &door.limits)
}

/// What the listener demands before any credential: its list, and none in clear.
pub(super) fn check_entrance(
    door: &HttpDoor,
    client: &ClientConnection,
    client_ip: ClientIp,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    if !door.entrance.allow_list.admits(client_ip) {
        return Err(Fault::forbidden(DenialReason::AddressOutsideListenerList));
    }
    let in_clear = client.transport == Transport::Plaintext
        && door.entrance.plaintext_credentials == PlaintextCredentials::Refuse;
    if in_clear && headers.contains_key(AUTHORIZATION) {
        return Err(exposed(door, headers));
    }
    Ok(())
}

/// Refuses what came in clear, and names a key that exists.
fn exposed(door: &HttpDoor, headers: &HeaderMap) -> Fault {
    match parse_authorization(headers) {
        Some(authorization) => door.authenticator.refuse_exposed(&authorization.credential()).into(),
        None => Fault::forbidden(DenialReason::PlaintextCredential),
    }
}

impl HttpDoor {
    /// The gateway's own answer to `request`, whose body is read away or cut off.
    pub(super) fn refuse(
        &self,
        fault: Fault,
        request: Request<Incoming>,
        record: Box<RequestRecord>,
    ) -> Response<DoorBody> {
        self.leave_body(request, &record);
        render_refusal(fault, record)
    }

    /// Reads the body of `request` away, or cuts it off.
    pub(super) fn leave_body(&self, request: Request<Incoming>, record: &RequestRecord) {
        let (head, body) = request.into_parts();
        if !http_body::Body::is_end_stream(&body) {
            record.leaves_unread();
        }
        discard(body, &head.headers, record.spoken(), &self.limits);
    }
}

/// The gateway's own answer.
pub fn render_refusal(fault: Fault, mut record: Box<RequestRecord>) -> Response<DoorBody> {
    record.refused(fault);
    let mut response = render_fault(fault, record.id());
    response.headers_mut().insert(X_REQUEST_ID, record.id_value());
    response.map(|body| DoorBody::own(body, record))
}
