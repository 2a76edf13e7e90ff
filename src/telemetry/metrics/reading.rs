//! All counts at one moment, added up over the threads: what `/metrics` and the live page are made from.

use std::sync::{Arc, PoisonError};

use super::exposition::DOORS;
use super::histogram::{Measured, Times};
use super::{DoorCounts, Doors, Metrics, STATUS_CLASSES};
use crate::model::AccessPoint;

/// All counts since the start, and the present gauges.
#[derive(Clone, Debug)]
pub struct Reading {
    /// API, `IsProxy`, console.
    pub doors: [(AccessPoint, DoorReading); 3],
    /// What denials are counted under, in the order of [`DoorReading::denials`].
    pub reasons: Arc<[&'static str]>,
    /// Upstreams that are asked.
    pub upstreams: Vec<UpstreamReading>,
    /// API keys in the index.
    pub keys: i64,
    /// Users in the index.
    pub users: i64,
    /// The last change of the store that was taken over.
    pub feed_revision: i64,
    /// Connections that may be open at the doors; 0: nobody has said.
    pub connections_limit: i64,
}

/// What a door has counted.
#[derive(Clone, Debug)]
pub struct DoorReading {
    /// Open now.
    pub open_connections: u64,
    /// Since the start.
    pub accepted_connections: u64,
    /// By class of status, 1xx to 5xx.
    pub answers: [u64; STATUS_CLASSES.len()],
    /// By reason.
    pub denials: Vec<u64>,
    /// How long decisions took.
    pub decisions: Times,
    /// What was added to requests.
    pub added_latency: Times,
}

/// An upstream that is asked.
#[derive(Clone, Debug)]
pub struct UpstreamReading {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Tells it from one that had its name, was gone with a reload and is counted no more.
    pub(super) number: u64,
    /// How long it took.
    pub times: Times,
    /// Its servers by name, and whether each is asked.
    pub servers: Vec<(String, bool)>,
}

impl Metrics {
    /// All counts as they are now.
    pub fn read(&self) -> Reading {
        // Copied out, so that a door that starts does not wait for it.
        let sets = self.doors.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut servers = self.upstream_servers.read();
        servers.sort();
        let of = |name: &str| {
            let own = servers.iter().filter(|(upstream, ..)| upstream == name);
            own.map(|(_, server, asked)| (server.clone(), *asked)).collect()
        };
        let mut upstreams: Vec<_> = self
            .upstream_times
            .read()
            .into_iter()
            .map(|(name, number, times)| UpstreamReading { servers: of(&name), name, number, times })
            .collect();
        upstreams.sort_by(|one, other| one.name.cmp(&other.name));
        Reading {
            doors: DOORS.map(|door| (door, self.doors.read(&sets, door))),
            reasons: Arc::clone(&self.doors.reasons),
            upstreams,
            keys: self.keys.get(),
            users: self.users.get(),
            feed_revision: self.feed_revision.get(),
            connections_limit: self.connections_limit.get(),
        }
    }
}

impl Doors {
    /// What the threads of `door` have counted in `sets`.
    pub(super) fn read(&self, sets: &[(AccessPoint, Arc<DoorCounts>)], door: AccessPoint) -> DoorReading {
        let mut read = DoorReading {
            open_connections: 0,
            accepted_connections: 0,
            answers: [0; STATUS_CLASSES.len()],
            denials: vec![0; self.reasons.len()],
            decisions: Times::none(Measured::Decision),
            added_latency: Times::none(Measured::AddedLatency),
        };
        let own = || sets.iter().filter(|(counted, _)| *counted == door).map(|(_, counts)| counts);
        // Ends are read before beginnings, so that a connection that closes meanwhile does not count as minus one.
        let closed = own().fold(0, |sum, counts| sum + super::read(&counts.connections_closed));
        for counts in own() {
            read.accepted_connections += super::read(&counts.connections_opened);
            for (sum, count) in read.answers.iter_mut().zip(&counts.answers) {
                *sum += super::read(count);
            }
            for (sum, count) in read.denials.iter_mut().zip(&counts.denials) {
                *sum += super::read(count);
            }
            counts.decisions.add_to(&mut read.decisions);
            counts.added_latency.add_to(&mut read.added_latency);
        }
        read.open_connections = read.accepted_connections.saturating_sub(closed);
        read
    }
}

impl Reading {
    /// What `door` has counted.
    pub fn door(&self, door: AccessPoint) -> Option<&DoorReading> {
        self.doors.iter().find(|(known, _)| *known == door).map(|(_, read)| read)
    }

    /// What is known of the upstream `name`, where it is asked.
    pub fn upstream(&self, name: &str) -> Option<&UpstreamReading> {
        self.upstreams.iter().find(|upstream| *upstream.name == *name)
    }

    /// Denials of all doors, by reason.
    pub fn denials(&self) -> Vec<u64> {
        let mut denials = vec![0; self.reasons.len()];
        for (_, door) in &self.doors {
            for (sum, count) in denials.iter_mut().zip(&door.denials) {
                *sum += *count;
            }
        }
        denials
    }

    /// What was added to requests, at all doors.
    pub fn added_latency(&self) -> Times {
        let mut all = Times::none(Measured::AddedLatency);
        self.doors.iter().for_each(|(_, door)| all.add(&door.added_latency));
        all
    }

    /// How long all upstreams took.
    pub fn upstream_times(&self) -> Times {
        let mut all = Times::none(Measured::Upstream);
        self.upstreams.iter().for_each(|upstream| all.add(&upstream.times));
        all
    }

    /// How long the upstreams that are asked took since `earlier`, each by itself: what one that is gone had counted is
    /// missing in the sum, and must not be taken from others.
    pub fn upstream_times_since(&self, earlier: &Self) -> Times {
        let mut all = Times::none(Measured::Upstream);
        self.upstreams.iter().for_each(|upstream| all.add(&upstream.times_since(earlier)));
        all
    }

    /// Connections that are open, at all doors.
    pub fn open_connections(&self) -> u64 {
        self.doors.iter().map(|(_, door)| door.open_connections).sum()
    }
}

impl UpstreamReading {
    /// How long it took since `earlier`: ever, where a reload has brought it since.
    pub fn times_since(&self, earlier: &Reading) -> Times {
        let before = earlier.upstreams.iter().find(|before| before.number == self.number);
        before.map_or_else(|| self.times.clone(), |before| self.times.since(&before.times))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Revision;

    #[test]
    fn a_reading_adds_up_what_threads_and_doors_have_counted() {
        let metrics = Metrics::new(&["unknown_key"]);
        for door in [AccessPoint::Api, AccessPoint::Api, AccessPoint::IsProxy] {
            let door = metrics.door(door);
            door.connection_opened();
            door.answered(200);
            door.denied("unknown_key");
            door.decided(Duration::from_micros(2));
            door.added_latency(Duration::from_micros(50));
        }
        metrics.door(AccessPoint::Api).connection_closed();
        let timer = metrics.upstream_timers("registry").for_thread();
        timer.count(Duration::from_millis(4));
        let gauges = ["http://b:80", "http://a:80"].map(|server| metrics.upstream_server("registry", server));
        gauges[0].set_healthy();
        metrics.set_index(7, 3, Revision(12));
        metrics.set_connections_limit(100);
        let read = metrics.read();
        let api = &read.doors[0].1;
        assert_eq!((api.open_connections, api.accepted_connections, api.answers), (1, 2, [0, 2, 0, 0, 0]));
        assert_eq!((api.decisions.count(), api.added_latency.count()), (2, 2));
        assert_eq!((read.open_connections(), read.denials()), (2, vec![3, 0]));
        assert_eq!((read.added_latency().count(), read.upstream_times().count()), (3, 1));
        assert_eq!(&*read.upstreams[0].name, "registry");
        assert_eq!(
            read.upstreams[0].servers,
            [("http://a:80".to_owned(), false), ("http://b:80".to_owned(), true)]
        );
        assert_eq!((read.keys, read.users, read.feed_revision, read.connections_limit), (7, 3, 12, 100));
    }

    #[test]
    fn what_upstreams_took_since_is_told_across_reloads() {
        let metrics = Metrics::default();
        let count = |timer: &crate::telemetry::UpstreamTimer, times: usize, took: u64| {
            (0..times).for_each(|_| timer.count(Duration::from_millis(took)));
        };
        let (gone, stays) =
            (metrics.upstream_timers("gone").for_thread(), metrics.upstream_timers("stays").for_thread());
        count(&gone, 100, 2);
        count(&stays, 10, 2);
        let before = metrics.read();
        count(&stays, 5, 2);
        drop(gone);
        let without = metrics.read();
        let took = |later: &Reading, earlier| {
            let times = later.upstream_times_since(earlier);
            (times.count(), times.sum_nanoseconds() / 1_000_000)
        };
        assert_eq!(took(&without, &before), (5, 10), "nothing is taken from those that stay");
        let back = metrics.upstream_timers("gone").for_thread();
        count(&back, 3, 200);
        let later = metrics.read();
        assert_eq!(took(&later, &without), (3, 600), "not all that it ever took");
        assert_eq!(took(&later, &before), (8, 610), "not what it took less than before");
        count(&back, 200, 2);
        assert_eq!(took(&metrics.read(), &before).0, 208, "also where it has outrun what it was");
    }
}
