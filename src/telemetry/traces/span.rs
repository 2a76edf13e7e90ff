//! A span that has ended, as OTLP has it: `opentelemetry.proto.trace.v1.Span`. Pure.
//!
//! It is written as a field of the message that holds it, so that spans of several buffers can stand one behind the
//! other. What a span tells is decided by `http_spans` and `isproxy_spans`.

use super::context::{SpanId, TraceContext};
use super::protobuf::Message;

/// `ScopeSpans.spans`.
const SPANS_OF_SCOPE: u32 = 2;
/// What `Span.flags` says besides those of the header: it is known whether the parent is another program's (bit 8), and
/// it is (bit 9).
const PARENT_IS_KNOWN: u32 = 1 << 8;
const PARENT_IS_REMOTE: u32 = 1 << 9;

/// `Span.SpanKind`.
#[derive(Clone, Copy, Debug)]
pub(super) enum SpanKind {
    /// A step of ours.
    Internal = 1,
    /// What a client asked of us.
    Server = 2,
    /// What we asked of a server.
    Client = 3,
}

/// `Status.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing that needs a look.
    Unset,
    /// It failed, and not by the client's fault.
    Error,
}

/// Where a span's parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// Nowhere: the trace begins with this span.
    None,
    /// In this process.
    Own(SpanId),
    /// In the program that asked us.
    Remote(SpanId),
}

/// What an attribute says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// UTF-8.
    Text(&'a [u8]),
    /// A whole number, below 2^63.
    Number(u64),
}

/// A span that has ended.
pub(super) struct Span<'a> {
    pub(super) context: TraceContext,
    pub(super) parent: Parent,
    /// One text in parts.
    pub(super) name: &'a [&'a str],
    pub(super) kind: SpanKind,
    pub(super) start_unix_nanoseconds: u64,
    pub(super) end_unix_nanoseconds: u64,
    /// Those without a value are left out.
    pub(super) attributes: &'a [(&'static str, Option<Value<'a>>)],
    /// Names, and when it was.
    pub(super) events: &'a [(&'static str, Option<u64>)],
    pub(super) outcome: Outcome,
}

impl<'a> Value<'a> {
    /// A text.
    pub(super) const fn text(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }
}

/// Appends `span` to `buffer`. The numbers of fields are those of `trace.proto` and `common.proto`.
pub(super) fn write_span(buffer: &mut Vec<u8>, span: &Span<'_>) {
    Message::at_the_end_of(buffer).within(SPANS_OF_SCOPE, |message| {
        message.bytes(1, &span.context.trace_id.to_bytes());
        message.bytes(2, &span.context.span_id.to_bytes());
        let origin = match span.parent {
            Parent::None => PARENT_IS_KNOWN,
            Parent::Own(parent) => {
                message.bytes(4, &parent.to_bytes());
                PARENT_IS_KNOWN
            }
            Parent::Remote(parent) => {
                message.bytes(4, &parent.to_bytes());
                PARENT_IS_KNOWN | PARENT_IS_REMOTE
            }
        };
        message.within(5, |name| span.name.iter().for_each(|part| name.raw(part.as_bytes())));
        message.number(6, span.kind as u64);
        message.fixed64(7, span.start_unix_nanoseconds);
        message.fixed64(8, span.end_unix_nanoseconds);
        for (key, value) in span.attributes {
            if let Some(value) = value {
                write_attribute(message, 9, key, *value);
            }
        }
        for (name, at) in span.events {
            if let Some(at) = at {
                message.within(11, |event| {
                    event.fixed64(1, *at);
                    event.bytes(2, name.as_bytes());
                });
            }
        }
        if span.outcome == Outcome::Error {
            message.within(15, |status| status.number(3, 2));
        }
        message.fixed32(16, u32::from(span.context.flags()) | origin);
    });
}

/// `KeyValue` in the field `field`.
pub(super) fn write_attribute(message: &mut Message<'_>, field: u32, key: &str, value: Value<'_>) {
    message.within(field, |pair| {
        pair.bytes(1, key.as_bytes());
        pair.within(2, |any| match value {
            Value::Text(text) => any.bytes(1, text),
            Value::Number(number) => any.number(3, number),
        });
    });
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Status;

    use super::super::testing::{attributes, decoded};
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    const ATTRIBUTES: &[(&str, Option<Value<'_>>)] =
        &[("a.text", Some(Value::text("grün"))), ("a.number", Some(Value::Number(502))), ("a.nothing", None)];

    fn sample() -> Span<'static> {
        Span {
            context: TraceContext::parse(PARENT.as_bytes()).unwrap(),
            parent: Parent::None,
            name: &["GET", " ", "/v2"],
            kind: SpanKind::Server,
            start_unix_nanoseconds: 1_795_429_230_456_000_001,
            end_unix_nanoseconds: 1_795_429_230_556_000_001,
            attributes: ATTRIBUTES,
            events: &[("decided", Some(1_795_429_230_456_000_077)), ("never", None)],
            outcome: Outcome::Unset,
        }
    }

    #[test]
    fn a_library_reads_the_span_that_was_meant() {
        let mut buffer = Vec::new();
        write_span(&mut buffer, &sample());
        let [span] = &decoded(&buffer)[..] else { panic!("not one span") };
        assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert_eq!(span.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET /v2", 2, 0x101));
        assert!(span.parent_span_id.is_empty() && span.status.is_none() && span.trace_state.is_empty());
        assert_eq!(span.start_time_unix_nano, 1_795_429_230_456_000_001);
        assert_eq!(span.end_time_unix_nano, 1_795_429_230_556_000_001);
        assert_eq!(attributes(span), [("a.text", "grün"), ("a.number", "502")].map(owned).into());
        let [event] = &span.events[..] else { panic!("not one event: {span:?}") };
        assert_eq!((event.name.as_str(), event.time_unix_nano), ("decided", 1_795_429_230_456_000_077));
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn parents_and_failures_are_told_and_spans_stand_behind_each_other() {
        let id = sample().context.span_id;
        let mut buffer = Vec::new();
        write_span(&mut buffer, &Span { parent: Parent::Own(id), ..sample() });
        write_span(
            &mut buffer,
            &Span { parent: Parent::Remote(id), outcome: Outcome::Error, kind: SpanKind::Client, ..sample() },
        );
        let [own, remote] = &decoded(&buffer)[..] else { panic!("not two spans") };
        assert_eq!((own.parent_span_id.as_slice(), own.flags), (id.to_bytes().as_slice(), 0x101));
        assert_eq!((remote.parent_span_id.as_slice(), remote.flags), (id.to_bytes().as_slice(), 0x301));
        assert_eq!(remote.status, Some(Status { message: String::new(), code: 2 }));
        assert_eq!(remote.kind, 3);
    }
}
