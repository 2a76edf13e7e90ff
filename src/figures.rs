//! Numbers as people read them: digits in groups, and axes that end at round figures.
//!
//! Pure. Used by the charts of the console and by the live page of `ops`.

/// `12345` as `12,345`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The next of 4, 10, 20, 40, 100, 200, 400 …, so that the half of it is whole as well.
pub fn round_up(value: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [4, 10, 20] {
            let candidate = unit.saturating_mul(step);
            if candidate >= value {
                return candidate;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_figure_that_can_be_halved() {
        let cases = [(0, 4), (4, 4), (5, 10), (11, 20), (21, 40), (41, 100), (101, 200), (950, 1000)];
        for (value, top) in cases {
            assert_eq!(round_up(value), top, "{value}");
        }
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }

    #[test]
    fn figures_are_grouped_by_thousands() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(value), text);
        }
    }
}
