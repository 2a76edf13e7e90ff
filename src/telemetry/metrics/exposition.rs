//! How the doors' counts become series: added up over the threads, every label there even at zero.
//!
//! Called by the registry whenever `/metrics` is read; `encode_times` also for the upstreams.

use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::histogram::Times;
use super::{Doors, STATUS_CLASSES};
use crate::model::AccessPoint;

/// All that count.
pub(super) const DOORS: [AccessPoint; 3] = [AccessPoint::Api, AccessPoint::IsProxy, AccessPoint::Console];
/// Those that judge the credential of each request or session.
const JUDGING: [AccessPoint; 2] = [AccessPoint::Api, AccessPoint::IsProxy];
/// Those that know of a request when it came and when its answer left.
const TIMING: [AccessPoint; 1] = [AccessPoint::Api];

impl Collector for Doors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Added up first, so that a door that starts does not wait for a slow reader.
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let doors = DOORS.map(|door| (door, self.read(&sets, door)));
        let of = |wanted: AccessPoint| doors.iter().filter(move |(door, _)| *door == wanted);

        let mut family =
            encoder.encode_descriptor("connections", "Open connections.", None, MetricType::Gauge)?;
        for (door, read) in &doors {
            let open = i64::try_from(read.open_connections).unwrap_or(i64::MAX);
            ConstGauge::new(open).encode(family.encode_family(&[("door", door.as_str())])?)?;
        }

        let help = "Connections accepted since the start.";
        let mut family =
            encoder.encode_descriptor("connections_accepted", help, None, MetricType::Counter)?;
        for (door, read) in &doors {
            encode_count(&mut family, &[("door", door.as_str())], read.accepted_connections)?;
        }

        let help = "Answers by class of status; the line protocol's 100 and 400 count as 1xx and 4xx.";
        let mut family = encoder.encode_descriptor("answers", help, None, MetricType::Counter)?;
        for (door, read) in &doors {
            for (name, answers) in STATUS_CLASSES.into_iter().zip(read.answers) {
                encode_count(&mut family, &[("door", door.as_str()), ("status", name)], answers)?;
            }
        }

        let help = "Refused credentials by reason.";
        let mut family = encoder.encode_descriptor("denials", help, None, MetricType::Counter)?;
        for (door, read) in &doors {
            for (reason, denials) in self.reasons.iter().zip(&read.denials) {
                encode_count(&mut family, &[("door", door.as_str()), ("reason", reason)], *denials)?;
            }
        }

        let help =
            "From the head of a request, or the line of a login, to the decision about its credential.";
        let mut family = encoder.encode_descriptor("decision_seconds", help, None, MetricType::Histogram)?;
        for (door, read) in JUDGING.into_iter().flat_map(of) {
            encode_times(&mut family, &[("door", door.as_str())], &read.decisions)?;
        }

        let help = "From the head of a request to that of its answer, without the wait for the upstream.";
        let mut family =
            encoder.encode_descriptor("added_latency_seconds", help, None, MetricType::Histogram)?;
        for (door, read) in TIMING.into_iter().flat_map(of) {
            encode_times(&mut family, &[("door", door.as_str())], &read.added_latency)?;
        }
        Ok(())
    }
}

/// Writes `times` as one histogram of `family`.
pub(super) fn encode_times<const LABELS: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); LABELS],
    times: &Times,
) -> fmt::Result {
    let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
    // The encoder knows the last bucket by this bound.
    let bucket = |(bound, count): (Option<u64>, u64)| (bound.map_or(f64::MAX, seconds), count);
    let buckets: Vec<_> = times.buckets().map(bucket).collect();
    let sum = seconds(times.sum_nanoseconds());
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
}

fn encode_count<const LABELS: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); LABELS],
    count: u64,
) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(labels)?)
}
