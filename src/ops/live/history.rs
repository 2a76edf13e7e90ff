//! What was measured in the last ten minutes: a sample every two seconds for the plots, and all counts twice a minute for
//! what is told of a minute.
//!
//! Both are rings of a fixed length, some 50 KiB together. Knows no clock: when a reading was taken is told with it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::words::tenths_per_second;
use crate::model::AccessPoint;
use crate::telemetry::{Amount, Reading};

/// Samples that are kept: ten minutes of them.
pub(super) const SAMPLES: usize = 300;
/// Every so many samples all counts are kept, twice a minute.
const SAMPLES_A_READING: usize = 15;
const READINGS_A_MINUTE: usize = 2;
/// Minutes of readings.
const MINUTES: usize = 10;
const READINGS: usize = MINUTES * READINGS_A_MINUTE + 1;

/// One point of each plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Answers a second at the doors, in tenths.
    pub(super) answers: u64,
    /// Refused credentials a second, in tenths.
    pub(super) denials: u64,
    /// The median of what was added to requests, in nanoseconds; `None`: there were none.
    pub(super) added_half: Option<Amount>,
    /// What 99 of 100 did not exceed.
    pub(super) added_most: Option<Amount>,
    /// The same of what upstreams took.
    pub(super) upstream_half: Option<Amount>,
    /// The same.
    pub(super) upstream_most: Option<Amount>,
    /// Open connections.
    pub(super) open_connections: u64,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    /// The counts at its beginning.
    pub(super) earlier: &'a Reading,
    /// The counts at its end.
    pub(super) later: &'a Reading,
    /// How long it is.
    pub(super) length: Duration,
}

/// The rings.
#[derive(Debug)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    /// The oldest first.
    readings: VecDeque<Read>,
    last: Read,
    samples_since_reading: usize,
}

#[derive(Clone, Debug)]
struct Read {
    at: Instant,
    reading: Reading,
}

impl History {
    /// Begins `at`, with what was counted before.
    pub(super) fn new(at: Instant, reading: Reading) -> Self {
        let first = Read { at, reading };
        Self {
            samples: VecDeque::with_capacity(SAMPLES),
            readings: VecDeque::from([first.clone()]),
            last: first,
            samples_since_reading: 0,
        }
    }

    /// Takes a reading in, which was taken `at`, later than those before.
    pub(super) fn record(&mut self, at: Instant, reading: Reading) {
        let read = Read { at, reading };
        let sample = Sample::of(span(&self.last, &read));
        push_bounded(&mut self.samples, sample, SAMPLES);
        self.samples_since_reading += 1;
        if self.samples_since_reading >= SAMPLES_A_READING {
            self.samples_since_reading = 0;
            push_bounded(&mut self.readings, read.clone(), READINGS);
        }
        self.last = read;
    }

    /// The samples, the oldest first.
    pub(super) const fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }

    /// The last minute, or a little more, up to the last sample; at first, all since the start.
    pub(super) fn last_minute(&self) -> Span<'_> {
        let minute_ago = self.readings.iter().rev().nth(READINGS_A_MINUTE).or_else(|| self.readings.front());
        span(minute_ago.unwrap_or(&self.last), &self.last)
    }

    /// The last minutes, the latest first; each ends where a reading was kept.
    pub(super) fn minutes(&self) -> Vec<Span<'_>> {
        let ends: Vec<&Read> = self.readings.iter().rev().step_by(READINGS_A_MINUTE).collect();
        ends.iter().zip(ends.iter().skip(1)).map(|(later, earlier)| span(earlier, later)).collect()
    }
}

fn span<'a>(earlier: &'a Read, later: &'a Read) -> Span<'a> {
    Span {
        earlier: &earlier.reading,
        later: &later.reading,
        length: later.at.saturating_duration_since(earlier.at),
    }
}

fn push_bounded<T>(ring: &mut VecDeque<T>, new: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(new);
}

impl Sample {
    fn of(span: Span<'_>) -> Self {
        let added = span.later.added_latency().since(&span.earlier.added_latency());
        let upstream = span.later.upstream_times_since(span.earlier);
        Self {
            answers: span.tenths_of(answers),
            denials: span.tenths_of(denials),
            added_half: added.quantile(500),
            added_most: added.quantile(990),
            upstream_half: upstream.quantile(500),
            upstream_most: upstream.quantile(990),
            open_connections: span.later.open_connections(),
        }
    }
}

impl Span<'_> {
    /// How often what `count` counts happened a second, in tenths.
    pub(super) fn tenths_of(&self, count: impl Fn(&Reading) -> u64) -> u64 {
        tenths_per_second(count(self.later).saturating_sub(count(self.earlier)), self.length)
    }
}

/// Answers at the doors since the start; the console is none of them.
pub(super) fn answers(reading: &Reading) -> u64 {
    let doors = reading.doors.iter().filter(|(door, _)| *door != AccessPoint::Console);
    doors.flat_map(|(_, read)| read.answers).sum()
}

/// Refused credentials since the start.
pub(super) fn denials(reading: &Reading) -> u64 {
    reading.denials().iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn record_many(history: &mut History, metrics: &Metrics, count: usize) {
        let mut at = history.last.at;
        let door = metrics.door(AccessPoint::Api);
        for _ in 0..count {
            at += Duration::from_secs(2);
            door.answered(200);
            door.added_latency(Duration::from_micros(20));
            history.record(at, metrics.read());
        }
    }

    #[test]
    fn rings_keep_ten_minutes_and_no_more() {
        let metrics = Metrics::default();
        let mut history = History::new(Instant::now(), metrics.read());
        record_many(&mut history, &metrics, 2 * SAMPLES);
        assert_eq!((history.samples().len(), history.readings.len()), (SAMPLES, READINGS));
        let minutes = history.minutes();
        assert_eq!(minutes.len(), MINUTES);
        assert!(minutes.iter().all(|minute| minute.length == Duration::from_mins(1)));
        assert!(minutes.iter().all(|minute| minute.tenths_of(answers) == 5));
    }

    #[test]
    fn a_sample_holds_what_happened_since_the_one_before() {
        let metrics = Metrics::new(&["unknown_key"]);
        let start = Instant::now();
        let door = metrics.door(AccessPoint::Api);
        door.answered(200);
        let mut history = History::new(start, metrics.read());
        metrics.door(AccessPoint::Console).answered(200);
        door.answered(401);
        door.denied("unknown_key");
        door.connection_opened();
        history.record(start + Duration::from_secs(2), metrics.read());
        history.record(start + Duration::from_secs(4), metrics.read());
        let quiet = Sample {
            answers: 0,
            denials: 0,
            added_half: None,
            added_most: None,
            upstream_half: None,
            upstream_most: None,
            open_connections: 1,
        };
        assert_eq!(history.samples()[0], Sample { answers: 5, denials: 5, ..quiet.clone() });
        assert_eq!(history.samples()[1], quiet);
    }

    #[test]
    fn the_last_minute_is_all_there_is_at_first_and_a_minute_later() {
        let metrics = Metrics::default();
        let mut history = History::new(Instant::now(), metrics.read());
        assert_eq!(history.last_minute().length, Duration::ZERO);
        assert!(history.minutes().is_empty());
        record_many(&mut history, &metrics, 10);
        assert_eq!(history.last_minute().length, Duration::from_secs(20));
        record_many(&mut history, &metrics, 100);
        let length = history.last_minute().length;
        assert!((60..90).contains(&length.as_secs()), "{length:?}");
        assert_eq!(history.last_minute().tenths_of(answers), 5);
    }
}
