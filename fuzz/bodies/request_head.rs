//! Any bytes as what a client sends over one connection: each request among them is refused, or goes upstream as one
//! message that no server can read differently, with nothing in it that could pass for the gateway's word.
//!
//! Bytes that begin with `:` are the fields of one request of HTTP/2, a line each, and behind an empty line its body.
//! All others are read as HTTP/1, by the door's own reader; and if the fast path takes them, the same goes upstream.

#[path = "request_head/http2.rs"]
mod http2;
#[path = "request_head/permit.rs"]
mod permit;
#[path = "request_head/written.rs"]
mod written;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use latchkey::config::{IdentityHeaders, Limits, Scheme, SetHeaders};
use latchkey::gateway::http::{
    ForwardedFacts, IdentityRules, PlainRequest, Told, UploadFraming, http1_builder, http2_head, no_fields,
    prepare_head, settle_head, write_head,
};
use tokio::io::{AsyncRead, ReadBuf};
use written::Written;

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
    /// What goes upstream of what hyper reads.
    static GENERAL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    if input.first() == Some(&b':') {
        if let Some(request) = http2::request(input) {
            let _ = judge(request);
        }
        return;
    }
    let plain = plain(input);
    GENERAL.set(Vec::new());
    // The client closes behind what it sent, unless that needs no more to be judged: hyper forgets a request whose client is
    // gone. Whatever it is answered is not looked at.
    let sent = Sent { rest: input, closes: plain.is_none() };
    let stream = TokioIo::new(tokio::io::join(sent, tokio::io::sink()));
    let mut connection =
        pin!(http1_builder(&Limits::default()).serve_connection(stream, service_fn(forward)));
    let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Pending if plain.is_none() => Poll::Pending,
        _ => Poll::Ready(()),
    });
    RUNTIME.with_borrow(|runtime| runtime.block_on(served));
    if let Some(plain) = plain {
        let general = GENERAL.take();
        assert_eq!(plain.len(), general.len(), "the only request is let in by both ways");
        for (one, other) in plain.iter().zip(&general) {
            assert!(in_order(one) == in_order(other), "{:?} {:?}", in_order(one), in_order(other));
        }
    }
}

/// What a client sends.
struct Sent<'a> {
    rest: &'a [u8],
    closes: bool,
}

impl AsyncRead for Sent<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (part, rest) = self.rest.split_at(self.rest.len().min(buffer.remaining()));
        if part.is_empty() && !self.closes {
            return Poll::Pending;
        }
        buffer.put_slice(part);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// What the fast path sends upstream, by all rules; `None`: it does not take `input`.
fn plain(input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = no_fields();
    let request = PlainRequest::read(input, &mut fields, &Limits::default())?;
    let composed = |rules: IdentityRules| {
        // Who has rules with collisions is no concern of the fast path.
        (!rules.have_collisions()).then(|| {
            let bytes = request.compose(Vec::new(), &told(&rules, &facts(), Version::HTTP_11)).into_room();
            Written::read(&bytes).check(UploadFraming::Ended);
            bytes
        })
    };
    Some(all_rules().into_iter().filter_map(composed).collect())
}

/// The lines of a head, in order of their letters.
fn in_order(head: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

fn facts() -> ForwardedFacts {
    ForwardedFacts {
        forwarded_for: HeaderValue::from_static("192.0.2.7"),
        forwarded_proto: HeaderValue::from_static("https"),
    }
}

/// What is told of a request that came by the version `received`.
fn told<'a>(rules: &'a IdentityRules, facts: &'a ForwardedFacts, received: Version) -> Told<'a> {
    Told {
        permit: permit::permit(),
        rules,
        facts,
        request_id: b"00000000000000ab",
        traceparent: None,
        received,
    }
}

/// Does with a request what the door does, and finds that the body that comes is the one its head promises.
async fn forward(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    let Some((body, framing)) = judge(request) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    if let Ok(whole) = body.collect().await {
        let length = whole.to_bytes().len() as u64;
        match framing {
            UploadFraming::Ended => assert_eq!(length, 0),
            UploadFraming::Length(promised) => assert_eq!(length, promised),
            UploadFraming::Chunked => {}
        }
    }
    Ok(response)
}

/// Judges a request and looks at all that would be sent upstream of its head; `None`: it is refused.
fn judge<B: Body>(mut request: Request<B>) -> Option<(B, UploadFraming)> {
    settle_head(&mut request, &Limits::default()).ok()?;
    let asked = request.map(|body| (body, ()));
    let (head, (body, ())) = asked.into_parts();
    let received = head.version;
    let facts = facts();
    let mut framing = UploadFraming::Ended;
    let mut body = Some(body);
    for rules in all_rules() {
        let mut head = head.clone();
        let unread = body.take()?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        prepare_head(&mut head, &unread, &rules);
        let told = told(&rules, &facts, received);
        let request = Request::from_parts(head.clone(), unread);
        let mut bytes = Vec::new();
        framing = write_head(&mut bytes, &request, &told);
        let written = Written::read(&bytes);
        assert_eq!(written.line, format!("{} {target} HTTP/1.1", head.method));
        written.check(framing);
        if !rules.have_collisions() {
            GENERAL.with_borrow_mut(|general| general.push(bytes.clone()));
        }
        if let Some(request) = http2_head(&head, |fields| told.insert_into(fields), Scheme::Https) {
            http2::check(&request, &written);
        }
        body = Some(request.into_body());
    }
    Some((body?, framing))
}

/// Those of an upstream without wishes, and those of one that wants other names and has a key of its own.
fn all_rules() -> [IdentityRules; 2] {
    let own = [(AUTHORIZATION, "ApiKey own"), (HOST, written::OWN_HOST)];
    let own = own.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let names = IdentityHeaders {
        user: Some(HeaderName::from_static("remote-user")),
        customer: None,
        ..IdentityHeaders::default()
    };
    [
        IdentityRules::new(IdentityHeaders::default(), SetHeaders::default()),
        IdentityRules::new(names, SetHeaders(own.to_vec())),
    ]
}
