//! Which of several servers is asked: two are drawn, and the one that is less busy wins. Pure.
//!
//! "Power of two choices": nearly as even as asking the least busy of all, at the price of two draws, and without the
//! herd that runs to one server when all threads see it idle. Draws need no secrecy, so they cost no system call.
//! Called by the doors.

use std::cell::Cell;

/// Servers by their place in the configuration, a bit each.
pub type ServerSet = u64;

/// A source of draws, one for each upstream and thread (`SplitMix64`).
#[derive(Debug)]
pub struct Draws(Cell<u64>);

impl Draws {
    /// Draws that follow from `seed`; threads with different seeds do not draw alike.
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Of two that are drawn from `set`, the one that is less busy; `None` where `set` is empty.
    pub fn less_busy(&self, set: ServerSet, busy: impl Fn(usize) -> u32) -> Option<usize> {
        let (one, other) = self.pair(set)?;
        Some(if busy(other) < busy(one) { other } else { one })
    }

    /// Two different members of `set`, each pair as likely as any other; twice the same where there is only one, and
    /// `None` where there is none.
    fn pair(&self, set: ServerSet) -> Option<(usize, usize)> {
        let count = u64::from(set.count_ones());
        let drawn = self.next();
        match count {
            0 => None,
            1 => Some((member(set, 0), member(set, 0))),
            _ => {
                let one = (drawn >> 32) % count;
                let step = 1 + (drawn & 0xffff_ffff) % (count - 1);
                Some((member(set, one), member(set, (one + step) % count)))
            }
        }
    }
}

/// The place of the member of `set` that has `before` members before it.
const fn member(mut set: ServerSet, before: u64) -> usize {
    let mut passed = 0;
    while passed < before {
        set &= set.wrapping_sub(1);
        passed += 1;
    }
    set.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_and_one_leave_no_choice() {
        let draws = Draws::new(1);
        assert_eq!(draws.pair(0), None);
        assert_eq!(draws.pair(1 << 63), Some((63, 63)));
    }

    #[test]
    fn two_different_members_are_drawn_and_every_pair_alike() {
        let draws = Draws::new(7);
        let set = 0b1011_0000;
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let (one, other) = draws.pair(set).unwrap();
            assert!(one != other && set & (1 << one) != 0 && set & (1 << other) != 0, "{one} {other}");
            *counts.entry((one, other)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_less_busy_of_the_two_wins() {
        let draws = Draws::new(3);
        let busy = [5, 2, 7];
        let mut counts = [0; 3];
        for _ in 0..600 {
            counts[draws.less_busy(0b111, |place| busy[place]).unwrap()] += 1;
        }
        assert!(counts[1] > 350 && counts[0] > 150 && counts[2] == 0, "{counts:?}");
        assert_eq!(draws.less_busy(0b100, |place| busy[place]), Some(2));
        assert_eq!(draws.less_busy(0, |place| busy[place]), None);
    }

    #[test]
    fn other_seeds_draw_otherwise() {
        let drawn = |seed| {
            let draws = Draws::new(seed);
            (0..20).map(|_| draws.pair(u64::MAX).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
