//! What was refused, on its way from the doors to whoever keeps it for `latchkey explain`.
//!
//! The doors call it for what they refuse and for nothing else, so that what is let in costs nothing here. At most 200
//! refusals a second are handed on, whatever peers do; the others are counted. Knows no store: `app` takes what comes
//! out of the channel and writes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::target::without_credentials;
use super::{AccessRecord, RequestId, UnkeptRefusals};
use crate::clock::Clock;
use crate::model::{ClientIp, Recognised, Service, Timestamp};

/// Refusals of one second that are handed on (DESIGN section 4).
const KEPT_A_SECOND: u64 = 200;
/// Refusals that may wait to be written: what ten seconds may bring.
const WAITING: usize = 2_000;
/// Bytes of a path that are kept, so that a row has a bound.
const TARGET_BYTES: usize = 256;
/// Bytes of a method that are kept.
const METHOD_BYTES: usize = 32;

/// One refusal, as it is kept. Holds no credential, neither whole nor in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRefusal {
    /// The request's name; for `IsProxy` the session's, which may have several refusals.
    pub request_id: RequestId,
    /// When it was refused.
    pub at: Timestamp,
    /// At which door.
    pub service: Service,
    /// The listener's name.
    pub listener: String,
    /// The client that was judged.
    pub client_ip: ClientIp,
    /// The proxy or balancer that told of the client, where one did.
    pub via: Option<ClientIp>,
    /// HTTP method, or the line protocol's verb; `SESSION` where a session was ended.
    pub method: String,
    /// Path without the query and without credentials, cut where it is long.
    pub target: String,
    /// HTTP status, or 400 of the line protocol; 0 where the connection was closed without an answer.
    pub status: u16,
    /// The reason as the access log names it.
    pub reason: String,
    /// Whose credential it was, where that was known.
    pub recognised: Option<Recognised>,
}

/// What a refusal tells beyond its line in the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalDetails {
    /// The proxy or balancer that told of the client, where one did.
    pub via: Option<ClientIp>,
    /// Whose credential it was, where that was known.
    pub recognised: Option<Recognised>,
}

/// Takes refusals of all doors; clones share the bound and the channel.
#[derive(Clone, Debug)]
pub struct RefusalRecorder {
    refusals: mpsc::Sender<KeptRefusal>,
    /// The present second in the upper bits, and how many it has had in the lower [`COUNT_BITS`].
    second: Arc<AtomicU64>,
    clock: Clock,
    unkept: UnkeptRefusals,
}

/// Enough for more refusals than a second can bring.
const COUNT_BITS: u32 = 24;

impl RefusalRecorder {
    /// A recorder, and what comes out of it. What is not handed on counts in `unkept`.
    pub fn new(clock: Clock, unkept: UnkeptRefusals) -> (Self, mpsc::Receiver<KeptRefusal>) {
        let (refusals, kept) = mpsc::channel(WAITING);
        (Self { refusals, second: Arc::default(), clock, unkept }, kept)
    }

    /// Hands a refusal on, whose line in the access log is `record`; never waits. A line without a reason is none, and
    /// of those of the console nothing is kept: its activity tells them.
    pub fn record(&self, record: &AccessRecord<'_>, details: RefusalDetails) {
        let (Some(reason), Some(service)) = (record.reason, record.service.service()) else { return };
        let now = self.clock.now();
        if !self.is_within_bound(now) {
            return self.unkept.add(1);
        }
        let refusal = KeptRefusal {
            request_id: record.request_id,
            at: now,
            service,
            listener: record.listener.to_owned(),
            client_ip: record.client_ip,
            via: details.via,
            method: cut(record.method, METHOD_BYTES),
            target: cut(&without_credentials(record.target), TARGET_BYTES),
            status: record.status,
            reason: reason.to_owned(),
            recognised: details.recognised,
        };
        if self.refusals.try_send(refusal).is_err() {
            self.unkept.add(1);
        }
    }

    /// Counts one of the second of `now`.
    fn is_within_bound(&self, now: Timestamp) -> bool {
        let second = now.unix_seconds().cast_unsigned() << COUNT_BITS;
        let counted = |state: u64| {
            if state >> COUNT_BITS == second >> COUNT_BITS { state.saturating_add(1) } else { second | 1 }
        };
        let mut before = self.second.load(Ordering::Relaxed);
        loop {
            let after = counted(before);
            if after & ((1 << COUNT_BITS) - 1) > KEPT_A_SECOND {
                return false;
            }
            match self.second.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(changed) => before = changed,
            }
        }
    }
}

/// The beginning of `text`, at most `bytes` long, with a sign where something is missing.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::RequestIds;
    use super::*;
    use crate::model::{AccessPoint, UserId};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_500);

    fn line(request_id: RequestId, target: &str) -> AccessRecord<'_> {
        AccessRecord {
            at: NOW,
            service: AccessPoint::Api,
            listener: "api",
            request_id,
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            method: "GET",
            target,
            status: 401,
            reason: Some("unknown_key"),
            customer: None,
            user: None,
            key_id: None,
            auth_method: None,
            upstream: None,
            duration_microseconds: 1,
            response_bytes: 2,
            trace_id: None,
        }
    }

    fn recorder(clock: &Clock) -> (RefusalRecorder, mpsc::Receiver<KeptRefusal>) {
        RefusalRecorder::new(clock.clone(), UnkeptRefusals::default())
    }

    #[test]
    fn a_refusal_comes_out_as_it_was_told() {
        let (recorder, mut kept) = recorder(&Clock::given(NOW));
        let id = RequestIds::new(7).next_id();
        let via = Some(ClientIp::new("10.0.0.1".parse().unwrap()));
        let recognised = Some(Recognised::Password(UserId(3)));
        recorder.record(&line(id, "/v2/domains"), RefusalDetails { via, recognised });
        let refusal = kept.try_recv().unwrap();
        assert_eq!((refusal.request_id, refusal.at, refusal.status), (id, NOW, 401));
        assert_eq!((refusal.via, refusal.recognised), (via, recognised));
        assert_eq!((refusal.method.as_str(), refusal.target.as_str()), ("GET", "/v2/domains"));
        assert_eq!(refusal.reason, "unknown_key");
    }

    #[test]
    fn a_flood_keeps_200_of_each_second_and_the_others_are_counted() {
        let clock = Clock::given(NOW);
        let (recorder, mut kept) = recorder(&clock);
        let ids = RequestIds::new(7);
        let flood =
            || (0..1_000).for_each(|_| recorder.record(&line(ids.next_id(), "/"), RefusalDetails::default()));
        flood();
        assert_eq!((kept.len(), recorder.unkept.count()), (200, 800));
        // The same second goes on, whoever asks.
        recorder.clone().record(&line(ids.next_id(), "/"), RefusalDetails::default());
        assert_eq!((kept.len(), recorder.unkept.count()), (200, 801));
        clock.set(NOW.plus_seconds(1));
        flood();
        assert_eq!((kept.len(), recorder.unkept.count()), (400, 1_601));
        // A clock that goes backwards is another second too.
        clock.set(NOW);
        flood();
        assert_eq!((kept.len(), recorder.unkept.count()), (600, 2_401));
        while kept.try_recv().is_ok() {}
    }

    #[test]
    fn where_nobody_takes_them_out_refusals_are_counted_and_nobody_waits() {
        let clock = Clock::given(NOW);
        let (recorder, kept) = recorder(&clock);
        let ids = RequestIds::new(7);
        for second in 0..11 {
            clock.set(NOW.plus_seconds(second));
            (0..200).for_each(|_| recorder.record(&line(ids.next_id(), "/"), RefusalDetails::default()));
        }
        assert_eq!((kept.len(), recorder.unkept.count()), (WAITING, 200));
        drop(kept);
        recorder.record(&line(ids.next_id(), "/"), RefusalDetails::default());
        assert_eq!(recorder.unkept.count(), 201);
    }

    #[test]
    fn long_targets_are_cut_between_letters() {
        assert_eq!(cut("/v2/domains", 11), "/v2/domains");
        assert_eq!(cut("/v2/domains", 10), "/v2/domain…");
        assert_eq!(cut("/künde", 3), "/k…");
    }
}
