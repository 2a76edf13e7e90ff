//! What is shown of upstreams: which of their servers are asked, and how long each upstream takes.
//!
//! Names come from the configuration alone, which takes none that a label would have to escape: the encoder does not. Each
//! is shown while somebody asks it, so that what a reload removes goes with the last request that is under way there.
//! Handed out by [`Metrics`](super::Metrics).

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::exposition::encode_times;
use super::histogram::{Histogram, Measured, Times};

/// Whether one server of an upstream is asked; clones show the same. It is shown while one of them lives.
#[derive(Clone, Debug)]
pub struct UpstreamGauge(Arc<AtomicBool>);

/// Hands out the timers of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTimers {
    upstream: Arc<str>,
    times: Arc<ShownTimes>,
}

/// Counts how long an upstream takes, for one thread.
#[derive(Debug)]
pub struct UpstreamTimer(Arc<Histogram>);

/// The servers of all upstreams that somebody holds a gauge of, in the order they were asked for.
#[derive(Debug, Default)]
pub(super) struct ShownServers(Mutex<Vec<ShownServer>>);

#[derive(Clone, Debug)]
struct ShownServer {
    upstream: String,
    server: String,
    healthy: Weak<AtomicBool>,
}

/// The times of all upstreams, in the order they were asked for.
#[derive(Debug, Default)]
pub(super) struct ShownTimes(Mutex<AllTimes>);

#[derive(Debug, Default)]
struct AllTimes {
    upstreams: Vec<ThreadsTimes>,
    /// How many were begun since the start.
    begun: u64,
}

/// What the threads have counted of one upstream.
#[derive(Clone, Debug)]
struct ThreadsTimes {
    upstream: Arc<str>,
    /// Tells it from one that had its name and is gone.
    number: u64,
    counted: Vec<Arc<Histogram>>,
}

impl UpstreamGauge {
    /// The server is asked.
    pub fn set_healthy(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The server is left out.
    pub fn set_unhealthy(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl UpstreamTimers {
    pub(super) fn new(times: &Arc<ShownTimes>, upstream: &str) -> Self {
        Self { upstream: upstream.into(), times: Arc::clone(times) }
    }

    /// A timer for one thread. One that an earlier configuration has let go of is handed out again while the upstream is
    /// asked, so that reloads neither pile timers up nor make a count run backwards. An upstream that was gone and comes
    /// back begins anew.
    pub fn for_thread(&self) -> UpstreamTimer {
        let mut all = self.times.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.upstreams.retain(ThreadsTimes::is_shown);
        let known = all.upstreams.iter_mut().find(|known| known.upstream == self.upstream);
        if let Some(known) = known {
            let free = known.counted.iter().find(|counted| is_free(counted)).map(Arc::clone);
            return UpstreamTimer(free.unwrap_or_else(|| {
                let new = Arc::new(Histogram::new(Measured::Upstream));
                known.counted.push(Arc::clone(&new));
                new
            }));
        }
        let new = Arc::new(Histogram::new(Measured::Upstream));
        let (upstream, counted) = (Arc::clone(&self.upstream), vec![Arc::clone(&new)]);
        all.begun += 1;
        let number = all.begun;
        all.upstreams.push(ThreadsTimes { upstream, number, counted });
        UpstreamTimer(new)
    }
}

impl UpstreamTimer {
    /// The upstream took so long once more.
    pub fn count(&self, took: Duration) {
        self.0.count(took);
    }

    /// It took so long so many times.
    pub fn count_times(&self, took: Duration, times: u32) {
        self.0.count_times(took, times);
    }
}

impl ThreadsTimes {
    fn is_shown(&self) -> bool {
        !self.counted.iter().all(is_free)
    }
}

/// Does nobody count there any more?
fn is_free(counted: &Arc<Histogram>) -> bool {
    Arc::strong_count(counted) == 1
}

impl ShownServers {
    /// A gauge of a server, at first unhealthy.
    pub(super) fn gauge(&self, upstream: &str, server: &str) -> UpstreamGauge {
        let healthy = Arc::new(AtomicBool::new(false));
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.healthy.strong_count() > 0);
        servers.push(ShownServer {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            healthy: Arc::downgrade(&healthy),
        });
        UpstreamGauge(healthy)
    }

    /// Upstream, server, and whether it is asked; each server once.
    pub(super) fn read(&self) -> Vec<(String, String, bool)> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut shown = HashSet::new();
        let mut read = Vec::new();
        // The latest of the same name first, as it stands for what is in force.
        for server in servers.iter().rev() {
            let Some(healthy) = server.healthy.upgrade() else { continue };
            if shown.insert((&server.upstream, &server.server)) {
                let healthy = healthy.load(Ordering::Relaxed);
                read.push((server.upstream.clone(), server.server.clone(), healthy));
            }
        }
        read
    }
}

impl ShownTimes {
    /// Upstreams that are asked, with their numbers and what all threads have counted.
    pub(super) fn read(&self) -> Vec<(Arc<str>, u64, Times)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = all.upstreams.iter().filter(|upstream| upstream.is_shown());
        let read = shown.map(|upstream| {
            let mut times = Times::none(Measured::Upstream);
            upstream.counted.iter().for_each(|counted| counted.add_to(&mut times));
            (Arc::clone(&upstream.upstream), upstream.number, times)
        });
        read.collect()
    }
}

impl Collector for ShownServers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Is the server asked (1), or ejected or found unhealthy (0)?";
        let mut family = encoder.encode_descriptor("upstream_healthy", help, None, MetricType::Gauge)?;
        for (upstream, server, healthy) in self.read() {
            let labels = [("upstream", upstream.as_str()), ("server", server.as_str())];
            ConstGauge::new(i64::from(healthy)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for ShownTimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From sending a request, connecting included, to the head of its answer or the reply.";
        let mut family = encoder.encode_descriptor("upstream_seconds", help, None, MetricType::Histogram)?;
        for (upstream, _, times) in self.read() {
            encode_times(&mut family, &[("upstream", &*upstream)], &times)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::telemetry::Metrics;

    fn value(text: &str, series: &str) -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    #[test]
    fn servers_of_upstreams_are_shown_by_both_names() {
        let metrics = Metrics::default();
        let one = metrics.upstream_server("registry", "http://a:80");
        let other = metrics.upstream_server("registry", "http://b:80");
        one.set_healthy();
        other.set_healthy();
        other.clone().set_unhealthy();
        let text = metrics.render();
        let series =
            |server| format!("latchkey_upstream_healthy{{upstream=\"registry\",server=\"{server}\"}}");
        assert_eq!(value(&text, &series("http://a:80")), Some(1));
        assert_eq!(value(&text, &series("http://b:80")), Some(0));
    }

    #[test]
    fn a_server_is_shown_once_and_while_somebody_asks_it() {
        let metrics = Metrics::default();
        let series = "latchkey_upstream_healthy{upstream=\"registry\",server=\"http://a:80\"}";
        let before = metrics.upstream_server("registry", "http://a:80");
        before.set_healthy();
        let after = metrics.upstream_server("registry", "http://a:80");
        before.set_healthy();
        let text = metrics.render();
        assert_eq!(value(&text, series), Some(0), "the latest counts");
        assert_eq!(text.matches(series).count(), 1);
        drop(after);
        assert_eq!(
            value(&metrics.render(), series),
            Some(1),
            "a reload that came to nothing changes nothing"
        );
        drop(before);
        assert!(!metrics.render().contains("http://a:80"));
    }

    #[test]
    fn times_of_an_upstream_survive_a_reload_and_are_shown_while_it_is_asked() {
        let metrics = Metrics::default();
        let series = "latchkey_upstream_seconds_count{upstream=\"registry\"}";
        let timers = metrics.upstream_timers("registry");
        assert_eq!(value(&metrics.render(), series), None);
        let before = [timers.for_thread(), timers.for_thread()];
        for timer in &before {
            timer.count(Duration::from_millis(2));
        }
        assert_eq!(value(&metrics.render(), series), Some(2));
        // As many requests may still be under way when the next configuration comes into force.
        let after = metrics.upstream_timers("registry").for_thread();
        after.count(Duration::from_millis(2));
        drop(before);
        assert_eq!(value(&metrics.render(), series), Some(3));
        for _ in 0..100 {
            metrics.upstream_timers("registry").for_thread().count(Duration::from_millis(2));
        }
        let timers =
            |upstream: usize| metrics.upstream_times.0.lock().unwrap().upstreams[upstream].counted.len();
        assert_eq!(timers(0), 3, "timers are used again");
        assert_eq!(value(&metrics.render(), series), Some(103));
        drop(after);
        assert_eq!(value(&metrics.render(), series), None);
        let _other = metrics.upstream_timers("other").for_thread();
        assert_eq!(metrics.upstream_times.0.lock().unwrap().upstreams.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn an_upstream_that_comes_back_counts_anew() {
        let metrics = Metrics::default();
        let series = "latchkey_upstream_seconds_count{upstream=\"registry\"}";
        let before = metrics.upstream_timers("registry").for_thread();
        before.count(Duration::from_millis(2));
        drop(before);
        let after = metrics.upstream_timers("registry").for_thread();
        assert_eq!(value(&metrics.render(), series), Some(0));
        after.count(Duration::from_millis(2));
        assert_eq!(value(&metrics.render(), series), Some(1));
    }
}
