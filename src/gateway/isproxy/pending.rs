//! The requests that wait for the upstream: a multiset by name, in the order they were asked.
//!
//! The same name asked twice stands in it twice, because each request gets its own reply. Replies mostly come
//! nearly in order, so a walk from the oldest over 32-bit hashes beats a map, and adds no allocation per request. A
//! client that provokes collisions only slows its own session, by a bounded walk.
//! It sets no bound itself; the session does.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::gateway::swar::caseless_hash;

/// What a session without waiting requests keeps of its buffers.
const KEPT_NAME_BYTES: usize = 4_096;
const KEPT_ENTRIES: usize = 128;

/// A request that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The name as it was asked.
    pub name: &'a [u8],
    /// When.
    pub at: Instant,
}

/// Waiting requests.
#[derive(Debug, Default)]
pub struct Pending {
    /// In the order they were asked; answered ones stay as gaps until they reach an end.
    entries: VecDeque<Entry>,
    /// The names, one behind the other.
    names: Vec<u8>,
    waiting: usize,
    waiting_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    start: usize,
    length: usize,
    asked: Instant,
    state: EntryState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    Waits,
    Answered,
}

impl Pending {
    /// How many wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Does none wait?
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Bytes of the names that wait.
    pub const fn name_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// When the oldest was asked.
    pub fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.asked)
    }

    /// The name of the oldest, if `line` begins with it and a blank. Names hold none.
    pub fn oldest_named(&self, line: &[u8]) -> Option<&[u8]> {
        let name = name_of(&self.names, self.entries.front()?);
        line.strip_prefix(name).filter(|behind| behind.first() == Some(&b' ')).map(|_| name)
    }

    /// Adds a request for `name`; `asked` must not be before that of an earlier one.
    pub fn add(&mut self, name: &[u8], asked: Instant) {
        if self.waiting == 0 {
            self.entries.clear();
            self.names.clear();
            self.names.shrink_to(KEPT_NAME_BYTES);
        } else if self.names.len() > 2 * self.waiting_bytes + 1_024
            || self.entries.len() > 2 * self.waiting + 64
        {
            self.close_gaps();
        }
        let entry = Entry {
            hash: caseless_hash(name),
            start: self.names.len(),
            length: name.len(),
            asked,
            state: EntryState::Waits,
        };
        self.names.extend_from_slice(name);
        self.entries.push_back(entry);
        self.waiting += 1;
        self.waiting_bytes += name.len();
    }

    /// Takes out the request that a reply for `name` answers, and gives it: the oldest with this very text, else the
    /// oldest that differs in case only (to the upstream they are one domain).
    pub fn take(&mut self, name: &[u8]) -> Option<Asked<'_>> {
        let found = self.position_of(name)?;
        let entry = self.entries.get_mut(found)?;
        entry.state = EntryState::Answered;
        let entry = *entry;
        self.leave(&entry);
        while self.entries.front().is_some_and(|entry| entry.state == EntryState::Answered) {
            self.entries.pop_front();
        }
        while self.entries.back().is_some_and(|entry| entry.state == EntryState::Answered) {
            self.entries.pop_back();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(KEPT_ENTRIES);
        }
        Some(self.shown(&entry))
    }

    /// Where the request stands that a reply for `name` answers.
    fn position_of(&self, name: &[u8]) -> Option<usize> {
        // The first waits: answered ones leave from both ends.
        if self.entries.front().is_some_and(|oldest| name_of(&self.names, oldest) == name) {
            return Some(0);
        }
        let hash = caseless_hash(name);
        let mut found = None;
        for (position, entry) in self.entries.iter().enumerate() {
            if entry.hash != hash || entry.state == EntryState::Answered {
                continue;
            }
            let asked = name_of(&self.names, entry);
            if asked == name {
                return Some(position);
            }
            if found.is_none() && asked.eq_ignore_ascii_case(name) {
                found = Some(position);
            }
        }
        found
    }

    /// Takes out all that were asked at `until` or before, oldest first.
    pub fn take_asked_until(&mut self, until: Instant, mut each: impl FnMut(Asked<'_>)) {
        while let Some(entry) = self.entries.front().copied().filter(|entry| entry.asked <= until) {
            self.entries.pop_front();
            if entry.state == EntryState::Waits {
                self.leave(&entry);
                each(self.shown(&entry));
            }
        }
        while self.entries.front().is_some_and(|entry| entry.state == EntryState::Answered) {
            self.entries.pop_front();
        }
    }

    /// Takes out all, oldest first.
    pub fn take_all(&mut self, mut each: impl FnMut(Asked<'_>)) {
        self.for_each(&mut each);
        *self = Self::default();
    }

    /// Shows all, oldest first.
    pub fn for_each(&self, mut each: impl FnMut(Asked<'_>)) {
        for entry in self.entries.iter().filter(|entry| entry.state == EntryState::Waits) {
            each(self.shown(entry));
        }
    }

    fn shown(&self, entry: &Entry) -> Asked<'_> {
        Asked { name: name_of(&self.names, entry), at: entry.asked }
    }

    fn leave(&mut self, entry: &Entry) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(entry.length);
    }

    /// Drops the names and entries of what is answered.
    fn close_gaps(&mut self) {
        let mut names = Vec::with_capacity(self.waiting_bytes);
        self.entries.retain_mut(|entry| {
            if entry.state == EntryState::Waits {
                let start = names.len();
                names.extend_from_slice(name_of(&self.names, entry));
                entry.start = start;
            }
            entry.state == EntryState::Waits
        });
        self.names = names;
    }
}

fn name_of<'a>(names: &'a [u8], entry: &Entry) -> &'a [u8] {
    names.get(entry.start..entry.start + entry.length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn pending(names: &[&str]) -> Pending {
        let mut pending = Pending::default();
        let start = Instant::now();
        for (position, name) in (0..).zip(names) {
            pending.add(name.as_bytes(), start + Duration::from_secs(position));
        }
        pending
    }

    fn take<'a>(pending: &'a mut Pending, name: &[u8]) -> Option<&'a [u8]> {
        pending.take(name).map(|asked| asked.name)
    }

    fn rest(pending: &mut Pending) -> Vec<String> {
        let mut names = Vec::new();
        pending.take_all(|asked| names.push(String::from_utf8(asked.name.to_vec()).unwrap()));
        names
    }

    #[test]
    fn a_name_asked_twice_is_answered_twice() {
        let mut pending = pending(&["a.com", "b.com", "a.com"]);
        assert_eq!(take(&mut pending, b"a.com"), Some(b"a.com".as_slice()));
        assert_eq!(take(&mut pending, b"a.com"), Some(b"a.com".as_slice()));
        assert_eq!(take(&mut pending, b"a.com"), None);
        assert_eq!(rest(&mut pending), ["b.com"]);
    }

    #[test]
    fn the_very_text_goes_before_another_case() {
        let mut pending = pending(&["A.com", "a.com", "a.COM"]);
        assert_eq!(take(&mut pending, b"a.com"), Some(b"a.com".as_slice()));
        assert_eq!(take(&mut pending, b"a.com"), Some(b"A.com".as_slice()));
        assert_eq!(take(&mut pending, b"a.com"), Some(b"a.COM".as_slice()));
        assert!(pending.is_empty());
    }

    #[test]
    fn the_overdue_leave_in_order() {
        let mut pending = pending(&["a", "b", "c", "d"]);
        let start = pending.oldest().unwrap();
        let asked = pending.take(b"c").unwrap();
        assert_eq!(asked, Asked { name: b"c", at: start + Duration::from_secs(2) });
        let mut overdue = Vec::new();
        pending.take_asked_until(start + Duration::from_secs(1), |asked| {
            overdue.extend_from_slice(asked.name);
            assert!(asked.at <= start + Duration::from_secs(1));
        });
        assert_eq!(overdue, b"ab");
        assert_eq!(pending.oldest(), Some(start + Duration::from_secs(3)));
        assert_eq!((pending.len(), pending.name_bytes()), (1, 1));
    }

    #[test]
    fn answered_requests_leave_no_memory_behind() {
        let mut pending = Pending::default();
        let now = Instant::now();
        pending.add(b"stays.example", now);
        for _ in 0..10_000 {
            pending.add(b"goes.example", now);
            pending.add(b"goes.too.example", now);
            assert!(pending.take(b"goes.example").is_some());
            assert!(pending.take(b"goes.too.example").is_some());
        }
        assert!(pending.names.len() < 4_096 && pending.entries.len() < 128);
        assert_eq!(rest(&mut pending), ["stays.example"]);
    }

    proptest! {
        #[test]
        fn it_is_a_multiset(steps in proptest::collection::vec((any::<bool>(), 0u8..12), 0..400)) {
            let mut pending = Pending::default();
            let mut model: HashMap<String, usize> = HashMap::new();
            let now = Instant::now();
            for (add, which) in steps {
                let name = format!("name{which}.example");
                if add {
                    pending.add(name.as_bytes(), now);
                    *model.entry(name).or_default() += 1;
                } else {
                    let waits = model.get(&name).copied().unwrap_or(0);
                    prop_assert_eq!(take(&mut pending, name.as_bytes()), (waits > 0).then_some(name.as_bytes()));
                    model.insert(name, waits.saturating_sub(1));
                }
                prop_assert_eq!(pending.len(), model.values().sum::<usize>());
            }
            let mut names = rest(&mut pending);
            names.sort();
            let mut expected: Vec<String> =
                model.into_iter().flat_map(|(name, count)| std::iter::repeat_n(name, count)).collect();
            expected.sort();
            prop_assert_eq!(names, expected);
        }
    }
}
