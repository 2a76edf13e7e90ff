//! Tasks without which nobody may be let in: what hears of deletions, of time, and of a store that is away.
//!
//! One that fails would leave a gateway that looks well and lets in what is deleted. So that nothing follows from it, nobody is
//! let in from then on and the process ends, to be started anew by whoever supervises it. Called by `control`.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::control::show;
use crate::auth::IndexAge;
use crate::ops::Readiness;

/// Runs such tasks.
pub(super) struct Vital {
    pub(super) shared: Shared,
    pub(super) readiness: watch::Sender<Readiness>,
    /// Takes that one has failed.
    pub(super) broken: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Vital {
    /// Runs `work` on the present runtime; `what` is said of it if it panics.
    pub(super) fn spawn(&self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let working = self.tasks.spawn(work);
        let (shared, readiness, broken) = (self.shared.clone(), self.readiness.clone(), self.broken.clone());
        self.tasks.spawn(async move {
            if working.await.is_err_and(|error| error.is_panic()) {
                let ended = shared.authenticator.set_index_age(IndexAge::TooOld);
                show(&readiness, Readiness::Unready(format!("{what} has failed; the process ends")));
                tracing::error!(ended, "{what} has failed: nobody is let in any more, and the process ends");
                broken.cancel();
            }
        });
    }
}
