//! Times and rates in words. Pure; used by the live page's parts.

use std::time::Duration;

use crate::figures::grouped;
use crate::telemetry::Amount;

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// What `text` makes of an amount, or `> 30 s` where it is only known to be more; of nothing, a dash.
pub(super) fn amount_text(amount: Option<Amount>, text: impl Fn(u64) -> String) -> String {
    match amount {
        None => NOTHING.to_owned(),
        Some(Amount::Known(amount)) => text(amount),
        // Bounds are round.
        Some(Amount::MoreThan(bound)) => format!("> {}", text(bound).replace(".0 ", " ")),
    }
}

/// `850 µs`, `12.3 ms` or `4.5 s`.
pub(super) fn time_text(nanoseconds: u64) -> String {
    match nanoseconds {
        ..1_000_000 => format!("{} µs", nanoseconds.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{} ms", tenths_text(nanoseconds / 100_000)),
        _ => format!("{} s", tenths_text(nanoseconds / 100_000_000)),
    }
}

/// `12.3` of 123 tenths, and `1,234` of more than a hundred.
pub(super) fn tenths_text(tenths: u64) -> String {
    if tenths >= 1_000 {
        return grouped(tenths / 10);
    }
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How often something happens a second, in tenths, if it happened `count` times `within`.
pub(super) fn tenths_per_second(count: u64, within: Duration) -> u64 {
    let milliseconds = within.as_millis().max(1);
    u64::try_from(u128::from(count) * 10_000 / milliseconds).unwrap_or(u64::MAX)
}

/// `3 d 4 h`, `5 h 6 min`, `7 min 8 s` or `9 s`.
pub(super) fn span_text(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", grouped(days), hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_the_unit_that_fits() {
        for (nanoseconds, text) in [
            (0, "0 µs"),
            (1, "1 µs"),
            (850_000, "850 µs"),
            (1_000_000, "1.0 ms"),
            (12_345_678, "12.3 ms"),
            (4_560_000_000, "4.5 s"),
        ] {
            assert_eq!(time_text(nanoseconds), text);
        }
    }

    #[test]
    fn what_is_not_known_exactly_is_not_told_as_if_it_were() {
        for (amount, text) in [
            (None, "–"),
            (Some(Amount::Known(30_000_000_000)), "30.0 s"),
            (Some(Amount::MoreThan(30_000_000_000)), "> 30 s"),
            (Some(Amount::MoreThan(3_000_000_000)), "> 3 s"),
            (Some(Amount::MoreThan(300_000_000)), "> 300 ms"),
        ] {
            assert_eq!(amount_text(amount, time_text), text);
        }
    }

    #[test]
    fn rates_have_a_digit_behind_the_point_while_they_are_small() {
        assert_eq!(tenths_text(tenths_per_second(1, Duration::from_secs(2))), "0.5");
        assert_eq!(tenths_text(tenths_per_second(25_000, Duration::from_secs(2))), "12,500");
        assert_eq!(tenths_per_second(3, Duration::ZERO), 30_000, "what takes no time is a millisecond");
    }

    #[test]
    fn spans_come_in_two_units() {
        for (seconds, text) in
            [(9, "9 s"), (428, "7 min 8 s"), (18_360, "5 h 6 min"), (273_600, "3 d 4 h"), (0, "0 s")]
        {
            assert_eq!(span_text(Duration::from_secs(seconds)), text);
        }
    }
}
