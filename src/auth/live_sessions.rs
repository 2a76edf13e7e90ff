//! What is open, so that it can be ended when its credential would no longer be let in.
//!
//! `IsProxy` sessions register here after their login, answers of the API once they have been open for a second.
//! [`Authenticator`](super::Authenticator) judges them again whenever a change of the store touches them, and when a
//! key's time is over. Each change walks over all that is open: half a millisecond for 50,000 (decision 0011).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use super::Permit;
use super::decision::{AuthMethod, Proof};
use crate::model::{CustomerId, KeyId, Service, Timestamp, UserId};
use crate::store::Subject;

/// The register of open sessions of this process.
#[derive(Debug, Default)]
pub(super) struct LiveSessions {
    open: Arc<DashMap<u64, Open>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Open {
    permit: Permit,
    expires_at: Option<Timestamp>,
    ended: CancellationToken,
}

/// An open session's place in the register; dropping it takes the session out.
#[derive(Debug)]
pub struct LiveSession {
    number: u64,
    open: Arc<DashMap<u64, Open>>,
    ended: CancellationToken,
}

/// What became of a session that was judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may go on; its key ends at that moment, if ever.
    Admitted(Option<Timestamp>),
    /// It must end.
    Ended,
}

/// Whose open sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// Those of a key.
    Key(KeyId),
    /// Those of a user, by whatever credential.
    User(UserId),
    /// Those of a customer's users.
    Customer(CustomerId),
}

/// What is open at this gateway: `IsProxy` sessions, and answers and WebSockets of the API once they are a second old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenSessions {
    /// At the API.
    pub api: OpenAtDoor,
    /// At `IsProxy`.
    pub isproxy: OpenAtDoor,
}

/// What is open at one door, by what opened it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenAtDoor {
    /// By API keys.
    pub by_key: usize,
    /// By passwords.
    pub by_password: usize,
    /// By API sessions, which end with their password.
    pub by_session: usize,
}

impl OpenAtDoor {
    /// In all.
    pub const fn total(self) -> usize {
        self.by_key + self.by_password + self.by_session
    }
}

impl OpenSessions {
    /// At both doors.
    pub const fn total(self) -> usize {
        self.api.total() + self.isproxy.total()
    }

    fn count(&mut self, permit: &Permit) {
        let door = match permit.service() {
            Service::Api => &mut self.api,
            Service::IsProxy => &mut self.isproxy,
        };
        match permit.method() {
            AuthMethod::ApiKey(_) => door.by_key += 1,
            AuthMethod::Password => door.by_password += 1,
            AuthMethod::Session => door.by_session += 1,
        }
    }
}

impl LiveSession {
    /// Completes when the session must end: its key, user, list or MFA state no longer lets it in.
    /// Cancel-safe; may be awaited again and again.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Must it end?
    pub fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        self.open.remove(&self.number);
    }
}

impl LiveSessions {
    /// Registers a session, then judges it: a deletion may have swept between the decision and now.
    pub(super) fn register(&self, permit: &Permit, judge: impl Fn(&Permit) -> Standing) -> LiveSession {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ended = CancellationToken::new();
        self.open.insert(number, Open { permit: permit.clone(), expires_at: None, ended: ended.clone() });
        // Under the entry's lock, as a sweep judges: neither overwrites what the other has just learnt.
        if let Some(mut open) = self.open.get_mut(&number) {
            match judge(permit) {
                Standing::Ended => ended.cancel(),
                Standing::Admitted(expires_at) => open.expires_at = expires_at,
            }
        }
        LiveSession { number, open: Arc::clone(&self.open), ended }
    }

    /// Judges again whatever `subjects` touch, and ends what is no longer let in; answers how many that were.
    pub(super) fn sweep(&self, subjects: &[Subject], judge: impl Fn(&Permit) -> Standing) -> u64 {
        self.end_where(|open| touched(&open.permit, subjects), judge)
    }

    /// Ends the sessions whose key's time is over at `now`; answers how many that were.
    pub(super) fn end_expired(&self, now: Timestamp, judge: impl Fn(&Permit) -> Standing) -> u64 {
        self.end_where(|open| open.expires_at.is_some_and(|end| end <= now), judge)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// What is open of `whose`; one that was told to end is not counted.
    pub(super) fn count_of(&self, whose: OpenedBy) -> OpenSessions {
        let mut open = OpenSessions::default();
        for session in self.open.iter() {
            if whose.opened(&session.permit) && !session.ended.is_cancelled() {
                open.count(&session.permit);
            }
        }
        open
    }

    fn end_where(&self, concerned: impl Fn(&Open) -> bool, judge: impl Fn(&Permit) -> Standing) -> u64 {
        let mut ended = 0;
        for mut open in self.open.iter_mut() {
            // In this order: a token's state stands behind a lock, and most of what is open is not concerned.
            if !concerned(&open) || open.ended.is_cancelled() {
                continue;
            }
            match judge(&open.permit) {
                Standing::Admitted(expires_at) => open.expires_at = expires_at,
                Standing::Ended => {
                    open.ended.cancel();
                    ended += 1;
                }
            }
        }
        ended
    }
}

impl OpenedBy {
    fn opened(self, permit: &Permit) -> bool {
        match self {
            Self::Key(id) => permit.key_id() == Some(id),
            Self::User(id) => permit.user().id() == id,
            Self::Customer(id) => permit.user().customer().id() == id,
        }
    }
}

fn touched(permit: &Permit, subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| match subject {
        Subject::Everything => true,
        Subject::Customer(id) => permit.user().customer().id() == *id,
        Subject::User(id) => permit.user().id() == *id,
        Subject::Key(digest) => matches!(permit.proof(), Proof::Key(own) if own == *digest),
        Subject::ApiSession(digest) => matches!(permit.proof(), Proof::Session(own) if own == *digest),
    })
}
