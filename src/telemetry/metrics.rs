//! Counters and gauges, registered once, read by `/metrics`.
//!
//! Each door thread counts in a set of its own, so that the hot path shares no cache line between cores and looks
//! nothing up; the sets are added up when somebody reads. Which series exist is fixed at the start: nothing that a
//! peer sends becomes a label.

mod certificates;
mod exposition;
mod histogram;
mod process;
mod reading;
mod spans;
mod upstreams;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::certificates::ShownCertificates;
pub use self::certificates::{CertificateEnd, CertificateGauge};
pub use self::histogram::{Amount, Times};
use self::histogram::{Histogram, Measured};
use self::process::ThisProcess;
pub use self::reading::{DoorReading, Reading, UpstreamReading};
pub use self::spans::SpanCounts;
use self::upstreams::{ShownServers, ShownTimes};
pub use self::upstreams::{UpstreamGauge, UpstreamTimer, UpstreamTimers};
use crate::model::{AccessPoint, Revision};

/// 1xx to 5xx.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Counts refusals for a reason that was not named at the start.
const OTHER_REASON: &str = "other";
/// What a gateway can say of its readiness.
const READINESS: [&str; 5] = ["starting", "ready", "degraded", "unready", "draining"];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    doors: Arc<Doors>,
    keys: Gauge,
    users: Gauge,
    feed_revision: Gauge,
    access_log_dropped_lines: Counter,
    unkept_refusals: Counter,
    uncounted_uses: Counter,
    spans: SpanCounts,
    /// By upstream and server, which come from the configuration alone.
    upstream_servers: Arc<ShownServers>,
    upstream_times: Arc<ShownTimes>,
    connections_limit: Gauge,
    readiness: Family<[(&'static str, &'static str); 1], Gauge>,
    /// By listener, which comes from the configuration alone.
    certificates: Arc<ShownCertificates>,
    thread_connections: Family<[(&'static str, String); 1], Gauge>,
    config_reloads: Family<[(&'static str, &'static str); 1], Counter>,
    binary_swaps: Family<[(&'static str, &'static str); 1], Counter>,
}

/// Counts refusals that `latchkey explain` will not find; clones count into the same counter.
#[derive(Clone, Debug, Default)]
pub struct UnkeptRefusals(Counter);

/// Counts requests and refusals that are missing from the usage of keys and users; clones count into the same counter.
#[derive(Clone, Debug, Default)]
pub struct UncountedUses(Counter);

/// The open connections of one door thread; clones count together.
#[derive(Clone, Debug, Default)]
pub struct ThreadGauge(Gauge);

/// What became of a changed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is in force.
    Applied,
    /// It is broken; the one before stays.
    Refused,
}

/// What became of handing over to a new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    /// This process has taken over from the one before it.
    TakenOver,
    /// It was not tried: another one was under way, or this process must not end.
    Refused,
    /// The new process failed; this one goes on.
    Failed,
}

/// The handles of one door, for one of its threads; clones count into the same set.
#[derive(Clone, Debug)]
pub struct DoorMetrics {
    reasons: Arc<[&'static str]>,
    counts: Arc<DoorCounts>,
}

/// What all threads of all doors have counted.
#[derive(Debug)]
struct Doors {
    reasons: Arc<[&'static str]>,
    sets: Mutex<Vec<(AccessPoint, Arc<DoorCounts>)>>,
}

/// One thread's counts at one door. Aligned, so that two threads' counts never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
struct DoorCounts {
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    answers: [AtomicU64; STATUS_CLASSES.len()],
    /// In the order of the reasons' names.
    denials: Box<[AtomicU64]>,
    decisions: Histogram,
    added_latency: Histogram,
}

impl Metrics {
    /// Registers everything. `reasons` are the names under which refusals are counted; any other goes to `other`.
    pub fn new(reasons: &[&'static str]) -> Self {
        let mut names = reasons.to_vec();
        names.push(OTHER_REASON);
        let doors = Arc::new(Doors { reasons: names.into(), sets: Mutex::new(Vec::new()) });
        let mut all = Registry::default();
        all.register_collector(Box::new(ThisProcess));
        let registry = all.sub_registry_with_prefix("latchkey");
        registry.register_collector(Box::new(Arc::clone(&doors)));

        let keys = Gauge::default();
        registry.register("keys", "API keys in the index, disabled and expired ones too", keys.clone());
        let users = Gauge::default();
        registry.register("users", "Users in the index", users.clone());
        let feed_revision = Gauge::default();
        let help = "Last change of the store that this gateway has taken over";
        registry.register("feed_revision", help, feed_revision.clone());
        let access_log_dropped_lines = Counter::default();
        let help = "Access log lines lost, because the disk was too slow or refused them";
        registry.register("access_log_dropped_lines", help, access_log_dropped_lines.clone());
        let unkept_refusals = Counter::default();
        let help =
            "Refusals that `latchkey explain` does not find: beyond 200 a second, or the store was away";
        registry.register("unkept_refusals", help, unkept_refusals.clone());
        let uncounted_uses = Counter::default();
        let help =
            "Requests and refusals missing from the usage of keys and users: too many credentials at once";
        registry.register("uncounted_uses", help, uncounted_uses.clone());
        let spans = SpanCounts::registered(registry);
        let upstream_servers = Arc::new(ShownServers::default());
        registry.register_collector(Box::new(Arc::clone(&upstream_servers)));
        let upstream_times = Arc::new(ShownTimes::default());
        registry.register_collector(Box::new(Arc::clone(&upstream_times)));
        let connections_limit = Gauge::default();
        let help = "Connections that may be open at the doors (limits.connections)";
        registry.register("connections_limit", help, connections_limit.clone());
        let readiness = Family::default();
        registry.register("readiness", "What /readyz says: 1 for the present state", readiness.clone());
        for state in READINESS {
            // So that the series is there from the start.
            drop(readiness.get_or_create(&[("state", state)]));
        }
        let certificates = Arc::new(ShownCertificates::default());
        registry.register_collector(Box::new(Arc::clone(&certificates)));
        let thread_connections = Family::default();
        registry.register(
            "thread_connections",
            "Open connections of a door thread",
            thread_connections.clone(),
        );
        let config_reloads = Family::default();
        let help = "Configurations that were read again, and put in force or refused";
        registry.register("config_reloads", help, config_reloads.clone());
        for outcome in [ReloadOutcome::Applied, ReloadOutcome::Refused] {
            // So that the series is there from the start.
            drop(config_reloads.get_or_create(&outcome.labels()));
        }
        let binary_swaps = Family::default();
        let help = "Changes of the process behind the sockets, asked for by SIGUSR2";
        registry.register("binary_swaps", help, binary_swaps.clone());
        for outcome in [SwapOutcome::TakenOver, SwapOutcome::Refused, SwapOutcome::Failed] {
            drop(binary_swaps.get_or_create(&outcome.labels()));
        }
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        Self {
            registry: all,
            doors,
            keys,
            users,
            feed_revision,
            access_log_dropped_lines,
            unkept_refusals,
            uncounted_uses,
            spans,
            upstream_servers,
            upstream_times,
            connections_limit,
            readiness,
            certificates,
            thread_connections,
            config_reloads,
            binary_swaps,
        }
    }

    /// The counter of refusals that are not kept.
    pub fn unkept_refusals(&self) -> UnkeptRefusals {
        UnkeptRefusals(self.unkept_refusals.clone())
    }

    /// The counter of what the usage of keys and users misses.
    pub fn uncounted_uses(&self) -> UncountedUses {
        UncountedUses(self.uncounted_uses.clone())
    }

    /// The counters of spans of traces.
    pub fn spans(&self) -> SpanCounts {
        self.spans.clone()
    }

    /// A gauge of the server `server` of the upstream `upstream`, at first unhealthy. Of several that live, the latest
    /// is shown: a reload makes new ones, and what is under way goes on with the old.
    pub fn upstream_server(&self, upstream: &str, server: &str) -> UpstreamGauge {
        self.upstream_servers.gauge(upstream, server)
    }

    /// Where the threads that ask the upstream `upstream` count how long it takes.
    pub fn upstream_timers(&self, upstream: &str) -> UpstreamTimers {
        UpstreamTimers::new(&self.upstream_times, upstream)
    }

    /// Shows `end` as that of the certificates of the listener `listener`, while the gauge lives. Of several that live the
    /// latest is shown: a reload makes new ones.
    pub fn certificate_gauge(&self, listener: &str, end: &Arc<CertificateEnd>) -> Arc<CertificateGauge> {
        self.certificates.add(listener, end)
    }

    /// The gauge of the door thread `number`, counted from 0. Asked for once each, at the start.
    pub fn thread(&self, number: usize) -> ThreadGauge {
        ThreadGauge(self.thread_connections.get_or_create(&[("thread", number.to_string())]).clone())
    }

    /// A configuration was read again.
    pub fn config_reloaded(&self, outcome: ReloadOutcome) {
        self.config_reloads.get_or_create(&outcome.labels()).inc();
    }

    /// A change of the process was asked for.
    pub fn binary_swapped(&self, outcome: SwapOutcome) {
        self.binary_swaps.get_or_create(&outcome.labels()).inc();
    }

    /// A new set of counts for `door`. Each door thread asks for one once, at its start, and so does the console.
    pub fn door(&self, door: impl Into<AccessPoint>) -> DoorMetrics {
        let reasons = Arc::clone(&self.doors.reasons);
        let counts = Arc::new(DoorCounts {
            connections_opened: AtomicU64::new(0),
            connections_closed: AtomicU64::new(0),
            answers: Default::default(),
            denials: reasons.iter().map(|_| AtomicU64::new(0)).collect(),
            decisions: Histogram::new(Measured::Decision),
            added_latency: Histogram::new(Measured::AddedLatency),
        });
        // A poisoned list is still whole: a push is all that ever happens to it.
        let mut sets = self.doors.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.push((door.into(), Arc::clone(&counts)));
        DoorMetrics { reasons, counts }
    }

    /// What the index holds, and up to which change; whoever applies changes to it calls this.
    pub fn set_index(&self, keys: u64, users: u64, revision: Revision) {
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.users.set(i64::try_from(users).unwrap_or(i64::MAX));
        self.feed_revision.set(revision.0);
    }

    /// So many connections may be open at the doors; whoever puts a configuration in force calls this.
    pub fn set_connections_limit(&self, connections: u32) {
        self.connections_limit.set(connections.into());
    }

    /// The gateway's present `state`: `starting`, `ready`, `degraded`, `unready` or `draining`.
    pub fn set_readiness(&self, state: &'static str) {
        for known in READINESS {
            self.readiness.get_or_create(&[("state", known)]).set(i64::from(known == state));
        }
    }

    /// Takes over [`AccessLog::dropped_lines`](super::AccessLog::dropped_lines): lines since the start of the process.
    pub fn set_access_log_dropped_lines(&self, lines: u64) {
        // Raised, never lowered: two readers at once must not make a counter run backwards.
        self.access_log_dropped_lines.inner().fetch_max(lines, Ordering::Relaxed);
    }

    /// The text of `/metrics` in the `OpenMetrics` format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // A `String` takes every text, and the encoders fail for no other reason.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    /// Metrics that count every refusal under `other`.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl DoorMetrics {
    /// A connection was accepted; pair with [`DoorMetrics::connection_closed`].
    pub fn connection_opened(&self) {
        count(&self.counts.connections_opened);
    }

    /// A connection ended.
    pub fn connection_closed(&self) {
        count(&self.counts.connections_closed);
    }

    /// A request was answered with `status` (HTTP, or 100 / 400 of the line protocol). Anything outside 100 to 599 is
    /// no answer and is not counted.
    pub fn answered(&self, status: u16) {
        self.answered_times(status, 1);
    }

    /// So many requests were answered with `status`.
    pub fn answered_times(&self, status: u16, times: u32) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(answers) = class.and_then(|class| self.counts.answers.get(class))
            && times > 0
        {
            answers.fetch_add(times.into(), Ordering::Relaxed);
        }
    }

    /// A request was refused; `reason` is a [`DenialReason::as_str`](crate::auth::DenialReason::as_str).
    pub fn denied(&self, reason: &'static str) {
        let place = self.reasons.iter().position(|name| *name == reason);
        if let Some(denials) =
            place.map_or(self.counts.denials.last(), |place| self.counts.denials.get(place))
        {
            count(denials);
        }
    }

    /// A credential was judged, which took so long.
    pub fn decided(&self, took: Duration) {
        self.counts.decisions.count(took);
    }

    /// A request that was passed on spent so long in the gateway.
    pub fn added_latency(&self, spent: Duration) {
        self.counts.added_latency.count(spent);
    }
}

impl UnkeptRefusals {
    /// So many more are not kept.
    pub fn add(&self, refusals: usize) {
        self.0.inc_by(u64::try_from(refusals).unwrap_or(u64::MAX));
    }

    /// How many there were since the start.
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

impl UncountedUses {
    /// So many more are missing.
    pub fn add(&self, uses: u64) {
        self.0.inc_by(uses);
    }
}

impl ThreadGauge {
    /// The thread has one more connection.
    pub fn connection_opened(&self) {
        self.0.inc();
    }

    /// One of the thread's connections has ended.
    pub fn connection_closed(&self) {
        self.0.dec();
    }

    /// Connections that are open.
    pub fn connections(&self) -> i64 {
        self.0.get()
    }
}

impl ReloadOutcome {
    const fn labels(self) -> [(&'static str, &'static str); 1] {
        let outcome = match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        };
        [("outcome", outcome)]
    }
}

impl SwapOutcome {
    const fn labels(self) -> [(&'static str, &'static str); 1] {
        let outcome = match self {
            Self::TakenOver => "taken_over",
            Self::Refused => "refused",
            Self::Failed => "failed",
        };
        [("outcome", outcome)]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    #[test]
    fn connections_are_counted_by_door() {
        let metrics = Metrics::new(&[]);
        let (api, isproxy) = (metrics.door(AccessPoint::Api), metrics.door(AccessPoint::IsProxy));
        for _ in 0..3 {
            api.connection_opened();
        }
        api.connection_closed();
        isproxy.connection_opened();
        let text = metrics.render();
        assert_eq!(value(&text, "latchkey_connections{door=\"api\"}"), Some(2));
        assert_eq!(value(&text, "latchkey_connections_accepted_total{door=\"api\"}"), Some(3));
        assert_eq!(value(&text, "latchkey_connections{door=\"isproxy\"}"), Some(1));
        assert_eq!(value(&text, "latchkey_connections_accepted_total{door=\"isproxy\"}"), Some(1));
    }

    #[test]
    fn the_threads_of_a_door_are_added_up() {
        let metrics = Metrics::new(&[]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let door = metrics.door(AccessPoint::Api);
                scope.spawn(move || (0..1_000).for_each(|_| door.answered(200)));
            }
        });
        assert_eq!(
            value(&metrics.render(), "latchkey_answers_total{door=\"api\",status=\"2xx\"}"),
            Some(4_000)
        );
    }

    #[test]
    fn a_connection_may_end_in_another_thread_than_it_began_in() {
        let metrics = Metrics::new(&[]);
        metrics.door(AccessPoint::Api).connection_opened();
        metrics.door(AccessPoint::Api).connection_closed();
        assert_eq!(value(&metrics.render(), "latchkey_connections{door=\"api\"}"), Some(0));
    }

    #[test]
    fn answers_are_counted_by_class_and_what_is_none_is_not() {
        let metrics = Metrics::new(&[]);
        let door = metrics.door(AccessPoint::IsProxy);
        for status in [0, 99, 100, 101, 204, 304, 400, 499, 503, 599, 600, u16::MAX] {
            door.answered(status);
        }
        for (status, times) in [(100, 5), (400, 0), (600, 7)] {
            door.answered_times(status, times);
        }
        let text = metrics.render();
        for (class, expected) in [("1xx", 7), ("2xx", 1), ("3xx", 1), ("4xx", 2), ("5xx", 2)] {
            let series = format!("latchkey_answers_total{{door=\"isproxy\",status=\"{class}\"}}");
            assert_eq!(value(&text, &series), Some(expected), "{class}");
        }
    }

    #[test]
    fn denials_are_counted_by_reason_and_unnamed_ones_together() {
        let metrics = Metrics::new(&["unknown_key", "key_expired"]);
        let door = metrics.door(AccessPoint::Api);
        door.denied("key_expired");
        door.denied("key_expired");
        door.denied("full_moon");
        let text = metrics.render();
        for (reason, expected) in [("unknown_key", 0), ("key_expired", 2), ("other", 1)] {
            let series = format!("latchkey_denials_total{{door=\"api\",reason=\"{reason}\"}}");
            assert_eq!(value(&text, &series), Some(expected), "{reason}");
        }
        assert!(!text.contains("full_moon"));
    }

    #[test]
    fn every_series_is_there_from_the_start_and_none_joins() {
        let metrics = Metrics::new(&["unknown_key"]);
        let names = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
        };
        let before = names(&metrics.render());
        let door = metrics.door(AccessPoint::Api);
        door.connection_opened();
        door.answered(418);
        door.denied("unknown_key");
        door.denied("something else");
        door.decided(Duration::from_micros(2));
        door.added_latency(Duration::from_micros(50));
        metrics.set_readiness("ready");
        metrics.set_connections_limit(9);
        metrics.set_index(1, 2, Revision(3));
        metrics.set_access_log_dropped_lines(4);
        metrics.unkept_refusals().add(5);
        metrics.uncounted_uses().add(6);
        assert_eq!(names(&metrics.render()), before);
        // By door, and of the console, 2 connections, 5 answers, 2 reasons; decisions at 2 doors and the added latency of
        // one, with 13 buckets, sum and count; then 7 single ones, 5 states, 2 outcomes of reloads, 3 of swaps, 2 of
        // spans, the build, and 3 of the process.
        assert_eq!(before.len(), 3 * (2 + 5 + 2) + (2 + 1) * 15 + 7 + 5 + 2 + 3 + 2 + 1 + 3);
    }

    #[test]
    fn times_of_threads_are_added_up_in_buckets_that_hold_those_below() {
        let metrics = Metrics::default();
        for _ in 0..2 {
            let door = metrics.door(AccessPoint::Api);
            door.decided(Duration::from_micros(2));
            door.decided(Duration::from_secs(5));
            door.added_latency(Duration::from_micros(70));
        }
        let text = metrics.render();
        // The bound stands first, as a number that can be written in several ways.
        let bucket = |name: &str, bound: f64| -> Option<u64> {
            let rest = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{le=\""));
            let of_door = rest.filter_map(|rest| rest.split_once("\",door=\"api\"} "));
            let mut found = of_door.filter(|(le, _)| le.parse() == Ok(bound));
            found.next().map(|(_, count)| count.parse().unwrap())
        };
        assert_eq!(value(&text, "latchkey_decision_seconds_count{door=\"api\"}"), Some(4));
        assert_eq!(value(&text, "latchkey_decision_seconds_count{door=\"isproxy\"}"), Some(0));
        for (bound, expected) in [(1e-6, 0), (3e-6, 2), (0.3, 2), (f64::INFINITY, 4)] {
            assert_eq!(bucket("latchkey_decision_seconds", bound), Some(expected), "{bound} in\n{text}");
        }
        for (bound, expected) in [(3e-5, 0), (1e-4, 2)] {
            assert_eq!(bucket("latchkey_added_latency_seconds", bound), Some(expected), "{bound} in\n{text}");
        }
        assert!(text.contains("latchkey_added_latency_seconds_sum{door=\"api\"} 0.00014\n"), "{text}");
    }

    #[test]
    fn of_the_states_of_readiness_one_is_shown() {
        let metrics = Metrics::default();
        for state in READINESS {
            metrics.set_readiness(state);
            let text = metrics.render();
            for other in READINESS {
                let series = format!("latchkey_readiness{{state=\"{other}\"}}");
                assert_eq!(value(&text, &series), Some(u64::from(other == state)), "{series} in {state}");
            }
        }
    }

    #[test]
    fn what_others_feed_is_shown() {
        let metrics = Metrics::default();
        metrics.set_index(10_000, 12, Revision(345));
        metrics.set_connections_limit(10_000);
        metrics.set_access_log_dropped_lines(7);
        metrics.set_access_log_dropped_lines(6);
        metrics.unkept_refusals().add(3);
        metrics.unkept_refusals().add(2);
        metrics.uncounted_uses().add(6);
        let text = metrics.render();
        assert_eq!(value(&text, "latchkey_keys"), Some(10_000));
        assert_eq!(value(&text, "latchkey_users"), Some(12));
        assert_eq!(value(&text, "latchkey_feed_revision"), Some(345));
        assert_eq!(value(&text, "latchkey_connections_limit"), Some(10_000));
        assert_eq!(value(&text, "latchkey_access_log_dropped_lines_total"), Some(7));
        assert_eq!(value(&text, "latchkey_unkept_refusals_total"), Some(5));
        assert_eq!(value(&text, "latchkey_uncounted_uses_total"), Some(6));
        let build = format!("latchkey_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&text, &build), Some(1));
    }

    #[test]
    fn reloads_and_the_connections_of_threads_are_shown() {
        let metrics = Metrics::default();
        let threads = [metrics.thread(0), metrics.thread(1)];
        threads[1].connection_opened();
        threads[1].connection_opened();
        threads[1].connection_closed();
        metrics.config_reloaded(ReloadOutcome::Refused);
        let text = metrics.render();
        assert_eq!(value(&text, "latchkey_thread_connections{thread=\"0\"}"), Some(0));
        assert_eq!(value(&text, "latchkey_thread_connections{thread=\"1\"}"), Some(1));
        assert_eq!(value(&text, "latchkey_config_reloads_total{outcome=\"refused\"}"), Some(1));
        assert_eq!(value(&text, "latchkey_config_reloads_total{outcome=\"applied\"}"), Some(0));
        metrics.binary_swapped(SwapOutcome::Failed);
        let text = metrics.render();
        assert_eq!(value(&text, "latchkey_binary_swaps_total{outcome=\"failed\"}"), Some(1));
        assert_eq!(value(&text, "latchkey_binary_swaps_total{outcome=\"taken_over\"}"), Some(0));
    }

    #[test]
    fn the_text_is_openmetrics() {
        let metrics = Metrics::default();
        let _server = metrics.upstream_server("registry", "http://a:80");
        let _thread = metrics.thread(0);
        let text = metrics.render();
        assert!(text.ends_with("# EOF\n"));
        let families: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mut once = families.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), families.len(), "{families:?}");
        for family in families {
            assert!(text.contains(&format!("# HELP {family} ")), "{family}");
        }
    }
}
