//! Which cookies are the product's own. Sets and reads none.
//!
//! Cookies ignore ports, so a browser that is signed in to the console sends the console's cookies to a door on the same
//! host too. The doors take them out of what they pass on, either way (S92); whoever sets one names it by this rule.

/// What the name of each cookie of the product begins with, behind `__Host-`.
pub const COOKIE_PREFIX: &str = "latchkey-";

/// Prefixes that browsers give a meaning (RFC 6265bis §4.1.3).
const MEANING: [&[u8]; 2] = [b"__host-", b"__secure-"];

/// Is a cookie of this `name` one of the product's? In any case, with and without `__Host-`: servers differ in what they
/// take for the same name.
pub fn is_own_cookie(name: &[u8]) -> bool {
    let begins_with = |name: &[u8], prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let name = name.trim_ascii();
    let meaning = MEANING.into_iter().find(|prefix| begins_with(name, prefix)).map_or(0, <[u8]>::len);
    name.get(meaning..).is_some_and(|name| begins_with(name, COOKIE_PREFIX.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cookies_are_known_in_any_case_and_with_any_prefix() {
        for own in ["__Host-latchkey-session", "latchkey-device", "__SECURE-Latchkey-x", " latchkey-"] {
            assert!(is_own_cookie(own.as_bytes()), "{own}");
        }
        for other in ["session", "latchkey", "__Host-session", "xlatchkey-session", "", "__Host-"] {
            assert!(!is_own_cookie(other.as_bytes()), "{other}");
        }
    }
}
