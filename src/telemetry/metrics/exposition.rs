//! How the doors' counts become series: added up over the threads, every label there even at zero; and the servers of
//! upstreams, each shown once.
//!
//! Called by the registry whenever `/metrics` is read.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{DoorCounts, Doors, STATUS_CLASSES, ShownServers};
use crate::model::AccessPoint;

const DOORS: [AccessPoint; 3] = [AccessPoint::Api, AccessPoint::IsProxy, AccessPoint::Console];

impl Collector for Doors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Copied out, so that a door that starts does not wait for a slow reader.
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of = |door: AccessPoint| -> Vec<&DoorCounts> {
            sets.iter()
                .filter(|(counted, _)| *counted == door)
                .map(|(_, counts)| Arc::as_ref(counts))
                .collect()
        };

        let mut family =
            encoder.encode_descriptor("connections", "Open connections.", None, MetricType::Gauge)?;
        for door in DOORS {
            let counts = of(door);
            // Ends are read before beginnings, so that a connection that closes meanwhile does not count as minus one.
            let closed = sum(&counts, |counts| Some(&counts.connections_closed));
            let opened = sum(&counts, |counts| Some(&counts.connections_opened));
            let open = i64::try_from(opened.saturating_sub(closed)).unwrap_or(i64::MAX);
            ConstGauge::new(open).encode(family.encode_family(&[("door", door.as_str())])?)?;
        }

        let help = "Connections accepted since the start.";
        let mut family =
            encoder.encode_descriptor("connections_accepted", help, None, MetricType::Counter)?;
        for door in DOORS {
            let opened = sum(&of(door), |counts| Some(&counts.connections_opened));
            encode_count(&mut family, &[("door", door.as_str())], opened)?;
        }

        let help = "Answers by class of status; the line protocol's 100 and 400 count as 1xx and 4xx.";
        let mut family = encoder.encode_descriptor("answers", help, None, MetricType::Counter)?;
        for door in DOORS {
            for (class, name) in STATUS_CLASSES.into_iter().enumerate() {
                let answers = sum(&of(door), |counts| counts.answers.get(class));
                encode_count(&mut family, &[("door", door.as_str()), ("status", name)], answers)?;
            }
        }

        let help = "Refused credentials by reason.";
        let mut family = encoder.encode_descriptor("denials", help, None, MetricType::Counter)?;
        for door in DOORS {
            for (place, reason) in self.reasons.iter().enumerate() {
                let denials = sum(&of(door), |counts| counts.denials.get(place));
                encode_count(&mut family, &[("door", door.as_str()), ("reason", reason)], denials)?;
            }
        }
        Ok(())
    }
}

impl Collector for ShownServers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Is the server asked (1), or ejected or found unhealthy (0)?";
        let mut family = encoder.encode_descriptor("upstream_healthy", help, None, MetricType::Gauge)?;
        let mut shown = HashSet::new();
        // The latest of the same name first, as it stands for what is in force.
        for server in servers.iter().rev() {
            let Some(healthy) = server.healthy.upgrade() else { continue };
            if shown.insert((&server.upstream, &server.server)) {
                let labels = [("upstream", server.upstream.as_str()), ("server", server.server.as_str())];
                let healthy = i64::from(healthy.load(Ordering::Relaxed));
                ConstGauge::new(healthy).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn sum(sets: &[&DoorCounts], counter: impl Fn(&DoorCounts) -> Option<&AtomicU64>) -> u64 {
    sets.iter().filter_map(|counts| counter(counts)).map(|counter| counter.load(Ordering::Relaxed)).sum()
}

fn encode_count<const LABELS: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); LABELS],
    count: u64,
) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(labels)?)
}
