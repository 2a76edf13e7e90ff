//! One request of the console, from its head to the end of its answer, around whatever route answers it.
//!
//! Before the route: who sent it, the listener's allow-list, a body within its bound. After it: a name for the request,
//! and a line in the access log. A route that panics or takes too long costs its own request and nothing else.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::EXPECT;
use http::{HeaderName, Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;

use super::ConsoleState;
use super::api;
use super::client::{self, ConsoleClient, Transport};
use super::idle::{ConnectionWatch, UnderWay};
use super::plain_answer::plain_answer;
use super::request_log::{RequestLog, RequestRecord};
use super::response_headers::put_headers;
use super::server::ConsoleDoor;
use crate::auth::DenialReason;
use crate::config::Limits;
use crate::model::ClientIp;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a client may go on sending of a body that is too large, so that it reads the answer instead of a reset.
const DISCARDED_BYTES: u64 = 1024 * 1024;

/// What answers the requests of all connections.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) state: ConsoleState,
    pub(super) router: Router,
    pub(super) log: Arc<RequestLog>,
}

/// What the requests of one connection have in common.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) door: Arc<ConsoleDoor>,
    /// Where it comes from: the peer, or what the PROXY protocol says.
    pub(super) source: IpAddr,
    pub(super) transport: Transport,
    pub(super) watch: Arc<ConnectionWatch>,
}

impl Answering {
    /// The answer to `request`, whatever it is.
    pub(super) async fn answer(
        &self,
        connection: &Connection,
        request: Request<Incoming>,
    ) -> http::Response<AnswerBody> {
        let under_way = connection.watch.request_began(request.version());
        let source = ClientIp::new(connection.source);
        let mut record = self.log.begin(&connection.door.name, source, &request);
        let is_for_management = api::is_for_management(request.uri().path());
        let mut answer = match admit(connection, &request, &self.state.limits()) {
            Ok(client) => {
                record.is_from(client.client_ip);
                self.have_answered(client, request, &record).await
            }
            Err(refused) => {
                record.is_from(refused.client_ip.unwrap_or(source));
                self.own(refused.answer)
            }
        };
        if is_for_management {
            api::tell_plain_answer(record.id(), &mut answer);
        }
        answer.headers_mut().insert(X_REQUEST_ID, record.id_value());
        record.answered(&answer);
        under_way.answered();
        answer.map(|body| AnswerBody { body, record, _under_way: under_way })
    }

    /// Reads the body and has a route answer, within the time that a request has.
    async fn have_answered(
        &self,
        client: ConsoleClient,
        request: Request<Incoming>,
        record: &RequestRecord,
    ) -> Response {
        let limits = self.state.limits();
        let handling = async {
            let (mut head, body) = request.into_parts();
            let body = match read_body(&head, body, limits.console_body_bytes.into()).await {
                Ok(body) => body,
                Err(refused) => return self.own(refused),
            };
            head.extensions.insert(client);
            head.extensions.insert(record.id());
            let request = Request::from_parts(head, Body::from(body));
            // A router cannot fail.
            match TowerToHyperService::new(self.router.clone()).call(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        };
        let within = Duration::from_secs(limits.console_request_seconds.into());
        match timeout(within, AssertUnwindSafe(handling).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(request_id = %record.id(), "a request of the console ended in a panic");
                let text =
                    format!("Something went wrong here. The number of the request is {}.", record.id());
                self.own(plain_answer(StatusCode::INTERNAL_SERVER_ERROR, "panicked", text))
            }
            Err(_) => {
                let text =
                    "This took too long and was given up. Look whether it was done before you try again.";
                self.own(plain_answer(StatusCode::SERVICE_UNAVAILABLE, "took_too_long", text))
            }
        }
    }

    /// An answer that no route made.
    fn own(&self, mut answer: Response) -> Response {
        put_headers(answer.headers_mut(), self.state.public_url());
        answer
    }
}

/// What is refused before any route, and whose it was where that is known.
struct Refused {
    answer: Response,
    client_ip: Option<ClientIp>,
}

fn admit(
    connection: &Connection,
    request: &Request<Incoming>,
    limits: &Limits,
) -> Result<ConsoleClient, Box<Refused>> {
    let refused = |status, reason, text: &str, client_ip| {
        Box::new(Refused { answer: plain_answer(status, reason, text), client_ip })
    };
    let settings = connection.door.present();
    let trusted = &settings.listener.client_address.trusted_proxies;
    let client_ip = client::resolve(connection.source, trusted, request.headers()).map_err(|error| {
        tracing::debug!(proxy = %connection.source, %error, "a trusted proxy's header is refused");
        let text = "X-Forwarded-For of the proxy in front cannot be read.";
        refused(StatusCode::BAD_REQUEST, "unreadable_forwarding", text, None)
    })?;
    if !settings.listener.allow_list.admits(client_ip) {
        let reason = DenialReason::AddressOutsideListenerList.as_str();
        let text = "The console is not open to your address.";
        return Err(refused(StatusCode::FORBIDDEN, reason, text, Some(client_ip)));
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > usize::try_from(limits.http_target_bytes).unwrap_or(usize::MAX) {
        let text = "The address is too long.";
        return Err(refused(StatusCode::URI_TOO_LONG, "target_too_long", text, Some(client_ip)));
    }
    Ok(ConsoleClient { client_ip, transport: connection.transport })
}

/// The whole body, of at most `bound` bytes.
async fn read_body(head: &http::request::Parts, mut body: Incoming, bound: u64) -> Result<Bytes, Response> {
    let too_large = || {
        let text = format!("This is too large; at most {bound} bytes are taken. Nothing was changed.");
        plain_answer(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text)
    };
    let announced = body.size_hint().lower();
    let waits = head.headers.contains_key(EXPECT);
    if announced > bound.saturating_add(DISCARDED_BYTES) || (announced > bound && waits) {
        return Err(too_large());
    }
    let (mut read, mut come) = (BytesMut::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let text = "The request broke off. Nothing was changed.";
            return Err(plain_answer(StatusCode::BAD_REQUEST, "body_broke_off", text));
        };
        let Ok(data) = frame.into_data() else { continue };
        come = come.saturating_add(data.len() as u64);
        if come <= bound {
            read.extend_from_slice(&data);
        } else if come > bound.saturating_add(DISCARDED_BYTES) {
            break;
        }
    }
    if come > bound { Err(too_large()) } else { Ok(read.freeze()) }
}

/// An answer's body, with what is to be written down when it has ended.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    record: RequestRecord,
    _under_way: UnderWay,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.record.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
