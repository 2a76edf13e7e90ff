//! Eight bytes at a time in a word of 64 bits (SWAR, SIMD within a register): what the doors ask of each name. Pure.
//!
//! Names are too short for the vectors that a compiler makes of a loop, and a step for each byte adds up where little else
//! is done with a line. Called by `http` and `isproxy`.

const ONES: u64 = u64::MAX / 0xff;
const HIGH_BITS: u64 = ONES * 0x80;
/// Letters of both cases, and some marks, differ in this bit alone.
const CASE_BITS: u64 = ONES * 0x20;
/// Odd, with its bits well mixed (the golden ratio's).
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Are all of `bytes` visible ASCII, `!` to `~`?
pub fn is_visible(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |bad, word| bad | unseen(u64::from_le_bytes(*word)));
    let rest = match bytes.last_chunk::<8>() {
        // Its first bytes are looked at twice.
        Some(last) => unseen(u64::from_le_bytes(*last)),
        None => u64::from(!rest.iter().all(u8::is_ascii_graphic)),
    };
    words | rest == 0
}

/// Not zero, if a byte of `word` is not visible ASCII.
const fn unseen(word: u64) -> u64 {
    // With the high bit set, no byte borrows from the next one; and none carries that has it unset.
    let at_least_first = (word | HIGH_BITS) - ONES * b'!' as u64;
    let beyond_last = (word & !HIGH_BITS) + ONES * (0x7f - b'~' as u64);
    (word | !at_least_first | beyond_last) & HIGH_BITS
}

/// Makes the first `length` of `bytes` lower case, where they are ASCII letters.
pub fn make_lower_case(bytes: &mut [u8], length: usize) {
    let mut at = 0;
    while let Some(word) = bytes.get_mut(at..).filter(|_| at < length).and_then(<[u8]>::first_chunk_mut::<8>)
    {
        let left = length - at;
        let mask = if left < 8 { !(u64::MAX << (8 * left)) } else { u64::MAX };
        *word = lowered(u64::from_le_bytes(*word), mask).to_le_bytes();
        at += 8;
    }
    if let Some(rest) = bytes.get_mut(at..length) {
        rest.make_ascii_lowercase();
    }
}

/// `word` with those letters in lower case that `mask` covers.
const fn lowered(word: u64, mask: u64) -> u64 {
    let seven = word & !HIGH_BITS;
    let from_a = seven + ONES * (0x80 - b'A' as u64);
    let beyond_z = seven + ONES * (0x80 - b'Z' as u64 - 1);
    let upper = from_a & !beyond_z & !word & HIGH_BITS & mask;
    word | upper >> 2
}

/// A hash that is the same for names that differ in case only. Whoever wants names that meet can make some.
pub fn caseless_hash(name: &[u8]) -> u32 {
    let (words, rest) = name.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ (word | CASE_BITS)).wrapping_mul(MIXER);
    let length = u64::try_from(name.len()).unwrap_or_default();
    let hash = words.iter().fold(length, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = match name.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    u32::try_from(mix(hash, last) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_judged_alike_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for length in 1..20 {
                for place in 0..length {
                    let mut bytes = vec![b'~'; length];
                    bytes[place] = byte;
                    assert_eq!(is_visible(&bytes), byte.is_ascii_graphic(), "{byte} at {place} of {length}");
                    let mut lowered = bytes.clone();
                    make_lower_case(&mut lowered, length);
                    assert_eq!(lowered, bytes.to_ascii_lowercase(), "{byte} at {place} of {length}");
                }
            }
        }
        assert!(is_visible(b""));
    }

    proptest! {
        #[test]
        fn words_are_judged_as_their_bytes_are(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(is_visible(&bytes), bytes.iter().all(u8::is_ascii_graphic));
        }

        #[test]
        fn only_the_name_is_made_lower_case(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            length in any::<prop::sample::Index>(),
        ) {
            let length = length.index(bytes.len() + 1);
            let mut lowered = bytes.clone();
            make_lower_case(&mut lowered, length);
            let (name, behind) = bytes.split_at(length);
            prop_assert_eq!(lowered, [&name.to_ascii_lowercase(), behind].concat());
        }

        #[test]
        fn case_changes_no_hash(name in "[ -~]{0,40}") {
            let hash = caseless_hash(name.as_bytes());
            prop_assert_eq!(hash, caseless_hash(name.to_ascii_uppercase().as_bytes()));
            prop_assert_eq!(hash, caseless_hash(name.to_ascii_lowercase().as_bytes()));
        }

        #[test]
        fn names_that_are_counted_up_seldom_meet(prefix in "[a-z]{0,12}", start in 0_u32..1_000_000) {
            let hashes: std::collections::HashSet<u32> =
                (start..start + 1_000).map(|n| caseless_hash(format!("{prefix}{n}.com").as_bytes())).collect();
            prop_assert!(hashes.len() > 990, "{}", hashes.len());
        }
    }
}
