//! Welch's t-test for two samples of times, and the row that tells of it.

use std::fmt;
use std::time::Duration;

/// From here on times differ, by dudect's measure.
pub const LIMIT: f64 = 4.5;
/// Medians of what takes milliseconds may be so far apart instead (S38).
const MEDIANS: f64 = 0.02;

/// Times of one kind, in nanoseconds.
#[derive(Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_nanos() as f64);
    }

    /// Without the slowest tenth.
    fn cropped(&self) -> Vec<f64> {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times.truncate(times.len() * 9 / 10);
        times
    }
}

/// What two samples say.
pub struct Row {
    pub name: String,
    pub t: f64,
    pub medians: [f64; 2],
    /// Is it there to show that a difference is seen?
    pub must_differ: bool,
    /// Are medians that are close enough?
    pub medians_count: bool,
}

impl Row {
    pub fn new(name: &str, one: &Sample, other: &Sample) -> Self {
        let (one, other) = (one.cropped(), other.cropped());
        let medians = [&one, &other].map(|times| times[times.len() / 2]);
        Self {
            name: name.to_owned(),
            t: welch(&one, &other),
            medians,
            must_differ: false,
            medians_count: false,
        }
    }

    pub fn is_right(&self) -> bool {
        let [one, other] = self.medians;
        let close = self.medians_count && (one - other).abs() <= MEDIANS * one.min(other);
        (self.t.abs() > LIMIT && !close) == self.must_differ
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.medians;
        let verdict = match (self.is_right(), self.must_differ) {
            (true, false) => "tells nothing",
            (true, true) => "found",
            (false, false) => "DIFFERS",
            (false, true) => "NOT FOUND",
        };
        write!(formatter, "{:<64} {:>8.2} {one:>12.0} {other:>12.0} ns  {verdict}", self.name, self.t)
    }
}

fn welch(one: &[f64], other: &[f64]) -> f64 {
    let [(mean_one, spread_one), (mean_other, spread_other)] = [one, other].map(|times| {
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (mean_one - mean_other) / (spread_one + spread_other).sqrt()
}
