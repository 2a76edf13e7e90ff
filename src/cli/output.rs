//! Writing: data to stdout, notes to stderr, tables for people and JSON for programs.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

/// Writes data, and a line end. Fails where stdout is closed.
pub(super) fn data(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Writes data that have their line ends. Fails where stdout is closed.
pub(super) fn text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Tells the person at the terminal something; where nobody listens, it is let go.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table in columns without lines, easy to read and to cut.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> Result<()> {
    let mut table = Table::new();
    table.set_header(header);
    print_table(table, rows)
}

/// The same without a header, where every cell tells what it is.
pub(super) fn columns<const N: usize>(rows: Vec<[String; N]>) -> Result<()> {
    if rows.is_empty() { Ok(()) } else { print_table(Table::new(), rows) }
}

fn print_table<const N: usize>(mut table: Table, rows: Vec<[String; N]>) -> Result<()> {
    table.load_preset(presets::NOTHING).add_rows(rows);
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

/// A bar for what takes a while; it moves on a terminal only.
pub(super) fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(1).with_style(style)
}
