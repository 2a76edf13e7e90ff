//! `latchkey check` and `latchkey schema`.

use anyhow::Result;
use clap::Args;

use super::operator::ConfigArgument;
use super::{AlreadyReported, output};
use crate::config::{self, Faults};

/// Check the configuration: every fault at once, each with its place; binds nothing and opens no store
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey check --config config/latchkey.yaml")]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
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
            output::data(&format!("no errors: {listeners}, {upstreams}"))
        }
        Err(error) => match error.downcast_ref::<Faults>() {
            Some(faults) => {
                output::data(&faults.to_string())?;
                Err(AlreadyReported.into())
            }
            None => Err(error),
        },
    }
}

pub(super) fn schema() -> Result<()> {
    output::data(&serde_json::to_string_pretty(&config::schema())?)
}
