//! Which share of many things alike is looked at. Pure; the draw is the caller's.

use std::fmt;

/// From 0, none of them, to 1, all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRatio(f64);

impl SampleRatio {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// `ratio`, if it lies from 0 to 1.
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }

    /// Is the one that drew these `bits` among them? All 64 of them must be evenly spread.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is from 0 to below 1, and so is the product from 0 to below 2^64"
    )]
    pub fn takes(self, bits: u64) -> bool {
        self.0 >= 1.0 || bits < (self.0 * 64_f64.exp2()) as u64
    }
}

impl fmt::Display for SampleRatio {
    /// As JSON writes a number: `1`, `0.001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_from_none_to_all() {
        for (ratio, shown) in [(0.0, "0"), (1.0, "1"), (0.01, "0.01"), (0.000_001, "0.000001")] {
            assert_eq!(SampleRatio::new(ratio).unwrap().to_string(), shown);
            assert_eq!(serde_json::from_str::<f64>(shown).unwrap().to_bits(), ratio.to_bits());
        }
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(SampleRatio::new(ratio), None, "{ratio}");
        }
    }

    #[test]
    fn a_share_takes_the_lowest_draws() {
        let half = SampleRatio::new(0.5).unwrap();
        let none = SampleRatio::new(0.0).unwrap();
        for (bits, of_half) in [(0, true), (u64::MAX / 2, true), (u64::MAX / 2 + 1, false), (u64::MAX, false)]
        {
            assert_eq!(half.takes(bits), of_half, "{bits}");
            assert!(SampleRatio::ALL.takes(bits) && !none.takes(bits), "{bits}");
        }
    }
}
