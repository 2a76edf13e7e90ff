//! What operators see of the running gateway: access log, metrics, request ids.
//!
//! Knows no protocol and no store. The doors call it once a request, so nothing here may wait or allocate much.

mod access_log;
mod logging;
mod metrics;
mod request_id;

pub use access_log::{AccessLog, AccessLogWriter, AccessRecord};
pub use logging::init_logging;
pub use metrics::{DoorMetrics, Metrics, UpstreamGauge};
pub use request_id::{RequestId, RequestIds};
