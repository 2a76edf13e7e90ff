//! When the certificates of each listener end, as a series each.
//!
//! A moment and no countdown, so that nobody has to set it again, and an alarm compares it with `time()`.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::Timestamp;

/// The end of a certificate, or of the first to end of several; 1970 while there is none, which is long over: whoever
/// waits for an end to come near is told of a certificate that never came, too.
#[derive(Debug, Default)]
pub struct CertificateEnd(AtomicI64);

/// Shows the end of a listener's certificates while it lives.
#[derive(Debug)]
pub struct CertificateGauge(Arc<CertificateEnd>);

impl CertificateEnd {
    /// It is at `moment`.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.unix_seconds(), Ordering::Relaxed);
    }
}

/// The gauges that somebody holds, with their listeners, in the order they were asked for.
#[derive(Debug, Default)]
pub(super) struct ShownCertificates(Mutex<Vec<(String, Weak<CertificateGauge>)>>);

impl ShownCertificates {
    pub(super) fn add(&self, listener: &str, end: &Arc<CertificateEnd>) -> Arc<CertificateGauge> {
        let gauge = Arc::new(CertificateGauge(Arc::clone(end)));
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|(_, gauge)| gauge.strong_count() > 0);
        gauges.push((listener.to_owned(), Arc::downgrade(&gauge)));
        gauge
    }
}

impl Collector for ShownCertificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "When the first of the listener's certificates to end ends, in seconds since 1970; 0 without one.";
        let name = "certificate_expires_timestamp_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let mut shown = HashSet::new();
        for (listener, gauge) in gauges.iter().rev() {
            let Some(gauge) = gauge.upgrade() else { continue };
            if shown.insert(listener) {
                let seconds = gauge.0.0.load(Ordering::Relaxed);
                let labels = [("listener", listener.as_str())];
                ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn the_latest_of_a_listener_is_shown_while_it_lives_and_as_0_without_a_certificate() {
        let metrics = Metrics::default();
        let series = |listener: &str| format!("expires_timestamp_seconds{{listener=\"{listener}\"}} ");
        let (end, later) = (Arc::<CertificateEnd>::default(), Arc::<CertificateEnd>::default());
        let before = metrics.certificate_gauge("api", &end);
        assert!(metrics.render().contains(&format!("{}0\n", series("api"))));
        end.set(Timestamp::from_unix_milliseconds(5_000));
        let after = metrics.certificate_gauge("api", &later);
        later.set(Timestamp::from_unix_milliseconds(9_000));
        let other = metrics.certificate_gauge("console", &end);
        end.set(Timestamp::from_unix_milliseconds(7_000));
        let text = metrics.render();
        assert_eq!(text.matches(&series("api")).count(), 1);
        assert!(text.contains(&format!("{}9\n", series("api"))), "{text}");
        assert!(text.contains(&format!("{}7\n", series("console"))), "{text}");
        drop(after);
        assert!(metrics.render().contains(&format!("{}7\n", series("api"))), "what was refused is gone");
        drop((before, other));
        assert!(!metrics.render().contains(&series("console")));
    }
}
