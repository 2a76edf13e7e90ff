//! A bar chart of requests and refusals as inline SVG, with the same figures as a table below it.
//!
//! Pure: buckets in, markup out. Sizes are integers of the drawing's own units, colours are the style sheet's, and
//! refusals are hatched and outlined, so that nothing is told by colour alone. Which buckets there are is the caller's
//! matter. Used by the page of a user and by the usage overview.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::figures::{grouped, round_up};

/// Units from the base line to the top of the drawing; the style sheet makes a unit one pixel high.
const HEIGHT: u64 = 120;
/// Units from the beginning of one bucket to that of the next.
const SLOT: u64 = 20;
/// Units of a bar.
const BAR: u64 = 14;

/// What was counted in one hour or one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When, in words: `14:00` or `3 Nov`.
    pub label: String,
    /// Requests that were let through.
    pub requests: u64,
    /// Requests that were refused.
    pub refusals: u64,
}

impl Bucket {
    fn total(&self) -> u64 {
        self.requests.saturating_add(self.refusals)
    }

    fn requests_text(&self) -> String {
        grouped(self.requests)
    }

    fn refusals_text(&self) -> String {
        grouped(self.refusals)
    }
}

/// A chart, ready to be shown: a template prints it with `{{ chart }}`.
#[derive(Debug, Template)]
#[template(path = "console/parts/chart.html")]
pub struct Chart {
    /// Tells the parts of one chart of a page from those of another: letters, digits and `-`.
    id: String,
    title: String,
    /// The head of the table's first column: `Hour` or `Day`.
    unit: String,
    buckets: Vec<Bucket>,
}

/// A rectangle in the drawing's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rectangle {
    x: u64,
    y: u64,
    height: u64,
}

/// The two parts of a bar: refusals stand on the requests that were let through.
struct Bar<'a> {
    bucket: &'a Bucket,
    requests: Rectangle,
    refusals: Rectangle,
}

impl Chart {
    /// A chart of `buckets`, the oldest first. `id` becomes part of element ids: letters, digits and `-`.
    pub fn new(id: &str, title: &str, unit: &str, buckets: Vec<Bucket>) -> Self {
        let id = id.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        Self { id, title: title.to_owned(), unit: unit.to_owned(), buckets }
    }

    /// Was anything counted at all?
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.total() == 0)
    }

    /// What it shows.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn width(&self) -> u64 {
        SLOT.saturating_mul(u64::try_from(self.buckets.len()).unwrap_or(u64::MAX)).max(SLOT)
    }

    /// The round figure at the top of the axis.
    fn top(&self) -> u64 {
        round_up(self.buckets.iter().map(Bucket::total).max().unwrap_or(0))
    }

    fn top_text(&self) -> String {
        grouped(self.top())
    }

    fn half_text(&self) -> String {
        grouped(self.top() / 2)
    }

    fn bars(&self) -> Vec<Bar<'_>> {
        let top = self.top();
        let bar = |(x, bucket)| {
            let requests = scaled(bucket, bucket.requests, top);
            let refusals = scaled(bucket, bucket.refusals, top);
            let rectangle = |above: u64, height: u64| Rectangle {
                x,
                y: HEIGHT.saturating_sub(above).saturating_sub(height),
                height,
            };
            Bar { bucket, requests: rectangle(0, requests), refusals: rectangle(requests, refusals) }
        };
        let beginnings = (0..).map(|position: u64| position * SLOT + (SLOT - BAR) / 2);
        beginnings.zip(&self.buckets).map(bar).collect()
    }

    /// The labels below the axis: first, middle and last.
    fn labels(&self) -> Vec<&str> {
        let last = self.buckets.len().saturating_sub(1);
        let shown = if last < 2 { vec![0, last] } else { vec![0, last / 2, last] };
        shown.into_iter().filter_map(|place| self.buckets.get(place)).map(|b| b.label.as_str()).collect()
    }

    /// What a listener hears instead of the drawing.
    fn summary(&self) -> String {
        let requests = self.buckets.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.requests));
        let refusals = self.buckets.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.refusals));
        let busiest = self.buckets.iter().max_by_key(|bucket| bucket.total());
        match busiest {
            Some(busiest) if busiest.total() > 0 => format!(
                "{} requests let through and {} refused. Most at {}: {} and {}.",
                grouped(requests),
                grouped(refusals),
                busiest.label,
                grouped(busiest.requests),
                grouped(busiest.refusals)
            ),
            _ => String::from("No requests."),
        }
    }
}

/// [`Chart`] prints the markup of its own template, which escapes what it is given.
impl HtmlSafe for Chart {}

/// The height of `value` within an axis that ends at `top`; what is not zero is seen.
fn scaled(bucket: &Bucket, value: u64, top: u64) -> u64 {
    if value == 0 || top == 0 {
        return 0;
    }
    let height = u128::from(HEIGHT) * u128::from(value) / u128::from(top.max(bucket.total()));
    u64::try_from(height).unwrap_or(HEIGHT).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(label: &str, requests: u64, refusals: u64) -> Bucket {
        Bucket { label: label.to_owned(), requests, refusals }
    }

    #[test]
    fn refusals_stand_on_requests_and_the_smallest_figure_is_seen() {
        let chart = Chart::new("c", "t", "Hour", vec![bucket("a", 100, 100), bucket("b", 0, 1)]);
        let bars = chart.bars();
        assert_eq!(bars[0].requests, Rectangle { x: 3, y: 60, height: 60 });
        assert_eq!(bars[0].refusals, Rectangle { x: 3, y: 0, height: 60 });
        assert_eq!(bars[1].requests.height, 0);
        assert_eq!(bars[1].refusals, Rectangle { x: 23, y: 118, height: 2 });
    }

    #[test]
    fn a_chart_speaks_to_those_who_do_not_see_it_and_has_a_table() {
        let chart = Chart::new(
            "usage",
            "Requests <today>",
            "Hour",
            vec![bucket("13:00", 1200, 3), bucket("14:00", 5, 0)],
        );
        let html = chart.render().unwrap();
        assert!(html.contains("<title id=\"usage-title\">Requests &#60;today&#62;</title>"), "{html}");
        assert!(html.contains("1,205 requests let through and 3 refused. Most at 13:00: 1,200 and 3."));
        assert!(html.contains("<details") && html.contains("<caption"));
        assert!(html.contains("url(#usage-hatch)"));
        assert!(!html.contains("style="));
    }

    #[test]
    fn extreme_figures_and_no_figures_are_drawn_too() {
        let nothing = Chart::new("c", "t", "Day", Vec::new());
        assert!(nothing.is_empty());
        assert!(nothing.render().unwrap().contains("No requests."));
        let chart = Chart::new("c", "t", "Day", vec![bucket("a", u64::MAX, u64::MAX)]);
        let bar = &chart.bars()[0];
        assert!(bar.requests.height + bar.refusals.height <= 2 * HEIGHT);
        assert!(!chart.is_empty());
    }
}
