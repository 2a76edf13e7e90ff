//! The WebSocket handshake as a proxy sees it (RFC 6455 §4; over HTTP/2, RFC 8441). It reads and writes heads only.
//!
//! It tells who asks for one, asks the upstream in turn, and judges whether that agreed. Versions, subprotocols and
//! extensions are for the two ends to settle: their fields pass as they are. No other protocol is ever upgraded to,
//! h2c least of all (S57). Called by `upgrade`.

use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body;

use crate::gateway::http::deadlines::Spoken;
use crate::gateway::http::denial::Fault;
use crate::net::websocket::{accept_for, is_key, new_key};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A handshake that a client has begun.
#[derive(Debug)]
pub struct Handshake {
    /// What the upstream is shown as `Sec-WebSocket-Key`.
    key: HeaderValue,
    spoken: Spoken,
}

/// Is this the extended CONNECT of RFC 8441 for a WebSocket? Over HTTP/1 there is none.
pub fn is_extended_connect<B>(request: &Request<B>) -> bool {
    let protocol = || request.extensions().get::<hyper::ext::Protocol>();
    request.method() == Method::CONNECT && protocol().is_some_and(|protocol| protocol.as_str() == "websocket")
}

impl Handshake {
    /// The handshake that `request` begins; `None`: it is an ordinary one.
    ///
    /// A request with a body is ordinary, whatever it asks for (RFC 9110 §7.8 lets a server ignore `Upgrade`): nobody
    /// could say where its body ends and the other protocol begins. So is one of HTTP/1.0.
    pub fn read<B: Body>(request: &Request<B>) -> Result<Option<Self>, Fault> {
        if is_extended_connect(request) {
            // Its own key, if it sends one, means nothing (RFC 8441 §5).
            let key = new_key().ok().and_then(|key| HeaderValue::from_str(&key).ok());
            let key = key.ok_or(Fault::NoRandomBytes)?;
            return Ok(Some(Self { key, spoken: Spoken::Http2 }));
        }
        let headers = request.headers();
        let asks = request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && lists(headers, &UPGRADE, b"websocket")
            && lists(headers, &CONNECTION, b"upgrade")
            && request.body().is_end_stream();
        if !asks {
            return Ok(None);
        }
        let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
        let key = key.ok_or(Fault::Malformed("The WebSocket handshake has no proper Sec-WebSocket-Key."))?;
        Ok(Some(Self { key: key.clone(), spoken: Spoken::Http1 }))
    }

    /// Makes the upstream's request of one that is stripped and says who calls: HTTP/1.1 with this one upgrade.
    pub fn ask<B>(&self, request: &mut Request<B>) {
        *request.method_mut() = Method::GET;
        let headers = request.headers_mut();
        headers.remove(TE);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(SEC_WEBSOCKET_KEY, self.key.clone());
    }

    /// Does the upstream's 101 with these `headers` agree to what was asked, and to nothing else (RFC 6455 §4.1)?
    pub fn is_agreed(&self, headers: &HeaderMap) -> bool {
        only(headers, &UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
            && lists(headers, &CONNECTION, b"upgrade")
            && only(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == self.accept())
    }

    /// Makes the client's answer of the upstream's head, which is stripped.
    pub fn answer(&self, headers: &mut HeaderMap) -> StatusCode {
        // `TE` is left of a stripped head, and means nothing in an answer.
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, TE] {
            headers.remove(name);
        }
        match self.spoken {
            Spoken::Http1 => {
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, WEBSOCKET);
                if let Ok(accept) = HeaderValue::from_str(&self.accept()) {
                    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                }
                StatusCode::SWITCHING_PROTOCOLS
            }
            Spoken::Http2 => {
                headers.remove(SEC_WEBSOCKET_ACCEPT);
                StatusCode::OK
            }
        }
    }

    /// Can the upstream's answer of `status` that is no 101 be passed on as it is? Success would tell a client of
    /// HTTP/2 that its tunnel stands.
    pub fn may_pass(&self, status: StatusCode) -> bool {
        self.spoken == Spoken::Http1 || !status.is_success()
    }

    fn accept(&self) -> String {
        accept_for(self.key.as_bytes())
    }
}

/// The only value of a field.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Is `token` in a list of tokens, in any case?
fn lists(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn request(method: &str, version: Version, fields: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).version(version).uri("/v2/socket");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    }

    fn upgrade<'a>(connection: &'a str, protocol: &'a str, key: &'a str) -> [(&'a str, &'a str); 3] {
        [("connection", connection), ("upgrade", protocol), ("sec-websocket-key", key)]
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        request("GET", Version::HTTP_11, fields, "").headers().clone()
    }

    fn of_http1() -> Handshake {
        let asked = upgrade("Upgrade", "websocket", KEY);
        Handshake::read(&request("GET", Version::HTTP_11, &asked, "")).unwrap().unwrap()
    }

    fn of_http2(protocol: &'static str) -> Request<Full<Bytes>> {
        let mut request = request("CONNECT", Version::HTTP_2, &[("sec-websocket-key", "theirs")], "");
        request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
        request
    }

    #[test]
    fn a_handshake_is_read_in_any_case_and_among_other_tokens() {
        for (connection, protocol) in
            [("Upgrade", "websocket"), ("keep-alive, upgrade", "WebSocket"), ("UPGRADE", "h2c, websocket")]
        {
            let asked = request("GET", Version::HTTP_11, &upgrade(connection, protocol, KEY), "");
            assert!(Handshake::read(&asked).unwrap().is_some(), "{connection} {protocol}");
        }
    }

    #[test]
    fn s57_what_asks_for_less_or_for_something_else_is_an_ordinary_request() {
        let asked = upgrade("Upgrade", "websocket", KEY);
        for (why, request) in [
            ("another method", request("POST", Version::HTTP_11, &asked, "")),
            ("HTTP/1.0", request("GET", Version::HTTP_10, &asked, "")),
            ("a body", request("GET", Version::HTTP_11, &asked, "body")),
            ("another protocol", request("GET", Version::HTTP_11, &upgrade("Upgrade", "h2c", KEY), "")),
            ("a longer name", request("GET", Version::HTTP_11, &upgrade("Upgrade", "websockets", KEY), "")),
            ("no option", request("GET", Version::HTTP_11, &upgrade("close", "websocket", KEY), "")),
            ("CONNECT", request("CONNECT", Version::HTTP_2, &[], "")),
            ("another :protocol", of_http2("connect-udp")),
        ] {
            assert!(Handshake::read(&request).unwrap().is_none(), "{why}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        for key in ["", "short", "c2hvcnQ="] {
            let asked = request("GET", Version::HTTP_11, &upgrade("Upgrade", "websocket", key), "");
            assert!(matches!(Handshake::read(&asked), Err(Fault::Malformed(_))), "{key:?}");
        }
        let mut twice = upgrade("Upgrade", "websocket", KEY).to_vec();
        twice.push(("sec-websocket-key", KEY));
        assert!(Handshake::read(&request("GET", Version::HTTP_11, &twice, "")).is_err());
    }

    #[test]
    fn the_upstream_is_asked_for_one_protocol_with_the_clients_key_or_a_fresh_one() {
        let mut asked = request("GET", Version::HTTP_11, &[("te", "trailers"), ("connection", "te")], "");
        of_http1().ask(&mut asked);
        let expected = headers(&upgrade("Upgrade", "websocket", KEY));
        assert_eq!(asked.headers(), &expected);

        let mut asked = of_http2("websocket");
        Handshake::read(&asked).unwrap().unwrap().ask(&mut asked);
        assert_eq!(asked.method(), Method::GET);
        assert!(is_key(asked.headers()[SEC_WEBSOCKET_KEY].as_bytes()), "not the client's");
    }

    #[test]
    fn s57_only_the_right_101_agrees() {
        let agreed = |fields: &[(&str, &str)]| of_http1().is_agreed(&headers(fields));
        let answer = |connection, protocol, accept| {
            [("connection", connection), ("upgrade", protocol), ("sec-websocket-accept", accept)]
        };
        assert!(agreed(&answer("upgrade", "WebSocket", ACCEPT)));
        for wrong in [
            answer("upgrade", "h2c", ACCEPT),
            answer("upgrade", "websocket, h2c", ACCEPT),
            answer("close", "websocket", ACCEPT),
            answer("upgrade", "websocket", KEY),
            answer("upgrade", "websocket", ""),
        ] {
            assert!(!agreed(&wrong), "{wrong:?}");
            assert!(!agreed(&wrong[..2]), "{wrong:?}");
        }
        let mut twice = answer("upgrade", "websocket", ACCEPT).to_vec();
        twice.push(("sec-websocket-accept", ACCEPT));
        assert!(!agreed(&twice));
    }

    #[test]
    fn the_client_is_answered_in_its_own_version() {
        let mut told =
            headers(&[("content-length", "0"), ("te", "trailers"), ("sec-websocket-protocol", "chat")]);
        assert_eq!(of_http1().answer(&mut told), 101);
        assert_eq!(
            (&told[CONNECTION], &told[UPGRADE], &told[SEC_WEBSOCKET_ACCEPT]),
            (&HeaderValue::from_static("Upgrade"), &WEBSOCKET, &HeaderValue::from_static(ACCEPT))
        );
        assert_eq!((told.len(), &told["sec-websocket-protocol"]), (4, &HeaderValue::from_static("chat")));

        let over_http2 = Handshake::read(&of_http2("websocket")).unwrap().unwrap();
        let mut told = headers(&[("sec-websocket-accept", ACCEPT), ("sec-websocket-protocol", "chat")]);
        assert_eq!((over_http2.answer(&mut told), told.len()), (StatusCode::OK, 1));
        assert!(of_http1().may_pass(StatusCode::OK));
        assert!(!over_http2.may_pass(StatusCode::OK) && over_http2.may_pass(StatusCode::FORBIDDEN));
    }
}
