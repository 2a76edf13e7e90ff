//! `latchkey init`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::operator::{ConfigArgument, Operator};
use super::{output, prompt};
use crate::auth::{CustomerToMake, MissingStore};
use crate::clock::Clock;
use crate::installation::NewInstallation;
use crate::model::CustomerHandle;

/// Write an annotated configuration, its schema and certificates for development; overwrites nothing
///
/// The certificates are for localhost, 127.0.0.1 and their like in IPv6. For other names put your own where the configuration
/// names them.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey init gateway --customer acme --yes")]
pub(super) struct InitArguments {
    /// Where to; the folder is made
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Make a first customer too, and print the one-time link by which its administrator chooses a password
    #[arg(long, value_name = "HANDLE")]
    customer: Option<CustomerHandle>,
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
    let config = folder.join("latchkey.yaml");
    if let Some(handle) = &arguments.customer {
        let operator = Operator::open(&ConfigArgument::at(config.clone()), MissingStore::Make)?;
        super::customer::create(&operator, CustomerToMake::new(handle.clone()))?;
    }
    output::data(&next_commands(&config.display().to_string(), arguments.customer.as_ref()))
}

/// As it was called, so that what is printed can be pasted where `latchkey` is in no PATH.
fn next_commands(config: &str, customer: Option<&CustomerHandle>) -> String {
    let latchkey = std::env::args().next().unwrap_or_else(|| String::from("latchkey"));
    let config = quoted(config);
    let (handle, create) = match customer {
        Some(handle) => (handle.to_string(), String::new()),
        None => (String::from("acme"), format!("  {latchkey} customer create acme --config {config}\n")),
    };
    format!(
        "Name your own servers under `upstreams:` in {config}. Then:\n\n  \
         {latchkey} check --config {config}\n\
         {create}  \
         {latchkey} key create {handle}/admin --description \"my first application\" --scope api,isproxy --config {config}\n  \
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
        assert_eq!(next_commands("a b", None).matches("--config 'a b'").count(), 4);
        let made = next_commands("a b", Some(&"beta".parse().unwrap()));
        assert!(!made.contains("customer create") && made.contains("key create beta/admin"), "{made}");
    }
}
