//! What the tests of traces share: spans as a library reads them.

use std::collections::BTreeMap;
use std::rc::Rc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;
use tokio::sync::mpsc;

use super::{SpanBatch, SpanChannel, Tracer};
use crate::clock::Clock;
use crate::config::{SetHeaders, Traces, TrustIncoming};
use crate::model::{SampleRatio, Secret, Timestamp};
use crate::telemetry::SpanCounts;

/// When everything happens.
pub(super) const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_795_429_230_456);

/// The spans that were written into a buffer.
pub(super) fn decoded(buffer: &[u8]) -> Vec<Span> {
    ScopeSpans::decode(buffer).unwrap().spans
}

/// Keys and values, as text.
pub(super) fn attributes(span: &Span) -> BTreeMap<String, String> {
    let pairs = span.attributes.iter().map(|pair| {
        let value = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", pair.key),
        };
        (pair.key.clone(), value)
    });
    pairs.collect()
}

/// A tracer that takes this share, at a clock that stands at [`NOW`], and where its spans arrive.
pub(super) fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<SpanBatch>) {
    let (channel, received) = SpanChannel::new(SpanCounts::default());
    let wanted = Traces {
        otlp: Secret::new("http://127.0.0.1:4318/v1/traces".to_owned()),
        service_name: "latchkey".to_owned(),
        sample_ratio: SampleRatio::new(ratio).unwrap(),
        trust_incoming: TrustIncoming::Never,
        headers: SetHeaders::default(),
        ca: None,
    };
    let tracer = Tracer::new(&Rc::new(channel.writer(7)), &wanted, Clock::given(NOW));
    (tracer, received)
}

/// The spans that `tracer` has written.
pub(super) fn written(tracer: &Tracer, received: &mut mpsc::Receiver<SpanBatch>) -> Vec<Span> {
    tracer.writer.flush();
    received.try_recv().map(|batch| decoded(&batch.bytes)).unwrap_or_default()
}
