//! Writing: data to stdout, notes to stderr, tables for people and JSON for programs.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::{Table, presets};

/// Writes data, and a line end. Fails where stdout is closed.
pub(super) fn data(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Tells the person at the terminal something; where nobody listens, it is let go.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table in columns without lines, easy to read and to cut.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    data(&table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
}

/// A word in the plural where there is not one: `1 key`, `2 keys`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A text of a record, `-` where it is empty.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { String::from("-") } else { text.to_owned() }
}
