//! Equal states share one allocation: of a million users, nearly all are alike.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// So many values may be kept before those that nobody uses any more are looked for.
const KEPT_BEFORE_A_LOOK: usize = 64;

/// Values by which equal ones are found. One that nobody else holds is let go in time.
#[derive(Debug)]
pub(super) struct Interned<T>(Mutex<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    values: HashSet<Arc<T>>,
    /// Grows with what is in use, so that looking costs little a value.
    look_at: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { values: HashSet::new(), look_at: KEPT_BEFORE_A_LOOK }))
    }
}

impl<T: Eq + Hash> Interned<T> {
    /// The value that equals `value` and is shared by all who ask for it.
    pub(super) fn share(&self, value: T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.values.get(&value) {
            return Arc::clone(known);
        }
        if kept.values.len() >= kept.look_at {
            kept.values.retain(|value| Arc::strong_count(value) > 1);
            kept.look_at = (kept.values.len() * 2).max(KEPT_BEFORE_A_LOOK);
        }
        let value = Arc::new(value);
        kept.values.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_are_let_go() {
        let interned = Interned::default();
        let held = interned.share(0);
        for value in 1..=1_000 {
            interned.share(value);
        }
        assert!(Arc::ptr_eq(&held, &interned.share(0)));
        assert!(interned.0.lock().unwrap().values.len() <= KEPT_BEFORE_A_LOOK);
    }
}
