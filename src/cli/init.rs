//! `latchkey init`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{output, prompt};
use crate::clock::Clock;
use crate::installation::NewInstallation;

/// Write an annotated configuration, its schema and certificates for development; overwrites nothing
///
/// The certificates are for localhost, 127.0.0.1 and their like in IPv6. For other names put your own where the configuration
/// names them.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey init gateway --yes")]
pub(super) struct InitArguments {
    /// Where to; the folder is made
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &InitArguments) -> Result<()> {
    // `./` in every name would only be in the way of reading.
    let is_here = arguments.dir.as_os_str() == ".";
    let folder = if is_here { PathBuf::new() } else { arguments.dir.clone() };
    let installation = NewInstallation::plan(&folder, Clock::system().now())?;
    let paths: Vec<String> = installation.paths().map(|path| path.display().to_string()).collect();
    // It destroys nothing, so that a script need not agree to anything.
    if prompt::is_interactive() {
        prompt::require_consent(&format!("this writes {}", paths.join(", ")), arguments.yes)?;
    }
    installation.write()?;
    output::note(&format!("wrote {}", paths.join(", ")));
    output::data(&next_commands(&folder.join("latchkey.yaml").display().to_string()))
}

/// As it was called, so that what is printed can be pasted where `latchkey` is in no PATH.
fn next_commands(config: &str) -> String {
    let latchkey = std::env::args().next().unwrap_or_else(|| String::from("latchkey"));
    let config = quoted(config);
    format!(
        "Name your own servers under `upstreams:` in {config}. Then:\n\n  \
         {latchkey} check --config {config}\n  \
         {latchkey} customer create acme --mfa optional --config {config}\n  \
         {latchkey} key create acme/admin --description \"my first application\" --scope api,isproxy --config {config}\n  \
         {latchkey} serve --config {config}"
    )
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+".contains(letter);
    if path.chars().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_commands_that_are_printed() {
        assert_eq!(quoted("/etc/latchkey/latchkey.yaml"), "/etc/latchkey/latchkey.yaml");
        assert_eq!(quoted("my gateway/latchkey.yaml"), "'my gateway/latchkey.yaml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(next_commands("a b").matches("--config 'a b'").count(), 4);
    }
}
