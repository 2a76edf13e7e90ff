//! A length of time as people write it: a number with its unit.

use std::str::FromStr;
use std::time::Duration;

/// `90s`, `5m`, `24h`, `30d`; at most some 136 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    seconds: u32,
}

/// What was written is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no length of time; write a number and s, m, h or d: 90s, 24h")]
pub struct TimeSpanError(String);

impl TimeSpan {
    /// So many seconds.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self { seconds }
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// For clocks.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
        let seconds = units.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(*unit)?;
            // `parse` takes a sign, too.
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u32>().ok().filter(|_| is_number)?.checked_mul(*seconds)
        });
        seconds.map(Self::from_seconds).ok_or_else(|| TimeSpanError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_number_with_its_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(TimeSpan::from_seconds(seconds)));
        }
        for text in ["", "h", "24", "24 h", "-1h", "+1h", "1.5h", "1w", "24H", "4294967296s", "49711d"] {
            assert!(text.parse::<TimeSpan>().unwrap_err().to_string().contains("24h"), "{text}");
        }
    }
}
