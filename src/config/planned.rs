//! What the interface names and this version does not do yet, so that a fault can say so instead of "unknown".
//!
//! Everything here is refused like any unknown value; only the words differ. A line goes when its thing comes.
//! Also what people call a key that has another name here, too far from it to be a slip of the pen.

/// Values of keys with fixed words; keys as [`super::faults::KeyPath::pattern`] writes them.
const WORDS: &[(&str, &[&str])] = &[("listeners[].protocol", &["forward_auth"])];

/// Other names of keys, and the key that is meant.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("rate_limit", "limits.requests_per_second_per_key"),
    ("limits.rate_limit", "requests_per_second_per_key"),
    ("limits.burst", "request_burst_per_key"),
];

/// The key that is meant by the one at `pattern`, where that is known.
pub(super) fn meant_by(pattern: &str) -> Option<&'static str> {
    OTHER_NAMES.iter().find_map(|(other, meant)| (*other == pattern).then_some(*meant))
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
        assert_eq!(meant_by("limits.rate_limit"), Some("requests_per_second_per_key"));
        assert_eq!(meant_by("policy.rate_limit"), None);
        assert!(is_planned_word("listeners[].protocol", "forward_auth"));
        assert!(!is_planned_word("upstreams[].protocol", "forward_auth"));
        assert!(!is_planned_word("listeners[].protocol", "http"));
    }
}
