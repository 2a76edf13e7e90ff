//! What became of the spans of traces: whether a collector took them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counts spans; clones count into the same counters.
#[derive(Clone, Debug, Default)]
pub struct SpanCounts {
    exported: Counter,
    dropped: Counter,
}

impl SpanCounts {
    /// Counts that `registry` shows.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let counts = Self::default();
        let help = "Spans of traces that a collector took";
        registry.register("trace_spans_exported", help, counts.exported.clone());
        let help = "Spans of traces that were let go: the collector was away, too slow, or refused them";
        registry.register("trace_spans_dropped", help, counts.dropped.clone());
        counts
    }

    /// So many more were taken.
    pub fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    /// So many more were let go.
    pub fn dropped(&self, spans: u64) {
        self.dropped.inc_by(spans);
    }

    /// How many were taken since the start.
    pub fn exported_count(&self) -> u64 {
        self.exported.get()
    }

    /// How many were let go since the start.
    pub fn dropped_count(&self) -> u64 {
        self.dropped.get()
    }
}
