//! Posts one event to an address, signed, and again if that fails.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tokio::time::sleep;

use crate::app::post_address::{AddressError, PostAddress, PostError};
use crate::clock::Clock;
use crate::config::{EventWebhook, UpstreamTls};
use crate::crypto::sign_event;
use crate::model::Secret;

/// What it is called in errors, which do not name the address.
const WHAT: &str = "the webhook of security events";
/// How long to wait before the second and the third try.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
const TIMESTAMP: &str = "latchkey-timestamp";
const SIGNATURE: &str = "latchkey-signature";

/// Where events are posted to.
pub(super) struct Webhook {
    address: PostAddress,
    secret: Secret<String>,
    clock: Clock,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook(…)")
    }
}

impl Webhook {
    /// The receiver that `config` names; the moment of each try is read from `clock`.
    pub(super) fn new(config: &EventWebhook, clock: Clock) -> Result<Self, AddressError> {
        let address = PostAddress::new(config.url.expose(), &UpstreamTls::default(), WHAT)?;
        Ok(Self { address, secret: config.secret.clone(), clock })
    }

    /// Posts `body`, each try within `deadline`; any 2xx is success.
    pub(super) async fn post(&self, body: &[u8], deadline: Duration) -> Result<(), PostError> {
        let body = Bytes::copy_from_slice(body);
        for wait in WAITS {
            match self.post_once(&body, deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "a security event is posted again in a moment"),
            }
            sleep(wait).await;
        }
        self.post_once(&body, deadline).await
    }

    async fn post_once(&self, body: &Bytes, deadline: Duration) -> Result<(), PostError> {
        self.address.post(self.request(body), deadline).await
    }

    /// Signed anew for each try, so that a late one does not look like one that somebody has recorded.
    fn request(&self, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = self.address.request(body.clone());
        let timestamp = self.clock.now().unix_seconds();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
        if let Ok(signature) = HeaderValue::from_str(&sign_event(&self.secret, timestamp, body)) {
            headers.insert(SIGNATURE, signature);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::super::DEADLINE;
    use super::*;
    use crate::model::Timestamp;

    const BODY: &[u8] = br#"{"event":"mfa.added"}"#;
    const SECRET: &str = "a secret of 24 characters";

    async fn listener_and_webhook() -> (TcpListener, Webhook) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/hunter2?key=hunter2", listener.local_addr().unwrap());
        (listener, webhook(&url).unwrap())
    }

    fn webhook(url: &str) -> Result<Webhook, AddressError> {
        let config =
            EventWebhook { url: Secret::new(url.to_owned()), secret: Secret::new(SECRET.to_owned()) };
        Webhook::new(&config, Clock::given(Timestamp::from_unix_milliseconds(1_800_000_000_500)))
    }

    /// Takes one request, answers it with `status`, and tells what it was.
    async fn answer(listener: &TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(BODY) {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn an_event_is_posted_signed_with_its_moment() {
        let (listener, webhook) = listener_and_webhook().await;
        let (posted, told) = tokio::join!(webhook.post(BODY, DEADLINE), answer(&listener, "204 No Content"));
        posted.unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hooks/hunter2?key=hunter2 HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        let signature = sign_event(&Secret::new(SECRET.to_owned()), 1_800_000_000, body.as_bytes());
        for line in [
            format!("host: {}", listener.local_addr().unwrap()),
            "content-type: application/json".to_owned(),
            "latchkey-timestamp: 1800000000".to_owned(),
            format!("latchkey-signature: {signature}"),
        ] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
        assert_eq!(body.as_bytes(), BODY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_event_is_posted_three_times_and_then_given_up() {
        let (listener, webhook) = listener_and_webhook().await;
        let began = Instant::now();
        let refusals = async {
            for status in ["500 Oh", "302 Found", "429 Later"] {
                answer(&listener, status).await;
            }
        };
        let (posted, ()) = tokio::join!(webhook.post(BODY, DEADLINE), refusals);
        let error = posted.unwrap_err().to_string();
        assert_eq!(error, "the webhook of security events answered 429 Too Many Requests");
        assert!(began.elapsed() >= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_try_may_succeed() {
        let (listener, webhook) = listener_and_webhook().await;
        let answers = async {
            drop(listener.accept().await.unwrap());
            answer(&listener, "200 OK").await
        };
        let (posted, _) = tokio::join!(webhook.post(BODY, DEADLINE), answers);
        posted.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_silent_is_given_up_after_three_deadlines() {
        let (listener, webhook) = listener_and_webhook().await;
        let began = Instant::now();
        let error = webhook.post(BODY, DEADLINE).await.unwrap_err().to_string();
        assert_eq!(error, "the webhook of security events did not answer in time");
        assert_eq!(began.elapsed().as_secs(), 36, "three deadlines and two waits");
        drop(listener);
        let error = webhook.post_once(&Bytes::from_static(BODY), DEADLINE).await.unwrap_err().to_string();
        assert!(error.starts_with("the webhook of security events cannot be reached: "), "{error}");
        assert!(!error.contains("hunter2"));
        assert_eq!(format!("{webhook:?}"), "Webhook(…)");
    }

    #[tokio::test]
    async fn addresses_are_taken_apart() {
        for (url, host, uri) in [
            ("https://events.example/", "events.example", "/"),
            ("https://events.example:8443", "events.example:8443", "/"),
            ("https://192.0.2.7/a?b", "192.0.2.7", "/a?b"),
            ("http://[::1]:99/x", "[::1]:99", "/x"),
            ("http://localhost/%C3%BC", "localhost", "/%C3%BC"),
        ] {
            let webhook = webhook(url).unwrap();
            assert_eq!(
                (webhook.address.host.to_str().unwrap(), webhook.address.uri.to_string().as_str()),
                (host, uri),
                "{url}"
            );
            assert_eq!(webhook.address.target.speaks_tls(), url.starts_with("https"));
        }
        for url in ["", "events.example", "ftp://events.example", "data:text/plain,x"] {
            assert!(matches!(webhook(url), Err(AddressError::Url(_))), "{url}");
        }
    }
}
