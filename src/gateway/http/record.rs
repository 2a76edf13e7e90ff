//! What is known of one request, kept until its answer has ended, and then written down once.
//!
//! Dropping it writes the access log, the metrics and the spans, and hands a refusal on for `explain`, so that no way out of a request can forget them: not a client
//! that goes away while the upstream is asked, nor a body that breaks off. It decides nothing.

use std::rc::Rc;
use std::task::Context;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use tokio::time::Instant;

use super::HttpDoor;
use super::client::{ClientConnection, Transport};
use super::deadlines::Spoken;
use super::denial::Fault;
use super::open_bodies::{OpenBody, Opened};
use super::routes::Resolved;
use super::trace_headers::{Sender, asking_span};
use super::upstream::{HttpUpstream, Waited};
use crate::auth::{AuthMethod, Permit};
use crate::model::{AccessPoint, ClientIp, Recognised, Timestamp};
use crate::telemetry::{AccessRecord, HttpFacts, RefusalDetails, RequestId, Trace};

/// One request from its head to the end of its answer.
#[derive(Debug)]
pub struct RequestRecord {
    door: Rc<HttpDoor>,
    client: Rc<ClientConnection>,
    client_ip: ClientIp,
    id: RequestId,
    at: Timestamp,
    began: Instant,
    spoken: Spoken,
    method: Method,
    /// Without the query; `None`: the target holds none.
    path: Option<Box<str>>,
    permit: Option<Permit>,
    upstream: Option<Rc<HttpUpstream>>,
    status: u16,
    reason: Option<&'static str>,
    /// Whose credential was refused, where that is known.
    recognised: Option<Recognised>,
    response_bytes: u64,
    /// When its answer was there as a whole, if that was noted; otherwise it ends when this is dropped.
    ended: Option<Instant>,
    /// `None`: no traces are made. Boxed, so that then it takes no room.
    trace: Option<Box<Trace>>,
}

impl RequestRecord {
    /// Begins with the head of `request`.
    pub fn begin<B>(door: &Rc<HttpDoor>, client: &Rc<ClientConnection>, request: &Request<B>) -> Box<Self> {
        let spoken = match request.version() {
            http::Version::HTTP_2 => Spoken::Http2,
            _ => Spoken::Http1,
        };
        let path = request.uri().path_and_query().map(|target| target.path().into());
        let trace = begin_trace(door, client, request.headers());
        Self::begin_with(door, client, spoken, request.method().clone(), path, trace)
    }

    /// Begins with what is known of a request.
    ///
    /// Boxed, because it goes from hand to hand until the answer's last byte.
    pub fn begin_with(
        door: &Rc<HttpDoor>,
        client: &Rc<ClientConnection>,
        spoken: Spoken,
        method: Method,
        path: Option<Box<str>>,
        trace: Option<Box<Trace>>,
    ) -> Box<Self> {
        client.watch.request_began();
        Box::new(Self {
            door: Rc::clone(door),
            client: Rc::clone(client),
            client_ip: client.source_ip(),
            id: door.request_ids.next_id(),
            at: door.clock.now(),
            began: Instant::now(),
            spoken,
            method,
            path,
            permit: None,
            upstream: None,
            status: 0,
            reason: None,
            recognised: None,
            response_bytes: 0,
            ended: None,
            trace,
        })
    }

    /// The request's name.
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// When it came.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The request's name as the value of `X-Request-Id`.
    pub fn id_value(&self) -> HeaderValue {
        // Hexadecimal digits are always a header's value.
        let id = HeaderValue::from_bytes(&self.id.to_ascii());
        let mut id = id.unwrap_or_else(|_| HeaderValue::from_static("-"));
        // It never comes again: HTTP/2 need not push out of its table for it what does (RFC 7541 §7.1.3).
        id.set_sensitive(true);
        id
    }

    /// The connection it came by.
    pub const fn client(&self) -> &Rc<ClientConnection> {
        &self.client
    }

    /// From whom the request is; until this is said, it is taken to be the connection's source's.
    pub const fn is_from(&mut self, client_ip: ClientIp) {
        self.client_ip = client_ip;
    }

    /// The request is about another one, which a proxy forwards: that one's method and target are written down, as far
    /// as they are known.
    pub fn is_about(&mut self, method: Option<Method>, target: Option<PathAndQuery>) {
        if let Some(method) = method {
            self.method = method;
        }
        if let Some(target) = target {
            self.path = Some(target.path().into());
        }
    }

    /// Does the request come over HTTP/2?
    pub const fn spoken(&self) -> Spoken {
        self.spoken
    }

    /// A part of the request's body may never be read.
    pub fn leaves_unread(&self) {
        self.client.watch.note_unread();
    }

    /// The request's place among others' traces; `None`: no traces are made.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Who was let in, and where to; answers the permit, which is kept here.
    pub fn admitted(&mut self, permit: Permit, route: Option<&Resolved<HttpUpstream>>) -> &Permit {
        self.upstream = route.map(|route| Rc::clone(&route.upstream));
        if let (Some(trace), Some(route)) = (&mut self.trace, route) {
            trace.goes_upstream(&route.path);
        }
        self.permit.insert(permit)
    }

    /// The request's credential was judged now, which is answered, for it or against it.
    pub fn judged(&mut self) -> Instant {
        let now = Instant::now();
        self.door.metrics.decided(now.duration_since(self.began));
        if let Some(trace) = &mut self.trace {
            trace.decided();
        }
        now
    }

    /// The head of the upstream's answer is there, with this status, or it is known why none comes. The time that the
    /// request did not wait for it was spent here.
    pub fn passed_on(&mut self, waited: &Waited, answer: Result<StatusCode, Fault>) {
        let Some(until) = waited.until else { return };
        // That a client's body failed tells nothing of how long an upstream takes.
        if answer.map_or_else(Fault::is_upstreams, |_| true) {
            self.door.metrics.added_latency((until - self.began).saturating_sub(waited.time));
            if let Some(upstream) = &self.upstream {
                upstream.count_time(waited.time);
            }
        }
        if let Some(trace) = &mut self.trace {
            trace.upstream_answered(answer.ok().map(|status| status.as_u16()));
        }
    }

    /// Whoever asked is told that the request may pass. All of its time was spent here.
    pub fn told(&self) {
        self.door.metrics.added_latency(self.began.elapsed());
    }

    /// The answer's status.
    pub const fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// What went wrong; the first fault stays.
    pub fn failed(&mut self, reason: &'static str) {
        self.reason.get_or_insert(reason);
    }

    /// The gateway's own answer for `fault`.
    pub fn refused(&mut self, fault: Fault) {
        self.status = fault.status().as_u16();
        self.reason = Some(fault.reason());
        if let Fault::Denied(denial) = fault {
            self.recognised = denial.recognised;
            self.door.metrics.denied(denial.reason.as_str());
        }
    }

    /// Puts the answer's body, polled with `cx`, into the register of those on their way.
    pub fn open_body(&self, cx: &Context<'_>) -> OpenBody {
        let opened = Opened {
            permit: self.permit.clone(),
            watch: Rc::clone(&self.client.watch),
            spoken: self.spoken,
            stall_seconds: self.door.limits.http_body_idle_seconds,
        };
        self.door.open_bodies.take_in(opened, cx)
    }

    /// What spans tell beside the line of the log.
    fn facts(&self) -> HttpFacts {
        HttpFacts {
            scheme: match self.client.transport {
                Transport::Plaintext => "http",
                Transport::Tls => "https",
            },
            version: match self.spoken {
                Spoken::Http1 => "1.1",
                Spoken::Http2 => "2",
            },
        }
    }

    /// The answer is there as a whole: all of it leaves at once.
    pub const fn ends_at(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Bytes of the answer's body that were handed to the client's connection.
    pub const fn sent(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
    }
}

/// The trace of a request with these `headers`, as they came; `None`: `door` makes none.
fn begin_trace(door: &HttpDoor, client: &ClientConnection, headers: &HeaderMap) -> Option<Box<Trace>> {
    let tracer = door.tracer.as_ref()?;
    let is_proxy = client.is_from(&door.entrance.client_address.trusted_proxies);
    let sender = if is_proxy { Sender::TrustedProxy } else { Sender::Stranger };
    Some(Box::new(tracer.begin(asking_span(headers, sender, tracer.trust_incoming()))))
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(Instant::now);
        self.client.watch.request_ended(self.spoken, now);
        if self.status == 0 {
            // Nothing was answered: only the client's going away drops a request that early.
            self.reason = Some("client_gone");
            self.client.watch.note_abandoned();
            if let Some(upstream) = &self.upstream {
                upstream.count_time(now - self.began);
            }
        } else if self.permit.is_some() {
            self.client.watch.note_answered();
        }
        self.door.metrics.answered(self.status);
        let permit = self.permit.as_ref();
        let line = AccessRecord {
            at: self.at,
            service: AccessPoint::Api,
            listener: &self.door.name,
            request_id: self.id,
            client_ip: self.client_ip,
            method: self.method.as_str(),
            target: self.path.as_deref().unwrap_or_default(),
            status: self.status,
            reason: self.reason,
            customer: permit.map(Permit::customer),
            user: permit.map(Permit::login),
            key_id: permit.and_then(Permit::key_id),
            auth_method: permit.map(Permit::method).map(AuthMethod::as_str),
            upstream: self.upstream.as_ref().map(|upstream| upstream.name()),
            duration_microseconds: u64::try_from(now.duration_since(self.began).as_micros())
                .unwrap_or(u64::MAX),
            response_bytes: self.response_bytes,
            trace_id: self.trace.as_deref().map(Trace::id),
        };
        if self.reason.is_none() && (1..400).contains(&self.status) {
            self.door.access_log.write_allowed(&line);
        } else {
            self.door.access_log.write(&line);
        }
        if let (Some(tracer), Some(trace)) = (&self.door.tracer, &self.trace) {
            tracer.request_ended(trace, &line, self.facts());
        }
        if self.reason.is_some() && self.status != 0 {
            let recognised = self.recognised.or(permit.map(Permit::recognised));
            let via = self.client.told_by(self.client_ip);
            self.door.refusals.record(&line, RefusalDetails { via, recognised });
        }
    }
}
