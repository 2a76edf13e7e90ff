//! Failed passwords of all gateways that share a store: ten guesses spread over five gateways are ten guesses.
//!
//! Each gateway still counts for itself first (`throttle`). A password that it would hash is then counted in the store, by
//! the same rules, before it is hashed; where the store does not answer in time it is not hashed. Wrong keys are counted by
//! each gateway alone: what they would let in, nobody can guess. The doors send orders and wait, as they never touch the
//! store; the counter is run by `app` on the control plane's runtime. docs/decisions/0022.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::decision::{Denial, DenialReason, Refusal};
use super::throttle::{SharedRules, judge_shared};
use crate::crypto::KeyRing;
use crate::model::ClientIp;
use crate::store::{CallerDigest, PasswordCallers, Store};

/// Orders that may wait; beyond, passwords are answered 503.
const WAITING_ORDERS: usize = 256;
/// A password whose count has not come by then is not hashed.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The answer to a password that cannot be counted.
const UNCOUNTED: Denial = Denial::new(Refusal::Busy, DenialReason::PasswordsUncounted);

/// Where the doors and the console have passwords counted. Clones share one queue.
#[derive(Clone, Debug)]
pub struct SharedFailures {
    key_ring: Arc<KeyRing>,
    orders: mpsc::Sender<Order>,
}

/// Counts in the store, one after the other.
#[derive(Debug)]
pub struct FailureCounter {
    store: Store,
    orders: mpsc::Receiver<Order>,
}

#[derive(Debug)]
enum Order {
    Count {
        callers: PasswordCallers,
        rules: SharedRules,
        answer: oneshot::Sender<Result<(), Denial>>,
    },
    /// It was no failure.
    TakeBack {
        callers: PasswordCallers,
        let_in: bool,
    },
}

/// A password that is counted as failed in the store until it has proved right.
#[derive(Debug)]
pub(super) struct SharedCount {
    callers: PasswordCallers,
    orders: mpsc::Sender<Order>,
}

impl FailureCounter {
    /// A counter in `store`, and where its orders are sent to; `None` for a store that only one gateway has.
    pub fn new(store: &Store, key_ring: &Arc<KeyRing>) -> Option<(Self, SharedFailures)> {
        if !store.is_shared() {
            return None;
        }
        let (sender, orders) = mpsc::channel(WAITING_ORDERS);
        let failures = SharedFailures { key_ring: Arc::clone(key_ring), orders: sender };
        Some((Self { store: store.clone(), orders }, failures))
    }

    /// Carries orders out until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let order = tokio::select! {
                () = stop.cancelled() => return,
                order = self.orders.recv() => order,
            };
            let Some(order) = order else { return };
            self.carry_out(order).await;
        }
    }

    async fn carry_out(&self, order: Order) {
        match order {
            // Whoever gave up waiting has not hashed it either.
            Order::Count { answer, .. } if answer.is_closed() => {}
            Order::Count { callers, rules, answer } => {
                let judge = |known, now| judge_shared(rules, known, now);
                let counted = timeout(ANSWER_WITHIN, self.store.count_password(callers, judge)).await;
                let told = match counted {
                    Ok(Ok(judged)) => judged,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "a password could not be counted, and was refused");
                        Err(UNCOUNTED)
                    }
                    Err(_) => Err(UNCOUNTED),
                };
                let _ = answer.send(told);
            }
            Order::TakeBack { callers, let_in } => {
                let taken = timeout(ANSWER_WITHIN, self.store.uncount_password(callers, let_in)).await;
                if let Ok(Err(error)) = taken {
                    tracing::warn!(%error, "a password that was right stays counted as failed for some minutes");
                }
            }
        }
    }
}

impl SharedFailures {
    /// Counts a password as failed, unless it must wait.
    pub(super) async fn count(
        &self,
        client_ip: ClientIp,
        name: &str,
        rules: SharedRules,
    ) -> Result<SharedCount, Denial> {
        let callers = self.callers(client_ip, name);
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(Order::Count { callers, rules, answer }).map_err(|_| UNCOUNTED)?;
        match timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(counted)) => counted.map(|()| SharedCount { callers, orders: self.orders.clone() }),
            Ok(Err(_)) | Err(_) => Err(UNCOUNTED),
        }
    }

    /// The same at every gateway of the store, and nothing to anybody without its data keys.
    fn callers(&self, client_ip: ClientIp, name: &str) -> PasswordCallers {
        let digest = |kind: &[u8], text: &[u8]| {
            CallerDigest(self.key_ring.console.digest(&[b"failed password ", kind, text].concat()).0)
        };
        PasswordCallers {
            address: digest(b"address ", client_ip.throttle_prefix().to_string().as_bytes()),
            name: digest(b"name ", name.as_bytes()),
        }
    }
}

impl SharedCount {
    /// It was no failure; where it let in, what failed before for the name is forgotten. An order that finds no room leaves
    /// it counted, which is the safe side.
    pub(super) fn take_back(self, let_in: bool) {
        let _ = self.orders.try_send(Order::TakeBack { callers: self.callers, let_in });
    }
}
