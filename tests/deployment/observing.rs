//! `docs/metrics.md`, the alerts and the dashboard name metrics that the code exposes, with labels that they have.

use std::collections::{BTreeMap, BTreeSet};

use latchkey::auth::DenialReason;
use latchkey::model::{AccessPoint, Timestamp};
use latchkey::telemetry::{CertificateEnd, Metrics};
use serde_json::Value;

use crate::{read, yaml};

/// Labels that the collecting Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

type Labels = BTreeMap<String, String>;

/// What `/metrics` has: the labels of every series, by the name that queries use.
struct Exposed {
    series: BTreeMap<String, Vec<Labels>>,
    /// Type by the name that queries use, without `_bucket` and the like.
    kinds: BTreeMap<String, String>,
}

impl Exposed {
    /// Everything that a gateway with one upstream, one certificate and one door thread shows.
    fn by_the_code() -> Self {
        let metrics = Metrics::new(&DenialReason::ALL.map(DenialReason::as_str));
        let _doors =
            [AccessPoint::Api, AccessPoint::IsProxy, AccessPoint::Console].map(|door| metrics.door(door));
        let _server = metrics.upstream_server("registry", "http://127.0.0.1:9000");
        let _timer = metrics.upstream_timers("registry").for_thread();
        let _thread = metrics.thread(0);
        let end = std::sync::Arc::<CertificateEnd>::default();
        end.set(Timestamp::from_unix_milliseconds(0));
        let _certificate = metrics.certificate_gauge("api", &end);
        Self::parse(&metrics.render())
    }

    fn parse(text: &str) -> Self {
        let mut exposed = Self { series: BTreeMap::new(), kinds: BTreeMap::new() };
        for line in text.lines() {
            if let Some((family, kind)) =
                line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' '))
            {
                let name = match kind {
                    "counter" => format!("{family}_total"),
                    "info" => format!("{family}_info"),
                    _ => family.to_owned(),
                };
                exposed.kinds.insert(name, kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = matchers(labels.trim_end_matches('}'));
                let labels = labels.into_iter().map(|(name, _, value)| (name, value)).collect();
                exposed.series.entry(name.to_owned()).or_default().push(labels);
            }
        }
        exposed
    }

    /// Labels of the metric that is documented as `name`, without `le`.
    fn labels_of(&self, name: &str) -> BTreeSet<&str> {
        let of = |suffix: &str| self.series.get(&format!("{name}{suffix}"));
        let labels = of("").or_else(|| of("_count")).unwrap().first().unwrap();
        labels.keys().map(String::as_str).collect()
    }

    /// Fails where `expression` names what is not there; answers how many metrics it names.
    fn check(&self, place: &str, expression: &str) -> usize {
        let mut known: BTreeSet<&str> = ADDED.into();
        let named = metrics_of(expression);
        for (name, selector) in &named {
            let series = self.series.get(*name);
            assert!(series.is_some(), "{place} names {name}, which is not exposed: {expression}");
            let series = series.unwrap();
            known.extend(series.iter().flatten().map(|(label, _)| label.as_str()));
            for (label, operator, wanted) in matchers(selector) {
                if ADDED.contains(&label.as_str()) {
                    continue;
                }
                for wanted in wanted.split('|').filter(|_| operator.starts_with('=')) {
                    let has = |labels: &&Labels| labels.get(&label).is_some_and(|value| value == wanted);
                    assert!(
                        series.iter().any(|labels| has(&labels)),
                        "{place}: {name} has no {label}={wanted}"
                    );
                }
            }
        }
        for word in ["by (", "on ("] {
            for list in expression.split(word).skip(1) {
                for label in list.split(')').next().unwrap().split(',').map(str::trim) {
                    assert!(known.contains(label), "{place} groups by {label}: {expression}");
                }
            }
        }
        named.len()
    }
}

/// `name="value", name=~"value"` taken apart; values hold no quotes.
fn matchers(text: &str) -> Vec<(String, String, String)> {
    let pieces: Vec<&str> = text.split('"').collect();
    let (pairs, _) = pieces.as_chunks::<2>();
    let taken_apart = pairs.iter().map(|[head, value]| {
        let head = head.trim_start_matches(',').trim();
        let (name, operator) = head.split_at(head.find(['=', '!']).unwrap());
        (name.to_owned(), operator.to_owned(), (*value).to_owned())
    });
    taken_apart.collect()
}

/// The metrics of Latchkey and of its process in `expression`, each with what stands in braces behind it.
fn metrics_of(expression: &str) -> Vec<(&str, &str)> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_of_name) {
        rest = &rest[start..];
        let end = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let mut selector = "";
        rest = behind;
        if let Some(inner) = behind.strip_prefix('{') {
            (selector, rest) = inner.split_once('}').unwrap();
        }
        if name.starts_with("latchkey_") || name.starts_with("process_") {
            found.push((name, selector));
        }
    }
    found
}

/// Every text below `value` that stands under `key`.
fn texts_under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Some(text) = member.as_str().filter(|_| name == key) {
                    found.push(text);
                }
                texts_under(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts_under(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_page_of_metrics_lists_what_is_exposed_with_type_and_labels() {
    let exposed = Exposed::by_the_code();
    let page = read("docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, meaning, advice] = cells[..] else { panic!("not five cells: {row}") };
        let name = name.trim_matches('`');
        assert!(!meaning.is_empty() && !advice.is_empty(), "{row}");
        assert_eq!(exposed.kinds.get(name).map(String::as_str), Some(kind), "{name}");
        let labels: BTreeSet<&str> = labels.split('`').skip(1).step_by(2).collect();
        assert_eq!(labels, exposed.labels_of(name), "{name}");
        assert!(listed.insert(name.to_owned()), "{name} is listed twice");
    }
    let all: BTreeSet<String> = exposed.kinds.into_keys().collect();
    assert_eq!(listed, all);
}

#[test]
fn alerts_name_what_is_exposed_and_say_what_to_do() {
    let exposed = Exposed::by_the_code();
    let alerts = yaml::documents(&read("deploy/prometheus/alerts.yaml")).remove(0);
    let mut names = BTreeSet::new();
    for rule in alerts.pointer("/groups/0/rules").and_then(Value::as_array).unwrap() {
        let text = |pointer: &str| rule.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/alert");
        assert!(name.starts_with("Latchkey") && names.insert(name), "{name}");
        assert!(exposed.check(name, text("/expr")) > 0 || text("/expr").starts_with("up{job=\"latchkey\"}"));
        assert!(["critical", "warning"].contains(&text("/labels/severity")), "{name}");
        assert!(!text("/annotations/summary").is_empty(), "{name}");
        assert!(!text("/annotations/description").is_empty(), "{name}");
    }
    for wanted in [
        "LatchkeyDown",
        "LatchkeyNotReady",
        "LatchkeyStoreAway",
        "LatchkeyRefusalsJump",
        "LatchkeySlow",
        "LatchkeyUpstreamUnhealthy",
        "LatchkeyConnectionsNearLimit",
        "LatchkeyReloadRefused",
        "LatchkeyAccessLogDropsLines",
    ] {
        assert!(names.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_dashboard_shows_what_is_exposed() {
    let exposed = Exposed::by_the_code();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/latchkey.json")).unwrap();
    let (mut expressions, mut queries) = (Vec::new(), Vec::new());
    texts_under(&dashboard, "expr", &mut expressions);
    texts_under(&dashboard, "query", &mut queries);
    assert!(expressions.len() > 15, "{expressions:?}");
    for expression in expressions {
        assert!(exposed.check("the dashboard", expression) > 0, "{expression}");
    }
    assert_eq!(queries.iter().map(|query| exposed.check("a variable", query)).sum::<usize>(), 2);
    let panels = dashboard.get("panels").and_then(Value::as_array).unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel.get("id").and_then(Value::as_u64)).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    assert!(panels.iter().all(|panel| panel.get("description").is_some_and(|text| text != "")));
}

#[test]
fn an_expression_that_names_what_is_not_there_is_found() {
    let exposed = Exposed::by_the_code();
    for wrong in [
        "latchkey_answer_total",
        "latchkey_denials_total{reason=\"full_moon\"}",
        "latchkey_readiness{state=~\"ready|asleep\"}",
        "latchkey_keys{customer=\"acme\"}",
        "sum by (customer) (latchkey_keys)",
    ] {
        let checked = std::panic::catch_unwind(|| exposed.check("a test", wrong));
        assert!(checked.is_err(), "{wrong}");
    }
    assert_eq!(
        exposed.check("a test", "sum by (door, le) (latchkey_decision_seconds_bucket{door=\"api\"})"),
        1
    );
}
