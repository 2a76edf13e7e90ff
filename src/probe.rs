//! `latchkey check --probe`: a copy of the operator's configuration, on loopback before recording upstreams, attacked.
//!
//! It shows that what the configuration promises holds on this machine, with this binary. Nothing of the operator's is
//! touched: [`rehearsal`] says what the copy keeps and what it replaces. Prints nothing; `cli` shows the [`Report`].

mod door;
mod finding;
mod folder;
mod frames;
mod http1_attacks;
mod http1_cases;
mod http2_attacks;
mod isproxy_attacks;
mod judge;
mod keys;
mod origins;
mod recorded;
mod recorder;
mod rehearsal;
mod shortened;
#[cfg(test)]
mod tests;
mod trust;
mod wire;

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};

use self::door::{Door, Notebook};
pub use self::finding::{Counts, Finding, Outcome, Report};
use self::folder::TemporaryFolder;
use self::http1_attacks::Late;
use self::keys::{Keys, make_keys};
use self::recorder::Recorder;
use self::rehearsal::{Behind, Rehearsal, Stage, Target, rehearse};
use self::trust::client_trusting;
use self::wire::QUIET;
use crate::app::{ConfigSource, Gateway, termination_signal};
use crate::config::{Config, Limits};

/// Threads of the recording upstreams.
const RECORDER_THREADS: usize = 2;

/// Attacks a copy of `config`; `on_finding` is told of each attack as it ends.
///
/// # Errors
/// The copy cannot be served, or a signal ended the probe. What an attack finds is no error.
pub fn probe(config: &Config, on_finding: &dyn Fn(&Finding)) -> Result<Report> {
    let folder = TemporaryFolder::make()?;
    let runtime = Builder::new_multi_thread().worker_threads(RECORDER_THREADS).enable_all().build()?;
    let Rehearsal { config, stages, premises } = rehearse(config, folder.path(), runtime.handle())?;
    if stages.is_empty() {
        return Ok(Report { premises, findings: Vec::new() });
    }
    let claimed: Vec<_> = stages.iter().map(|stage| stage.origins.claimed).collect();
    let keys = runtime.block_on(make_keys(&config, &claimed))?;
    let limits = config.limits.clone();
    let gateway = Gateway::start(ConfigSource::given(config))
        .context("the copy of the configuration cannot be served")?;
    let findings = attack_all(&runtime, stages, keys, gateway.addresses(), &limits, on_finding);
    let stopped = gateway.stop();
    let findings = findings?;
    stopped?;
    Ok(Report { premises, findings })
}

/// Attacks every door, all of them at once, since each has upstreams of its own.
fn attack_all(
    runtime: &Runtime,
    stages: Vec<Stage>,
    keys: Vec<Keys>,
    addresses: &[(String, SocketAddr)],
    limits: &Limits,
    on_finding: &dyn Fn(&Finding),
) -> Result<Vec<Finding>> {
    let mut attacked = Vec::new();
    for ((stage, keys), (_, address)) in stages.into_iter().zip(keys).zip(addresses) {
        attacked.push(door_of(stage, keys, *address, limits)?);
    }
    let attacks = attacked.iter().map(|(door, behind)| attack(door, behind, on_finding));
    runtime.block_on(async {
        tokio::select! {
            findings = join_all(attacks) => Ok(findings.into_iter().flatten().collect()),
            signal = termination_signal() => {
                signal?;
                bail!("ended by a signal; nothing can be said")
            }
        }
    })
}

fn door_of(stage: Stage, keys: Keys, address: SocketAddr, limits: &Limits) -> Result<(Door, Behind)> {
    let Stage { name, certificate, in_clear, origins, behind } = stage;
    let trusting = |alpn: &[&[u8]]| {
        certificate.as_ref().map(|certificate| client_trusting(certificate, alpn)).transpose()
    };
    let (tls, tls_of_http2) = match &behind {
        Behind::Http(_) => (trusting(&[b"http/1.1"])?, trusting(&[b"h2"])?),
        Behind::IsProxy(_) => (trusting(&[])?, None),
    };
    let limits = limits.clone();
    Ok((Door { name, address, tls, tls_of_http2, in_clear, origins, keys, limits }, behind))
}

async fn attack(door: &Door, behind: &Behind, on_finding: &dyn Fn(&Finding)) -> Vec<Finding> {
    match behind {
        Behind::Http(targets) => attack_http(door, targets, on_finding).await,
        Behind::IsProxy(recorder) => attack_isproxy(door, recorder, on_finding).await,
    }
}

async fn attack_http(door: &Door, targets: &[Target], on_finding: &dyn Fn(&Finding)) -> Vec<Finding> {
    let (notes, late) = (Notebook::new(&door.name, on_finding), Late::new());
    let Some(first) = targets.first() else { return notes.into_findings() };
    let in_turn = async {
        http1_attacks::attack_by_messages(door, targets, &late, &notes).await;
        http1_attacks::attack_by_origin(door, first, &late, &notes).await;
        http2_attacks::attack_by_streams(door, first, &late, &notes).await;
    };
    // These reach no upstream, and wait for deadlines.
    let ((), silent) = tokio::join!(in_turn, http1_attacks::attack_by_silence(door));
    for (attack, outcome) in silent {
        notes.note(attack, outcome);
    }
    tokio::time::sleep(QUIET).await;
    for target in targets {
        late.collect(&target.recorder);
    }
    notes.note(AFTERWARDS, late.outcome());
    notes.into_findings()
}

async fn attack_isproxy(door: &Door, recorder: &Recorder, on_finding: &dyn Fn(&Finding)) -> Vec<Finding> {
    let (notes, late) = (Notebook::new(&door.name, on_finding), Late::new());
    let in_turn = isproxy_attacks::attack_by_lines(door, recorder, &late, &notes);
    let ((), silent) = tokio::join!(in_turn, isproxy_attacks::attack_by_silence(door));
    notes.note("a silent client", silent);
    tokio::time::sleep(QUIET).await;
    late.collect(recorder);
    notes.note(AFTERWARDS, late.outcome());
    notes.into_findings()
}

/// Names the line about what came when its attack was over.
const AFTERWARDS: &str = "what came later than its answer";
