//! What operators see of the running gateway: access log, metrics, traces, request ids, and what was refused.
//!
//! Knows no protocol and no store. The doors call it once a request, so nothing here may wait or allocate much.

mod access_log;
mod logging;
mod metrics;
mod refusals;
mod request_id;
mod spread;
mod target;
mod traces;

pub use access_log::{AccessLog, AccessLogWriter, AccessRecord};
pub use logging::init_logging;
pub use metrics::{
    Amount, CertificateEnd, CertificateGauge, DoorMetrics, DoorReading, Metrics, Reading, ReloadOutcome,
    SpanCounts, SwapOutcome, ThreadGauge, Times, UncountedUses, UnkeptRefusals, UpstreamGauge,
    UpstreamReading, UpstreamTimer, UpstreamTimers,
};
pub use refusals::{KeptRefusal, RefusalDetails, RefusalRecorder};
pub use request_id::{InvalidRequestId, RequestId, RequestIds};
pub use traces::{
    HttpFacts, Sampling, SessionFacts, SpanBatch, SpanChannel, SpanId, SpanWriter, Trace, TraceContext,
    TraceId, Tracer, export_request,
};
