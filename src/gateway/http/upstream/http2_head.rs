//! The head of a request as HTTP/2 wants it, made from that of HTTP/1.1. Pure.
//!
//! A copy: the request stays as it is, in case another connection must carry it. Called by `http2_exchange` and
//! `health_check`.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{self, Authority};
use http::{HeaderMap, Request, Uri, Version, request};

use crate::config::Scheme;

/// `head`, which has an origin-form target and one `Host`, with what `tell` adds to its fields, for a stream of
/// HTTP/2; `None`: `Host` is no authority.
///
/// `Host` becomes `:authority` (RFC 9113 §8.3.1), and what frames or steers a connection of HTTP/1.1 goes (§8.2.2);
/// `TE: trailers` may stay, and is all that [`strip_hop_by_hop`](crate::gateway::http::headers::strip_hop_by_hop) leaves of `TE`.
pub fn http2_head(
    head: &request::Parts,
    tell: impl FnOnce(&mut HeaderMap),
    scheme: Scheme,
) -> Option<Request<()>> {
    let mut headers = head.headers.clone();
    tell(&mut headers);
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    let host = headers.remove(HOST)?;
    let mut target = uri::Parts::default();
    target.scheme = Some(match scheme {
        Scheme::Http => uri::Scheme::HTTP,
        Scheme::Https => uri::Scheme::HTTPS,
    });
    target.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    target.path_and_query = head.uri.path_and_query().cloned();
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(method: &str, target: &str, host: &str, scheme: Scheme) -> Option<Request<()>> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, host)
            .header(CONNECTION, "te")
            .header("te", "trailers")
            .header(TRANSFER_ENCODING, "chunked");
        let head = request.body(()).unwrap().into_parts().0;
        http2_head(&head, |headers| drop(headers.insert("x-auth-user", "alex".parse().unwrap())), scheme)
    }

    #[test]
    fn host_becomes_the_authority_and_the_path_stays_byte_for_byte() {
        for (method, target, host) in [
            ("GET", "/v2/domains/?a=1&a=%2e", "api.example:8443"),
            ("POST", "/a//b/../%2F;x/\\", "a_b.example"),
            ("OPTIONS", "*", "[::1]:80"),
            ("GET", "/", "api.example:"),
        ] {
            let request = converted(method, target, host, Scheme::Https).unwrap();
            let uri = request.uri();
            assert_eq!(uri.authority().unwrap().as_str(), host);
            assert_eq!((uri.scheme_str(), uri.path_and_query().unwrap().as_str()), (Some("https"), target));
            assert_eq!((request.method().as_str(), request.version()), (method, Version::HTTP_2));
        }
        assert!(converted("GET", "/", "a b", Scheme::Http).is_none());
    }

    #[test]
    fn s65_only_trailers_are_left_of_what_steers_a_connection() {
        let request = converted("POST", "/", "api.example", Scheme::Http).unwrap();
        let mut names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "x-auth-user"]);
        assert_eq!(request.uri().scheme_str(), Some("http"));
    }
}
