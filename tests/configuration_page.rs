//! `docs/configuration.md` is what the schema says, as a page: this test writes it anew and compares.
//!
//! `LATCHKEY_ACCEPT=1 cargo test --locked --test configuration_page` accepts what changed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end in a panic; what it reads is this package"
)]

#[path = "configuration_page/render.rs"]
mod render;

use std::path::Path;

use render::{keys_of, render};

const ACCEPT: &str = "LATCHKEY_ACCEPT=1 cargo test --locked --test configuration_page";

#[test]
fn the_configuration_page_says_what_the_schema_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = render(&latchkey::config::schema());
    if std::env::var("LATCHKEY_ACCEPT").is_ok_and(|accepts| accepts == "1") {
        std::fs::write(&file, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some((number, line)) =
        (1..).zip(page.lines()).find(|(n, line)| committed.lines().nth(n - 1) != Some(line))
    {
        panic!(
            "docs/configuration.md is not what the code says, from line {number} on:\n{line}\nAccept it with: {ACCEPT}"
        );
    }
    assert_eq!(
        committed.len(),
        page.len(),
        "docs/configuration.md says more than the code; accept with: {ACCEPT}"
    );
}

#[test]
fn every_key_is_described_and_every_number_has_its_range() {
    let keys = keys_of(&latchkey::config::schema());
    assert!(keys.len() > 50, "only {} keys", keys.len());
    for key in keys {
        assert!(!key.description.is_empty(), "{} has no description", key.path);
        assert!(!key.description.contains('|'), "{} would break the table", key.path);
        assert!(!key.default.is_empty(), "{} says neither a default nor that it is required", key.path);
        let is_number = matches!(key.kind.as_str(), "whole number" | "number");
        // The words of a key that has fixed ones stand in their place, and may say anything.
        let has_range = key.kind != "word" && key.range.contains(" to ");
        assert_eq!(is_number, has_range, "{}: {}", key.path, key.range);
        if key.path.starts_with("limits.") {
            assert!(key.at_the_limit.is_some(), "{}: end its description with `At the limit: …`", key.path);
        }
    }
}

#[test]
fn units_are_read_from_the_names() {
    let keys = keys_of(&latchkey::config::schema());
    let unit = |path: &str| keys.iter().find(|key| key.path == path).map(|key| key.unit);
    assert_eq!(unit("limits.drain_seconds"), Some("s"));
    assert_eq!(unit("limits.upstream_connect_milliseconds"), Some("ms"));
    assert_eq!(unit("limits.http_header_bytes"), Some("bytes"));
    assert_eq!(unit("limits.connections"), Some("count"));
    assert_eq!(unit("access_log.path"), Some("–"));
}
