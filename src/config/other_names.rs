//! What people call a key that has another name here, too far from it to be a slip of the pen.
//!
//! Such a key is refused like any unknown one; only the words differ. Called by `structure`.

/// Other names of keys, and the key that is meant; keys as [`super::faults::KeyPath::pattern`] writes them.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("rate_limit", "limits.requests_per_second_per_key"),
    ("limits.rate_limit", "requests_per_second_per_key"),
    ("limits.burst", "request_burst_per_key"),
];

/// The key that is meant by the one at `pattern`, where that is known.
pub(super) fn meant_by(pattern: &str) -> Option<&'static str> {
    OTHER_NAMES.iter().find_map(|(other, meant)| (*other == pattern).then_some(*meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_known_by_their_place() {
        assert_eq!(meant_by("limits.rate_limit"), Some("requests_per_second_per_key"));
        assert_eq!(meant_by("policy.rate_limit"), None);
    }
}
