//! Tells whom the configuration names of security events: runs a program, posts to an address, or both.
//!
//! One event after the other, each within bounds; who made the change has long gone on. What cannot be told is logged,
//! without the address, and let go. Which events there are, and in which words, is `auth`'s. Runs on the control
//! plane's threads.

mod command;
mod following;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::post_address::AddressError;
use crate::auth::SecurityEvent;
use crate::clock::Clock;
use crate::config::{EventCommand, SecurityEvents};
pub(super) use following::follow_security_events;
use webhook::Webhook;

/// The program and the receiver each have so long for one event.
const DEADLINE: Duration = Duration::from_secs(10);
/// So long a gateway that ends goes on telling what waits.
const LAST_DEADLINE: Duration = Duration::from_secs(5);

/// Whom to tell; the default tells nobody.
#[derive(Debug, Default)]
pub(super) struct SecurityHook {
    command: Option<EventCommand>,
    webhook: Option<Webhook>,
}

impl SecurityHook {
    /// The hook that `config` asks for.
    ///
    /// # Errors
    /// The webhook is no address that could be posted to, or the system trusts no authority to judge it by.
    pub fn new(config: Option<&SecurityEvents>, clock: &Clock) -> Result<Self, AddressError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let webhook = config.webhook.as_ref().map(|webhook| Webhook::new(webhook, clock.clone()));
        Ok(Self { command: config.command.clone(), webhook: webhook.transpose()? })
    }

    /// Tells everybody of `event`, at the same time.
    async fn tell(&self, event: &SecurityEvent) {
        let body = match serde_json::to_vec(event) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(event = event.event, %error, "a security event could not be written as JSON");
                return;
            }
        };
        let run = async {
            if let Some(command) = &self.command
                && let Err(error) = command::run(command, &body, DEADLINE).await
            {
                tracing::warn!(event = event.event, %error, "the program for security events failed");
            }
        };
        let post = async {
            if let Some(webhook) = &self.webhook
                && let Err(error) = webhook.post(&body, DEADLINE).await
            {
                tracing::warn!(event = event.event, %error, "a security event could not be posted");
            }
        };
        tokio::join!(run, post);
    }
}

/// Tells what comes out of `events` by the latest `hook`, until `stop` or until nobody is left to bring any; then, for
/// some seconds, what waits.
pub(super) async fn tell_security_events(
    mut events: mpsc::Receiver<SecurityEvent>,
    hook: watch::Receiver<Arc<SecurityHook>>,
    stop: CancellationToken,
) {
    let tell = async |event: SecurityEvent| {
        let present = Arc::clone(&hook.borrow());
        present.tell(&event).await;
    };
    let mut last = None;
    while let Some(event) = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        event = events.recv() => event,
    } {
        let mut telling = Box::pin(tell(event));
        tokio::select! {
            () = &mut telling => {}
            () = stop.cancelled() => {
                last = Some(telling);
                break;
            }
        }
    }
    events.close();
    let rest = timeout(LAST_DEADLINE, async {
        if let Some(telling) = last {
            telling.await;
        }
        while let Some(event) = events.recv().await {
            tell(event).await;
        }
    });
    if rest.await.is_err() {
        tracing::warn!(untold = events.len(), "the gateway ends before all security events are told");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::{CustomerId, Timestamp, UserId};
    use crate::store::AuditEntry;

    fn entry(detail: &str) -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_unix_milliseconds(1_800_000_000_000),
            customer: Some(CustomerId(1)),
            actor: "acme/alex".into(),
            actor_id: Some(UserId(2)),
            entrance: "console".into(),
            client_ip: "192.0.2.7".into(),
            event: "mfa.added".into(),
            subject: "acme/alex".into(),
            subject_id: Some(UserId(2)),
            details: serde_json::json!({ "name": detail }).to_string(),
        }
    }

    /// A hook that appends what it reads to `file`.
    fn appending_to(file: &Path) -> Arc<SecurityHook> {
        let script = format!("cat >> '{}'", file.display());
        let command = EventCommand { program: "sh".into(), arguments: vec!["-c".to_owned(), script] };
        let config = SecurityEvents { command: Some(command), webhook: None };
        let clock = Clock::given(Timestamp::from_unix_milliseconds(0));
        Arc::new(SecurityHook::new(Some(&config), &clock).unwrap())
    }

    #[tokio::test]
    async fn events_are_told_in_their_order_and_by_the_hook_of_the_latest_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        let (sink, events) = mpsc::channel(10);
        let (hooks, hook) = watch::channel(appending_to(&before));
        let stop = CancellationToken::new();
        let telling = tokio::spawn(tell_security_events(events, hook, stop));
        sink.try_send(SecurityEvent::of(&entry("one")).unwrap()).unwrap();
        while !fs::read_to_string(&before).is_ok_and(|told| told.ends_with('\n')) {
            tokio::task::yield_now().await;
        }
        hooks.send_replace(appending_to(&after));
        sink.try_send(SecurityEvent::of(&entry("two")).unwrap()).unwrap();
        sink.try_send(SecurityEvent::of(&entry("three")).unwrap()).unwrap();
        drop(sink);
        telling.await.unwrap();
        let [before, after] = [before, after].map(|file| fs::read_to_string(file).unwrap());
        assert_eq!(before.lines().count(), 1);
        let names: Vec<_> = after
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["details"]["name"].clone())
            .collect();
        assert_eq!(names, ["two", "three"]);
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_still_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let (sink, events) = mpsc::channel(10);
        let (_hooks, hook) = watch::channel(appending_to(&file));
        let stop = CancellationToken::new();
        sink.try_send(SecurityEvent::of(&entry("one")).unwrap()).unwrap();
        stop.cancel();
        drop(sink);
        tell_security_events(events, hook, stop).await;
        assert_eq!(fs::read_to_string(file).unwrap().lines().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_a_slow_program_for_some_seconds_only() {
        let command = EventCommand { program: "sleep".into(), arguments: vec!["600".to_owned()] };
        let config = SecurityEvents { command: Some(command), webhook: None };
        let clock = Clock::given(Timestamp::from_unix_milliseconds(0));
        let (_hooks, hook) = watch::channel(Arc::new(SecurityHook::new(Some(&config), &clock).unwrap()));
        let (sink, events) = mpsc::channel(10);
        for _ in 0..3 {
            sink.try_send(SecurityEvent::of(&entry("slow")).unwrap()).unwrap();
        }
        let (stop, began) = (CancellationToken::new(), tokio::time::Instant::now());
        let telling = tokio::spawn(tell_security_events(events, hook, stop.clone()));
        tokio::task::yield_now().await;
        stop.cancel();
        telling.await.unwrap();
        assert!(began.elapsed() <= LAST_DEADLINE + Duration::from_millis(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn nobody_to_tell_is_no_fault() {
        let clock = Clock::given(Timestamp::from_unix_milliseconds(0));
        let hook = SecurityHook::new(None, &clock).unwrap();
        hook.tell(&SecurityEvent::of(&entry("one")).unwrap()).await;
    }
}
