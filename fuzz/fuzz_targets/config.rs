//! Any text as a configuration: it may be refused, but never panics, hangs or grows without bound.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let environment = |name: &str| (name == "A").then(|| String::from("1"));
    if let Err(faults) =
        latchkey::config::parse(text, Path::new("fuzz.yaml"), Path::new("/nonexistent"), &environment)
    {
        assert!(faults.count() > 0);
        assert!(!faults.to_string().is_empty());
    }
});
