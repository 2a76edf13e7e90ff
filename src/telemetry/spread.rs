//! Numbers for names: distinct, evenly spread, and as lower-case hexadecimal digits.
//!
//! Not secret: whoever has seen one can reckon the next. Used for the ids of requests, traces and spans; what clients
//! must not foresee is not to be decided by them alone.

use std::cell::Cell;

/// Gives out the numbers of one thread.
#[derive(Debug)]
pub(super) struct SpreadNumbers(Cell<u64>);

impl SpreadNumbers {
    /// Starts at `seed`, which must be random, so that threads and restarts do not meet.
    pub(super) const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next one: a step through all 64-bit numbers, scrambled so that they do not look alike.
    pub(super) fn next_number(&self) -> u64 {
        let next = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Writes the lowest digits of `number`, as many as there is room for in `digits`, 16 at most.
pub(super) fn write_hexadecimal(digits: &mut [u8], number: u64) {
    for (place, half) in digits.rchunks_mut(8).zip([number & 0xffff_ffff, number >> 32]) {
        let eight = eight_digits(half);
        let (_, last) = eight.split_at(8 - place.len());
        place.copy_from_slice(last);
    }
}

/// The digits of 32 bits at once, each in a byte of one word: every line and every answer holds some.
fn eight_digits(number: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let apart = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let apart = (apart | apart << 8) & 0x00ff_00ff_00ff_00ff;
    let apart = (apart | apart << 4) & (ONES * 0x0f);
    // From ten on: one more than fifteen when six is added.
    let is_letter = ((apart + ONES * 6) >> 4) & ONES;
    (apart + ONES * u64::from(b'0') + is_letter * u64::from(b'a' - 10 - b'0')).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_formatter(number: u64, length in 0_usize..=16) {
            let mut digits = vec![0; length];
            write_hexadecimal(&mut digits, number);
            prop_assert_eq!(digits, format!("{number:016x}").split_off(16 - length).into_bytes());
        }
    }
}
