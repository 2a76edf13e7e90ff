//! Traces: what happened to a request or a session, as spans of OpenTelemetry (OTLP 1.x, binary protobuf over HTTP).
//!
//! A door's [`Tracer`] begins a [`Trace`] with each request and writes its spans, where it is sampled, into a buffer of
//! its thread. Full buffers go through a bounded channel to whoever posts them, which is `app`. Nothing waits for a
//! collector: what the channel cannot take is dropped and counted. Without a tracer none of this runs.

mod context;
mod http_spans;
mod isproxy_spans;
mod protobuf;
mod request;
mod span;
#[cfg(test)]
mod testing;
mod tracer;
mod writer;

pub use context::{Sampling, SpanId, TraceContext, TraceId};
pub use http_spans::HttpFacts;
pub use isproxy_spans::SessionFacts;
pub use request::export_request;
pub use tracer::{Trace, Tracer};
pub use writer::{SpanBatch, SpanChannel, SpanWriter};
