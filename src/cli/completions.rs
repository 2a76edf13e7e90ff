//! `latchkey completions`.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

/// Print what makes a shell complete this command line
///
/// bash: put it into ~/.local/share/bash-completion/completions/latchkey. zsh: as _latchkey into a folder of $fpath.
/// fish: into ~/.config/fish/completions/latchkey.fish. Then open a new shell.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: latchkey completions bash > ~/.local/share/bash-completion/completions/latchkey"
)]
pub(super) struct CompletionsArguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments) -> Result<()> {
    output::data(script(arguments.shell)?.trim_end())
}

/// The whole script first, then one write: a pipe that closes early ends the program quietly, as everywhere.
fn script(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "latchkey", &mut script);
    Ok(String::from_utf8(script)?)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shells_script_knows_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("scope"), "{shell} knows no options");
        }
    }
}
