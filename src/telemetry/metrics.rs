//! Counters and gauges, registered once, read by `/metrics`.
//!
//! Each door thread counts in a set of its own, so that the hot path shares no cache line between cores and looks
//! nothing up; the sets are added up when somebody reads. Which series exist is fixed at the start: nothing that a
//! peer sends becomes a label.

mod exposition;
mod process;
mod spans;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::process::ThisProcess;
pub use self::spans::SpanCounts;
use crate::model::{AccessPoint, Revision};

/// 1xx to 5xx.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Counts refusals for a reason that was not named at the start.
const OTHER_REASON: &str = "other";

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
    thread_connections: Family<[(&'static str, String); 1], Gauge>,
    config_reloads: Family<[(&'static str, &'static str); 1], Counter>,
}

/// Counts refusals that `latchkey explain` will not find; clones count into the same counter.
#[derive(Clone, Debug, Default)]
pub struct UnkeptRefusals(Counter);

/// Counts requests and refusals that are missing from the usage of keys and users; clones count into the same counter.
#[derive(Clone, Debug, Default)]
pub struct UncountedUses(Counter);

/// Whether one server of an upstream is asked; clones show the same. It is shown while one of them lives.
#[derive(Clone, Debug)]
pub struct UpstreamGauge(Arc<AtomicBool>);

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

/// The servers of all upstreams that somebody holds a gauge of, in the order they were asked for.
#[derive(Debug, Default)]
struct ShownServers(Mutex<Vec<ShownServer>>);

#[derive(Clone, Debug)]
struct ShownServer {
    upstream: String,
    server: String,
    healthy: Weak<AtomicBool>,
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
            thread_connections,
            config_reloads,
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
        let healthy = Arc::new(AtomicBool::new(false));
        let mut servers = self.upstream_servers.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.healthy.strong_count() > 0);
        servers.push(ShownServer {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            healthy: Arc::downgrade(&healthy),
        });
        UpstreamGauge(healthy)
    }

    /// The gauge of the door thread `number`, counted from 0. Asked for once each, at the start.
    pub fn thread(&self, number: usize) -> ThreadGauge {
        ThreadGauge(self.thread_connections.get_or_create(&[("thread", number.to_string())]).clone())
    }

    /// A configuration was read again.
    pub fn config_reloaded(&self, outcome: ReloadOutcome) {
        self.config_reloads.get_or_create(&outcome.labels()).inc();
    }

    /// A new set of counts for `door`. Each door thread asks for one once, at its start, and so does the console.
    pub fn door(&self, door: impl Into<AccessPoint>) -> DoorMetrics {
        let reasons = Arc::clone(&self.doors.reasons);
        let counts = Arc::new(DoorCounts {
            connections_opened: AtomicU64::new(0),
            connections_closed: AtomicU64::new(0),
            answers: Default::default(),
            denials: reasons.iter().map(|_| AtomicU64::new(0)).collect(),
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
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(answers) = class.and_then(|class| self.counts.answers.get(class)) {
            count(answers);
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

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
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
        let text = metrics.render();
        for (class, expected) in [("1xx", 2), ("2xx", 1), ("3xx", 1), ("4xx", 2), ("5xx", 2)] {
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
        metrics.set_index(1, 2, Revision(3));
        metrics.set_access_log_dropped_lines(4);
        metrics.unkept_refusals().add(5);
        metrics.uncounted_uses().add(6);
        assert_eq!(names(&metrics.render()), before);
        // By door, and of the console, 2 connections, 5 answers, 2 reasons; then 6 single ones, 2 outcomes of reloads, the
        // build, and 3 of the process.
        assert_eq!(before.len(), 3 * (2 + 5 + 2) + 6 + 2 + 1 + 3);
    }

    #[test]
    fn what_others_feed_is_shown() {
        let metrics = Metrics::default();
        metrics.set_index(10_000, 12, Revision(345));
        metrics.set_access_log_dropped_lines(7);
        metrics.set_access_log_dropped_lines(6);
        metrics.unkept_refusals().add(3);
        metrics.unkept_refusals().add(2);
        metrics.uncounted_uses().add(6);
        let text = metrics.render();
        assert_eq!(value(&text, "latchkey_keys"), Some(10_000));
        assert_eq!(value(&text, "latchkey_users"), Some(12));
        assert_eq!(value(&text, "latchkey_feed_revision"), Some(345));
        assert_eq!(value(&text, "latchkey_access_log_dropped_lines_total"), Some(7));
        assert_eq!(value(&text, "latchkey_unkept_refusals_total"), Some(5));
        assert_eq!(value(&text, "latchkey_uncounted_uses_total"), Some(6));
        let build = format!("latchkey_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&text, &build), Some(1));
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
