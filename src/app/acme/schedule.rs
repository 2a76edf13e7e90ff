//! When a certificate is renewed, and when it is tried again. Pure: moments and random draws come from the caller.

use crate::model::Timestamp;

/// The waits between tries, in seconds: the first, doubled with each further failure, and the longest; and the longest
/// where there is no certificate that clients take.
const FIRST_WAIT_SECONDS: i64 = 60;
const LONGEST_WAIT_SECONDS: i64 = 24 * 60 * 60;
const LONGEST_WAIT_WITHOUT_SECONDS: i64 = 60 * 60;
/// No wait takes more than this part of the time that the present certificate has left.
const PART_OF_TIME_LEFT: i64 = 8;

/// When a certificate of this life is to be renewed: after two thirds of it, or earlier by up to a thirtieth, so that
/// many gateways do not ask at once.
pub(super) fn renewal_due(not_before: Timestamp, not_after: Timestamp, draw: u64) -> Timestamp {
    let life = not_after.unix_seconds().saturating_sub(not_before.unix_seconds()).max(0);
    not_before.plus_seconds(life / 3 * 2 - part(life / 30, draw))
}

/// A moment of the window from `start` to `end` that the authority suggests (RFC 9773 §4.2).
pub(super) fn within_window(start: Timestamp, end: Timestamp, draw: u64) -> Timestamp {
    let width = end.unix_seconds().saturating_sub(start.unix_seconds()).max(0);
    start.plus_seconds(part(width, draw))
}

/// How long to wait after `failures` in a row, at least one: a minute, doubled each time, and up to a tenth more. Up to a
/// day, and to an eighth of the seconds that the present certificate has `left`; up to an hour without one.
pub(super) fn wait_seconds(failures: u32, left: Option<i64>, draw: u64) -> i64 {
    let longest = left.map_or(LONGEST_WAIT_WITHOUT_SECONDS, |left| {
        (left / PART_OF_TIME_LEFT).clamp(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    });
    let doublings = failures.saturating_sub(1).min(32);
    let wait = FIRST_WAIT_SECONDS.saturating_mul(1_i64 << doublings).min(longest);
    wait.saturating_add(part(wait / 10, draw)).min(longest)
}

/// A part of `whole`, none to all of it.
fn part(whole: i64, draw: u64) -> i64 {
    let whole = u64::try_from(whole).unwrap_or(0);
    i64::try_from(draw % whole.saturating_add(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_milliseconds(seconds * 1_000)
    }

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_life_or_a_little_earlier() {
        let clock = Clock::given(at(1_800_000_000));
        let issued = clock.now();
        let due = |draw| renewal_due(issued, issued.plus_seconds(90 * DAY), draw);
        assert_eq!(due(0), issued.plus_seconds(60 * DAY));
        assert_eq!(due(3 * 86_400), issued.plus_seconds(57 * DAY), "the most that is drawn");
        clock.set(issued.plus_seconds(56 * DAY));
        assert!((0..1_000).all(|draw| due(draw * 7_919) > clock.now()));
        clock.set(issued.plus_seconds(60 * DAY));
        assert!((0..1_000).all(|draw| due(draw * 7_919) <= clock.now()));
        // One of seconds, and one whose end lies before its beginning.
        assert_eq!(renewal_due(issued, issued.plus_seconds(15), 1), issued.plus_seconds(10));
        assert_eq!(renewal_due(issued, issued.plus_seconds(-5), 1), issued);
    }

    #[test]
    fn waits_grow_from_a_minute_to_a_day_and_not_beyond_what_the_certificate_has_left() {
        let waits = |left| [1, 2, 3, 11, 12, u32::MAX].map(|failures| wait_seconds(failures, left, 0));
        assert_eq!(waits(Some(30 * DAY)), [60, 120, 240, 61_440, DAY, DAY]);
        assert_eq!(waits(Some(2 * DAY)), [60, 120, 240, DAY / 4, DAY / 4, DAY / 4]);
        assert_eq!(waits(Some(800)), [60, 100, 100, 100, 100, 100]);
        assert_eq!(waits(Some(5)), [60; 6]);
        assert_eq!(waits(None), [60, 120, 240, 3_600, 3_600, 3_600]);
        assert_eq!(wait_seconds(1, Some(30 * DAY), 6), 66);
        assert_eq!(wait_seconds(40, Some(30 * DAY), 12_345), DAY, "never more than a day");
    }

    proptest! {
        #[test]
        fn what_is_drawn_stays_within_its_bounds(
            start in 0..4_000_000_000_i64, width in -10..10_000_000_i64, draw: u64, failures in 1_u32..100,
            left: Option<i64>,
        ) {
            let (start, end) = (at(start), at(start + width));
            let drawn = within_window(start, end, draw);
            prop_assert!(drawn >= start && drawn <= end.max(start));
            let due = renewal_due(start, end, draw);
            prop_assert!(due >= start && due <= end.max(start));
            prop_assert!((60..=DAY).contains(&wait_seconds(failures, left, draw)));
        }
    }
}
