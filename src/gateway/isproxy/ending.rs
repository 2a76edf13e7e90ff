//! How a connection ends: with its credential, or when its listener drains. Called by `connection`.

use std::future::pending;

use futures_util::future::join;
use tokio::time::Instant;

use crate::auth::LiveSession;
use crate::net::Drain;

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No drain has begun.
    NotYet,
    /// A gentle one has: the client may ask once more until then, and be answered until `cut_at`.
    BehindNextReply { until: Instant, cut_at: Instant },
    /// The session was told, and has time until then.
    Told { cut_at: Instant },
}

impl Ending {
    /// When the next step is due by itself.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::NotYet => None,
            Self::BehindNextReply { until, .. } => Some(until),
            Self::Told { cut_at } => Some(cut_at),
        }
    }
}

/// What ends a session from outside.
pub struct Calls<'a> {
    /// Of a logged-in session.
    pub live: Option<&'a LiveSession>,
    /// The listener's.
    pub drain: &'a Drain,
}

impl Calls<'_> {
    /// Must the session end, because its credential no longer lets in? Before a login it need not.
    pub fn credential_has_ended(&self) -> bool {
        self.live.is_some_and(LiveSession::is_ended)
    }

    /// Polled once, wakes the task when the credential ends and when a drain begins.
    pub async fn wake(&self) {
        let ended = async {
            match self.live {
                Some(live) => live.ended().await,
                None => pending().await,
            }
        };
        join(ended, self.drain.begun()).await;
    }
}
