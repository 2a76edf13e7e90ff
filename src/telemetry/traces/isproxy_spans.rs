//! What the spans of an `IsProxy` session tell: one for the session, with one below it for each credential judged.
//!
//! None for an `IS`, of which a session may ask a million: they are counted. Names asked are never told. Called by the
//! door's journal.

use super::context::TraceContext;
use super::span::{Outcome, Parent, Span, SpanKind, Value};
use super::tracer::{Trace, Tracer};
use crate::model::KeyId;
use crate::telemetry::AccessRecord;

/// What a session's span tells beside its line of the access log.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFacts {
    /// Requests that went to the upstream.
    pub asked: u64,
    /// Answers that begin with 400.
    pub refused: u64,
}

impl Tracer {
    /// Writes the span of a credential that was judged just now, where the session's trace is written down.
    pub fn credential_judged(&self, trace: &Trace, record: &AccessRecord<'_>) {
        let Some(course) = &trace.course else { return };
        let end = course.now();
        let took = record.duration_microseconds.saturating_mul(1_000);
        let key_id = record.key_id.map(KeyId::to_ascii);
        self.writer.write(&Span {
            context: TraceContext { span_id: self.writer.ids.next_span(), ..trace.context },
            parent: Parent::Own(trace.context.span_id),
            name: &["IsProxy ", record.method],
            kind: SpanKind::Internal,
            start_unix_nanoseconds: end.saturating_sub(took).max(course.start),
            end_unix_nanoseconds: end,
            attributes: &[
                ("latchkey.isproxy.status", Some(Value::Number(record.status.into()))),
                ("latchkey.reason", record.reason.map(Value::text)),
                ("latchkey.customer", record.customer.map(Value::text)),
                ("latchkey.key_id", key_id.as_ref().map(|id| Value::Text(id))),
                ("latchkey.auth_method", record.auth_method.map(Value::text)),
            ],
            events: &[],
            outcome: Outcome::Unset,
        });
    }

    /// Writes the span of a session that has ended, where its trace is written down.
    pub fn session_ended(&self, trace: &Trace, record: &AccessRecord<'_>, facts: SessionFacts) {
        let Some(course) = &trace.course else { return };
        let (client_ip, request_id) = (record.client_ip.to_string(), record.request_id.to_ascii());
        let key_id = record.key_id.map(KeyId::to_ascii);
        self.writer.write(&Span {
            context: trace.context,
            parent: trace.parent,
            name: &["IsProxy session"],
            kind: SpanKind::Server,
            start_unix_nanoseconds: course.start,
            end_unix_nanoseconds: course.now(),
            attributes: &[
                ("network.protocol.name", Some(Value::text("isproxy"))),
                ("client.address", Some(Value::text(&client_ip))),
                ("latchkey.listener", Some(Value::text(record.listener))),
                ("latchkey.request_id", Some(Value::Text(&request_id))),
                ("latchkey.reason", record.reason.map(Value::text)),
                ("latchkey.customer", record.customer.map(Value::text)),
                ("latchkey.key_id", key_id.as_ref().map(|id| Value::Text(id))),
                ("latchkey.auth_method", record.auth_method.map(Value::text)),
                ("latchkey.upstream", record.upstream.map(Value::text)),
                ("latchkey.isproxy.asked", Some(Value::Number(facts.asked))),
                ("latchkey.isproxy.refused", Some(Value::Number(facts.refused))),
            ],
            events: &[],
            outcome: Outcome::Unset,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, attributes, tracer, written};
    use super::*;
    use crate::model::{AccessPoint, ClientIp};
    use crate::telemetry::RequestIds;

    fn record(method: &'static str) -> AccessRecord<'static> {
        AccessRecord {
            at: NOW,
            service: AccessPoint::IsProxy,
            listener: "isproxy",
            request_id: RequestIds::new(1).next_id(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            method,
            target: "",
            status: 100,
            reason: None,
            customer: Some("acme"),
            user: Some("alex"),
            key_id: Some(KeyId::from_random(7)),
            auth_method: Some("api-key"),
            upstream: Some("availability"),
            duration_microseconds: 0,
            response_bytes: 56,
            trace_id: None,
        }
    }

    #[test]
    fn a_session_is_a_span_with_its_logins_below_it() {
        let (tracer, mut received) = tracer(1.0);
        let trace = tracer.begin(None);
        tracer.credential_judged(&trace, &record("LOGIN"));
        let ended = AccessRecord { reason: Some("quit"), ..record("SESSION") };
        tracer.session_ended(&trace, &ended, SessionFacts { asked: 1_000_000, refused: 1 });
        let [login, session] = &written(&tracer, &mut received)[..] else { panic!("not two spans") };
        assert_eq!((login.name.as_str(), login.kind), ("IsProxy LOGIN", 1));
        assert_eq!((session.name.as_str(), session.kind), ("IsProxy session", 2));
        assert_eq!((&login.parent_span_id, &login.trace_id), (&session.span_id, &session.trace_id));
        assert_ne!(login.span_id, session.span_id);
        assert!(login.start_time_unix_nano >= session.start_time_unix_nano);
        let told = attributes(session);
        for (key, value) in [
            ("latchkey.reason", "quit"),
            ("latchkey.upstream", "availability"),
            ("latchkey.isproxy.asked", "1000000"),
            ("latchkey.isproxy.refused", "1"),
        ] {
            assert_eq!(told.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(attributes(login)["latchkey.isproxy.status"], "100");
        assert!(!format!("{session:?}{login:?}").contains("alex"), "no user is named");
    }

    #[test]
    fn what_is_not_sampled_writes_nothing() {
        let (tracer, mut received) = tracer(0.0);
        let trace = tracer.begin(None);
        tracer.credential_judged(&trace, &record("LOGIN"));
        tracer.session_ended(&trace, &record("SESSION"), SessionFacts::default());
        assert!(written(&tracer, &mut received).is_empty());
    }
}
