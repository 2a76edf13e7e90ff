//! What the spans of an API request tell, in the words of OpenTelemetry's conventions for HTTP where there are some.
//!
//! A server span for the request, and a client span for what was asked of an upstream. They tell what the access log
//! tells, and less: no user, no query, no header. Called by the door's record of a request.

use super::super::target::without_credentials;
use super::context::TraceContext;
use super::span::{Outcome, Parent, Span, SpanKind, Value};
use super::tracer::{Course, Trace, Tracer};
use crate::model::KeyId;
use crate::telemetry::AccessRecord;

/// The methods that conventions name (RFC 9110 §9, RFC 5789); any other could be anything, and is `_OTHER` in a span.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// What a span tells beside the line of the access log.
#[derive(Clone, Copy, Debug)]
pub struct HttpFacts {
    /// `http` or `https`, as far as our own listener sees.
    pub scheme: &'static str,
    /// `1.1` or `2`.
    pub version: &'static str,
}

impl Tracer {
    /// Writes the spans of a request that has ended, where its trace is written down.
    pub fn request_ended(&self, trace: &Trace, record: &AccessRecord<'_>, facts: HttpFacts) {
        let Some(course) = &trace.course else { return };
        let end = course.now();
        let method = METHODS.into_iter().find(|known| *known == record.method).unwrap_or("_OTHER");
        let status = (record.status != 0).then_some(Value::Number(record.status.into()));
        self.write_upstream_span(trace, course, record, (method, end));
        let (client_ip, request_id) = (record.client_ip.to_string(), record.request_id.to_ascii());
        let path = without_credentials(record.target);
        let key_id = record.key_id.map(KeyId::to_ascii);
        let route = course.route.as_deref();
        let shown_method = if method == "_OTHER" { "HTTP" } else { method };
        let outcome = if record.status >= 500 { Outcome::Error } else { Outcome::Unset };
        self.writer.write(&Span {
            context: trace.context,
            parent: trace.parent,
            name: &[shown_method, if route.is_some() { " " } else { "" }, route.unwrap_or_default()],
            kind: SpanKind::Server,
            start_unix_nanoseconds: course.start,
            end_unix_nanoseconds: end,
            attributes: &[
                ("http.request.method", Some(Value::text(method))),
                ("http.response.status_code", status),
                ("http.route", route.map(Value::text)),
                ("http.response.body.size", Some(Value::Number(record.response_bytes))),
                ("url.path", Some(Value::text(&path))),
                ("url.scheme", Some(Value::text(facts.scheme))),
                ("network.protocol.name", Some(Value::text("http"))),
                ("network.protocol.version", Some(Value::text(facts.version))),
                ("client.address", Some(Value::text(&client_ip))),
                ("error.type", error_type(record, outcome)),
                ("latchkey.listener", Some(Value::text(record.listener))),
                ("latchkey.request_id", Some(Value::Text(&request_id))),
                ("latchkey.reason", record.reason.map(Value::text)),
                ("latchkey.customer", record.customer.map(Value::text)),
                ("latchkey.key_id", key_id.as_ref().map(|id| Value::Text(id))),
                ("latchkey.auth_method", record.auth_method.map(Value::text)),
                ("latchkey.upstream", record.upstream.map(Value::text)),
            ],
            events: &[("latchkey.decided", course.decided)],
            outcome,
        });
    }

    /// Writes the span of what was asked of an upstream, from then to the head of its answer.
    fn write_upstream_span(
        &self,
        trace: &Trace,
        course: &Course,
        record: &AccessRecord<'_>,
        (method, end): (&str, u64),
    ) {
        let Some(asked) = course.upstream_asked else { return };
        // One that was refused on its way asked nobody; of one whose client went away meanwhile, that is the end.
        let Some(answered) = course.upstream_answered.or((record.status == 0).then_some(end)) else { return };
        let is_error = match (course.upstream_answered, course.upstream_status) {
            (Some(_), Some(status)) => status >= 500,
            // A client whose body failed is answered 4xx.
            (Some(_), None) => record.status >= 500,
            // That the client went away is nobody's fault.
            (None, _) => false,
        };
        let outcome = if is_error { Outcome::Error } else { Outcome::Unset };
        let status = course.upstream_status.map(|status| Value::Number(status.into()));
        self.writer.write(&Span {
            context: TraceContext { span_id: trace.upstream_span, ..trace.context },
            parent: Parent::Own(trace.context.span_id),
            name: &[if method == "_OTHER" { "HTTP" } else { method }],
            kind: SpanKind::Client,
            start_unix_nanoseconds: asked,
            end_unix_nanoseconds: answered,
            attributes: &[
                ("http.request.method", Some(Value::text(method))),
                ("http.response.status_code", status),
                ("error.type", error_type(record, outcome)),
                ("latchkey.upstream", record.upstream.map(Value::text)),
            ],
            events: &[],
            outcome,
        });
    }
}

/// The reason of what failed, where there is one; `5xx` otherwise, since an upstream said no more.
fn error_type<'a>(record: &AccessRecord<'a>, outcome: Outcome) -> Option<Value<'a>> {
    (outcome == Outcome::Error).then(|| Value::text(record.reason.unwrap_or("5xx")))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;

    use super::super::testing::{NOW, attributes, tracer, written};
    use super::*;
    use crate::model::{AccessPoint, ClientIp};
    use crate::telemetry::RequestIds;

    const FACTS: HttpFacts = HttpFacts { scheme: "https", version: "2" };

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            at: NOW,
            service: AccessPoint::Api,
            listener: "api",
            request_id: RequestIds::new(1).next_id(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            method: "GET",
            target: "/v2/domains",
            status: 200,
            reason: None,
            customer: Some("acme"),
            user: Some("alex"),
            key_id: Some(KeyId::from_random(7)),
            auth_method: Some("api-key"),
            upstream: Some("registry"),
            duration_microseconds: 1234,
            response_bytes: 56,
            trace_id: None,
        }
    }

    /// The spans of a request that went upstream and was answered, in the order they were written.
    fn spans_of(record: &AccessRecord<'_>, upstream_status: Option<u16>) -> Vec<OtlpSpan> {
        let (tracer, mut received) = tracer(1.0);
        let mut trace = tracer.begin(None);
        trace.decided();
        trace.goes_upstream(&Rc::from("/v2"));
        trace.upstream_answered(upstream_status);
        tracer.request_ended(&trace, record, FACTS);
        written(&tracer, &mut received)
    }

    #[test]
    fn a_request_is_a_server_span_with_what_was_asked_of_the_upstream_below_it() {
        let [upstream, request] = &spans_of(&record(), Some(200))[..] else { panic!("not two spans") };
        assert_eq!((request.name.as_str(), request.kind), ("GET /v2", 2));
        assert_eq!((upstream.name.as_str(), upstream.kind), ("GET", 3));
        assert_eq!(upstream.parent_span_id, request.span_id);
        assert_eq!(upstream.trace_id, request.trace_id);
        assert_eq!(request.events[0].name, "latchkey.decided");
        let moments = [
            request.start_time_unix_nano,
            request.events[0].time_unix_nano,
            upstream.start_time_unix_nano,
            upstream.end_time_unix_nano,
            request.end_time_unix_nano,
        ];
        assert!(moments.is_sorted(), "{moments:?}");
        assert_eq!(moments[0], 1_795_429_230_456_000_000);
        let told = attributes(request);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/v2"),
            ("url.path", "/v2/domains"),
            ("url.scheme", "https"),
            ("network.protocol.version", "2"),
            ("client.address", "192.0.2.7"),
            ("latchkey.listener", "api"),
            ("latchkey.request_id", record().request_id.to_string().as_str()),
            ("latchkey.customer", "acme"),
            ("latchkey.key_id", "key_0000000000007"),
            ("latchkey.upstream", "registry"),
        ] {
            assert_eq!(told.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!told.contains_key("latchkey.reason") && !told.contains_key("error.type"));
        assert!(request.status.is_none() && upstream.status.is_none());
    }

    #[test]
    fn s40_a_span_names_no_user_and_no_credential() {
        let key = format!("/v2/lk1_{}", "x".repeat(40));
        let spans = spans_of(&AccessRecord { target: &key, ..record() }, Some(200));
        let text = format!("{spans:?}");
        assert!(!text.contains("alex") && !text.contains("lk1_"), "{text}");
        assert_eq!(attributes(&spans[1])["url.path"], "/v2/***");
    }

    #[test]
    fn a_refusal_is_no_error_and_an_upstream_that_broke_is_one() {
        let (tracer, mut received) = tracer(1.0);
        let mut trace = tracer.begin(None);
        trace.decided();
        let refused = AccessRecord {
            status: 401,
            reason: Some("unknown_key"),
            upstream: None,
            method: "BREW",
            ..record()
        };
        tracer.request_ended(&trace, &refused, FACTS);
        let [request] = &written(&tracer, &mut received)[..] else { panic!("nobody else was asked") };
        assert_eq!((request.name.as_str(), request.status.is_none()), ("HTTP", true));
        assert_eq!(attributes(request)["latchkey.reason"], "unknown_key");
        assert_eq!(attributes(request)["http.request.method"], "_OTHER");

        let broke = AccessRecord { status: 502, reason: Some("upstream_broke"), ..record() };
        let [upstream, request] = &spans_of(&broke, None)[..] else { panic!("not two spans") };
        for span in [upstream, request] {
            assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
            assert_eq!(attributes(span)["error.type"], "upstream_broke");
        }
        assert!(!attributes(upstream).contains_key("http.response.status_code"), "there was no answer");
        let unwell = AccessRecord { status: 503, ..record() };
        let [upstream, _] = &spans_of(&unwell, Some(503))[..] else { panic!("not two spans") };
        assert_eq!(attributes(upstream)["error.type"], "5xx");
    }

    #[test]
    fn who_went_away_while_the_upstream_was_asked_has_both_spans() {
        let (tracer, mut received) = tracer(1.0);
        let mut trace = tracer.begin(None);
        trace.goes_upstream(&Rc::from("/"));
        let gone = AccessRecord { status: 0, reason: Some("client_gone"), ..record() };
        tracer.request_ended(&trace, &gone, FACTS);
        let [upstream, request] = &written(&tracer, &mut received)[..] else { panic!("not two spans") };
        assert_eq!(upstream.end_time_unix_nano, request.end_time_unix_nano);
        assert!(!attributes(request).contains_key("http.response.status_code"));
        assert_eq!(attributes(request)["latchkey.reason"], "client_gone");

        let mut trace = tracer.begin(None);
        trace.goes_upstream(&Rc::from("/"));
        tracer.request_ended(&trace, &AccessRecord { status: 413, ..record() }, FACTS);
        assert_eq!(written(&tracer, &mut received).len(), 1, "refused before anybody was asked");
    }

    #[test]
    fn what_is_not_sampled_writes_nothing() {
        let (tracer, mut received) = tracer(0.0);
        tracer.request_ended(&tracer.begin(None), &record(), FACTS);
        assert!(written(&tracer, &mut received).is_empty());
    }
}
