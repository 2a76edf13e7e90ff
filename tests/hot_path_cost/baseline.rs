//! The committed counts, and how new ones compare with them. Pure but for reading and writing the file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How far a count may be from its baseline, in percent.
pub const TOLERANCE_PERCENT: u64 = 5;

/// How to renew the baseline.
pub const ACCEPT: &str = "LATCHKEY_ACCEPT=1 cargo hot-path-cost";

/// Instructions of each row, and what they were counted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// The compiler; another one makes other instructions.
    pub rustc: String,
    /// The counter, which decides what CPU the program sees.
    pub valgrind: String,
    /// Instructions of one request in the door thread.
    pub instructions: BTreeMap<String, u64>,
}

/// How counts compare with their baseline.
#[derive(Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Nothing costs more than it may; what costs less than it did is named.
    Passed { cheaper: Vec<String> },
    /// What to tell whoever made it slower.
    Failed(String),
}

impl Counts {
    fn file() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hot_path_cost/baseline.json"))
    }

    /// The committed ones.
    pub fn read() -> Self {
        let text = std::fs::read_to_string(Self::file()).unwrap_or_default();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("baseline.json is no baseline ({error}); make one: {ACCEPT}"))
    }

    /// Writes them down as the baseline.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(self).unwrap();
        std::fs::write(Self::file(), format!("{text}\n")).unwrap();
    }

    /// A line a row, for people.
    pub fn table(&self, baseline: &Self) -> String {
        let mut table =
            format!("{:<34} {:>12} {:>12} {:>8}\n", "instructions a request", "now", "baseline", "");
        for (row, now) in &self.instructions {
            let before = baseline.instructions.get(row);
            let (before, change) = before.map_or_else(Default::default, |before| {
                (before.to_string(), format!("{:+.1} %", (*now as f64 / *before as f64 - 1.0) * 100.0))
            });
            writeln!(table, "{row:<34} {now:>12} {before:>12} {change:>8}").unwrap();
        }
        table
    }

    /// Compares them with `baseline`: each row may cost [`TOLERANCE_PERCENT`] more, and both must have the same rows.
    pub fn compare(&self, baseline: &Self) -> Comparison {
        let mut faults = Vec::new();
        let mut cheaper = Vec::new();
        for (row, &now) in &self.instructions {
            match baseline.instructions.get(row) {
                None => faults.push(format!("{row}: is not in the baseline")),
                Some(&before) if now * 100 > before * (100 + TOLERANCE_PERCENT) => {
                    faults.push(format!("{row}: {now} instructions a request, not {before}"));
                }
                Some(&before) if now * 100 < before * (100 - TOLERANCE_PERCENT) => {
                    cheaper.push(format!("{row}: {now} instructions a request, not {before}"));
                }
                Some(_) => {}
            }
        }
        let gone = baseline.instructions.keys().filter(|row| !self.instructions.contains_key(*row));
        faults.extend(gone.map(|row| format!("{row}: is in the baseline and was not counted")));
        if faults.is_empty() {
            return Comparison::Passed { cheaper };
        }
        let other = self.other_tools(baseline);
        Comparison::Failed(format!(
            "the hot path costs more than {TOLERANCE_PERCENT} % more than its baseline, or has other rows:\n{}\n{other}\
             Make it cheaper; or, where it is worth it, accept it: {ACCEPT}",
            faults.join("\n")
        ))
    }

    /// A line for each tool that is not the baseline's.
    fn other_tools(&self, baseline: &Self) -> String {
        let tools = [(&self.rustc, &baseline.rustc), (&self.valgrind, &baseline.valgrind)];
        let other = tools.iter().filter(|(now, before)| now != before).map(|(now, before)| {
            format!(
                "The baseline was made with {before}, and this is {now}: that alone can make a difference.\n"
            )
        });
        other.collect()
    }
}

fn counts(rustc: &str, rows: &[(&str, u64)]) -> Counts {
    let instructions = rows.iter().map(|(row, count)| ((*row).to_owned(), *count)).collect();
    Counts { rustc: rustc.to_owned(), valgrind: "valgrind-3.19.0".to_owned(), instructions }
}

#[test]
fn up_to_the_tolerance_nothing_is_said() {
    let baseline = counts("rustc 1.95.0", &[("a", 1_000), ("b", 2_000)]);
    for now in [[("a", 1_050), ("b", 1_900)], [("a", 1_000), ("b", 2_000)]] {
        let passed = Comparison::Passed { cheaper: Vec::new() };
        assert_eq!(counts("rustc 1.95.0", &now).compare(&baseline), passed, "{now:?}");
    }
}

#[test]
fn what_costs_more_fails_and_tells_how_to_accept_it() {
    let baseline = counts("rustc 1.95.0", &[("a", 1_000), ("b", 2_000)]);
    let Comparison::Failed(told) = counts("rustc 1.95.0", &[("a", 1_051), ("b", 1_000)]).compare(&baseline)
    else {
        panic!("5.1 % more passed");
    };
    assert!(told.contains("a: 1051 instructions a request, not 1000"), "{told}");
    assert!(!told.contains("b: "), "{told}");
    assert!(told.contains(ACCEPT) && !told.contains("rustc"), "{told}");
}

#[test]
fn of_another_compiler_the_failure_says_so() {
    let baseline = counts("rustc 1.95.0", &[("a", 1_000)]);
    assert_eq!(
        counts("rustc 1.96.0", &[("a", 1_001)]).compare(&baseline),
        Comparison::Passed { cheaper: Vec::new() }
    );
    let Comparison::Failed(told) = counts("rustc 1.96.0", &[("a", 1_100)]).compare(&baseline) else {
        panic!("10 % more passed");
    };
    assert!(told.contains("made with rustc 1.95.0, and this is rustc 1.96.0"), "{told}");
}

#[test]
fn what_costs_less_passes_and_is_named() {
    let baseline = counts("rustc 1.95.0", &[("a", 1_000), ("b", 2_000)]);
    let passed = counts("rustc 1.95.0", &[("a", 949), ("b", 2_000)]).compare(&baseline);
    assert_eq!(
        passed,
        Comparison::Passed { cheaper: vec!["a: 949 instructions a request, not 1000".to_owned()] }
    );
}

#[test]
fn a_row_without_a_baseline_fails_and_so_does_a_baseline_without_its_row() {
    let (one, two) = (counts("rustc 1.95.0", &[("a", 1)]), counts("rustc 1.95.0", &[("a", 1), ("b", 1)]));
    for (now, baseline) in [(&one, &two), (&two, &one)] {
        let Comparison::Failed(told) = now.compare(baseline) else { panic!("other rows passed") };
        assert!(told.contains("b: is "), "{told}");
    }
}
