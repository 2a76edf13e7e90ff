//! The live page's figures: what stands at the top, and the tables of doors, upstreams, refusals and minutes.
//!
//! Each is a template of its own, in words already, so that the page and its events show the same. Made by `page`.

use std::time::Duration;

use askama::Template;

use super::history::{Span, answers, denials};
use super::words::{amount_text, span_text, tenths_per_second, tenths_text, time_text};
use crate::figures::grouped;
use crate::model::AccessPoint;
use crate::ops::Readiness;
use crate::telemetry::{DoorReading, Reading, Times};

/// A median and what 99 of 100 did not exceed, in words.
#[derive(Debug)]
pub(super) struct Quantiles {
    half: String,
    most: String,
}

/// What is told first.
#[derive(Debug, Template)]
#[template(path = "live/now.html")]
pub(super) struct Now {
    state: String,
    store: String,
    version: &'static str,
    uptime: String,
    answers: String,
    denials: String,
    connections: String,
    added: Quantiles,
    upstream: Quantiles,
    keys: String,
    users: String,
    feed_revision: String,
}

/// The doors, and the console.
#[derive(Debug, Template)]
#[template(path = "live/doors.html")]
pub(super) struct Doors {
    rows: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    name: &'static str,
    open: String,
    accepted: String,
    answers: String,
    decisions: Quantiles,
}

/// Upstreams with their servers.
#[derive(Debug, Template)]
#[template(path = "live/upstreams.html")]
pub(super) struct Upstreams {
    rows: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    name: String,
    answers: String,
    times: Quantiles,
    /// Their names, and what is to be said of each.
    servers: Vec<(String, &'static str)>,
}

/// Refused credentials, the most frequent first.
#[derive(Debug, Template)]
#[template(path = "live/refusals.html")]
pub(super) struct Refusals {
    rows: Vec<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    reason: &'static str,
    lately: String,
    in_all: String,
}

/// The last minutes, the latest first.
#[derive(Debug, Template)]
#[template(path = "live/minutes.html")]
pub(super) struct Minutes {
    rows: Vec<Minute>,
}

#[derive(Debug)]
struct Minute {
    answers: String,
    denials: String,
    added: Quantiles,
    upstream: Quantiles,
    connections: String,
}

impl Quantiles {
    fn of(times: &Times) -> Self {
        let text = |permille| amount_text(times.quantile(permille), time_text);
        Self { half: text(500), most: text(990) }
    }

    fn added(span: Span<'_>) -> Self {
        Self::of(&span.later.added_latency().since(&span.earlier.added_latency()))
    }

    fn upstream(span: Span<'_>) -> Self {
        Self::of(&span.later.upstream_times_since(span.earlier))
    }
}

impl Now {
    /// The present, and the last minute.
    pub(super) fn new(now: &Reading, lately: Span<'_>, readiness: &Readiness, uptime: Duration) -> Self {
        let connections = grouped(now.open_connections());
        let limit = u64::try_from(now.connections_limit).ok().filter(|limit| *limit > 0);
        Self {
            state: state_text(readiness),
            store: store_text(readiness),
            version: env!("CARGO_PKG_VERSION"),
            uptime: span_text(uptime),
            answers: tenths_text(lately.tenths_of(answers)),
            denials: tenths_text(lately.tenths_of(denials)),
            connections: limit
                .map_or_else(|| connections.clone(), |limit| format!("{connections} of {}", grouped(limit))),
            added: Quantiles::added(lately),
            upstream: Quantiles::upstream(lately),
            keys: grouped(u64::try_from(now.keys).unwrap_or(0)),
            users: grouped(u64::try_from(now.users).unwrap_or(0)),
            feed_revision: grouped(u64::try_from(now.feed_revision).unwrap_or(0)),
        }
    }
}

fn state_text(readiness: &Readiness) -> String {
    let state = readiness.as_str();
    match readiness {
        Readiness::Degraded { reason, .. } | Readiness::Unready(reason) => format!("{state}: {reason}"),
        Readiness::Starting | Readiness::Ready | Readiness::Draining => state.to_owned(),
    }
}

/// How old what decisions are made from may be.
fn store_text(readiness: &Readiness) -> String {
    match readiness {
        Readiness::Starting => String::from("being loaded"),
        Readiness::Ready => String::from("followed"),
        Readiness::Degraded { since, .. } => format!("not followed for {}", span_text(since.elapsed())),
        Readiness::Unready(_) => String::from("away for too long"),
        Readiness::Draining => String::from("no longer needed"),
    }
}

impl Doors {
    /// The doors now, and their last minute.
    pub(super) fn new(now: &Reading, lately: Span<'_>) -> Self {
        Self { rows: now.doors.iter().map(|(door, read)| Door::new(*door, read, lately)).collect() }
    }
}

impl Door {
    fn new(door: AccessPoint, now: &DoorReading, lately: Span<'_>) -> Self {
        let answers = |reading: &Reading| reading.door(door).map_or(0, |read| read.answers.iter().sum());
        let decisions = match (lately.earlier.door(door), lately.later.door(door)) {
            (Some(earlier), Some(later)) => later.decisions.since(&earlier.decisions),
            _ => now.decisions.clone(),
        };
        Self {
            name: match door {
                AccessPoint::Api => "API",
                AccessPoint::IsProxy => "IsProxy",
                AccessPoint::Console => "Console",
            },
            open: grouped(now.open_connections),
            accepted: grouped(now.accepted_connections),
            answers: tenths_text(lately.tenths_of(answers)),
            decisions: Quantiles::of(&decisions),
        }
    }
}

impl Upstreams {
    /// The upstreams now, and their last minute.
    pub(super) fn new(now: &Reading, lately: Span<'_>) -> Self {
        let rows = now.upstreams.iter().map(|upstream| {
            let known = lately.later.upstream(&upstream.name);
            let counted = known.map(|known| known.times_since(lately.earlier));
            let answers = counted.as_ref().map_or(0, Times::count);
            let word = |asked: bool| if asked { "asked" } else { "left out" };
            Upstream {
                name: upstream.name.to_string(),
                answers: tenths_text(tenths_per_second(answers, lately.length)),
                // Where nothing is known of the last minute, it came with a reload a moment ago.
                times: Quantiles::of(counted.as_ref().unwrap_or(&upstream.times)),
                servers: upstream.servers.iter().map(|(name, asked)| (name.clone(), word(*asked))).collect(),
            }
        });
        Self { rows: rows.collect() }
    }
}

impl Refusals {
    /// What was refused since the start, and in the last minute.
    pub(super) fn new(now: &Reading, lately: Span<'_>) -> Self {
        let (earlier, later) = (lately.earlier.denials(), lately.later.denials());
        let in_all = now.denials();
        let counts = now.reasons.iter().zip(in_all).zip(earlier.iter().zip(later));
        let mut refused: Vec<_> = counts
            .map(|((reason, in_all), (earlier, later))| (*reason, later.saturating_sub(*earlier), in_all))
            .filter(|(_, _, in_all)| *in_all > 0)
            .collect();
        refused.sort_by_key(|(_, lately, in_all)| std::cmp::Reverse((*lately, *in_all)));
        let rows = refused.into_iter().map(|(reason, lately, in_all)| Refusal {
            reason,
            lately: grouped(lately),
            in_all: grouped(in_all),
        });
        Self { rows: rows.collect() }
    }
}

impl Minutes {
    /// What is known of these minutes.
    pub(super) fn new(minutes: &[Span<'_>]) -> Self {
        let rows = minutes.iter().map(|minute| Minute {
            answers: tenths_text(minute.tenths_of(answers)),
            denials: tenths_text(minute.tenths_of(denials)),
            added: Quantiles::added(*minute),
            upstream: Quantiles::upstream(*minute),
            connections: grouped(minute.later.open_connections()),
        });
        Self { rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::history::History;
    use super::*;
    use crate::telemetry::Metrics;

    /// A gateway of which two seconds are known.
    fn known() -> (Metrics, History) {
        let metrics = Metrics::new(&["unknown_key", "key_expired"]);
        let start = Instant::now();
        let door = metrics.door(AccessPoint::Api);
        door.denied("key_expired");
        let mut history = History::new(start, metrics.read());
        for _ in 0..10 {
            door.answered(200);
            door.decided(Duration::from_micros(2));
            door.added_latency(Duration::from_micros(90));
        }
        door.denied("unknown_key");
        door.connection_opened();
        metrics.set_connections_limit(10_000);
        history.record(start + Duration::from_secs(2), metrics.read());
        (metrics, history)
    }

    #[test]
    fn the_present_is_told_with_the_limit_and_what_is_amiss() {
        let (metrics, history) = known();
        let now = metrics.read();
        let away = Readiness::Degraded {
            reason: "the store cannot be read".to_owned(),
            since: Instant::now().checked_sub(Duration::from_secs(61)).unwrap(),
        };
        for (readiness, state, store) in [
            (Readiness::Ready, "ready", "followed"),
            (away, "degraded: the store cannot be read", "not followed for 1 min 1 s"),
            (Readiness::Unready("it is old".to_owned()), "unready: it is old", "away for too long"),
            (Readiness::Draining, "draining", "no longer needed"),
        ] {
            let table = Now::new(&now, history.last_minute(), &readiness, Duration::from_secs(75));
            assert_eq!((table.state.as_str(), table.store.as_str()), (state, store));
            let html = table.render().unwrap();
            for told in ["1 of 10,000", "5.0", "1 min 15 s", env!("CARGO_PKG_VERSION")] {
                assert!(html.contains(told), "{told} is missing in {html}");
            }
        }
    }

    #[test]
    fn refusals_come_in_the_order_of_the_last_minute() {
        let (metrics, history) = known();
        let Refusals { rows } = Refusals::new(&metrics.read(), history.last_minute());
        let rows: Vec<_> = rows.iter().map(|row| (row.reason, &*row.lately, &*row.in_all)).collect();
        assert_eq!(rows, [("unknown_key", "1", "1"), ("key_expired", "0", "1")]);
        let quiet = Metrics::default();
        let nothing = History::new(Instant::now(), quiet.read());
        let html = Refusals::new(&quiet.read(), nothing.last_minute()).render().unwrap();
        assert!(html.contains("No credential was refused"), "{html}");
    }

    #[test]
    fn doors_and_upstreams_are_told_by_name() {
        let (metrics, mut history) = known();
        let timer = metrics.upstream_timers("registry").for_thread();
        timer.count(Duration::from_millis(2));
        let gauges = ["http://a:80", "http://b:80"].map(|name| metrics.upstream_server("registry", name));
        gauges[1].set_healthy();
        let now = metrics.read();
        let html = Doors::new(&now, history.last_minute()).render().unwrap();
        for told in ["API", "IsProxy", "Console", "5.0"] {
            assert!(html.contains(told), "{told} is missing in {html}");
        }
        let html = Upstreams::new(&now, history.last_minute()).render().unwrap();
        for told in ["registry", "http://a:80", "left out", "asked"] {
            assert!(html.contains(told), "{told} is missing in {html}");
        }
        history.record(Instant::now() + Duration::from_secs(9), metrics.read());
        assert_eq!(Upstreams::new(&now, history.last_minute()).rows.len(), 1);
    }

    #[test]
    fn an_upstream_that_was_gone_is_told_by_what_it_did_since_it_came_back() {
        let metrics = Metrics::default();
        let start = Instant::now();
        let timer = metrics.upstream_timers("registry").for_thread();
        (0..1_000).for_each(|_| timer.count(Duration::from_secs(2)));
        drop(timer);
        let mut history = History::new(start, metrics.read());
        let timer = metrics.upstream_timers("registry").for_thread();
        (0..10).for_each(|_| timer.count(Duration::from_micros(250)));
        history.record(start + Duration::from_secs(4), metrics.read());
        let Upstreams { rows } = Upstreams::new(&metrics.read(), history.last_minute());
        assert_eq!((rows[0].answers.as_str(), rows[0].times.most.as_str()), ("2.5", "300 µs"));
        let now = Now::new(&metrics.read(), history.last_minute(), &Readiness::Ready, Duration::from_secs(4));
        assert_eq!(now.upstream.most, "300 µs");
    }

    #[test]
    fn what_is_longer_than_can_be_told_is_said_to_be() {
        let metrics = Metrics::default();
        let (start, timer) = (Instant::now(), metrics.upstream_timers("registry").for_thread());
        let mut history = History::new(start, metrics.read());
        timer.count(Duration::from_mins(5));
        history.record(start + Duration::from_secs(2), metrics.read());
        let html = Upstreams::new(&metrics.read(), history.last_minute()).render().unwrap();
        assert!(html.contains("<td>&#62; 30 s</td>"), "{html}");
    }

    #[test]
    fn minutes_are_told_once_there_are_some() {
        let html = Minutes::new(&[]).render().unwrap();
        assert!(html.contains("after a minute"), "{html}");
        let (_metrics, history) = known();
        let html = Minutes::new(&[history.last_minute()]).render().unwrap();
        assert!(html.contains("<caption") && html.contains("5.0"), "{html}");
    }
}
