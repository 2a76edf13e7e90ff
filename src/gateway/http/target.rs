//! Which host and path a request is for, and whether its target may be forwarded at all. Pure.
//!
//! It refuses what two servers could read differently, and changes nothing of what it lets pass: the path goes
//! upstream byte for byte. Called by `server::handle_request` before any credential is read.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::byte_set::ByteSet;
use super::denial::Fault;
use super::headers::{are_sound, has_field};
use super::upgrade::is_extended_connect;
use crate::config::Limits;

/// Checks the head against limits and rules, and settles `Host`: afterwards there is exactly one, and it agrees with
/// the target.
pub fn settle_head<B>(request: &mut Request<B>, limits: &Limits) -> Result<(), Fault> {
    let is_tunnel = request.method() == Method::CONNECT && !is_extended_connect(request);
    if is_tunnel || request.method() == Method::TRACE {
        return Err(Fault::MethodRefused);
    }
    check_target(request.method(), request.uri(), limits)?;
    let headers = request.headers();
    let few = u32::try_from(headers.len()).is_ok_and(|fields| fields <= limits.http_header_fields);
    if !few {
        return Err(Fault::TooManyFields);
    }
    if has_field(headers, &TRANSFER_ENCODING) && !is_chunked_alone(headers) {
        return Err(Fault::UnknownCoding);
    }
    if request.version() == Version::HTTP_2 && !are_sound(headers) {
        return Err(Fault::Malformed("A header field has a name or a value that HTTP does not allow."));
    }
    let expects = has_field(headers, &EXPECT);
    if expects
        && headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Fault::UnknownExpectation);
    }
    if let Some(host) = settled_host(request)? {
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

/// Is the message in chunks, once, and not coded otherwise? The parser asks for the last coding alone, and what was
/// below it would be lost on the way (RFC 9112 §6.1).
fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Origin form, absolute form of http and https, and `*` for OPTIONS (RFC 9112 §3.2).
fn check_target(method: &Method, uri: &Uri, limits: &Limits) -> Result<(), Fault> {
    const FORM: Fault = Fault::Malformed("The request's target is not a path.");
    // Without `:path` (RFC 9113 §8.3.1), and without an authority to go with it, there is still an empty one.
    let target = uri.path_and_query().filter(|_| !uri.path().is_empty());
    let target = target.map(PathAndQuery::as_str).ok_or(FORM)?;
    if usize::try_from(limits.http_target_bytes).is_ok_and(|limit| target.len() > limit) {
        return Err(Fault::TargetTooLong);
    }
    // Without an early end, so that many bytes are looked at at once.
    if !target.bytes().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic()) {
        return Err(Fault::Malformed("The request's target holds characters that must be percent-encoded."));
    }
    let is_of_server = target == "*" && *method == Method::OPTIONS;
    if !is_of_server && !target.starts_with('/') {
        return Err(FORM);
    }
    match uri.scheme_str() {
        None if uri.authority().is_some() => Err(FORM),
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(FORM),
    }
}

/// What `Host` must become; `None`: it is right as it is.
///
/// The target's authority (absolute form, or `:authority` of HTTP/2) outranks `Host` in HTTP/1 (RFC 9112 §3.2.2) and
/// must agree with it in HTTP/2 (RFC 9113 §8.3.1).
fn settled_host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Fault> {
    const NO_AUTHORITY: Fault = Fault::Malformed("The target's authority is not a host name.");
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, doubled) = (fields.next(), fields.next().is_some());
    if doubled {
        return Err(Fault::Malformed("There is more than one Host header."));
    }
    if field.is_some_and(|field| host_name(field.as_bytes()).is_none()) {
        return Err(Fault::Malformed("The Host header is not a host name."));
    }
    let Some(authority) = request.uri().authority().map(Authority::as_str) else {
        return field.map(|_| None).ok_or(Fault::Malformed("The Host header is missing."));
    };
    if host_name(authority.as_bytes()).is_none() {
        return Err(NO_AUTHORITY);
    }
    match field {
        Some(field) if field.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => Ok(None),
        Some(_) if request.version() == Version::HTTP_2 => {
            Err(Fault::Malformed("The Host header and the authority differ."))
        }
        _ => HeaderValue::from_str(authority).map(Some).map_err(|_| NO_AUTHORITY),
    }
}

/// [`host_part`] as text.
pub fn host_name(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(host_part(text)?).ok()
}

/// The host of `host[:port]` without brackets, if it is one: letters, digits, `-`, `.`, `_`, or an IPv6 address in
/// brackets. User names (`user@`) are none.
pub fn host_part(text: &[u8]) -> Option<&[u8]> {
    static NAMED: ByteSet = ByteSet::alphanumeric_and(b"-._");
    // Most have no port.
    let length = if NAMED.holds_all(text) {
        text.len()
    } else {
        text.iter().take_while(|byte| NAMED.holds(**byte)).count()
    };
    let (host, rest) = text.split_at_checked(length)?;
    let (host, port) = match (host, rest) {
        ([], [b'[', rest @ ..]) => {
            let end = rest.iter().position(|byte| *byte == b']')?;
            let (host, rest) = rest.split_at_checked(end)?;
            std::str::from_utf8(host).ok()?.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(b"]")?)
        }
        ([], _) => return None,
        (host, rest) => (host, rest),
    };
    let is_sound = match port {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    };
    is_sound.then_some(host)
}

/// Digits of a port, or none at all (RFC 3986 §3.2.3 lets a port be empty).
fn is_port(text: &[u8]) -> bool {
    text.len() <= 5 && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settled `Host`, or the status of the refusal.
    fn settle(method: &str, target: &str, hosts: &[&str], version: Version) -> Result<String, u16> {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut head = request.body(()).unwrap();
        settle_head(&mut head, &Limits::default()).map_err(|fault| fault.status().as_u16())?;
        let settled: Vec<_> = head.headers().get_all(HOST).iter().collect();
        assert_eq!(settled.len(), 1);
        Ok(settled[0].to_str().unwrap().to_owned())
    }

    #[test]
    fn s59_host_is_one_and_valid() {
        let h1 = |hosts: &[&str]| settle("GET", "/a", hosts, Version::HTTP_11);
        assert_eq!(h1(&["api.example:8443"]).unwrap(), "api.example:8443");
        assert_eq!(h1(&["[::1]:80"]).unwrap(), "[::1]:80");
        for hosts in [
            &[][..],
            &["a.example", "a.example"],
            &["a.example", "b.example"],
            &[""],
            &["a b"],
            &["a.example:x"],
            &["a.example:123456"],
            &["user@a.example"],
            &["a.example/b"],
            &["[::1"],
            &["[zz]"],
            &["a,b"],
            &["a\tb"],
        ] {
            assert_eq!(h1(hosts), Err(400), "{hosts:?}");
        }
    }

    #[test]
    fn s59_an_absolute_target_overrides_host() {
        let settled = settle("GET", "http://one.example/a", &["two.example"], Version::HTTP_11);
        assert_eq!(settled.unwrap(), "one.example");
        assert_eq!(settle("GET", "http://user@one.example/a", &["one.example"], Version::HTTP_11), Err(400));
    }

    #[test]
    fn s51_authority_and_host_of_http2_must_agree() {
        let h2 = |hosts: &[&str]| settle("GET", "https://one.example/a", hosts, Version::HTTP_2);
        assert_eq!(h2(&[]).unwrap(), "one.example");
        assert_eq!(h2(&["ONE.example"]).unwrap(), "ONE.example");
        assert_eq!(h2(&["two.example"]), Err(400));
        assert_eq!(settle("GET", "/a", &[], Version::HTTP_2), Err(400));
    }

    #[test]
    fn s48_fields_that_http1_cannot_carry_are_refused_of_http2() {
        let settle = |name: &str, value: &str, version| {
            let mut request = Request::get("https://a.example/").version(version).body(()).unwrap();
            // As h2 makes names, which lets more pass than others do.
            let name = http::HeaderName::from_lowercase(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
            settle_head(&mut request, &Limits::default())
        };
        for (name, value) in
            [("x-a", " 1"), ("x-a", "1\t"), ("x-a", " "), ("cookie", "a=1 "), ("x-\"a\"", "1")]
        {
            assert!(settle(name, value, Version::HTTP_2).is_err(), "{name}: {value:?}");
        }
        for value in ["1", "1 2", "1\t2", ""] {
            assert!(settle("x-a", value, Version::HTTP_2).is_ok(), "{value:?}");
        }
        // There the parser has taken the blanks away.
        assert!(settle("x-a", " 1", Version::HTTP_11).is_ok());
    }

    #[test]
    fn s51_a_request_of_http2_without_a_path_is_refused() {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        // What h2 makes of `:method` and `:scheme` alone.
        *request.uri_mut() = Uri::from_parts(http::uri::Parts::default()).unwrap();
        request.headers_mut().insert(HOST, HeaderValue::from_static("a.example"));
        let refused = settle_head(&mut request, &Limits::default()).map_err(|fault| fault.status().as_u16());
        assert_eq!(refused, Err(400));
    }

    #[test]
    fn s60_targets_that_are_no_path_are_refused() {
        for (method, target, expected) in [
            ("GET", "/v2/domains/?a=1&a=2", Ok(())),
            ("GET", "/%2e%2e//;x/\\", Ok(())),
            ("OPTIONS", "*", Ok(())),
            ("GET", "*", Err(400)),
            ("GET", "example.com", Err(400)),
            ("GET", "ftp://one.example/a", Err(400)),
            ("GET", "/ä", Err(400)),
            ("CONNECT", "one.example:443", Err(405)),
            ("TRACE", "/", Err(405)),
            ("BREW", "/pot", Ok(())),
        ] {
            let settled = settle(method, target, &["one.example"], Version::HTTP_11).map(drop);
            assert_eq!(settled, expected, "{method} {target}");
        }
    }

    #[test]
    fn s64_targets_and_fields_have_a_limit() {
        let long = format!("/{}", "a".repeat(8_192));
        assert_eq!(settle("GET", &long, &["one.example"], Version::HTTP_11), Err(414));
        let mut request = Request::builder().uri("/").header(HOST, "one.example");
        for number in 0..100 {
            request = request.header(format!("x-{number}"), "1");
        }
        let mut head = request.body(()).unwrap();
        assert_eq!(settle_head(&mut head, &Limits::default()), Err(Fault::TooManyFields));
    }

    #[test]
    fn s05_a_body_is_in_chunks_and_coded_by_nothing_else() {
        for (codings, expected) in [
            (&["chunked"][..], Ok(())),
            (&[" Chunked"], Ok(())),
            (&[", chunked,"], Ok(())),
            (&["chunked", ""], Ok(())),
            (&["gzip, chunked"], Err(Fault::UnknownCoding)),
            (&["identity", "chunked"], Err(Fault::UnknownCoding)),
            (&["chunked, chunked"], Err(Fault::UnknownCoding)),
            (&["chunked", "chunked"], Err(Fault::UnknownCoding)),
            (&[""], Err(Fault::UnknownCoding)),
        ] {
            let request = Request::builder().method("POST").uri("/").header(HOST, "one.example");
            let with =
                |request: http::request::Builder, coding: &&str| request.header(TRANSFER_ENCODING, *coding);
            let mut head = codings.iter().fold(request, with).body(()).unwrap();
            assert_eq!(settle_head(&mut head, &Limits::default()), expected, "{codings:?}");
        }
    }

    #[test]
    fn s68_an_unknown_expectation_is_refused() {
        for (expectation, expected) in [("100-Continue", Ok(())), ("200-ok", Err(Fault::UnknownExpectation))]
        {
            let request = Request::builder().uri("/").header(HOST, "one.example").header(EXPECT, expectation);
            let mut head = request.body(()).unwrap();
            assert_eq!(settle_head(&mut head, &Limits::default()), expected, "{expectation}");
        }
    }
}
