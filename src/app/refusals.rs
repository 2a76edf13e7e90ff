//! Writes what the doors refused, for `latchkey explain`, and lets go of what is a day old.
//!
//! One commit a second at most, however many are refused; what cannot be written is counted and let go. Runs on the
//! control plane's threads.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry::{KeptRefusal, UnkeptRefusals};

/// Refusals are written at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Refusals of one commit; more than a second brings, so that a backlog shrinks.
const WRITTEN_AT_ONCE: usize = 500;
/// What is too old, or too much, is looked for at most this often; half as much as can be let go at once comes meanwhile.
const LET_GO_EVERY: Duration = Duration::from_secs(5);

/// Keeps what comes out of `refused` until `stop`, and then what is left in it.
pub(super) async fn keep_refusals(
    store: Store,
    mut refused: mpsc::Receiver<KeptRefusal>,
    clock: Clock,
    unkept: UnkeptRefusals,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    let mut looked_at = Instant::now();
    loop {
        let stopping = timeout(WRITE_EVERY, stop.cancelled()).await.is_ok();
        while (stopping || batch.len() < WRITTEN_AT_ONCE)
            && let Ok(refusal) = refused.try_recv()
        {
            batch.push(refusal);
        }
        if let Err(error) = store.keep_refusals(&batch).await {
            tracing::warn!(%error, refusals = batch.len(), "refusals could not be kept for `explain`");
            unkept.add(batch.len());
        }
        batch.clear();
        if stopping {
            return;
        }
        if looked_at.elapsed() >= LET_GO_EVERY {
            looked_at = Instant::now();
            if let Err(error) = store.let_refusals_go(clock.now()).await {
                tracing::warn!(%error, "old refusals could not be let go");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccessPoint, ClientIp, Timestamp};
    use crate::telemetry::{AccessRecord, RefusalDetails, RefusalRecorder, RequestId, RequestIds};

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

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
                reason: Some("no_credential"),
                customer: None,
                user: None,
                key_id: None,
                auth_method: None,
                upstream: None,
                duration_microseconds: 1,
                response_bytes: 1,
            };
            recorder.record(&record, RefusalDetails::default());
            record.request_id
        });
        refused.collect()
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_still_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        let (clock, unkept, stop) = (Clock::given(NOW), UnkeptRefusals::default(), CancellationToken::new());
        let (recorder, refused) = RefusalRecorder::new(clock.clone(), unkept.clone());
        let mut ids = Vec::new();
        for second in 0..4 {
            clock.set(NOW.plus_seconds(second));
            ids = refuse(&recorder, 200);
        }
        stop.cancel();
        keep_refusals(store.clone(), refused, clock.clone(), unkept.clone(), stop).await;
        for id in ids {
            assert_eq!(store.refusals_of(id, NOW).await.unwrap().len(), 4, "one each second");
        }
        assert_eq!(unkept.count(), 0);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        let (clock, unkept, stop) = (Clock::given(NOW), UnkeptRefusals::default(), CancellationToken::new());
        let (recorder, refused) = RefusalRecorder::new(clock.clone(), unkept.clone());
        refuse(&recorder, 3);
        store.close().await;
        stop.cancel();
        keep_refusals(store, refused, clock, unkept.clone(), stop).await;
        assert_eq!(unkept.count(), 3);
    }
}
