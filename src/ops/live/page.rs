//! The live page put together: its parts, the page that shows them, and the event that renews them.
//!
//! A part's markup is the same in the page and in the event, so that the script only puts one in the place of the other.
//! Called by `live`.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::SAMPLE_EVERY;
use super::history::{History, Sample};
use super::plot::{Line, Plot, Unit};
use super::tables::{Doors, Minutes, Now, Refusals, Upstreams};
use crate::ops::Readiness;
use crate::telemetry::{Amount, Reading};

/// After so many milliseconds a browser whose connection broke comes back.
const COME_BACK_MILLISECONDS: u32 = 5_000;
/// How often a browser without script reads the page again, in seconds.
const REFRESH_SECONDS: u32 = 10;

/// A section of the page.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Letters and `-`; the script finds the part by it.
    id: &'static str,
    heading: &'static str,
    shape: Shape,
    /// Its markup, which its template has escaped.
    html: String,
}

/// How much room a part takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The whole width; its parts stand where there is room.
    Figures,
    /// A column.
    Plot,
    /// A column; what is wider can be moved.
    Table,
    /// The whole width, likewise.
    WideTable,
}

#[derive(Debug, Template)]
#[template(path = "live/page.html")]
struct Page<'a> {
    parts: &'a [Part],
    refresh_seconds: u32,
    sample_seconds: u64,
}

/// Everything that is shown.
///
/// # Errors
/// A template fails.
pub(super) fn parts(
    now: &Reading,
    history: &History,
    readiness: &Readiness,
    uptime: Duration,
) -> askama::Result<Vec<Part>> {
    let lately = history.last_minute();
    let line =
        |name, value: fn(&Sample) -> Option<Amount>| Line::new(name, history.samples().iter().map(value));
    let answers = vec![
        line("All answers", |sample| Some(Amount::Known(sample.answers))),
        line("Refused credentials", |sample| Some(Amount::Known(sample.denials))),
    ];
    let added = vec![
        line("Half took at most", |sample| sample.added_half),
        line("99 of 100 took at most", |sample| sample.added_most),
    ];
    let upstream = vec![
        line("Half took at most", |sample| sample.upstream_half),
        line("99 of 100 took at most", |sample| sample.upstream_most),
    ];
    let connections = vec![line("Open connections", |sample| Some(Amount::Known(sample.open_connections)))];
    let plot =
        |id, heading, unit, lines| Part::new(id, heading, Shape::Plot, &Plot::new(id, heading, unit, lines));
    Ok(vec![
        Part::new(
            "now",
            "Now and in the last minute",
            Shape::Figures,
            &Now::new(now, lately, readiness, uptime),
        )?,
        plot("answers", "Answers a second", Unit::TenthsPerSecond, answers)?,
        plot("connections", "Open connections", Unit::Count, connections)?,
        plot("added", "Latency added to API requests", Unit::Time, added)?,
        plot("upstream", "Time that upstreams took", Unit::Time, upstream)?,
        Part::new("minutes", "Minute by minute", Shape::WideTable, &Minutes::new(&history.minutes()))?,
        Part::new("refusals", "Refused credentials by reason", Shape::Table, &Refusals::new(now, lately))?,
        Part::new("doors", "Doors", Shape::Table, &Doors::new(now, lately))?,
        Part::new("upstreams", "Upstreams", Shape::WideTable, &Upstreams::new(now, lately))?,
    ])
}

impl Part {
    fn new(
        id: &'static str,
        heading: &'static str,
        shape: Shape,
        content: &impl Template,
    ) -> askama::Result<Self> {
        Ok(Self { id, heading, shape, html: content.render()? })
    }

    const fn is_wide(&self) -> bool {
        matches!(self.shape, Shape::Figures | Shape::WideTable)
    }

    const fn is_table(&self) -> bool {
        matches!(self.shape, Shape::Table | Shape::WideTable)
    }
}

/// The whole page.
///
/// # Errors
/// The template fails.
pub(super) fn render_page(parts: &[Part]) -> askama::Result<String> {
    let sample_seconds = SAMPLE_EVERY.as_secs();
    let page = Page { parts, refresh_seconds: REFRESH_SECONDS, sample_seconds }.render()?;
    // The template's own last line end is left off.
    Ok(page + "\n")
}

/// The same as a server-sent event, whose data is an object of markup by the parts' ids (HTML §9.2).
pub(super) fn render_event(parts: &[Part]) -> Bytes {
    let by_id = parts.iter().map(|part| (part.id.to_owned(), Value::from(part.html.as_str())));
    let data = Value::Object(by_id.collect::<Map<_, _>>());
    Bytes::from(format!("retry: {COME_BACK_MILLISECONDS}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::Metrics;

    fn some_parts() -> Vec<Part> {
        let metrics = Metrics::default();
        let history = History::new(Instant::now(), metrics.read());
        parts(&metrics.read(), &history, &Readiness::Ready, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn the_page_has_a_heading_for_each_part_and_works_without_script() {
        let parts = some_parts();
        let page = render_page(&parts).unwrap();
        assert_eq!(page.matches("<h1").count(), 1);
        assert_eq!(page.matches("<h2").count(), parts.len());
        for part in &parts {
            assert!(page.contains(&format!("id=\"{}\"", part.id)), "{}", part.id);
            assert!(page.contains(&part.html), "{}", part.id);
        }
        let (head, _) = page.split_once("</head>").unwrap();
        assert!(head.contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"), "{head}");
        assert!(head.contains("name=\"viewport\"") && head.contains("lang=\"en\""), "{head}");
        for inline in ["style=", "<style", "onclick", "onload", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[test]
    fn no_id_stands_twice_on_the_page() {
        let page = render_page(&some_parts()).unwrap();
        let mut ids: Vec<&str> =
            page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{ids:?}");
    }

    #[test]
    fn an_event_is_one_line_of_data_with_the_markup_of_each_part() {
        let parts = some_parts();
        let event = String::from_utf8(render_event(&parts).to_vec()).unwrap();
        let (retry, rest) = event.split_once('\n').unwrap();
        assert_eq!(retry, "retry: 5000");
        let data = rest.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        let told: Map<String, Value> = serde_json::from_str(data).unwrap();
        assert_eq!(told.len(), parts.len());
        assert!(parts.iter().all(|part| told[part.id] == part.html));
    }
}
