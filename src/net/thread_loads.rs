//! Which thread serves a connection: the one that accepted it, unless that has far more than its share. Pure.
//!
//! The kernel spreads connections over the threads' sockets by a hash of addresses and ports, which is even over
//! thousands of connections and anything but over a dozen busy ones. A thread that would have more than 1.25 times the
//! mean hands a connection on to the one with the fewest (DESIGN section 3). Called by `slots`.

/// Open connections of one listener by thread.
#[derive(Clone, Debug)]
pub(super) struct ThreadLoads(Vec<u32>);

impl ThreadLoads {
    /// No connection on any of `threads`.
    pub(super) fn new(threads: usize) -> Self {
        Self(vec![0; threads])
    }

    /// The thread that is to serve the connection that `accepting` has accepted; it is counted there.
    pub(super) fn place(&mut self, accepting: usize) -> usize {
        let thread = self.choose(accepting);
        if let Some(load) = self.0.get_mut(thread) {
            *load = load.saturating_add(1);
        }
        thread
    }

    /// A connection of `thread` has ended.
    pub(super) fn leave(&mut self, thread: usize) {
        if let Some(load) = self.0.get_mut(thread) {
            *load = load.saturating_sub(1);
        }
    }

    /// Has no thread a connection?
    pub(super) fn are_empty(&self) -> bool {
        self.0.iter().all(|load| *load == 0)
    }

    fn choose(&self, accepting: usize) -> usize {
        let own = self.0.get(accepting).copied().unwrap_or_default();
        let with_this = |load: u32| u64::from(load) + 1;
        let total = self.0.iter().copied().map(u64::from).sum::<u64>() + 1;
        // `own + 1 > 1.25 × total / threads`, in whole numbers.
        if with_this(own) * self.0.len() as u64 * 4 <= total * 5 {
            return accepting;
        }
        let least = self.0.iter().enumerate().min_by_key(|(_, load)| **load);
        least.filter(|(_, load)| **load < own).map_or(accepting, |(thread, _)| thread)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thread_keeps_what_it_accepts_while_it_has_no_more_than_its_share() {
        let mut loads = ThreadLoads(vec![4, 4, 4, 4]);
        assert_eq!(loads.place(2), 2, "5 of 17 is less than 1.25 times the mean");
        assert_eq!(loads.place(2), 0, "6 of 18 is more");
        loads.leave(1);
        assert_eq!(loads.place(2), 1);
        assert_eq!(loads.0, [5, 4, 5, 4]);
    }

    #[test]
    fn the_first_connections_go_to_threads_without_one() {
        let mut loads = ThreadLoads::new(3);
        assert_eq!([loads.place(1), loads.place(1), loads.place(1)], [1, 0, 2]);
        assert_eq!(ThreadLoads::new(1).place(0), 0);
        assert_eq!(ThreadLoads::new(0).place(3), 3, "a thread that is not counted serves itself");
    }

    proptest! {
        #[test]
        fn no_thread_ever_has_more_than_its_share_and_one(
            threads in 1_usize..9,
            accepting in proptest::collection::vec(any::<usize>(), 1..200),
        ) {
            let mut loads = ThreadLoads::new(threads);
            for (count, thread) in (1_u64..).zip(accepting) {
                loads.place(thread % threads);
                let busiest = loads.0.iter().copied().max().map_or(0, u64::from);
                let mean_rounded_up = count.div_ceil(threads as u64);
                prop_assert!(busiest * threads as u64 * 4 <= count * 5 || busiest <= mean_rounded_up, "{loads:?}");
            }
        }
    }
}
