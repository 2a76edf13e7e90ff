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

/// Writes the lowest digits of `number`, as many as there is room for in `digits`.
pub(super) fn write_hexadecimal(digits: &mut [u8], number: u64) {
    let mut left = number;
    for place in digits.iter_mut().rev() {
        let digit = (left & 15) as u8;
        *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        left >>= 4;
    }
}
