//! Counters and gauges, registered once, read by `/metrics`.

use std::sync::Arc;

use crate::model::Service;

/// All metrics of the process.
#[derive(Debug, Default)]
pub struct Metrics {}

/// The handles of one door, to be cloned into its threads.
#[derive(Clone, Debug)]
pub struct DoorMetrics(Arc<Metrics>);

impl Metrics {
    /// The handles for `service`.
    pub fn door(self: &Arc<Self>, service: Service) -> DoorMetrics {
        let _ = service;
        DoorMetrics(Arc::clone(self))
    }

    /// The text of `/metrics` in the `OpenMetrics` format.
    pub fn render(&self) -> String {
        String::new()
    }
}

impl DoorMetrics {
    /// A connection was accepted; pair with [`DoorMetrics::connection_closed`].
    pub fn connection_opened(&self) {
        let _ = &self.0;
    }

    /// A connection ended.
    pub fn connection_closed(&self) {}

    /// A request was answered with `status` (HTTP, or 100 / 400 of the line protocol).
    pub fn answered(&self, status: u16) {
        let _ = status;
    }

    /// A request was refused; `reason` is a [`DenialReason::as_str`](crate::auth::DenialReason::as_str).
    pub fn denied(&self, reason: &'static str) {
        let _ = reason;
    }
}
