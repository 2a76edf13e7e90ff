//! The keys of the index, found by their digest.
//!
//! Entries stand close together, one cache line each, and a table of small numbers says where: a table of the entries
//! themselves would be up to half empty. The digests are keyed, so that nobody can choose one: comparing first halves
//! as the table does tells nothing of a key. Whoever looks up compares the whole digest, in constant time.

use std::sync::Arc;

use foldhash::HashMap;
use hashbrown::HashTable;

use super::entry::{FoundKey, KeyEntry, KeyLimits, UserEntry};
use super::quotas::Metering;
use super::shards::Shards;
use crate::crypto::DigestKey;
use crate::model::{ApiKeyRecord, KeyDigest, KeyId};

/// All keys.
#[derive(Debug)]
pub(super) struct Keys(Shards<Shard>);

#[derive(Debug, Default)]
struct Shard {
    /// Where each entry stands.
    places: HashTable<u32>,
    entries: Vec<KeyEntry>,
    /// Of the few keys that have any: most entries would only have room for them.
    limits: HashMap<KeyId, KeyLimits>,
}

impl Keys {
    /// None yet, with room for so many.
    pub(super) fn with_room(keys: usize) -> Self {
        Self(Shards::new(keys, |room| Shard {
            places: HashTable::with_capacity(room),
            entries: Vec::with_capacity(room),
            limits: HashMap::default(),
        }))
    }

    /// Looks a key up. The work and the comparison are the same for a hit and a miss.
    pub(super) fn lookup(&self, digest: &KeyDigest) -> Option<FoundKey> {
        let shard = self.0.read(hash(digest))?;
        let entry = shard.find(digest);
        // A miss is compared with zeros, so that it costs what a hit costs.
        let stored = entry.map_or(&KeyDigest([0; 32]), |entry| &entry.digest);
        let same = DigestKey::same(stored, digest);
        let entry = entry.filter(|_| same)?;
        let limits = shard.limits_of(entry);
        // A key whose limits are not there would be let in without them.
        (entry.limited == limits.is_some()).then(|| entry.found(limits))
    }

    /// Shows the key's entry to `look`.
    pub(super) fn look_at<T>(&self, digest: &KeyDigest, look: impl FnOnce(&KeyEntry) -> T) -> Option<T> {
        self.0.read(hash(digest))?.find(digest).map(look)
    }

    /// Shows every entry to `look`.
    pub(super) fn look_at_all(&self, look: impl Fn(&KeyEntry)) {
        self.0.iter().for_each(|shard| shard.entries.iter().for_each(&look));
    }

    /// Shows every key to `look`, until it fails.
    pub(super) fn try_each<E>(
        &self,
        mut look: impl FnMut(&KeyDigest, &FoundKey) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.iter().try_for_each(|shard| {
            let each = |entry: &KeyEntry| look(&entry.digest, &entry.found(shard.limits_of(entry)));
            shard.entries.iter().try_for_each(each)
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.entries.len()).sum()
    }

    /// Puts a key as it is stored; what it has used of its limit stays used.
    pub(super) fn put(&self, record: &ApiKeyRecord, user: Arc<UserEntry>, metering: Metering) {
        let limits = KeyLimits::of(record);
        let entry = KeyEntry::new(record, user, limits.as_ref(), metering);
        if let Some(mut shard) = self.0.write(hash(&record.digest)) {
            shard.put(entry, limits);
        }
    }

    /// Takes a key out, if it is there; answers which one it was.
    pub(super) fn remove(&self, digest: &KeyDigest) -> Option<KeyId> {
        self.0.write(hash(digest))?.remove(digest)
    }
}

impl Shard {
    fn find(&self, digest: &KeyDigest) -> Option<&KeyEntry> {
        let place = self.places.find(hash(digest), |place| is_at(&self.entries, *place, digest))?;
        self.entries.get(index(*place))
    }

    fn limits_of(&self, entry: &KeyEntry) -> Option<&KeyLimits> {
        if entry.limited { self.limits.get(&entry.id()) } else { None }
    }

    fn put(&mut self, entry: KeyEntry, limits: Option<KeyLimits>) {
        let Self { places, entries, limits: all_limits } = self;
        let id = entry.id();
        let found = places.find(hash(&entry.digest), |place| is_at(entries, *place, &entry.digest));
        if let Some(former) = found.and_then(|place| entries.get_mut(index(*place))) {
            all_limits.remove(&former.id());
            *former = entry.in_place_of(former);
        } else {
            // A part of four billion keys would not fit into any memory.
            let place = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            places.insert_unique(hash(&entry.digest), place, |place| hash_at(entries, *place));
            entries.push(entry);
        }
        if let Some(limits) = limits {
            all_limits.insert(id, limits);
        }
    }

    /// The last entry moves to where the key was, so that no gap is left.
    fn remove(&mut self, digest: &KeyDigest) -> Option<KeyId> {
        let Self { places, entries, limits } = self;
        let found = places.find_entry(hash(digest), |place| is_at(entries, *place, digest)).ok()?;
        let (free, _) = found.remove();
        let gone = entries.swap_remove(index(free));
        limits.remove(&gone.id());
        let last = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        if let Some(moved) = entries.get(index(free))
            && let Some(place) = places.find_mut(hash(&moved.digest), |place| *place == last)
        {
            *place = free;
        }
        Some(gone.id())
    }
}

/// A digest's own bits: they are uniform.
fn hash(KeyDigest(digest): &KeyDigest) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn hash_at(entries: &[KeyEntry], place: u32) -> u64 {
    entries.get(index(place)).map_or(0, |entry| hash(&entry.digest))
}

fn is_at(entries: &[KeyEntry], place: u32, digest: &KeyDigest) -> bool {
    entries.get(index(place)).is_some_and(|entry| first_half(&entry.digest) == first_half(digest))
}

fn first_half(KeyDigest(digest): &KeyDigest) -> Option<&[u8; 16]> {
    digest.first_chunk()
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::entry::{CustomerEntry, CustomerState, UserState};
    use super::*;
    use crate::model::{AccessPoints, AllowList, CustomerId, MfaRequirement, Timestamp, UserId};
    use crate::store::records::CustomerRecord;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn user() -> Arc<UserEntry> {
        let customer = CustomerRecord {
            id: CustomerId(1),
            handle: "acme".parse().unwrap(),
            mfa: MfaRequirement::Optional,
            allow_list: AllowList::default(),
            created_at: NOW,
        };
        let state = Arc::new(CustomerState::of(&customer, Metering::Off));
        let customer = Arc::new(CustomerEntry::new(&customer, state));
        let state = UserState {
            active: true,
            access_points: AccessPoints::ALL,
            password_hash: None,
            password_version: 1,
            password_off_by_key: true,
            mfa: MfaRequirement::Optional,
            mfa_active: false,
            allow_list: AllowList::default(),
            metering: Metering::Off,
        };
        Arc::new(UserEntry::new(UserId(1), customer, "alex", Arc::new(state)))
    }

    fn key(number: u64) -> ApiKeyRecord {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        digest[24..].copy_from_slice(&number.to_le_bytes());
        ApiKeyRecord {
            id: KeyId::from_random(number),
            user: UserId(1),
            digest: KeyDigest(digest),
            last_characters: "abcd".into(),
            description: "test".into(),
            scope: "api".parse().unwrap(),
            enabled: true,
            expires_at: number.is_multiple_of(3).then_some(NOW),
            allow_list: if number.is_multiple_of(5) {
                "192.0.2.0/24".parse().unwrap()
            } else {
                AllowList::default()
            },
            created_at: NOW,
        }
    }

    #[test]
    fn a_key_is_found_however_many_others_come_and_go() {
        let (keys, user) = (Keys::with_room(10), user());
        for number in 0..2_000 {
            keys.put(&key(number), Arc::clone(&user), Metering::Off);
        }
        for number in (0..2_000).filter(|number| number % 7 != 0) {
            assert_eq!(keys.remove(&key(number).digest), Some(key(number).id));
            assert_eq!(keys.remove(&key(number).digest), None);
        }
        assert_eq!(keys.len(), 286);
        for number in 0..2_000 {
            let (expected, found) = (key(number), keys.lookup(&key(number).digest));
            assert_eq!(found.is_some(), number % 7 == 0, "{number}");
            let Some(found) = found else { continue };
            assert_eq!(
                (found.id, found.expires_at, found.allow_list),
                (expected.id, expected.expires_at, expected.allow_list)
            );
        }
    }

    #[test]
    fn what_narrowed_a_key_goes_with_the_change_that_ends_it() {
        let (keys, user) = (Keys::with_room(10), user());
        let free = ApiKeyRecord { expires_at: None, allow_list: AllowList::default(), ..key(15) };
        for record in [&key(15), &free] {
            keys.put(record, Arc::clone(&user), Metering::Off);
            let found = keys.lookup(&record.digest).unwrap();
            assert_eq!((found.expires_at, &found.allow_list), (record.expires_at, &record.allow_list));
        }
        keys.put(&key(15), user, Metering::On);
        assert_eq!(keys.lookup(&key(15).digest).unwrap().metering, Metering::On);
        keys.remove(&key(15).digest);
        assert!(keys.0.iter().all(|shard| shard.limits.is_empty() && shard.entries.is_empty()));
    }
}
