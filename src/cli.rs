//! The command line: one file a command group. The only layer that prints.
//!
//! Data go to stdout, everything else to stderr. Exit codes: 0 done, 1 it failed, 2 wrong usage or bad configuration.

mod allow;
mod audit;
mod check;
mod completions;
mod customer;
mod demo;
mod explain;
mod healthcheck;
mod import;
mod init;
mod isproxy;
pub mod isproxy_client;
mod key;
mod man;
mod operator;
mod output;
mod prompt;
mod quota;
mod serve;
mod store;
mod usage;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Faults;

/// Reverse-proxy authentication gateway for HTTP APIs and the `IsProxy` line protocol.
#[derive(Debug, Parser)]
#[command(name = "latchkey", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Example: latchkey demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Init(init::InitArguments),
    Serve(serve::ServeArguments),
    Check(check::CheckArguments),
    Schema(check::SchemaArguments),
    Completions(completions::CompletionsArguments),
    Healthcheck(healthcheck::HealthcheckArguments),
    Customer(customer::CustomerArguments),
    User(user::UserArguments),
    Key(key::KeyArguments),
    Allow(allow::AllowArguments),
    Quota(quota::QuotaArguments),
    Audit(audit::AuditArguments),
    Store(store::StoreArguments),
    Explain(explain::ExplainArguments),
    Isproxy(isproxy::IsProxyArguments),
    Man(man::ManArguments),
}

/// The command was used wrongly: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// What was asked for is wrong, and it has been said.
#[derive(Debug, thiserror::Error)]
enum AlreadyReported {
    /// Exit code 2.
    #[error("the configuration has faults")]
    Faults,
    /// Exit code 1.
    #[error("an attack got through")]
    Probe,
}

/// Reads the arguments of the process and does what they say.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, faults to stderr with code 2; a closed pipe is no fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Would these arguments, without the program's name, be understood? Does nothing of what they say; for the tests that hold
/// the documentation to the command line.
///
/// # Errors
///
/// They would not; what the user would be told.
pub fn require_understood(arguments: &[&str]) -> Result<(), String> {
    match Cli::try_parse_from([&["latchkey"], arguments].concat()) {
        Ok(_) => Ok(()),
        // Help and the version are answers, too.
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Schema(_) => check::schema(),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Customer(arguments) => customer::run(arguments),
        Command::User(arguments) => user::run(arguments),
        Command::Key(arguments) => key::run(arguments),
        Command::Allow(arguments) => allow::run(arguments),
        Command::Quota(arguments) => quota::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Isproxy(arguments) => isproxy::run(arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    {
        // Whoever read our output has had enough.
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<AlreadyReported>() {
        Some(AlreadyReported::Faults) => return ExitCode::from(2),
        Some(AlreadyReported::Probe) => return ExitCode::FAILURE,
        None => {}
    }
    if let Some(faults) = error.downcast_ref::<Faults>() {
        output::note(&faults.to_string());
        return ExitCode::from(2);
    }
    output::note(&format!("error: {}", sentence(error)));
    if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The error and its causes in one line; a cause that its error tells already is not repeated.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_are_understood_or_the_fault_is_told_and_nothing_is_done() {
        for arguments in [&["--version"][..], &["key", "create", "--help"], &["serve", "--config", "f"]] {
            assert_eq!(require_understood(arguments), Ok(()), "{arguments:?}");
        }
        for (arguments, told) in [
            (&["key", "creat"][..], "creat"),
            (&["explain"], "REQUEST_ID"),
            (&["key", "show", "x"], "key id"),
        ] {
            let fault = require_understood(arguments).unwrap_err();
            assert!(fault.contains(told), "{arguments:?}: {fault}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains("Example"), "`{path} --help` has no example");
            for subcommand in command.get_subcommands() {
                check(subcommand, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("the disk is full");
        let error = anyhow::Error::from(inner).context("the key cannot be written");
        assert_eq!(sentence(&error), "the key cannot be written: the disk is full");
        let told = anyhow::anyhow!("a: the disk is full").context("a: the disk is full");
        assert_eq!(sentence(&told), "a: the disk is full");
    }
}
