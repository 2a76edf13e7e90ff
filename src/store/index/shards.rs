//! Parts of a table, each behind a lock of its own, as many as fill them well.
//!
//! The room of a hash table is a power of two, so that one table of all entries may be half empty: at a million entries
//! it is. So a load takes as many parts as are nearly full with what it brings.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Entries of a part when it is loaded: it has places for 4,096, and more are made for the 3,585th. What is between is
/// for entries to come, and for parts that get more than others.
const ENTRIES_OF_A_SHARD: usize = 3_200;
/// However few entries there are, so that threads that ask for different ones rarely meet.
const FEWEST_SHARDS: usize = 64;

/// Parts, one of which an entry's hash chooses.
#[derive(Debug)]
pub(super) struct Shards<T>(Box<[Shard<T>]>);

/// In lines of the CPU's cache of its own, so that asking one part does not slow down who asks another.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<T>(RwLock<T>);

impl<T> Shards<T> {
    /// As many as suit so many entries; `make` is given how many a part should have room for.
    pub(super) fn new(entries: usize, make: impl Fn(usize) -> T) -> Self {
        let shards = entries.div_ceil(ENTRIES_OF_A_SHARD).max(FEWEST_SHARDS);
        let each = entries.div_ceil(shards);
        let room = each + each / 10;
        Self((0..shards).map(|_| Shard(RwLock::new(make(room)))).collect())
    }

    /// The part of `hash`, to look into.
    pub(super) fn read(&self, hash: u64) -> Option<RwLockReadGuard<'_, T>> {
        self.of(hash).map(|shard| shard.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The part of `hash`, to be changed.
    pub(super) fn write(&self, hash: u64) -> Option<RwLockWriteGuard<'_, T>> {
        self.of(hash).map(|shard| shard.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// All parts, one after another.
    pub(super) fn iter(&self) -> impl Iterator<Item = RwLockReadGuard<'_, T>> {
        self.0.iter().map(|shard| shard.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Chosen by bits in the middle: the tables within tell entries apart by the lowest and the uppermost ones.
    fn of(&self, hash: u64) -> Option<&Shard<T>> {
        let middle = (hash >> 16) & u64::from(u32::MAX);
        let shards = u64::try_from(self.0.len()).unwrap_or(0);
        self.0.get(usize::try_from((middle * shards) >> 32).unwrap_or(0))
    }
}
