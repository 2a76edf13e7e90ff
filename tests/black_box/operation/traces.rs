//! Traces: what a collector is posted, what an upstream is told, and what it costs when nobody takes them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{HttpUpstream, Key, Request, TestGateway, wait_for};

/// A trusted proxy, where there is one.
const PROXY: &str = "127.0.0.10";
const CLIENTS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENTS_SPAN: &str = "b7ad6b7169203331";
const DROPPED: &str = "latchkey_trace_spans_dropped_total";
const EXPORTED: &str = "latchkey_trace_spans_exported_total";

fn clients_traceparent(flags: &str) -> String {
    format!("00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-{flags}")
}

/// `traces:` for `collector`, with all that begin here written down.
fn traces_to(collector: &HttpUpstream) -> Value {
    json!({ "otlp": format!("http://{}", collector.address()), "sample_ratio": 1 })
}

fn with_key(change: impl FnOnce(&mut Value)) -> (TestGateway, Key) {
    let gateway = TestGateway::configured(change);
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// Everything that whole posts brought so far.
fn posted(collector: &HttpUpstream) -> Vec<ResourceSpans> {
    let mut all = Vec::new();
    for post in collector.requests() {
        let length: usize = post.field("content-length").unwrap().parse().unwrap();
        if post.body.len() == length {
            all.extend(ExportTraceServiceRequest::decode(post.body.as_slice()).unwrap().resource_spans);
        }
    }
    all
}

fn spans(collector: &HttpUpstream) -> Vec<Span> {
    posted(collector).into_iter().flat_map(|all| all.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn wait_for_spans(collector: &HttpUpstream, count: usize) -> Vec<Span> {
    let found = wait_for("spans", || Some(spans(collector)).filter(|spans| spans.len() >= count));
    assert_eq!(found.len(), count, "{found:?}");
    found
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let pairs = span.attributes.iter().map(|pair| {
        let value = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => text.clone(),
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", pair.key),
        };
        (pair.key.as_str(), value)
    });
    pairs.collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The parts of the `traceparent` that an upstream was told: trace, span, flags.
fn told(gateway: &TestGateway) -> (String, String, String) {
    let value = gateway.api_upstream.last_request().field("traceparent").unwrap();
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{value}") };
    assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{value}");
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}

#[test]
fn a_collector_is_posted_the_spans_of_a_request_and_the_upstream_is_told_its_place() {
    let collector = HttpUpstream::start();
    let (gateway, key) = with_key(|config| {
        config["traces"] = traces_to(&collector);
        config["traces"]["service_name"] = json!("edge");
        config["traces"]["headers"] = json!({ "X-Token": "of the collector" });
    });
    let request = Request::get("/v2/domains?secret=in-query").authorization(&key.authorization());
    let request = request.field("traceparent", &clients_traceparent("01")).field("tracestate", "a=b");
    assert_eq!(gateway.connect_tls().exchange(&request).status, 200);
    let (trace, asking, flags) = told(&gateway);
    assert_eq!(flags, "01");
    assert_ne!(trace, CLIENTS_TRACE, "a stranger's trace is not gone on with");
    assert_eq!(gateway.api_upstream.last_request().field("tracestate"), None);

    let found = wait_for_spans(&collector, 2);
    let server = found.iter().find(|span| span.name == "GET /").unwrap();
    let client = found.iter().find(|span| span.name == "GET").unwrap();
    assert_eq!((server.kind, client.kind), (2, 3));
    assert!(found.iter().all(|span| hexadecimal(&span.trace_id) == trace));
    assert_eq!(hexadecimal(&client.span_id), asking, "the upstream's parent");
    assert_eq!(client.parent_span_id, server.span_id);
    assert!(server.parent_span_id.is_empty());
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    let said = attributes(server);
    let line = gateway.access_log(1).remove(0);
    for (name, value) in [
        ("http.response.status_code", "200"),
        ("url.path", "/v2/domains"),
        ("url.scheme", "https"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("latchkey.listener", "api-tls"),
        ("latchkey.customer", "acme"),
        ("latchkey.key_id", &key.id),
        ("latchkey.upstream", "registry"),
        ("latchkey.request_id", line["request_id"].as_str().unwrap()),
    ] {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(line["trace_id"], *trace);

    let post = &collector.requests()[0];
    assert_eq!(post.line(), "POST /v1/traces HTTP/1.1");
    assert_eq!(post.field("content-type").as_deref(), Some("application/x-protobuf"));
    assert_eq!(post.field("x-token").as_deref(), Some("of the collector"));
    let resource = posted(&collector)[0].resource.clone().unwrap();
    let service = resource.attributes.iter().find(|pair| pair.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("\"edge\""), "{service:?}");
    gateway.secrets().search("the posts", &post.body);
    assert!(!String::from_utf8_lossy(&post.body).contains("in-query"));
    wait_for("the count", || (gateway.metric(EXPORTED) == Some(2)).then_some(()));
    assert_eq!(gateway.metric(DROPPED), Some(0));
}

#[test]
fn a_refusal_is_one_span_with_its_reason() {
    let collector = HttpUpstream::start();
    let (gateway, _) = with_key(|config| config["traces"] = traces_to(&collector));
    let refused = gateway.api_get("/v2/x", "ApiKey wrong");
    assert_eq!(refused.status, 401);
    let found = wait_for_spans(&collector, 1);
    let said = attributes(&found[0]);
    let line = gateway.access_log(1).remove(0);
    assert_eq!(
        (found[0].name.as_str(), said["latchkey.reason"].as_str()),
        ("GET", line["reason"].as_str().unwrap())
    );
    assert_eq!(said["latchkey.request_id"], refused.field("x-request-id").unwrap());
    assert!(found[0].status.is_none(), "the client's fault is no error of the server's");
    assert!(!said.contains_key("latchkey.customer"));
}

#[test]
fn a_trusted_proxys_trace_goes_on_and_nobody_elses() {
    let collector = HttpUpstream::start();
    let (gateway, key) = with_key(|config| {
        config["listeners"][0]["trusted_proxies"] = json!([PROXY]);
        config["traces"] = traces_to(&collector);
        config["traces"]["sample_ratio"] = json!(0);
        config["traces"]["trust_incoming"] = json!("trusted_proxies");
    });
    let ask = |peer: &str, traceparent: &str| {
        let request = Request::get("/").authorization(&key.authorization());
        let request = request.field("traceparent", traceparent).field("tracestate", "a=b,c=d");
        assert_eq!(gateway.connect_from(peer, "api").exchange(&request).status, 200);
        (told(&gateway), gateway.api_upstream.last_request().field("tracestate"))
    };
    let state = Some("a=b,c=d".to_owned());
    // Not written down: by the proxy's word, by ours for a stranger, and for a proxy that says nothing sound.
    let ((trace, span, flags), passed) = ask(PROXY, &clients_traceparent("00"));
    assert_eq!((trace.as_str(), flags.as_str(), &passed), (CLIENTS_TRACE, "00", &state));
    assert_ne!(span, CLIENTS_SPAN);
    for (peer, traceparent) in [("127.0.0.1", clients_traceparent("01")), (PROXY, "00-nonsense".to_owned())] {
        let ((trace, _, flags), passed) = ask(peer, &traceparent);
        assert_eq!((flags.as_str(), passed), ("00", None), "{peer}");
        assert_ne!(trace, CLIENTS_TRACE, "{peer}");
    }
    let ((trace, asking, flags), passed) = ask(PROXY, &clients_traceparent("01"));
    assert_eq!((trace.as_str(), flags.as_str(), passed), (CLIENTS_TRACE, "01", state));
    let found = wait_for_spans(&collector, 2);
    let server = found.iter().find(|span| span.name == "GET /").unwrap();
    assert_eq!(hexadecimal(&server.trace_id), CLIENTS_TRACE);
    assert_eq!(hexadecimal(&server.parent_span_id), CLIENTS_SPAN);
    assert!(found.iter().any(|span| hexadecimal(&span.span_id) == asking));
}

#[test]
fn without_traces_what_a_client_says_of_them_passes_as_it_came_until_a_reload_makes_them() {
    let collector = HttpUpstream::start();
    let (mut gateway, key) = with_key(|_| {});
    let ask = |gateway: &TestGateway, fields: &[(&str, &str)]| {
        let request = Request::get("/").authorization(&key.authorization());
        let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
        assert_eq!(gateway.connect("api").exchange(&request).status, 200);
        let seen = gateway.api_upstream.last_request();
        ["traceparent", "tracestate"].map(|name| seen.field(name))
    };
    let sound = clients_traceparent("01");
    for fields in [
        &[][..],
        &[("traceparent", sound.as_str()), ("tracestate", "a=b")],
        &[("traceparent", "nonsense")],
        &[("tracestate", "a=b")],
    ] {
        let value = |name| fields.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(ask(&gateway, fields), [value("traceparent"), value("tracestate")]);
    }
    assert!(gateway.access_log(4).iter().all(|line| line["trace_id"].is_null()));

    gateway.reload(|config| config["traces"] = traces_to(&collector));
    let [traceparent, tracestate] = ask(&gateway, &[("traceparent", sound.as_str()), ("tracestate", "a=b")]);
    assert!(!traceparent.unwrap().contains(CLIENTS_TRACE));
    assert_eq!(tracestate, None);
    wait_for_spans(&collector, 2);
    gateway.reload(|config| drop(config.as_object_mut().unwrap().remove("traces")));
    assert_eq!(ask(&gateway, &[("traceparent", sound.as_str())])[0].as_deref(), Some(sound.as_str()));
}

#[test]
fn a_collector_that_is_away_costs_spans_which_are_counted_and_no_request() {
    let collector = HttpUpstream::start();
    let address = collector.address();
    let (gateway, key) = with_key(|config| config["traces"] = traces_to(&collector));
    collector.kill();
    for _ in 0..3 {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    }
    // Two of each: the request's, and that of what was asked of the upstream.
    wait_for("spans to be let go", || (gateway.metric(DROPPED)? == 6).then_some(()));
    assert_eq!(gateway.metric(EXPORTED), Some(0));
    gateway.process().wait_for_log("a warning", |lines| {
        lines.iter().find(|line| line.contains("the collector of traces cannot be reached")).map(drop)
    });
    let collector = HttpUpstream::start_at(address);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    wait_for_spans(&collector, 2);
    wait_for("the count", || (gateway.metric(EXPORTED)? == 2).then_some(()));
}

#[test]
fn what_waits_when_the_gateway_ends_is_posted_still() {
    let collector = HttpUpstream::start();
    let (gateway, key) = with_key(|config| config["traces"] = traces_to(&collector));
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let (status, _, _) = gateway.stop();
    assert!(status.success());
    wait_for_spans(&collector, 2);
}

#[test]
fn an_isproxy_session_is_a_span_with_its_login_below_it_and_no_name_that_was_asked() {
    let collector = HttpUpstream::start();
    let (gateway, key) = with_key(|config| config["traces"] = traces_to(&collector));
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS never-told.example"), "never-told.example available");
    session.send_line("CLOSE");
    session.expect_closed();
    let found = wait_for_spans(&collector, 2);
    let session = found.iter().find(|span| span.name == "IsProxy session").unwrap();
    let login = found.iter().find(|span| span.name == "IsProxy LOGIN").unwrap();
    assert_eq!((&login.trace_id, &login.parent_span_id), (&session.trace_id, &session.span_id));
    let said = attributes(session);
    assert_eq!((said["latchkey.reason"].as_str(), said["latchkey.isproxy.asked"].as_str()), ("quit", "1"));
    assert_eq!(attributes(login)["latchkey.key_id"], key.id);
    let lines = gateway.access_log(2);
    assert!(lines.iter().all(|line| line["trace_id"] == hexadecimal(&session.trace_id)), "{lines:?}");
    for post in collector.requests() {
        gateway.secrets().search("the posts", &post.body);
        assert!(!String::from_utf8_lossy(&post.body).contains("never-told"));
    }
}
