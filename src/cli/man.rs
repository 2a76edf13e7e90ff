//! `latchkey man`: a page of the manual for each command, for packages.
//!
//! The pages say what `--help` says, by the same texts. Not in the list of commands: who installs a package has the pages
//! already.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold};

use super::{Cli, output};

/// Write a page of the manual for each command, section 1
///
/// The folder is made. Pages of the same names are replaced.
#[derive(Args, Debug)]
#[command(hide = true, after_help = "Example: latchkey man /usr/local/share/man/man1")]
pub(super) struct ManArguments {
    /// Where to
    dir: PathBuf,
}

pub(super) fn run(arguments: &ManArguments) -> Result<()> {
    let pages = pages()?;
    write(&arguments.dir, &pages)?;
    output::note(&format!("wrote {} to {}", output::count(pages.len(), "page"), arguments.dir.display()));
    Ok(())
}

/// A page: the name of its file, and its text.
type Page = (String, Vec<u8>);

/// All of them first, so that a fault leaves no half of a manual.
fn pages() -> Result<Vec<Page>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        pages.push(page(command)?);
    }
    Ok(pages)
}

fn page(command: Command) -> Result<Page> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.after_help(None::<&str>))
        // The library would write nothing at all for no date, and what follows would stand in its place.
        .date(" ")
        .source(concat!("latchkey ", env!("CARGO_PKG_VERSION")))
        .manual("Latchkey");
    let mut text = Vec::new();
    man.render(&mut text)?;
    text.extend(section_of(&examples).render().into_bytes());
    Ok((man.get_filename(), text))
}

/// Each example on a line of its own; the library would fill them into one paragraph.
fn section_of(examples: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]);
    for example in examples.lines() {
        let command = example.trim().trim_start_matches("Example:").trim_start();
        section.control("PP", []);
        section.text([bold(command)]);
    }
    section
}

fn write(folder: &Path, pages: &[Page]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for (name, text) in pages {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(name: &str) -> String {
        let pages = pages().unwrap();
        let (_, text) = pages.iter().find(|(file, _)| file == name).unwrap();
        String::from_utf8(text.clone()).unwrap()
    }

    #[test]
    fn every_command_that_help_lists_has_a_page() {
        fn check(command: &Command, path: &str, names: &[String]) {
            let name = format!("{path}.1");
            assert!(names.contains(&name), "no {name}");
            for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                check(subcommand, &format!("{path}-{}", subcommand.get_name()), names);
            }
        }
        let mut names: Vec<String> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        check(&Cli::command(), "latchkey", &names);
        assert!(!names.contains(&"latchkey-man.1".to_owned()));
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "a page would replace another");
    }

    #[test]
    fn a_page_tells_options_environment_and_each_example_on_its_own() {
        let explain = page_of("latchkey-explain.1");
        let title =
            concat!(".TH latchkey-explain 1 \" \" \"latchkey ", env!("CARGO_PKG_VERSION"), "\" Latchkey\n");
        for expected in [title, "dry\\-run", "LATCHKEY_CONFIG", ".SH EXAMPLES"] {
            assert!(explain.contains(expected), "no {expected:?} in\n{explain}");
        }
        let (_, examples) = explain.split_once(".SH EXAMPLES").unwrap();
        assert_eq!(examples.matches("\n.PP\n").count(), 3, "{examples}");
        assert!(!explain.contains("EXTRA") && !explain.contains("Example:"), "{explain}");
        let key = page_of("latchkey-key.1");
        assert!(key.contains("latchkey\\-key\\-create(1)"), "{key}");
    }

    #[test]
    fn pages_are_written_into_a_folder_that_is_made_and_again_over_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let man = folder.path().join("share/man1");
        let pages = pages().unwrap();
        for _ in 0..2 {
            write(&man, &pages).unwrap();
            assert_eq!(fs::read_dir(&man).unwrap().count(), pages.len());
        }
        let error = write(Path::new("/dev/null/man1"), &pages).unwrap_err();
        assert_eq!(error.to_string(), "/dev/null/man1 cannot be made");
    }
}
