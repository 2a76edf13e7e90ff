//! What a page quotes, and whether the program says it: `…` in a quotation is a placeholder in the source.

use std::fs;
use std::path::{Path, PathBuf};

/// All texts of the program, each file in one piece.
pub struct Source(Vec<String>);

impl Source {
    /// Everything below `folders`.
    pub fn load(folders: &[PathBuf]) -> Self {
        let mut texts = Vec::new();
        for folder in folders {
            add(folder, &mut texts);
        }
        assert!(texts.len() > 300, "only {} files", texts.len());
        Self(texts)
    }

    /// Does a text say `quotation`? Its parts stand in their order, and between them nothing but placeholders.
    pub fn holds(&self, quotation: &str) -> bool {
        let parts: Vec<&str> = quotation.split('…').map(str::trim).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let Some((first, others)) = parts.split_first() else { return false };
        self.0.iter().any(|text| {
            text.match_indices(first).any(|(place, _)| follows(text, place + first.len(), others))
        })
    }
}

fn add(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add(&path, texts);
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.push(in_one_line(&text));
        }
    }
}

/// Without the breaks in Rust's texts, and with the quotes in them as they are said.
fn in_one_line(text: &str) -> String {
    let mut pieces = text.split("\\\n");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        whole.push_str(piece.trim_start());
    }
    whole.replace("\\\"", "\"")
}

/// Do `parts` stand in `text` from `place` on, one behind the other, with one or more placeholders before each?
fn follows(text: &str, place: usize, parts: &[&str]) -> bool {
    let Some((part, others)) = parts.split_first() else { return true };
    let mut rest = text.get(place..).unwrap_or_default().trim_start_matches(' ');
    while let Some(placeholder) = rest.strip_prefix('{') {
        let Some((_, behind)) = placeholder.split_once('}') else { return false };
        rest = behind.trim_start_matches(' ');
        if rest.starts_with(part) {
            return follows(text, text.len() - rest.len() + part.len(), others);
        }
    }
    false
}

#[test]
fn a_quotation_is_what_a_text_says_with_its_placeholders() {
    let source = Source(vec![in_one_line(
        "#[error(\"the file {path} has mode {mode:04o}: others \\\n         can read it\")] \"unknown{named}; {allowed}\"",
    )]);
    for quotation in [
        "the file … has mode …: others can read it",
        "the file",
        "others can read it",
        "unknown …; …",
        "unknown …",
    ] {
        assert!(source.holds(quotation), "{quotation}");
    }
    for quotation in
        ["the file has mode", "the file … others can read it", "the folder …", "…", "unknown …; others"]
    {
        assert!(!source.holds(quotation), "{quotation}");
    }
}
