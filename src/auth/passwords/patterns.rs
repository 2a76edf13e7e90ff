//! What anybody tries first: the most common passwords, repetitions of something short, runs along the keyboard.
//!
//! Pure. Texts come lower-cased. Called by `passwords` and by `own_names`.
//!
//! `common.txt` holds the passwords of the npm package `@zxcvbn-ts/language-common` 4.1.3 (`src/passwords.json`, MIT
//! licence, see `common.LICENSE.txt`) that have at least 8 characters, lower-cased, sorted by their bytes, one a line.

use zeroize::Zeroizing;

const COMMON: &str = include_str!("common.txt");
/// A repeated part that is shorter than any password may be.
const SHORT_CHARACTERS: usize = 8;
/// From how many characters on a run is no chance, where nothing else stands beside it.
const RUN: usize = 3;
/// The same within other text.
const LONG_RUN: usize = 4;

/// Rows and columns of keyboards, the alphabet, the digits; read in both directions.
const TRACKS: [&str; 18] = [
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789",
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
];

/// Is `text` a common password, also with digits and signs around it, or two of them one after the other?
pub(super) fn is_common(text: &str) -> bool {
    let core = text.trim_matches(|letter: char| !letter.is_alphabetic());
    [text, core].into_iter().any(|text| is_listed(text) || is_two_listed(text))
}

/// Is `text` one short or common part again and again, or little more than runs such as `qwertyuiop` and `1234`?
pub(super) fn is_pattern(text: &str) -> bool {
    let core = text.trim_matches(|letter: char| !letter.is_alphabetic());
    let core_repeats = core.chars().count() >= SHORT_CHARACTERS && is_repetition(core);
    if is_repetition(text) || core_repeats || outside_runs(text, RUN).is_empty() {
        return true;
    }
    let left = outside_runs(text, LONG_RUN).chars().count();
    left < SHORT_CHARACTERS && text.chars().count() - left >= SHORT_CHARACTERS
}

fn is_listed(word: &str) -> bool {
    let mut rest = COMMON;
    while !rest.is_empty() {
        // The line that the middle falls into.
        let (front, back) = rest.split_at(rest.floor_char_boundary(rest.len() / 2));
        let start = front.rfind('\n').map_or(0, |end| end + 1);
        let end = back.find('\n').map_or(rest.len(), |end| front.len() + end);
        match rest.get(start..end).map(|line| word.cmp(line)) {
            Some(std::cmp::Ordering::Less) => rest = rest.get(..start).unwrap_or_default(),
            Some(std::cmp::Ordering::Greater) => rest = rest.get(end + 1..).unwrap_or_default(),
            Some(std::cmp::Ordering::Equal) => return true,
            None => return false,
        }
    }
    false
}

fn is_two_listed(text: &str) -> bool {
    let is_separator = |letter: char| !letter.is_alphanumeric();
    text.char_indices().any(|(place, _)| {
        let (first, second) = text.split_at(place);
        is_listed(first.trim_end_matches(is_separator)) && is_listed(second.trim_start_matches(is_separator))
    })
}

/// Is `text` one part at least twice, or a common password more than once? What ends it may be cut off.
fn is_repetition(text: &str) -> bool {
    let letters = Zeroizing::new(text.chars().collect::<Vec<char>>());
    let period = (1..letters.len())
        .find(|period| letters.iter().zip(letters.iter().skip(*period)).all(|(one, other)| one == other));
    period.is_some_and(|period| {
        let part = Zeroizing::new(letters.iter().take(period).collect::<String>());
        (period < SHORT_CHARACTERS && period * 2 <= letters.len()) || is_listed(&part)
    })
}

/// What is left of `text` without its runs of at least `least` characters.
fn outside_runs(text: &str, least: usize) -> Zeroizing<String> {
    let letters = Zeroizing::new(text.chars().collect::<Vec<char>>());
    let mut left = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = letters.as_slice();
    while let [first, others @ ..] = rest {
        let run = longest_run(rest);
        if run >= least {
            rest = rest.get(run..).unwrap_or_default();
        } else {
            left.push(*first);
            rest = others;
        }
    }
    left
}

/// How many characters of `text` from its first on are the same, or stand next to each other in one direction.
fn longest_run(text: &[char]) -> usize {
    let along = |follows: &dyn Fn(char, char) -> bool| {
        1 + text.windows(2).take_while(|pair| matches!(pair, [one, next] if follows(*one, *next))).count()
    };
    let tracks = TRACKS.iter().flat_map(|track| {
        [along(&|one, next| follow(track, one, next)), along(&|one, next| follow(track, next, one))]
    });
    tracks.max().unwrap_or_default().max(along(&|one, next| one == next))
}

fn follow(track: &str, one: char, next: char) -> bool {
    track.chars().zip(track.chars().skip(1)).any(|pair| pair == (one, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s42_the_list_has_more_than_3000_passwords_that_are_long_enough_and_each_is_found() {
        let words: Vec<&str> = COMMON.lines().collect();
        assert!(words.len() >= 3_000);
        assert!(words.is_sorted());
        for word in words {
            assert!(word.chars().count() >= SHORT_CHARACTERS, "{word}");
            assert_eq!(word, word.to_lowercase());
            assert!(is_listed(word), "{word}");
        }
        for word in ["", "a", "passwor", "passwordx", "zzzzzzzzzzzzzz", "~", "0", "ü"] {
            assert!(!is_listed(word), "{word}");
        }
    }

    #[test]
    fn s42_common_passwords_are_known_with_digits_and_signs_around_them_and_in_pairs() {
        for text in [
            "password",
            "password1",
            "password2024!!!",
            "  !!sunshine!!",
            "1qaz2wsx3edc4rfv",
            "iloveyouprincess",
            "sunshine-princess-1999",
            "password12345678",
        ] {
            assert!(is_common(text), "{text}");
        }
        for text in [
            "",
            "correct horse battery",
            "the sunshine of my princess",
            "a password of the tests",
            "eight ch",
            "12 drummers, 3 hens",
        ] {
            assert!(!is_common(text), "{text}");
        }
    }

    #[test]
    fn s42_repetitions_and_runs_are_known() {
        for text in [
            "aaaaaaaaaaaaaaa",
            "passwordpassword",
            "passwordpasswordpass",
            "charliecharlie!1",
            "abcabcabcabcabc",
            "xkqzjxkqzjxkqzj",
            "123456789012345",
            "987654321098765",
            "abcdefghijklmno",
            "qwertyuiopasdfg",
            "poiuytrewqlkjhg",
            "1qaz2wsx3edc5tgb",
            "111222333444555",
            "dragon123456789",
            "!!!aaaaaaaaaaaaaa",
            "üüüüüüüüüüüüüüü",
        ] {
            assert!(is_pattern(text), "{text}");
        }
        for text in [
            "correct horse battery",
            "a password of the tests",
            "eight ch",
            "ab 8263-9174 aa",
            "stuv my 4567 hens lay",
            "qx7!mabcd",
            "grüner ångstrom",
        ] {
            assert!(!is_pattern(text), "{text}");
        }
    }
}
