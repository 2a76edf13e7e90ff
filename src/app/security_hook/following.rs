//! Reads the audit trail for what is to be told, whoever has written it: the console, the command line, another gateway.
//!
//! How far it has come stands in the store, so that what happens while no gateway runs is told later. A gateway that is
//! killed while it tells tells that event again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::auth::SecurityEvent;
use crate::store::{AuditFilter, Leadership, Store, StoreError, StoreFact};

/// How soon an event is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows read at once.
const ROWS_AT_ONCE: u32 = 200;

/// Hands every security event of the trail to `events`, until `stop`. On a store that was never followed it begins with
/// what comes next.
pub(in crate::app) async fn follow_security_events(
    store: Store,
    events: mpsc::Sender<SecurityEvent>,
    stop: CancellationToken,
) {
    let mut leadership = Leadership::default();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looking = async {
            let tells = store.in_time(store.tells_security_events(&mut leadership)).await?;
            if tells { look(&store, &events).await } else { Ok(()) }
        };
        if let Err(error) = looking.await {
            tracing::warn!(%error, "the audit trail could not be read for security events");
        }
    }
}

/// Hands on what has come since the last look.
async fn look(store: &Store, events: &mpsc::Sender<SecurityEvent>) -> Result<(), StoreError> {
    let end = store.in_time(store.audit_end()).await?.sequence;
    let told = store
        .in_time(store.fact(StoreFact::SecurityEventsTold))
        .await?
        .and_then(|told| told.parse::<i64>().ok());
    let Some(mut told) = told else {
        return store.in_time(store.set_fact(StoreFact::SecurityEventsTold, &end.to_string())).await;
    };
    while told < end {
        let filter = AuditFilter { after: told, ..AuditFilter::default() };
        let rows = store.in_time(store.oldest_audit_rows(&filter, ROWS_AT_ONCE)).await?;
        let Some(last) = rows.last() else { break };
        told = last.sequence;
        for event in rows.iter().filter_map(|row| SecurityEvent::of(&row.entry)) {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        store.in_time(store.set_fact(StoreFact::SecurityEventsTold, &told.to_string())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::EventKind;
    use crate::crypto::DigestKey;
    use crate::model::{CustomerId, Timestamp, UserId};
    use crate::store::AuditEntry;

    fn entry(kind: EventKind) -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_unix_milliseconds(1_800_000_000_000),
            customer: Some(CustomerId(1)),
            actor: "acme/admin".into(),
            actor_id: None,
            entrance: "console".into(),
            client_ip: String::new(),
            event: kind.as_str().into(),
            subject: "acme/alex".into(),
            subject_id: Some(UserId(2)),
            details: "{}".into(),
        }
    }

    async fn write(store: &Store, kinds: &[EventKind]) {
        let mut change = store.mutate().await.unwrap();
        let entries: Vec<_> = kinds.iter().copied().map(entry).collect();
        change.append_audit(&entries, &DigestKey::new([1; 32])).await.unwrap();
        change.commit().await.unwrap();
    }

    #[tokio::test]
    async fn what_was_written_by_anybody_since_the_last_look_is_told_once_and_nothing_older() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (sender, mut events) = mpsc::channel(10);
        write(&store, &[EventKind::MfaReset]).await;
        look(&store, &sender).await.unwrap();
        assert!(events.try_recv().is_err(), "what happened before the hook is not told");
        write(&store, &[EventKind::PasswordChanged, EventKind::SignedIn, EventKind::MfaMethodAdded]).await;
        look(&store, &sender).await.unwrap();
        look(&store, &sender).await.unwrap();
        assert_eq!(events.try_recv().unwrap().event, "password.changed");
        assert_eq!(events.try_recv().unwrap().event, "mfa.added");
        assert!(events.try_recv().is_err());
    }
}
