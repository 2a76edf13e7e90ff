//! Any head as a client's that asks for a WebSocket, and any as the upstream's answer: only a handshake that is one is
//! taken for one, and what each side is sent of the other's has this one upgrade and nothing else of a connection.
//!
//! The client's head and the upstream's, each with its empty line; what stands behind the client's up to a line of `--`
//! is its body.

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::Full;
use latchkey::gateway::http::{Handshake, strip_hop_by_hop};
use latchkey::net::websocket::{accept_for, is_key};

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let mark = input.windows(4).position(|part| part == b"\n--\n");
    let (asked, answered) = match mark {
        Some(at) => (&input[..=at], &input[at + 4..]),
        None => (input, &b""[..]),
    };
    let Some(mut request) = read_request(asked) else { return };
    let Ok(Some(handshake)) = Handshake::read(&request) else { return };
    let key = the_only(request.headers(), &SEC_WEBSOCKET_KEY);
    assert!(request.method() == Method::GET && request.version() == Version::HTTP_11);
    assert!(request.body().size() == 0, "nobody could say where the body ends");
    assert!(is_key(key.as_bytes()) && key.len() == 24);
    assert!(
        lists(request.headers(), &UPGRADE, "websocket") && lists(request.headers(), &CONNECTION, "upgrade")
    );

    strip_hop_by_hop(request.headers_mut());
    handshake.ask(&mut request);
    check_upgrade(request.headers());
    assert_eq!(the_only(request.headers(), &SEC_WEBSOCKET_KEY), key);

    let Some(mut fields) = read_answer(answered) else { return };
    let accept = accept_for(key.as_bytes());
    if !handshake.is_agreed(&fields) {
        return;
    }
    assert!(the_only(&fields, &UPGRADE).as_bytes().eq_ignore_ascii_case(b"websocket"));
    assert_eq!(the_only(&fields, &SEC_WEBSOCKET_ACCEPT), accept.as_str());
    strip_hop_by_hop(&mut fields);
    assert_eq!(handshake.answer(&mut fields), StatusCode::SWITCHING_PROTOCOLS);
    check_upgrade(&fields);
    assert_eq!(the_only(&fields, &SEC_WEBSOCKET_ACCEPT), accept.as_str());
    assert!(!fields.contains_key("content-length") && !fields.contains_key("transfer-encoding"));
}

trait Length {
    fn size(&self) -> u64;
}

impl Length for Full<Bytes> {
    fn size(&self) -> u64 {
        hyper::body::Body::size_hint(self).exact().unwrap_or(u64::MAX)
    }
}

/// Nothing of a connection but the one upgrade.
fn check_upgrade(headers: &HeaderMap) {
    assert_eq!(the_only(headers, &CONNECTION), "Upgrade");
    assert_eq!(the_only(headers, &UPGRADE), "websocket");
    for name in ["te", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

fn the_only(headers: &HeaderMap, name: &HeaderName) -> HeaderValue {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    assert!(second.is_none(), "{name} is there twice");
    first.unwrap_or_else(|| panic!("{name} is missing")).clone()
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let all: Vec<u8> =
        headers.get_all(name).iter().flat_map(|value| [value.as_bytes(), b","].concat()).collect();
    let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
    text.split(',').any(|listed| listed.trim_matches([' ', '\t']) == token)
}

fn read_request(bytes: &[u8]) -> Option<Request<Full<Bytes>>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = head.parse(bytes).ok()? else { return None };
    let body = Bytes::copy_from_slice(bytes[end..].trim_ascii_end());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = head.method?.parse().ok()?;
    *request.uri_mut() = head.path?.parse().ok()?;
    *request.version_mut() = if head.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = map(head.headers)?;
    Some(request)
}

fn read_answer(bytes: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    head.parse(bytes).ok()?.is_complete().then_some(())?;
    map(head.headers)
}

fn map(fields: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(headers)
}
