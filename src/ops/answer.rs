//! The answers of the ops listener: request in, response out, no I/O.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::{OpsState, Readiness};

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// `OpenMetrics` 1.0, "Content Type".
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers one request; its body, if any, is not read. For HEAD the server leaves the body away.
pub(super) fn answer<Body>(request: &Request<Body>, state: &OpsState) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/livez" | "/readyz" | "/metrics") {
        return respond(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "only GET and HEAD\n".to_owned();
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TEXT, text);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/readyz" => {
            let (status, text) = describe(&state.readiness.borrow());
            respond(status, PLAIN_TEXT, text)
        }
        "/metrics" => {
            state.metrics.set_access_log_dropped_lines(state.access_log.dropped_lines());
            respond(StatusCode::OK, OPENMETRICS, state.metrics.render())
        }
        _ => respond(StatusCode::OK, PLAIN_TEXT, "ok\n".to_owned()),
    }
}

/// A degraded gateway still answers from memory: it stays in the balancer, and the text says what to look at.
fn describe(readiness: &Readiness) -> (StatusCode, String) {
    match readiness {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::Degraded { reason, since } => {
            (StatusCode::OK, format!("degraded: {reason} for {} s\n", since.elapsed().as_secs()))
        }
        Readiness::Unready(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("unready: {reason}\n")),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
    }
}

fn respond(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    // An old answer to a probe is a wrong one.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
    use crate::telemetry::{AccessLog, AccessRecord, Metrics, RequestIds};

    fn state() -> OpsState {
        OpsState {
            readiness: watch::channel(Readiness::Ready).1,
            metrics: Arc::new(Metrics::default()),
            access_log: AccessLog::off(),
        }
    }

    fn ask(method: &str, target: &str) -> Response<Full<Bytes>> {
        answer(&Request::builder().method(method).uri(target).body(()).unwrap(), &state())
    }

    #[test]
    fn only_the_three_paths_exist() {
        for (target, status) in [
            ("/livez", 200),
            ("/readyz", 200),
            ("/metrics", 200),
            ("/readyz?verbose", 200),
            ("http://ops/livez", 200),
            ("/", 404),
            ("/livez/", 404),
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
            assert_eq!(ask(method, "/").status(), 404, "{method}");
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

    #[tokio::test]
    async fn every_answer_is_text_that_nobody_keeps() {
        for target in ["/livez", "/readyz", "/metrics", "/nothing"] {
            let response = ask("GET", target);
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert!(response.headers()[CONTENT_TYPE].to_str().unwrap().ends_with("charset=utf-8"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.ends_with(b"\n"), "{target}");
        }
    }
}
