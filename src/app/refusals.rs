//! Writes what the doors refused, for `latchkey explain`, and lets go of what is a day old. What of it were failed
//! sign-ins goes into the audit trail, grouped.
//!
//! One commit a second at most, however many are refused; what cannot be written is counted and let go. Runs on the
//! control plane's threads.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::{ControlPlane, Failure, FailureGroups};
use crate::telemetry::{KeptRefusal, UnkeptRefusals};

/// Refusals are written at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Refusals of one commit; more than a second brings, so that a backlog shrinks.
const WRITTEN_AT_ONCE: usize = 500;
/// What is too old, or too much, is looked for at most this often; half as much as can be let go at once comes meanwhile.
const LET_GO_EVERY: Duration = Duration::from_secs(5);

/// What keeping refusals needs.
#[derive(Debug)]
pub(super) struct RefusalKeeper {
    /// Acts for the gateway.
    pub(super) plane: ControlPlane,
    /// Refusals that are kept nowhere.
    pub(super) unkept: UnkeptRefusals,
    /// Failed sign-ins on their way into the audit trail.
    pub(super) failures: FailureGroups,
}

impl RefusalKeeper {
    /// Keeps what comes out of `refused` until `stop`, and then what is left in it.
    pub(super) async fn run(self, mut refused: mpsc::Receiver<KeptRefusal>, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut looked_at = Instant::now();
        let mut untold = self.unkept.count();
        loop {
            let stopping = timeout(WRITE_EVERY, stop.cancelled()).await.is_ok();
            while (stopping || batch.len() < WRITTEN_AT_ONCE)
                && let Ok(refusal) = refused.try_recv()
            {
                batch.push(refusal);
            }
            batch.iter().filter_map(Failure::of_refusal).for_each(|failure| self.failures.note(failure));
            let (now, unkept) = (self.plane.clock.now(), self.unkept.count());
            self.failures.note_untold(unkept.saturating_sub(untold), now);
            untold = unkept;
            if let Err(error) = self.plane.store.keep_refusals(&batch).await {
                tracing::warn!(%error, refusals = batch.len(), "refusals could not be kept for `explain`");
                self.unkept.add(batch.len());
                // These have been noted one by one.
                untold = untold.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
            }
            batch.clear();
            if stopping || self.failures.is_due(now) {
                self.write_failures().await;
            }
            if stopping {
                return;
            }
            if looked_at.elapsed() >= LET_GO_EVERY {
                looked_at = Instant::now();
                if let Err(error) = self.plane.store.let_refusals_go(now).await {
                    tracing::warn!(%error, "old refusals could not be let go");
                }
            }
        }
    }

    async fn write_failures(&self) {
        if let Err(error) = self.failures.write(&self.plane).await {
            tracing::warn!(%error, "failed sign-ins could not be written into the audit trail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ActivityFilter, Actor, EventKind};
    use crate::clock::Clock;
    use crate::config::Policy;
    use crate::crypto::KeyRing;
    use crate::model::{AccessPoint, ClientIp, Timestamp};
    use crate::store::Store;
    use crate::telemetry::{AccessRecord, RefusalDetails, RefusalRecorder, RequestId, RequestIds};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn keeper(store: &Store, clock: &Clock, unkept: &UnkeptRefusals) -> RefusalKeeper {
        let key_ring = KeyRing::fill(|_| Ok::<_, std::convert::Infallible>([7; 32])).unwrap();
        let plane = ControlPlane {
            store: store.clone(),
            key_ring: key_ring.into(),
            clock: clock.clone(),
            policy: Policy::default(),
            actor: Actor::Gateway,
            once: None,
            hashing: crate::auth::HashingLane::default(),
        };
        RefusalKeeper { plane, unkept: unkept.clone(), failures: FailureGroups::default() }
    }

    /// Refuses `count` requests; answers their ids.
    fn refuse(recorder: &RefusalRecorder, count: usize) -> Vec<RequestId> {
        let ids = RequestIds::new(7);
        let refused = (0..count).map(|_| {
            let record = AccessRecord {
                at: NOW,
                service: AccessPoint::Api,
                listener: "api",
                request_id: ids.next_id(),
                client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
                method: "GET",
                target: "/",
                status: 401,
                reason: Some("unknown_key"),
                customer: None,
                user: None,
                key_id: None,
                auth_method: None,
                upstream: None,
                duration_microseconds: 1,
                response_bytes: 1,
                trace_id: None,
            };
            recorder.record(&record, RefusalDetails::default());
            record.request_id
        });
        refused.collect()
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_still_written() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (clock, unkept, stop) = (Clock::given(NOW), UnkeptRefusals::default(), CancellationToken::new());
        let (recorder, refused) = RefusalRecorder::new(clock.clone(), unkept.clone());
        let mut ids = Vec::new();
        for second in 0..4 {
            clock.set(NOW.plus_seconds(second));
            ids = refuse(&recorder, 200);
        }
        stop.cancel();
        keeper(&store, &clock, &unkept).run(refused, stop).await;
        for id in ids {
            assert_eq!(store.refusals_of(id, NOW).await.unwrap().len(), 4, "one each second");
        }
        assert_eq!(unkept.count(), 0);
    }

    #[tokio::test]
    async fn s88_failed_sign_ins_are_in_the_audit_trail_at_the_end_and_floods_are_counted() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (clock, unkept, stop) = (Clock::given(NOW), UnkeptRefusals::default(), CancellationToken::new());
        let keeper = keeper(&store, &clock, &unkept);
        let plane = keeper.plane.clone();
        let (recorder, refused) = RefusalRecorder::new(clock.clone(), unkept.clone());
        let running = tokio::spawn(keeper.run(refused, stop.clone()));
        tokio::task::yield_now().await;
        refuse(&recorder, 230);
        stop.cancel();
        running.await.unwrap();
        let filter = ActivityFilter { event: Some(EventKind::SignInFailed), ..ActivityFilter::default() };
        let rows = plane.activity(&filter, None, 10).await.unwrap().rows;
        let told: Vec<_> = rows.iter().map(|row| row.sentence.as_str()).collect();
        let expected = [
            "30 failed sign-ins at 08:00 UTC: more refusals than are told apart",
            "200 failed sign-ins from 192.0.2.7 at 08:00 UTC: no such key, or not any more",
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_counted() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (clock, unkept, stop) = (Clock::given(NOW), UnkeptRefusals::default(), CancellationToken::new());
        let (recorder, refused) = RefusalRecorder::new(clock.clone(), unkept.clone());
        refuse(&recorder, 3);
        store.close().await;
        stop.cancel();
        keeper(&store, &clock, &unkept).run(refused, stop).await;
        assert_eq!(unkept.count(), 3);
    }
}
