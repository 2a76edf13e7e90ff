//! `latchkey serve`.

use anyhow::Result;
use clap::Args;

use super::operator::ConfigArgument;
use crate::telemetry::init_logging;

/// Run the gateway until SIGTERM or SIGINT, then drain; SIGHUP, or a changed file, reloads the configuration
///
/// SIGUSR2 starts the program that stands at this one's path by then, and hands it all sockets. Once that serves, this
/// process drains; where it fails, this one says why and goes on.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey serve --config /etc/latchkey/latchkey.yaml")]
pub(super) struct ServeArguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) fn run(arguments: &ServeArguments) -> Result<()> {
    init_logging();
    crate::app::serve(arguments.config.source()?)
}
