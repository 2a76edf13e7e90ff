//! What is posted to a collector: `ExportTraceServiceRequest`, made of spans that are written already. Pure.
//!
//! Called by `app`, which posts it.

use super::protobuf::Message;
use super::span::{Value, write_attribute};
use super::writer::SpanBatch;

/// The body of a post: the spans of `batches`, from the program that `resource` describes by its attributes.
pub fn export_request(resource: &[(&'static str, String)], batches: &[SpanBatch]) -> Vec<u8> {
    let spans_bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    let mut body = Vec::with_capacity(spans_bytes + 1024);
    Message::at_the_end_of(&mut body).within(1, |resource_spans| {
        resource_spans.within(1, |message| {
            for (key, value) in resource {
                write_attribute(message, 1, key, Value::text(value));
            }
        });
        resource_spans.within(2, |scope_spans| {
            scope_spans.within(1, |scope| {
                scope.bytes(1, env!("CARGO_PKG_NAME").as_bytes());
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for batch in batches {
                scope_spans.raw(&batch.bytes);
            }
        });
    });
    body
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use prost::Message as _;

    use super::super::context::TraceContext;
    use super::super::span::{Outcome, Parent, Span, SpanKind, write_span};
    use super::*;

    fn batch(names: &[&str]) -> SpanBatch {
        let mut bytes = Vec::new();
        for name in names {
            let context = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let span = Span {
                context: TraceContext::parse(context).unwrap(),
                parent: Parent::None,
                name: &[name],
                kind: SpanKind::Internal,
                start_unix_nanoseconds: 1,
                end_unix_nanoseconds: 2,
                attributes: &[],
                events: &[],
                outcome: Outcome::Unset,
            };
            write_span(&mut bytes, &span);
        }
        SpanBatch { bytes, spans: names.len() as u64 }
    }

    #[test]
    fn a_post_holds_all_spans_of_one_program() {
        let resource = [("service.name", "latchkey".to_owned()), ("host.name", "a".to_owned())];
        let body = export_request(&resource, &[batch(&["one", "two"]), batch(&["three"])]);
        let read = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        let [resource_spans] = &read.resource_spans[..] else { panic!("{read:?}") };
        let attributes = &resource_spans.resource.as_ref().unwrap().attributes;
        assert_eq!(attributes.len(), 2);
        assert_eq!(attributes[0].key, "service.name");
        let value = attributes[0].value.as_ref().unwrap().value.as_ref().unwrap();
        assert_eq!(*value, any_value::Value::StringValue("latchkey".to_owned()));
        let [scope_spans] = &resource_spans.scope_spans[..] else { panic!("{read:?}") };
        assert_eq!(scope_spans.scope.as_ref().unwrap().name, "latchkey");
        let names: Vec<&str> = scope_spans.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
    }
}
