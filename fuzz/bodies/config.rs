//! Any text as a configuration: it may be refused, but never panics, hangs or grows without bound.

use std::path::Path;

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let environment = |name: &str| (name == "A").then(|| String::from("1"));
    if let Err(faults) =
        latchkey::config::parse(text, Path::new("fuzz.yaml"), Path::new("/nonexistent"), &environment)
    {
        assert!(faults.count() > 0);
        assert!(!faults.to_string().is_empty());
    }
}
