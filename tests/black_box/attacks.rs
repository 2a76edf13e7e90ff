//! Attack sets: many hostile messages a protocol, each judged by what the answer and the upstream's bytes show.
//!
//! A set runs against any [`SocketAddr`](std::net::SocketAddr), so that it runs against the gateway, where no case may
//! fail, and against a proxy that was broken on purpose, where each category must: a set that lets that one pass proves
//! nothing.

mod http1;
mod http2;
mod isproxy;

pub use http1::{Recorder as HttpRecorder, hostile_messages as hostile_http1_messages};

use std::collections::BTreeSet;

/// A case that did not end as it must.
#[derive(Debug)]
pub struct Failure {
    /// The group of cases that it belongs to.
    pub category: &'static str,
    /// Its name.
    pub case: String,
    /// What happened, and what should have.
    pub what: String,
}

/// Fails with every one of `failures`, of a set that ran `cases`, at least `least`.
#[track_caller]
pub fn expect_none(set: &str, cases: usize, least: usize, failures: &[Failure]) {
    assert!(cases >= least, "{set} has {cases} cases only");
    let told: Vec<String> =
        failures.iter().map(|found| format!("{}/{}: {}", found.category, found.case, found.what)).collect();
    assert!(told.is_empty(), "{} of {cases} cases of {set} failed:\n{}", told.len(), told.join("\n"));
}

/// Fails unless each of `categories` has a failure: the proof that a set sees what it looks for.
#[track_caller]
pub fn expect_in_each(categories: &BTreeSet<&'static str>, failures: &[Failure]) {
    let failed: BTreeSet<&str> = failures.iter().map(|found| found.category).collect();
    let blind: Vec<&&str> = categories.iter().filter(|category| !failed.contains(**category)).collect();
    assert!(blind.is_empty(), "the broken proxy passed everything in {blind:?}");
}
