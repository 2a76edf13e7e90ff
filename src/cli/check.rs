//! `latchkey check` and `latchkey schema`.

use anyhow::Result;
use clap::Args;

use super::operator::ConfigArgument;
use super::{AlreadyReported, output};
use crate::app::find_warnings;
use crate::config::{self, Config, Faults};
use crate::probe::{Finding, Outcome, Report, probe};

/// Check the configuration: every fault at once, each with its place; binds nothing and opens no store
///
/// With --probe, a copy of it is then served at free ports of 127.0.0.1, with a store, keys and recording upstreams of its
/// own, and attacked, which takes some 10 seconds. Nothing of yours is written, and none of your upstreams is asked.
/// What is printed is a list: listener, `pass`, `FAIL` or `not probed`, what was sent, what was seen. Exit code 1: an
/// attack got through.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey check --config config/latchkey.yaml --probe")]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Attack a copy of it on loopback, and print what held
    #[arg(long)]
    probe: bool,
}

/// Print the JSON Schema of the configuration, for editors
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey schema > latchkey.schema.json")]
pub(super) struct SchemaArguments {}

pub(super) fn check(arguments: &CheckArguments) -> Result<()> {
    match arguments.config.load_and_try() {
        Ok(config) => {
            let listeners = output::count(config.listeners.len(), "listener");
            let upstreams = output::count(config.upstreams.len(), "upstream");
            output::data(&format!("no errors: {listeners}, {upstreams}"))?;
            for warning in find_warnings(&config) {
                output::note(&format!("warning: {warning}"));
            }
            if arguments.probe { attack(&config) } else { Ok(()) }
        }
        Err(error) => match error.downcast_ref::<Faults>() {
            Some(faults) => {
                output::data(&faults.to_string())?;
                Err(AlreadyReported::Faults.into())
            }
            None => Err(error),
        },
    }
}

fn attack(config: &Config) -> Result<()> {
    let bar = output::progress_bar();
    let report = probe(config, &|finding| {
        bar.inc_length(1);
        bar.inc(1);
        bar.set_message(format!("{}: {}", finding.listener, finding.attack));
    });
    bar.finish_and_clear();
    let report = report?;
    for premise in &report.premises {
        output::data(premise)?;
    }
    output::columns(report.findings.iter().map(row).collect())?;
    output::data(&summary(&report))?;
    if report.counts().failed == 0 { Ok(()) } else { Err(AlreadyReported::Probe.into()) }
}

fn row(finding: &Finding) -> [String; 4] {
    let (verdict, seen) = match &finding.outcome {
        Outcome::Passed(seen) => ("pass", seen),
        Outcome::Failed(seen) => ("FAIL", seen),
        Outcome::NotProbed(why) => ("not probed", why),
    };
    [finding.listener.clone(), verdict.to_owned(), finding.attack.clone(), seen.clone()]
}

fn summary(report: &Report) -> String {
    let counts = report.counts();
    format!("{} passed, {} failed, {} not probed", counts.passed, counts.failed, counts.not_probed)
}

pub(super) fn schema() -> Result<()> {
    output::data(&serde_json::to_string_pretty(&config::schema())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_row_and_the_report_ends_in_its_counts() {
        let finding =
            |outcome| Finding { listener: String::from("api"), attack: String::from("TRACE"), outcome };
        let seen = || String::from("seen");
        let findings = vec![
            finding(Outcome::Passed(seen())),
            finding(Outcome::Failed(seen())),
            finding(Outcome::NotProbed(seen())),
            finding(Outcome::Passed(seen())),
        ];
        let verdicts: Vec<String> = findings.iter().map(|finding| row(finding)[1].clone()).collect();
        assert_eq!(verdicts, ["pass", "FAIL", "not probed", "pass"]);
        let report = Report { premises: Vec::new(), findings };
        assert_eq!(summary(&report), "2 passed, 1 failed, 1 not probed");
    }
}
