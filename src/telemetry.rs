//! What operators see of the running gateway: access log, metrics, request ids, and what was refused.
//!
//! Knows no protocol and no store. The doors call it once a request, so nothing here may wait or allocate much.

mod access_log;
mod logging;
mod metrics;
mod refusals;
mod request_id;
mod target;

pub use access_log::{AccessLog, AccessLogWriter, AccessRecord};
pub use logging::init_logging;
pub use metrics::{
    CertificateEnd, CertificateGauge, DoorMetrics, DoorReading, Metrics, Reading, ReloadOutcome, SwapOutcome,
    ThreadGauge, Times, UncountedUses, UnkeptRefusals, UpstreamGauge, UpstreamReading, UpstreamTimer,
    UpstreamTimers,
};
pub use refusals::{KeptRefusal, RefusalDetails, RefusalRecorder};
pub use request_id::{InvalidRequestId, RequestId, RequestIds};
