//! Checks passwords on threads of their own: few, of low priority, with a short queue.
//!
//! So a flood of passwords slows neither key traffic nor the machine (DESIGN section 4). A password that was right and
//! let in is remembered for a minute, so that `Basic` on every request does not hash on every request.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::oneshot;

use crate::crypto::random::{self, RandomError};
use crate::crypto::{DigestKey, HashingMemory, PasswordHash, PasswordHashError, hash_password};
use crate::model::{KeyDigest, Secret, UserId};

/// How long a right password is remembered.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);
/// Passwords remembered at once.
const REMEMBERED: u64 = 10_000;
/// Added to the niceness of the hashing threads.
const NICENESS: i32 = 10;

/// The hashing threads and what they remember.
#[derive(Debug)]
pub(super) struct PasswordChecker {
    jobs: SyncSender<Job>,
    /// Kept, so that a queue whose threads have all died fills up instead of closing.
    _waiting: Arc<Mutex<Receiver<Job>>>,
    /// Keyed digests of user, password version and password; the key lives and dies with the process.
    remembered: Cache<KeyDigest, ()>,
    memo_key: DigestKey,
    /// What is hashed for a user who does not exist or has no password.
    nobody: Arc<PasswordHash>,
    /// Passwords that were hashed and compared.
    #[cfg(test)]
    pub(super) checked: std::sync::atomic::AtomicUsize,
}

/// The threads could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum PasswordCheckerError {
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The dummy hash could not be made.
    #[error(transparent)]
    Hash(#[from] PasswordHashError),
    /// No thread.
    #[error("a hashing thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// So many passwords wait already that this one is not checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

struct Job {
    password: Secret<String>,
    hash: Arc<PasswordHash>,
    answer: oneshot::Sender<bool>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job(…)")
    }
}

/// The hash of a password that nobody knows.
pub(super) fn hash_of_nobody() -> Result<Arc<PasswordHash>, PasswordCheckerError> {
    let unguessable = Secret::new(format!("{:032x}", u128::from_ne_bytes(random::bytes()?)));
    Ok(Arc::new(hash_password(&unguessable)?))
}

impl PasswordChecker {
    /// Starts `threads` hashing threads in front of which `queue` passwords may wait; `nobody` is what
    /// [`hash_of_nobody`] made, once for all: a hash takes 19 MiB, and some of it stays with the allocator.
    pub(super) fn start(
        threads: usize,
        queue: usize,
        nobody: Arc<PasswordHash>,
    ) -> Result<Self, PasswordCheckerError> {
        let (jobs, waiting) = sync_channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || check_passwords(&waiting))?;
        }
        Ok(Self {
            jobs,
            _waiting: waiting,
            remembered: Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build(),
            memo_key: DigestKey::new(random::bytes()?),
            nobody,
            #[cfg(test)]
            checked: std::sync::atomic::AtomicUsize::default(),
        })
    }

    /// Is `password` the one behind `hash`? `None` takes the same time and is never right.
    pub(super) async fn check(
        &self,
        password: Secret<String>,
        hash: Option<Arc<PasswordHash>>,
    ) -> Result<bool, QueueFull> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| Arc::clone(&self.nobody));
        let (answer, answered) = oneshot::channel();
        match self.jobs.try_send(Job { password, hash, answer }) {
            Ok(()) => {
                let right = answered.await;
                #[cfg(test)]
                if right.is_ok() {
                    self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Ok(right.unwrap_or(false) && known)
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(QueueFull),
        }
    }

    /// The name under which a right password is remembered; another version is another name.
    pub(super) fn memo(&self, user: UserId, password_version: i64, password: &Secret<String>) -> KeyDigest {
        let parts =
            [&user.0.to_be_bytes()[..], &password_version.to_be_bytes(), password.expose().as_bytes()];
        let text = Secret::new(parts.concat());
        self.memo_key.digest(text.expose())
    }

    /// What is the same for the same password tried with the same name, whether there is such a user or not.
    pub(super) fn attempt_digest(&self, name: &str, password: &Secret<String>) -> KeyDigest {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes();
        let text = Secret::new([&length[..], name.as_bytes(), password.expose().as_bytes()].concat());
        self.memo_key.digest(text.expose())
    }

    /// Was this password right, and let in, within the last minute?
    pub(super) fn remembers(&self, memo: &KeyDigest) -> bool {
        self.remembered.contains_key(memo)
    }

    /// Remembers a password that was right and let in.
    pub(super) fn remember(&self, memo: KeyDigest) {
        self.remembered.insert(memo, ());
    }
}

/// One hashing thread; ends with the checker.
fn check_passwords(waiting: &Mutex<Receiver<Job>>) {
    // A thread that may not lower its priority hashes all the same.
    let _ = rustix::process::nice(NICENESS);
    let mut memory = HashingMemory::default();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Nobody waits for the answer to a client that has gone.
        if !job.answer.is_closed() {
            let right = memory.verify(&job.password, &job.hash);
            let _ = job.answer.send(right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_right_password_is_right_and_nobody_has_none() {
        let checker = PasswordChecker::start(1, 4, hash_of_nobody().unwrap()).unwrap();
        let hash = Arc::new(hash_password(&secret("right")).unwrap());
        assert_eq!(checker.check(secret("right"), Some(Arc::clone(&hash))).await, Ok(true));
        assert_eq!(checker.check(secret("wrong"), Some(hash)).await, Ok(false));
        assert_eq!(checker.check(secret("right"), None).await, Ok(false));
    }

    #[tokio::test]
    async fn s43_a_full_queue_refuses_at_once() {
        let checker = PasswordChecker::start(0, 1, hash_of_nobody().unwrap()).unwrap();
        let first = checker.check(secret("one"), None);
        let second = checker.check(secret("two"), None);
        tokio::pin!(first);
        // The first takes the only place: polled once, it waits for a thread that does not exist.
        assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
        assert_eq!(second.await, Err(QueueFull));
    }

    #[test]
    fn a_memo_is_of_one_user_one_version_and_one_password() {
        let checker = PasswordChecker::start(0, 1, hash_of_nobody().unwrap()).unwrap();
        let memo = checker.memo(UserId(1), 1, &secret("right"));
        checker.remember(memo);
        assert!(checker.remembers(&checker.memo(UserId(1), 1, &secret("right"))));
        for other in [(2, 1, "right"), (1, 2, "right"), (1, 1, "wrong")] {
            assert!(
                !checker.remembers(&checker.memo(UserId(other.0), other.1, &secret(other.2))),
                "{other:?}"
            );
        }
    }
}
