//! What the interface names and this version does not do yet, so that a fault can say so instead of "unknown".
//!
//! Everything here is refused like any unknown key or value; only the words differ. A line goes when its thing comes.

/// Keys, as [`super::faults::KeyPath::pattern`] writes them.
const KEYS: &[&str] = &["listeners[].public_url", "policy.max_staleness", "rate_limit", "limits.rate_limit"];

/// Values of keys with fixed words.
const WORDS: &[(&str, &[&str])] = &[("listeners[].protocol", &["console", "forward_auth"])];

/// Is the key at `pattern` one that a later version knows?
pub(super) fn is_planned_key(pattern: &str) -> bool {
    KEYS.contains(&pattern)
}

/// Is `word` a value that a later version takes for the key at `pattern`?
pub(super) fn is_planned_word(pattern: &str, word: &str) -> bool {
    WORDS.iter().any(|(key, words)| *key == pattern && words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_things_are_known_by_their_place() {
        assert!(is_planned_key("policy.max_staleness"));
        assert!(!is_planned_key("max_staleness"));
        assert!(is_planned_word("listeners[].protocol", "console"));
        assert!(!is_planned_word("upstreams[].protocol", "console"));
        assert!(!is_planned_word("listeners[].protocol", "http"));
    }
}
