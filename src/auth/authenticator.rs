//! The decision for both doors.

use super::{Attempt, Decision, Denial, DenialReason, LiveSession, LiveSessions, Permit, Refusal};
use crate::model::ClientIp;

/// Judges credentials from memory; shared by all door threads.
#[derive(Debug, Default)]
pub struct Authenticator {
    live_sessions: LiveSessions,
}

impl Authenticator {
    /// Judges one attempt. For an API key it never waits.
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Decision {
        let _ = attempt;
        Decision::Deny(Denial { refusal: Refusal::Unauthenticated, reason: DenialReason::UnknownKey })
    }

    /// Judges a request without a readable credential: counts it as a failure of the address.
    pub fn refuse_unreadable(&self, client_ip: ClientIp) -> Denial {
        let _ = client_ip;
        Denial { refusal: Refusal::Unauthenticated, reason: DenialReason::NoCredential }
    }

    /// Registers a session that outlives one request; it is told when it must end.
    pub fn open_session(&self, permit: &Permit) -> LiveSession {
        self.live_sessions.register(permit)
    }
}
