//! A request of HTTP/2 as its parser hands it over, made of lines; and what is to hold of one that goes upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use hyper::body::{Body, Frame, SizeHint};

use super::written::Written;

/// A body that is never read; what is known of its length.
pub struct Promised(Option<u64>);

impl Body for Promised {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0 == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The request that `lines` are of; `None`: the parser would not hand it over.
pub fn request(lines: &[u8]) -> Option<Request<Promised>> {
    let mut request = Request::new(Promised(Some(0)));
    *request.version_mut() = Version::HTTP_2;
    let mut target = http::uri::Parts::default();
    let mut rest = lines;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (rest.get(..end)?, rest.get(end + 1..)?);
        rest = behind;
        if line.is_empty() {
            request.body_mut().0 = if rest.is_empty() { Some(0) } else { None };
            break;
        }
        let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b":method" => *request.method_mut() = Method::from_bytes(value).ok()?,
            b":scheme" => target.scheme = Some(Scheme::try_from(value).ok()?),
            b":authority" => target.authority = Some(Authority::try_from(value).ok()?),
            b":path" => target.path_and_query = Some(PathAndQuery::try_from(value).ok()?),
            _ => {
                let name = HeaderName::from_lowercase(name).ok()?;
                request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
    }
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    let promised = request.headers().get(CONTENT_LENGTH);
    if let Some(promised) = promised {
        // Where there is one, it was found to be a number and the length of what comes.
        request.body_mut().0 = Some(promised.to_str().ok()?.parse().ok()?);
    }
    Some(request)
}

/// A request for a stream of HTTP/2 says the same as `written`, and nothing of a connection (RFC 9113 §8.2.2).
pub fn check(request: &Request<()>, written: &Written<'_>) {
    let authority = request.uri().authority().expect("an authority");
    assert_eq!(authority.as_str().as_bytes(), written.only("host"));
    for (name, value) in request.headers() {
        assert!(
            !matches!(
                name.as_str(),
                "host" | "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
            ),
            "{name}"
        );
        assert!(name != "te" || value == "trailers");
        if *name != CONTENT_LENGTH {
            assert!(written.has(name.as_str(), value.as_bytes()), "{name} is told in one version only");
        }
    }
}
