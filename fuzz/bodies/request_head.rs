//! Any bytes as what a client sends over one connection: each request among them is refused, or goes upstream as one
//! message that no server can read differently, with nothing in it that could pass for the gateway's word.
//!
//! Bytes that begin with `:` are the fields of one request of HTTP/2, a line each, and behind an empty line its body.
//! All others are read as HTTP/1, by the door's own reader.

#[path = "request_head/http2.rs"]
mod http2;
#[path = "request_head/permit.rs"]
mod permit;
#[path = "request_head/written.rs"]
mod written;

use std::cell::RefCell;
use std::convert::Infallible;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use latchkey::config::{IdentityHeaders, Limits, Scheme, SetHeaders};
use latchkey::gateway::http::{
    ForwardedFacts, IdentityRules, Told, UploadFraming, http1_builder, http2_head, prepare_head, settle_head,
    write_head,
};
use written::Written;

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
}

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    if input.first() == Some(&b':') {
        if let Some(request) = http2::request(input) {
            let _ = judge(request);
        }
        return;
    }
    let connection = async {
        // The client closes behind what it sent, and whatever it is answered is not looked at.
        let stream = TokioIo::new(tokio::io::join(input, tokio::io::sink()));
        let _ = http1_builder(&Limits::default()).serve_connection(stream, service_fn(forward)).await;
    };
    RUNTIME.with_borrow(|runtime| runtime.block_on(connection));
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
    let facts = ForwardedFacts {
        forwarded_for: HeaderValue::from_static("192.0.2.7"),
        forwarded_proto: HeaderValue::from_static("https"),
    };
    let mut framing = UploadFraming::Ended;
    let mut body = Some(body);
    for rules in all_rules() {
        let mut head = head.clone();
        let unread = body.take()?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        prepare_head(&mut head, &unread, &rules);
        let told = Told {
            permit: permit::permit(),
            rules: &rules,
            facts: &facts,
            request_id: b"00000000000000ab",
            traceparent: None,
            received,
        };
        let request = Request::from_parts(head.clone(), unread);
        let mut bytes = Vec::new();
        framing = write_head(&mut bytes, &request, &told);
        let written = Written::read(&bytes);
        assert_eq!(written.line, format!("{} {target} HTTP/1.1", head.method));
        written.check(framing);
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
