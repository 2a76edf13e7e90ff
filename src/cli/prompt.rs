//! Asking: only on a terminal; elsewhere the flag that answers the question is named.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::UsageError;
use crate::model::Secret;

/// The longest password or key that is read, in bytes.
const LONGEST_SECRET_BYTES: u64 = 4_096;

/// Is there somebody to ask?
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Fails unless the consequence is agreed to, by `--yes` or at the terminal.
pub(super) fn require_consent(consequence: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !is_interactive() {
        return Err(UsageError(format!("{consequence}; give --yes to agree")).into());
    }
    let agreed = dialoguer::Confirm::new()
        .with_prompt(format!("{consequence}. Go on?"))
        .default(false)
        .interact()
        .context("the question could not be asked")?;
    if agreed { Ok(()) } else { Err(UsageError(String::from("nothing was changed")).into()) }
}

/// A password from a file, from stdin (`-`), or from the terminal; `None` where there is nobody to ask.
pub(super) fn read_password(file: Option<&PathBuf>) -> Result<Option<Secret<String>>> {
    match file {
        Some(path) if path.as_os_str() == "-" => Ok(Some(first_line(io::stdin().lock(), "stdin")?)),
        Some(path) => {
            let file = std::fs::File::open(path)
                .with_context(|| format!("the password file {} cannot be read", path.display()))?;
            Ok(Some(first_line(file, &path.display().to_string())?))
        }
        None if is_interactive() => {
            let password = Secret::new(rpassword::prompt_password("Password (empty for none): ")?);
            if password.expose().is_empty() {
                return Ok(None);
            }
            let again = Secret::new(rpassword::prompt_password("The same again: ")?);
            if password != again {
                return Err(UsageError(String::from("the two passwords differ")).into());
            }
            Ok(Some(password))
        }
        None => Ok(None),
    }
}

/// The key that is to be looked at: from stdin, or typed in unseen.
pub(super) fn read_key() -> Result<Secret<String>> {
    if is_interactive() {
        return Ok(Secret::new(rpassword::prompt_password("API key: ")?));
    }
    first_line(io::stdin().lock(), "stdin")
}

fn first_line(source: impl Read, name: &str) -> Result<Secret<String>> {
    let mut text = Secret::new(String::new());
    let mut read = String::new();
    source
        .take(LONGEST_SECRET_BYTES)
        .read_to_string(&mut read)
        .with_context(|| format!("{name} cannot be read"))?;
    let read = Secret::new(read);
    if let Some(line) = read.expose().lines().next() {
        text = Secret::new(line.to_owned());
    }
    if text.expose().is_empty() {
        return Err(UsageError(format!("{name} is empty; the secret is expected in its first line")).into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_without_its_end() {
        assert_eq!(first_line("hunter2 \r\nmore\n".as_bytes(), "stdin").unwrap().expose(), "hunter2 ");
        assert!(first_line("".as_bytes(), "stdin").unwrap_err().is::<UsageError>());
    }

    #[test]
    fn consent_is_needed_where_nobody_can_be_asked() {
        assert!(require_consent("this ends it", true).is_ok());
        if !is_interactive() {
            let error = require_consent("this ends it", false).unwrap_err();
            assert!(error.to_string().contains("--yes"));
        }
    }
}
