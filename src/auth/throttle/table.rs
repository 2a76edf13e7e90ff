//! Failure counters of very many callers in memory that never grows beyond a bound.
//!
//! A caller is known by 64 bits of a keyed hash, which nobody without the hash's key can aim at another's counter.
//! Counters stand in small sets, each with a lock of its own. A set that is full first drops what no longer counts,
//! then what refuses nobody yet; a counter that refuses is never dropped for a new one. A set in which all refuse has
//! one more counter, which all further callers share. Holds no rule itself: a [`Rule`] says what a count means.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sets of one table.
const SETS: usize = 16_384;

/// Time since the start of a throttle, in tenths of a second: enough for 13 years.
pub(super) type Tick = u32;
/// Ticks of a second.
pub(super) const TICKS_PER_SECOND: Tick = 10;

/// What is kept of one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Failures that count; 0: none, and [`Tally::at`] means nothing.
    pub(super) failures: u32,
    /// The moment that the rule goes by: of the first failure, or of the last.
    pub(super) at: Tick,
}

/// What a tally means.
pub(super) trait Rule {
    /// Is nothing counted, and nothing refused?
    fn is_off(&self) -> bool;

    /// The tally after one more failure at `now`.
    fn counted(&self, tally: Tally, now: Tick) -> Tally;

    /// Ticks for which the next attempt is refused from `now` on, if it is.
    fn wait(&self, tally: Tally, now: Tick) -> Option<Tick>;

    /// Does it no longer count at `now`?
    fn is_forgotten(&self, tally: Tally, now: Tick) -> bool;
}

/// Tallies under one rule.
#[derive(Debug)]
pub(super) struct Table<R> {
    rule: R,
    slots_per_set: usize,
    sets: Box<[Mutex<Set>]>,
}

#[derive(Debug, Default)]
struct Set {
    slots: Vec<Slot>,
    /// Shared by all who find no slot.
    overflow: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    tally: Tally,
}

impl<R: Rule> Table<R> {
    /// A table with room for `slots_per_set` (a power of two) times 16,384 callers; an empty one takes 0.7 MB.
    pub(super) fn new(rule: R, slots_per_set: usize) -> Self {
        Self::with_sets(rule, slots_per_set, SETS)
    }

    fn with_sets(rule: R, slots_per_set: usize, sets: usize) -> Self {
        Self { rule, slots_per_set, sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    /// What its tallies mean.
    pub(super) const fn rule(&self) -> &R {
        &self.rule
    }

    /// Ticks for which an attempt of `key` is refused, if it is.
    pub(super) fn wait(&self, key: u64, now: Tick) -> Option<Tick> {
        if self.rule.is_off() {
            return None;
        }
        let set = self.set(key)?;
        let tally = match set.slots.iter().find(|slot| slot.key == key) {
            Some(slot) => slot.tally,
            None if self.has_room(&set, now) => return None,
            None => set.overflow,
        };
        self.rule.wait(tally, now)
    }

    /// Counts an attempt of `key` as failed, unless it is refused: then the ticks for which it is.
    pub(super) fn count(&self, key: u64, now: Tick) -> Result<(), Tick> {
        if self.rule.is_off() {
            return Ok(());
        }
        let Some(mut set) = self.set(key) else { return Ok(()) };
        let tally = self.tally_of(&mut set, key, now);
        if let Some(wait) = self.rule.wait(*tally, now) {
            return Err(wait);
        }
        *tally = self.rule.counted(*tally, now);
        Ok(())
    }

    /// Takes one failure of `key` back: it proved to be none.
    pub(super) fn take_back(&self, key: u64) {
        let Some(mut set) = self.set(key) else { return };
        let set = &mut *set;
        let Some(place) = set.slots.iter().position(|slot| slot.key == key) else {
            set.overflow.failures = set.overflow.failures.saturating_sub(1);
            return;
        };
        let left = set.slots.get_mut(place).map_or(0, |slot| {
            slot.tally.failures = slot.tally.failures.saturating_sub(1);
            slot.tally.failures
        });
        if left == 0 {
            set.slots.swap_remove(place);
        }
    }

    /// Forgets `key`. What it shares with others stays.
    pub(super) fn forget(&self, key: u64) {
        if let Some(mut set) = self.set(key) {
            set.slots.retain(|slot| slot.key != key);
        }
    }

    fn set(&self, key: u64) -> Option<MutexGuard<'_, Set>> {
        let sets = u64::try_from(self.sets.len()).ok().filter(|sets| *sets > 0)?;
        let set = self.sets.get(usize::try_from(key % sets).ok()?)?;
        // What a panic leaves behind is still a set of tallies.
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tally_of<'s>(&self, set: &'s mut Set, key: u64, now: Tick) -> &'s mut Tally {
        let place = set.slots.iter().position(|slot| slot.key == key).or_else(|| {
            set.slots.retain(|slot| !self.rule.is_forgotten(slot.tally, now));
            if set.slots.len() >= self.slots_per_set {
                set.slots.retain(|slot| self.refuses(slot.tally, now));
            }
            let free = set.slots.len() < self.slots_per_set;
            free.then(|| {
                set.slots.push(Slot { key, tally: Tally::default() });
                set.slots.len().saturating_sub(1)
            })
        });
        match place.and_then(|place| set.slots.get_mut(place)) {
            Some(slot) => &mut slot.tally,
            None => &mut set.overflow,
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        let slots: usize = self.sets.iter().map(|set| set.lock().map_or(0, |set| set.slots.capacity())).sum();
        slots * size_of::<Slot>() + self.sets.len() * size_of::<Mutex<Set>>()
    }

    fn has_room(&self, set: &Set, now: Tick) -> bool {
        set.slots.len() < self.slots_per_set || set.slots.iter().any(|slot| !self.refuses(slot.tally, now))
    }

    fn refuses(&self, tally: Tally, now: Tick) -> bool {
        self.rule.wait(tally, now).is_some()
    }
}

/// Bytes that a table takes after one failure each of so many callers, but for what the allocator adds: measured on a
/// 256th of it, since its sets know nothing of each other.
#[cfg(test)]
pub(super) fn bytes_with<R: Rule>(rule: R, slots_per_set: usize, callers: u64) -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let table = Table::with_sets(rule, slots_per_set, SETS / 256);
    for caller in 0..callers / 256 {
        let mut key = DefaultHasher::new();
        caller.hash(&mut key);
        let _ = table.count(key.finish(), 0);
    }
    table.bytes() * 256
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two failures are free for 100 ticks.
    struct TwoInHundred;

    impl Rule for TwoInHundred {
        fn is_off(&self) -> bool {
            false
        }

        fn counted(&self, tally: Tally, now: Tick) -> Tally {
            if self.is_forgotten(tally, now) {
                return Tally { failures: 1, at: now };
            }
            Tally { failures: tally.failures + 1, at: tally.at }
        }

        fn wait(&self, tally: Tally, now: Tick) -> Option<Tick> {
            (tally.failures >= 2 && !self.is_forgotten(tally, now)).then(|| tally.at + 100 - now)
        }

        fn is_forgotten(&self, tally: Tally, now: Tick) -> bool {
            tally.failures == 0 || now >= tally.at + 100
        }
    }

    fn small() -> Table<TwoInHundred> {
        Table::with_sets(TwoInHundred, 4, 1)
    }

    fn slots(table: &Table<TwoInHundred>) -> usize {
        table.sets.iter().map(|set| set.lock().unwrap().slots.len()).sum()
    }

    #[test]
    fn a_key_is_counted_until_it_is_refused() {
        let table = small();
        assert_eq!((table.wait(1, 0), table.count(1, 0), table.count(1, 5)), (None, Ok(()), Ok(())));
        assert_eq!((table.wait(1, 10), table.count(1, 10)), (Some(90), Err(90)));
        assert_eq!(table.wait(2, 10), None);
        assert_eq!((table.wait(1, 100), table.count(1, 100)), (None, Ok(())));
    }

    #[test]
    fn what_is_taken_back_or_forgotten_leaves_nothing_behind() {
        let table = small();
        table.count(1, 0).unwrap();
        table.count(1, 0).unwrap();
        table.take_back(1);
        assert_eq!(table.wait(1, 0), None);
        table.take_back(1);
        assert_eq!(slots(&table), 0);
        table.count(2, 0).unwrap();
        table.count(2, 0).unwrap();
        table.forget(2);
        assert_eq!((table.wait(2, 0), slots(&table)), (None, 0));
    }

    #[test]
    fn s45_a_full_set_drops_what_is_over_and_then_what_refuses_nobody() {
        let table = small();
        for key in 0..4 {
            table.count(key, 0).unwrap();
        }
        table.count(3, 0).unwrap();
        // Room is made by those that only count; the one that refuses stays.
        table.count(4, 1).unwrap();
        assert_eq!((slots(&table), table.wait(3, 1)), (2, Some(99)));
        // Room is made by the one whose time is over.
        table.count(5, 100).unwrap();
        assert_eq!((slots(&table), table.wait(3, 100)), (2, None));
    }

    #[test]
    fn s45_active_throttles_are_never_evicted_and_further_keys_share_one_counter() {
        let table = small();
        for key in 0..4 {
            table.count(key, 0).unwrap();
            table.count(key, 0).unwrap();
        }
        // A set full of active throttles does not mean unlimited guesses for others, together.
        assert_eq!((table.count(10, 1), table.count(11, 1)), (Ok(()), Ok(())));
        assert_eq!((table.wait(12, 1), table.count(13, 1)), (Some(100), Err(100)));
        for key in 0..4 {
            assert_eq!(table.wait(key, 1), Some(99), "{key}");
        }
        assert_eq!(slots(&table), 4);
        // Once their time is over, everybody has a counter of their own again.
        assert_eq!((table.wait(12, 100), table.count(12, 100)), (None, Ok(())));
    }

    #[test]
    fn s45_a_shared_counter_can_be_taken_back() {
        let table = small();
        for key in [0, 0, 1, 1, 2, 2, 3, 3, 10, 11] {
            table.count(key, 0).unwrap();
        }
        table.take_back(10);
        assert_eq!(table.wait(12, 0), None);
    }

    #[test]
    fn s45_a_slot_takes_16_bytes_and_a_set_never_has_more_than_its_slots() {
        assert_eq!(size_of::<Slot>(), 16);
        assert!(size_of::<Mutex<Set>>() <= 48);
        let table = Table::with_sets(TwoInHundred, 128, 1);
        for key in 0..10_000 {
            let _ = table.count(key, 0);
            let _ = table.count(key, 0);
        }
        assert_eq!(table.sets[0].lock().unwrap().slots.capacity(), 128);
    }
}
