//! The live page: how the gateway does, for a person with a browser, from samples that are taken every two seconds.
//!
//! Served by the ops listener at `/`, kept up to date by server-sent events at `/live/events`. It shows what `/metrics`
//! shows: counts, times, and names of the configuration; nothing of any customer. The samples live in memory and end
//! with the process; whoever wants to keep them has `/metrics`. Made by `app`, asked by `answer`.

mod assets;
mod history;
mod listeners;
mod page;
mod plot;
mod tables;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(super) use self::assets::lookup;
use self::history::History;
pub(super) use self::listeners::{Events, NotTaken};
use self::listeners::{Listeners, Listening};
use self::page::{Part, parts, render_event, render_page};
use super::Readiness;
use crate::telemetry::Metrics;

/// From one sample to the next.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// What the live page is made from.
#[derive(Debug)]
pub struct Live {
    metrics: Arc<Metrics>,
    readiness: watch::Receiver<Readiness>,
    began: Instant,
    history: Mutex<History>,
    listeners: Listeners,
}

impl Live {
    /// A page without samples yet; [`Self::take_samples`] takes them.
    pub fn new(metrics: &Arc<Metrics>, readiness: watch::Receiver<Readiness>) -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self {
            metrics: Arc::clone(metrics),
            readiness,
            began,
            history: Mutex::new(History::new(began, metrics.read())),
            listeners: Listeners::default(),
        })
    }

    /// Takes a sample every two seconds and tells it to whoever listens, until the gateway drains or stops.
    pub async fn take_samples(self: Arc<Self>, stop: CancellationToken) {
        let mut readiness = self.readiness.clone();
        let mut ticks = interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = readiness.wait_for(|now| *now == Readiness::Draining) => break,
                _ = ticks.tick() => self.take_sample(),
            }
        }
        // The last word is that it drains.
        self.take_sample();
        self.listeners.close();
    }

    fn take_sample(&self) {
        self.history().record(Instant::now(), self.metrics.read());
        if self.listeners.is_listened_to() {
            self.listeners.tell(&self.event());
        }
    }

    /// The page as it is now.
    ///
    /// # Errors
    /// The template fails.
    pub(super) fn page(&self) -> askama::Result<String> {
        render_page(&self.parts()?)
    }

    /// The next samples, beginning with the present one.
    ///
    /// # Errors
    /// As many listen as may, or the gateway drains.
    pub(super) fn listen(&self) -> Result<(Events, CancellationToken), NotTaken> {
        let Listening { events, too_slow } = self.listeners.take_in()?;
        Ok((Events::new(self.event(), events), too_slow))
    }

    /// What is told of the present moment.
    fn event(&self) -> Bytes {
        match self.parts() {
            Ok(parts) => render_event(&parts),
            Err(error) => {
                tracing::error!(%error, "a part of the live page could not be made");
                Bytes::new()
            }
        }
    }

    fn parts(&self) -> askama::Result<Vec<Part>> {
        let readiness = self.readiness.borrow().clone();
        parts(&self.metrics.read(), &self.history(), &readiness, self.began.elapsed())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // A history is whole at any time: what goes wrong in between goes wrong before it changes.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;

    use http_body::Body;

    use super::*;
    use crate::model::AccessPoint;

    /// The next event; `None`: there are no more.
    async fn next(events: &mut Events) -> Option<String> {
        let frame = poll_fn(|cx| Pin::new(&mut *events).poll_frame(cx)).await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    fn live() -> (Arc<Live>, Arc<Metrics>, watch::Sender<Readiness>) {
        let metrics = Arc::new(Metrics::new(&["unknown_key"]));
        let (sender, readiness) = watch::channel(Readiness::Ready);
        (Live::new(&metrics, readiness), metrics, sender)
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_gets_the_present_and_then_each_sample_until_the_gateway_drains() {
        let (live, metrics, readiness) = live();
        let stop = CancellationToken::new();
        let sampling = tokio::spawn(Arc::clone(&live).take_samples(stop));
        let (mut events, too_slow) = live.listen().unwrap();
        assert!(next(&mut events).await.unwrap().starts_with("retry: "));
        metrics.door(AccessPoint::Api).denied("unknown_key");
        let began = Instant::now();
        let mut event = next(&mut events).await.unwrap();
        while !event.contains("unknown_key") {
            event = next(&mut events).await.unwrap();
        }
        assert!(began.elapsed() <= 2 * SAMPLE_EVERY, "{:?}", began.elapsed());
        readiness.send_replace(Readiness::Draining);
        let mut last = String::new();
        while let Some(event) = next(&mut events).await {
            last = event;
        }
        assert!(last.contains("draining"), "{last}");
        sampling.await.unwrap();
        assert!(!too_slow.is_cancelled());
        assert_eq!(live.listen().map(drop), Err(NotTaken::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn samples_end_with_the_process() {
        let (live, _metrics, _readiness) = live();
        let stop = CancellationToken::new();
        let sampling = tokio::spawn(Arc::clone(&live).take_samples(stop.clone()));
        stop.cancel();
        sampling.await.unwrap();
    }
}
