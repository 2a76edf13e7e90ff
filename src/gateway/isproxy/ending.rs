//! How a connection ends: with its credential, or when its listener drains. Called by `connection`.

use std::future::pending;

use tokio::time::Instant;

use crate::auth::LiveSession;

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

/// Completes when the credential of a logged-in session no longer lets in; before a login, never.
pub async fn ended(live: Option<&LiveSession>) {
    match live {
        Some(live) => live.ended().await,
        None => pending().await,
    }
}
