//! `docs/requirements.md` and `docs/protocol.md` name tests; this one sees to it that they exist.
#![expect(clippy::unwrap_used, reason = "a test may end in a panic; what it reads is this package")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything between backticks in the last column, with the id of its row.
fn listed_tests(table: &str) -> Vec<(String, String)> {
    let rows = table.lines().filter(|line| line.starts_with("| R") || line.starts_with("| S"));
    let tests = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let id = cells.get(1).copied().unwrap_or_default().to_owned();
        let names = cells.get(3).copied().unwrap_or_default().split("<br>");
        names.map(|name| (id.clone(), name.trim_matches('`').to_owned())).collect::<Vec<_>>()
    });
    tests.collect()
}

/// Names of all functions in the `.rs` files of `folder` and below.
fn functions_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            functions_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists_and_carries_the_rows_number() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(package.join("docs/requirements.md")).unwrap();
    let listed = listed_tests(&table);
    assert!(listed.len() > 50, "only {} tests are listed", listed.len());
    let mut functions = BTreeSet::new();
    functions_below(&package.join("src"), &mut functions);
    functions_below(&package.join("tests"), &mut functions);
    for (id, name) in listed {
        assert!(functions.contains(&name), "{id} names {name}, which is no test");
        let number = format!("{}_", id.to_ascii_lowercase());
        assert!(
            name.starts_with(&number) || name.contains(&format!("_{number}")),
            "{name} is listed under {id}"
        );
    }
}

/// Each row's tests, as they stand between backticks in its last column.
fn tests_of_rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    cells.map(|(what, tests)| (what, tests.split('`').skip(1).step_by(2).collect())).collect()
}

#[test]
fn every_row_of_the_wire_protocol_names_black_box_tests_that_exist() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(package.join("docs/protocol.md")).unwrap();
    let rows = tests_of_rows(&page);
    assert!(rows.len() > 40, "only {} rows", rows.len());
    let mut functions = BTreeSet::new();
    functions_below(&package.join("tests/black_box"), &mut functions);
    for (what, tests) in rows.into_iter().filter(|(what, _)| !what.starts_with("| the user's state")) {
        assert!(!tests.is_empty(), "no test holds: {what}");
        for test in tests {
            assert!(functions.contains(test), "{test} is no black-box test: {what}");
        }
    }
}
