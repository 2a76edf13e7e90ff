//! What operators read stays true: its commands are understood, its quotations stand in the program, its links lead
//! somewhere.
//!
//! Looks at the text alone: nothing is run, and nothing is fetched.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end in a panic; what it reads is this package"
)]

#[path = "operator_docs/markdown.rs"]
mod markdown;
#[path = "operator_docs/quotation.rs"]
mod quotation;
#[path = "operator_docs/shell.rs"]
mod shell;

use std::fs;
use std::path::{Path, PathBuf};

use markdown::{Block, blocks, first_cells, headings, inline_code, links};
use quotation::Source;

/// Stand-ins for what a shell would put there: one of them is what the command wants.
const STAND_INS: [&str; 4] = ["key_0c1x8n4t7q2vz", "acme/alex", "9f86d081884c7d65", "1"];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, changelog and the like, and the pages of `docs`, the decisions among them.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions"] {
        for entry in fs::read_dir(package().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 30, "only {} pages", found.len());
    found
}

fn is_decision(page: &Path) -> bool {
    page.parent().is_some_and(|folder| folder.ends_with("decisions"))
}

fn page(name: &str) -> String {
    fs::read_to_string(package().join(name)).unwrap()
}

/// Is the command understood, whatever a shell puts in the place of its substitutions?
fn require_understood(command: &[shell::Word]) -> Result<(), String> {
    let with = |stand_in: &str| {
        let words: Vec<String> = command.iter().map(|word| word.with(stand_in)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        latchkey::cli::require_understood(&words)
    };
    let mut outcomes = STAND_INS.map(with).into_iter();
    if outcomes.any(|outcome| outcome.is_ok()) { Ok(()) } else { with(STAND_INS.first().unwrap_or(&"")) }
}

#[test]
fn every_command_in_a_block_of_the_readme_and_of_a_page_is_understood() {
    let mut commands = 0;
    for (path, text) in pages().into_iter().filter(|(path, _)| !is_decision(path)) {
        for Block { language, text, line } in blocks(&text) {
            let found = shell::commands_of("latchkey", &text);
            if language != "sh" {
                let stray = text.lines().find(|line| line.starts_with("latchkey "));
                assert_eq!(stray, None, "{}:{line}: say ```sh, so that it is checked", path.display());
                continue;
            }
            for command in found {
                commands += 1;
                require_understood(&command)
                    .unwrap_or_else(|fault| panic!("{}:{line}: {fault}", path.display()));
            }
        }
    }
    assert!(commands > 50, "only {commands} commands were found");
}

#[test]
fn every_message_that_troubleshooting_quotes_stands_in_the_program() {
    let source = Source::load(&["src", "templates"].map(|folder| package().join(folder)));
    let text = page("docs/troubleshooting.md");
    let quotations: Vec<(usize, String)> = first_cells(&text)
        .into_iter()
        .flat_map(|(line, cell)| inline_code(&cell).into_iter().map(move |code| (line, code)))
        .collect();
    assert!(quotations.len() > 90, "only {} quotations", quotations.len());
    let wrong: Vec<String> = quotations
        .iter()
        .filter(|(_, quotation)| !source.holds(quotation))
        .map(|(line, quotation)| format!("docs/troubleshooting.md:{line}: {quotation}"))
        .collect();
    assert!(wrong.is_empty(), "the program does not say:\n{}", wrong.join("\n"));
}

#[test]
fn every_symptom_has_its_reason_and_what_to_do() {
    let text = page("docs/troubleshooting.md");
    for (number, row) in (1..).zip(text.lines()).filter(|(_, row)| row.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(
            cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()),
            "docs/troubleshooting.md:{number}: {row}"
        );
    }
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let mut followed = 0;
    for (path, text) in pages() {
        for (line, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let place = format!("{}:{line}: {target}", path.display());
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{place}: there is no such file");
            if !heading.is_empty() {
                let known = headings(&fs::read_to_string(&file).unwrap());
                assert!(known.iter().any(|known| known == heading), "{place}: the headings are {known:?}");
            }
        }
    }
    assert!(followed > 60, "only {followed} links");
}

#[test]
fn every_key_of_the_configuration_that_a_page_for_operators_names_exists() {
    let known = page("docs/configuration.md");
    for name in ["docs/operations.md", "docs/troubleshooting.md", "docs/upgrade.md"] {
        for code in page(name).lines().flat_map(inline_code) {
            let is_key = ["limits.", "policy.", "store."].iter().any(|section| code.starts_with(section))
                && code.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter));
            assert!(!is_key || known.contains(&format!("| `{code}` |")), "{name}: there is no {code}");
        }
    }
}

#[test]
fn the_readme_leads_operators_to_each_of_their_pages() {
    let readme = page("README.md");
    for name in ["operations", "troubleshooting", "upgrade", "configuration", "sizing", "load-testing"] {
        assert!(readme.contains(&format!("(docs/{name}.md)")), "{name}");
    }
}
