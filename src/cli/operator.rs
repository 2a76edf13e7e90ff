//! What every command beside a gateway needs: the configuration, the store, and the gateways' answers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tokio::runtime::Runtime;

use super::{UsageError, output};
use crate::app::{ConfigSource, find_unusable};
use crate::auth::{Actor, ControlPlane, FirstPassword, MissingStore};
use crate::clock::Clock;
use crate::config::{self, Config, MasterKeySource, PublicUrl};
use crate::model::{Revision, Secret};
use crate::store::Acknowledgement;

/// How long the gateways may take to answer before they are called silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which installation to act on.
#[derive(Args, Clone, Debug)]
pub(super) struct ConfigArgument {
    /// The configuration file; `LATCHKEY_CONFIG` where it is not given
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "LATCHKEY_CONFIG",
        hide_env_values = true,
        global = true
    )]
    path: Option<PathBuf>,
}

impl ConfigArgument {
    /// For a command that has just written the configuration at `path`.
    pub(super) const fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// The path that was given.
    pub(super) fn path(&self) -> Result<&PathBuf> {
        self.path.as_ref().ok_or_else(|| {
            UsageError(String::from("which configuration? give --config FILE, or set LATCHKEY_CONFIG")).into()
        })
    }

    /// Reads the configuration; all its faults are told at once.
    pub(super) fn load(&self) -> Result<Config> {
        Ok(config::load(self.path()?, &environment)?)
    }

    /// Like [`load`](Self::load), and tries what a start would do with it before it binds anything.
    pub(super) fn load_and_try(&self) -> Result<Config> {
        Ok(config::load_and_try(self.path()?, &environment, &find_unusable)?)
    }

    /// Where the configuration is, to be read again and again.
    pub(super) fn source(&self) -> Result<ConfigSource> {
        Ok(ConfigSource::new(self.path()?.clone(), environment))
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a command's use cases run on.
pub(super) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime could not be started")
}

/// An operator at the command line: acts with the rights of whoever may read the master key and write the store.
pub(super) struct Operator {
    runtime: Runtime,
    pub(super) control: ControlPlane,
    public_url: Option<PublicUrl>,
    master_key: MasterKeySource,
}

impl Operator {
    /// Opens the store that the configuration names.
    pub(super) fn open(config: &ConfigArgument, missing: MissingStore) -> Result<Self> {
        let config = config.load()?;
        let runtime = runtime()?;
        let control =
            runtime.block_on(ControlPlane::open(&config, Clock::system(), missing, Actor::operator()))?;
        let public_url = config.public_url().cloned();
        Ok(Self { runtime, control, public_url, master_key: config.master_key })
    }

    /// Where the configured master key is.
    pub(super) const fn master_key(&self) -> &MasterKeySource {
        &self.master_key
    }

    /// How somebody without a password comes to one: by a link where there is a console, and not at all where there is
    /// none.
    pub(super) const fn first_password(&self) -> FirstPassword {
        if self.public_url.is_some() { FirstPassword::Link } else { FirstPassword::None }
    }

    /// Prints a one-time link, the only thing on stdout.
    pub(super) fn show_link(&self, token: &Secret<String>) -> Result<()> {
        let token = token.expose();
        let Some(console) = &self.public_url else {
            output::note("the configuration has no console; the link is this path at its address");
            return output::data(&format!("/welcome/{token}"));
        };
        output::data(&format!("{console}/welcome/{token}"))
    }

    /// Runs a use case.
    pub(super) fn run<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }

    /// Waits until every running gateway has `revision`, and tells what was done and what it ended.
    pub(super) fn announce(&self, done: &str, revision: Revision) -> Result<()> {
        let began = Instant::now();
        let answers = self.run(self.control.store.await_acknowledgements(revision, PATIENCE))?;
        let took = began.elapsed().as_millis();
        output::note(&told_of(done, &answers, took));
        if let Err(error) = self.run(self.control.store.note_deletions()) {
            output::note(&format!(
                "what was deleted stands in the store, and not yet in the file beside it: {error}; the next deletion, or the next \
                 start of a gateway, notes it there"
            ));
        }
        Ok(())
    }
}

/// What was done, where it holds, what it ended there, and who has not confirmed it.
fn told_of(done: &str, answers: &[Acknowledgement], took_milliseconds: u128) -> String {
    let applied: Vec<(&str, u64)> = answers
        .iter()
        .filter_map(|answer| match answer {
            Acknowledgement::Applied { gateway, ended_sessions } => Some((gateway.as_str(), *ended_sessions)),
            Acknowledgement::Silent { .. } => None,
        })
        .collect();
    let ended = applied.iter().map(|(_, ended)| ended).sum::<u64>();
    let sessions = output::count(usize::try_from(ended).unwrap_or(usize::MAX), "open session");
    let gateways = match applied[..] {
        [(gateway, _)] => format!("the gateway with {gateway}"),
        _ => output::count(applied.len(), "gateway"),
    };
    let mut told = vec![done.to_owned()];
    match (applied.is_empty(), ended) {
        (true, _) => {}
        (false, 0) => told.push(format!("in force at {gateways} after {took_milliseconds} ms")),
        (false, _) => told.push(format!("{sessions} ended at {gateways} in {took_milliseconds} ms")),
    }
    told.extend(answers.iter().filter_map(|answer| match answer {
        Acknowledgement::Silent { gateway } => {
            Some(format!("the gateway with {gateway} has not confirmed it within {took_milliseconds} ms"))
        }
        Acknowledgement::Applied { .. } => None,
    }));
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_deletes_is_told_where_it_holds_and_who_is_silent() {
        let applied = |gateway: &str, ended_sessions| Acknowledgement::Applied {
            gateway: gateway.into(),
            ended_sessions,
        };
        let silent = Acknowledgement::Silent { gateway: "b pid 2".into() };
        let told = |answers: &[Acknowledgement]| told_of("key deleted", answers, 41);
        assert_eq!(told(&[]), "key deleted");
        assert_eq!(
            told(&[applied("pid 1", 0)]),
            "key deleted; in force at the gateway with pid 1 after 41 ms"
        );
        assert_eq!(
            told(&[applied("pid 1", 1)]),
            "key deleted; 1 open session ended at the gateway with pid 1 in 41 ms"
        );
        assert_eq!(
            told(&[applied("a", 0), applied("b", 0)]),
            "key deleted; in force at 2 gateways after 41 ms"
        );
        assert_eq!(
            told(&[applied("a", 2), applied("b", 1), silent.clone()]),
            "key deleted; 3 open sessions ended at 2 gateways in 41 ms; \
             the gateway with b pid 2 has not confirmed it within 41 ms"
        );
        assert_eq!(
            told(&[silent]),
            "key deleted; the gateway with b pid 2 has not confirmed it within 41 ms"
        );
    }
}
