//! The answers of the ops listener: request in, response out, no I/O.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use tokio_util::sync::CancellationToken;

use super::live::{Events, lookup};
use super::{OpsState, Readiness};

/// What the ops listener sends: a few bytes, or events for as long as they are taken.
pub(super) type OpsBody = Either<Full<Bytes>, Events>;

/// Among an answer's extensions: its body goes on until this is cancelled, because the client takes too little of it.
#[derive(Clone, Debug)]
pub(super) struct TooSlow(pub(super) CancellationToken);

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// `OpenMetrics` 1.0, "Content Type".
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// HTML §9.2.5; always UTF-8.
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// On every answer: nothing inline, nothing of elsewhere, in no frame. An old answer to a probe is a wrong one.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
             form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Answers one request; its body, if any, is not read. For HEAD the server leaves the body away.
pub(super) fn answer<Body>(request: &Request<Body>, state: &OpsState) -> Response<OpsBody> {
    let path = request.uri().path();
    let asset = lookup(path);
    if asset.is_none() && !matches!(path, "/" | "/live/events" | "/livez" | "/readyz" | "/metrics") {
        return respond(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "only GET and HEAD\n".to_owned();
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TEXT, text);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if let Some(asset) = asset {
        return respond(StatusCode::OK, asset.content_type, asset.text.to_owned());
    }
    match path {
        "/" => show_page(state),
        // Whoever asks for the head alone takes no place.
        "/live/events" if *request.method() == Method::HEAD => {
            respond(StatusCode::OK, EVENT_STREAM, String::new())
        }
        "/live/events" => begin_events(state),
        "/readyz" => {
            let (status, mut text) = describe(&state.readiness.borrow());
            if let Some(since) = *state.config_refused.borrow() {
                let _ = write!(
                    text,
                    "; the configuration on disk is refused since {} s",
                    since.elapsed().as_secs()
                );
            }
            text.push('\n');
            respond(status, PLAIN_TEXT, text)
        }
        "/metrics" => {
            state.metrics.set_access_log_dropped_lines(state.access_log.dropped_lines());
            state.metrics.set_readiness(state.readiness.borrow().as_str());
            respond(StatusCode::OK, OPENMETRICS, state.metrics.render())
        }
        _ => respond(StatusCode::OK, PLAIN_TEXT, "ok\n".to_owned()),
    }
}

fn show_page(state: &OpsState) -> Response<OpsBody> {
    match state.live.page() {
        Ok(page) => respond(StatusCode::OK, HTML, page),
        Err(error) => {
            tracing::error!(%error, "the live page could not be made");
            let text = "the page could not be made; the log tells why\n".to_owned();
            respond(StatusCode::INTERNAL_SERVER_ERROR, PLAIN_TEXT, text)
        }
    }
}

fn begin_events(state: &OpsState) -> Response<OpsBody> {
    match state.live.listen() {
        Ok((events, too_slow)) => {
            let mut response = respond(StatusCode::OK, EVENT_STREAM, String::new());
            *response.body_mut() = Either::Right(events);
            response.extensions_mut().insert(TooSlow(too_slow));
            response
        }
        Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, format!("{why}\n")),
    }
}

/// The status, and the text without its line end. A degraded gateway still answers from memory: it stays in the balancer, and
/// the text says what to look at.
fn describe(readiness: &Readiness) -> (StatusCode, String) {
    match readiness {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned()),
        Readiness::Ready => (StatusCode::OK, "ready".to_owned()),
        Readiness::Degraded { reason, since } => {
            (StatusCode::OK, format!("degraded: {reason} for {} s", since.elapsed().as_secs()))
        }
        Readiness::Unready(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("unready: {reason}")),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned()),
    }
}

fn respond(status: StatusCode, content_type: HeaderValue, text: String) -> Response<OpsBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().extend(ALWAYS);
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::watch;

    use super::*;
    use crate::model::{AccessPoint, ClientIp, Timestamp};
    use crate::ops::Live;
    use crate::telemetry::{AccessLog, AccessRecord, Metrics, RequestIds};

    fn state() -> OpsState {
        let readiness = watch::channel(Readiness::Ready).1;
        let metrics = Arc::new(Metrics::default());
        let live = Live::new(&metrics, readiness.clone());
        let config_refused = watch::channel(None).1;
        OpsState { readiness, config_refused, metrics, access_log: AccessLog::off(), live }
    }

    fn ask(method: &str, target: &str) -> Response<OpsBody> {
        answer(&Request::builder().method(method).uri(target).body(()).unwrap(), &state())
    }

    #[test]
    fn only_these_paths_exist() {
        for (target, status) in [
            ("/livez", 200),
            ("/readyz", 200),
            ("/metrics", 200),
            ("/readyz?verbose", 200),
            ("http://ops/livez", 200),
            ("/", 200),
            ("/live/page.css", 200),
            ("/live/page.js", 200),
            ("/live/events", 200),
            ("/livez/", 404),
            ("/live", 404),
            ("/live/", 404),
            ("/live/page.html", 404),
            ("/index.html", 404),
            ("/LIVEZ", 404),
            ("/metrics/../livez", 404),
            ("/debug/pprof", 404),
        ] {
            assert_eq!(ask("GET", target).status(), status, "{target}");
        }
    }

    #[test]
    fn nothing_can_be_changed() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let response = ask(method, "/readyz");
            assert_eq!(response.status(), 405, "{method}");
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
            assert_eq!(ask(method, "/live/events").status(), 405, "{method}");
            assert_eq!(ask(method, "/nothing").status(), 404, "{method}");
        }
    }

    #[tokio::test]
    async fn lines_that_a_full_disk_cost_are_in_the_metrics() {
        let log = AccessLog::open(Path::new("/dev/full")).unwrap();
        let writer = log.writer();
        writer.write(&AccessRecord {
            at: Timestamp::from_unix_milliseconds(0),
            service: AccessPoint::Api,
            listener: "api",
            request_id: RequestIds::new(1).next_id(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            method: "GET",
            target: "/",
            status: 200,
            reason: None,
            customer: None,
            user: None,
            key_id: None,
            auth_method: None,
            upstream: None,
            duration_microseconds: 1,
            response_bytes: 0,
            trace_id: None,
        });
        writer.flush();
        while log.dropped_lines() == 0 {
            std::thread::yield_now();
        }
        let state = OpsState { access_log: log, ..state() };
        let response = answer(&Request::get("/metrics").body(()).unwrap(), &state);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("latchkey_access_log_dropped_lines_total 1\n"), "{text}");
    }

    #[test]
    fn whoever_asks_for_the_head_of_the_events_takes_no_place() {
        let state = state();
        let ask = |method: &str| {
            let request = Request::builder().method(method).uri("/live/events").body(()).unwrap();
            answer(&request, &state)
        };
        for _ in 0..100 {
            assert_eq!(ask("HEAD").status(), 200);
        }
        let listening: Vec<_> = (0..16).map(|_| ask("GET")).collect();
        assert!(listening.iter().all(|response| response.headers()[CONTENT_TYPE] == EVENT_STREAM));
        assert!(listening.iter().all(|response| response.extensions().get::<TooSlow>().is_some()));
        assert_eq!(ask("GET").status(), 503);
        drop(listening);
        assert_eq!(ask("GET").status(), 200);
    }

    #[tokio::test]
    async fn metrics_tell_the_present_state() {
        let response = ask("GET", "/metrics");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("latchkey_readiness{state=\"ready\"} 1\n"), "{text}");
        assert!(text.contains("latchkey_readiness{state=\"degraded\"} 0\n"), "{text}");
    }

    #[tokio::test]
    async fn every_answer_is_text_that_nobody_keeps() {
        for target in ["/", "/live/page.css", "/live/page.js", "/livez", "/readyz", "/metrics", "/nothing"] {
            let response = ask("GET", target);
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
            assert!(response.headers()[CONTENT_TYPE].to_str().unwrap().ends_with("charset=utf-8"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.ends_with(b"\n"), "{target}");
        }
    }
}
