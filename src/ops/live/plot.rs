//! Lines over the last ten minutes as inline SVG, with words for whoever does not see them.
//!
//! Pure: values in, markup out. Sizes are integers of the drawing's own units, colours are the style sheet's, and the
//! second line is dashed, so that nothing is told by colour alone. The same figures stand in the table of minutes.

use std::fmt::Write;

use askama::Template;

use super::history::SAMPLES;
use super::words::{amount_text, tenths_text, time_text};
use crate::figures::{grouped, round_up};
use crate::telemetry::Amount;

/// Units from the base line to the top of the drawing.
const HEIGHT: u64 = 120;
/// Units from one sample to the next.
const STEP: usize = 2;
/// Units of the whole drawing; the newest sample stands at its right edge.
const WIDTH: usize = (SAMPLES - 1) * STEP;

/// What the values of a plot are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// How often a second, in tenths.
    TenthsPerSecond,
    /// Nanoseconds.
    Time,
    /// Pieces.
    Count,
}

/// One line: its name in words, and a value for each sample, the oldest first; `None`: nothing was measured.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: &'static str,
    values: Vec<Option<Amount>>,
}

/// A drawing of one or two lines.
#[derive(Debug, Template)]
#[template(path = "live/plot.html")]
pub(super) struct Plot {
    /// Tells its parts from those of another: letters and `-`.
    id: &'static str,
    title: &'static str,
    unit: Unit,
    lines: Vec<Line>,
}

impl Line {
    /// A line of `values`.
    pub(super) fn new(name: &'static str, values: impl Iterator<Item = Option<Amount>>) -> Self {
        Self { name, values: values.collect() }
    }

    fn most(&self) -> Option<Amount> {
        self.values.iter().flatten().copied().max()
    }

    fn last(&self) -> Option<Amount> {
        self.values.iter().rev().flatten().next().copied()
    }

    /// The `d` of an SVG path; where nothing was measured the line is broken, and a lone value is a dot.
    fn path(&self, top: u64) -> String {
        let mut path = String::new();
        let mut is_drawn = false;
        let beginning = SAMPLES.saturating_sub(self.values.len());
        for (place, value) in self.values.iter().enumerate() {
            let Some(value) = value else {
                is_drawn = false;
                continue;
            };
            let (x, y) = ((beginning + place) * STEP, HEIGHT - scaled(value.at_least(), top));
            // A `String` takes every text.
            let _ = if is_drawn { write!(path, "L{x} {y}") } else { write!(path, "M{x} {y}h0") };
            is_drawn = true;
        }
        path
    }
}

impl Plot {
    /// A drawing with this `title`.
    pub(super) const fn new(id: &'static str, title: &'static str, unit: Unit, lines: Vec<Line>) -> Self {
        Self { id, title, unit, lines }
    }

    /// The round figure at the top of the axis.
    fn top(&self) -> u64 {
        let most = self.lines.iter().filter_map(Line::most).max().map_or(0, Amount::at_least);
        let grain = self.unit.grain(most);
        round_up(most.div_ceil(grain)).saturating_mul(grain)
    }

    fn top_text(&self) -> String {
        self.unit.text(self.top())
    }

    fn half_text(&self) -> String {
        self.unit.text(self.top() / 2)
    }

    fn last_text(&self, line: &Line) -> String {
        self.unit.amount_text(line.last())
    }

    /// What a listener hears instead of the drawing.
    fn summary(&self) -> String {
        let told = self.lines.iter().map(|line| match line.most() {
            None => format!("{}: nothing was measured.", line.name),
            Some(most) => format!(
                "{}: {} at last, {} at most.",
                line.name,
                self.unit.amount_text(line.last()),
                self.unit.amount_text(Some(most))
            ),
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

impl Unit {
    /// What an axis is divided into, so that its labels are round.
    const fn grain(self, most: u64) -> u64 {
        match self {
            Self::TenthsPerSecond => 10,
            Self::Count => 1,
            Self::Time if most < 1_000_000 => 1_000,
            Self::Time if most < 1_000_000_000 => 1_000_000,
            Self::Time => 1_000_000_000,
        }
    }

    fn text(self, value: u64) -> String {
        match self {
            Self::Time => time_text(value),
            Self::TenthsPerSecond => tenths_text(value),
            Self::Count => grouped(value),
        }
    }

    fn amount_text(self, amount: Option<Amount>) -> String {
        amount_text(amount, |value| self.text(value))
    }
}

/// The height of `value` within an axis that ends at `top`.
fn scaled(value: u64, top: u64) -> u64 {
    let height = u128::from(HEIGHT) * u128::from(value.min(top)) / u128::from(top.max(1));
    u64::try_from(height).unwrap_or(HEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[Option<u64>]) -> Line {
        Line::new("Values", values.iter().map(|value| value.map(Amount::Known)))
    }

    #[test]
    fn the_newest_value_stands_at_the_right_edge_and_gaps_break_the_line() {
        let path = line(&[Some(0), Some(10), None, Some(5)]).path(10);
        assert_eq!(path, "M592 120h0L594 0M598 60h0");
        let full = line(&[Some(1); SAMPLES]).path(1);
        assert!(full.starts_with("M0 0h0L2 0") && full.ends_with(&format!("L{WIDTH} 0")), "{full}");
        assert_eq!(line(&[]).path(10), "");
    }

    #[test]
    fn axes_end_at_round_figures_of_their_unit() {
        for (unit, most, top, half) in [
            (Unit::TenthsPerSecond, 5, "4.0", "2.0"),
            (Unit::TenthsPerSecond, 1_234, "200", "100"),
            (Unit::Count, 0, "4", "2"),
            (Unit::Time, 350_000, "400 µs", "200 µs"),
            (Unit::Time, 2_500_000, "4.0 ms", "2.0 ms"),
            (Unit::Time, 30_000_000_000, "40.0 s", "20.0 s"),
        ] {
            let plot = Plot::new("p", "t", unit, vec![line(&[Some(most)])]);
            assert_eq!((plot.top_text(), plot.half_text()), (top.to_owned(), half.to_owned()), "{most}");
        }
    }

    #[test]
    fn a_plot_speaks_to_those_who_do_not_see_it() {
        let lines = vec![line(&[Some(70), Some(20)]), Line::new("Others", [None].into_iter())];
        let html = Plot::new("answers", "Answers", Unit::TenthsPerSecond, lines).render().unwrap();
        assert!(html.contains("Values: 2.0 at last, 7.0 at most. Others: nothing was measured."), "{html}");
        assert!(html.contains("role=\"img\"") && html.contains("id=\"answers-title\""), "{html}");
        assert!(!html.contains("style=") && !html.contains("fill=\"#"), "{html}");
    }

    #[test]
    fn what_is_longer_than_can_be_told_is_said_to_be() {
        let values = [Some(Amount::MoreThan(30_000_000_000)), Some(Amount::Known(4_000_000_000))];
        let plot = Plot::new("p", "t", Unit::Time, vec![Line::new("Values", values.into_iter())]);
        assert_eq!(
            (plot.summary().as_str(), plot.top_text().as_str()),
            ("Values: 4.0 s at last, > 30 s at most.", "40.0 s")
        );
    }

    #[test]
    fn extreme_values_are_drawn_too() {
        let plot = Plot::new("p", "t", Unit::Count, vec![line(&[Some(u64::MAX), Some(0)])]);
        assert!(plot.render().unwrap().contains("M596 0h0L598 120"));
    }
}
