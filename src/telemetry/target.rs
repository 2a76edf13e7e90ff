//! A path as it may be written down: without what is a credential by its form (SECURITY S40).
//!
//! Nobody should put a key into a path; who does it by mistake must not find it in a log. Imported keys have no form
//! to be known by.

use std::borrow::Cow;

use crate::crypto::{KEY_PREFIX, SESSION_KEY_CHARACTERS, is_session_key};

/// 1 in each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;

/// What stands for a segment that holds a credential.
const REDACTED: &str = "***";

/// `path` with `***` for each segment that holds a key of ours or is a session's key.
pub(super) fn without_credentials(path: &str) -> Cow<'_, str> {
    if !is_suspicious(path) {
        return Cow::Borrowed(path);
    }
    let is_secret = |segment: &str| is_session_key(segment.as_bytes()) || holds_key(segment);
    if !path.split('/').any(is_secret) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| if is_secret(segment) { REDACTED } else { segment });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// Is there the beginning of a key of ours, its underscore percent-encoded perhaps?
fn holds_key(segment: &str) -> bool {
    let Some((before, _)) = KEY_PREFIX.split_once('_') else { return segment.contains(KEY_PREFIX) };
    segment.match_indices(before).any(|(at, _)| {
        let behind = segment.get(at + before.len()..).unwrap_or_default();
        behind.starts_with('_') || behind.get(..3).is_some_and(|code| code.eq_ignore_ascii_case("%5f"))
    })
}

/// Could there be a credential? A look at the letters, which nearly every path passes: our keys have an underscore,
/// plain or percent-encoded, and sessions' keys are twenty capitals and digits.
fn is_suspicious(path: &str) -> bool {
    // Eight bytes at a time, as every line asks it. 0x30 to 0x5f are all capitals and digits, and a few besides.
    let is_like_capital =
        |word: u64| ((word >> 6) & !(word >> 5)) | (!(word >> 6) & (word >> 5) & (word >> 4));
    let (words, rest) = path.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    let words = words.iter().chain(std::iter::once(&last)).map(|word| u64::from_le_bytes(*word));
    let (has_mark, capitals) = words.fold((false, 0), |(has_mark, capitals), word| {
        let marks = has_byte(word, b'_') | has_byte(word, b'%');
        (has_mark | marks, capitals + (is_like_capital(word) & ONES).count_ones())
    });
    has_mark || usize::try_from(capitals).is_ok_and(|capitals| capitals >= SESSION_KEY_CHARACTERS)
}

/// Is `byte` one of the eight of `word`?
const fn has_byte(word: u64, byte: u8) -> bool {
    let zeroed = word ^ ONES.wrapping_mul(byte as u64);
    zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s40_a_segment_with_a_key_is_not_written_and_the_rest_is() {
        let key = format!("{KEY_PREFIX}{}", "x".repeat(40));
        let session = "ABCDEFGHIJ0123456789";
        for (path, written) in [
            ("", ""),
            ("/", "/"),
            ("/v2/domains/example.com", "/v2/domains/example.com"),
            ("//v2/./..%2f/", "//v2/./..%2f/"),
            ("/abcdefghij0123456789", "/abcdefghij0123456789"),
            (&format!("/{key}"), "/***"),
            (&format!("/v2/apikey={key};x/domains/"), "/v2/***/domains/"),
            (&format!("/v2/{session}/{key}"), "/v2/***/***"),
            (&format!("/v2/{session}A/{session}"), "/v2/ABCDEFGHIJ0123456789A/***"),
            (&key, "***"),
            (&format!("/v2/{}", key.replace('_', "%5F")), "/v2/***"),
            (&format!("/lk1/{}", key.replace('_', "%5f")), "/lk1/***"),
            ("/lk1%20x/lk1", "/lk1%20x/lk1"),
        ] {
            assert_eq!(without_credentials(path), written, "{path}");
        }
    }
}
