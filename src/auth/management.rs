//! Who calls the management API with a key of scope `manage` (PROTOCOL section 3, point 5).
//!
//! The key is judged from memory like one at a door; what it then asks for is judged by the use cases, as of the store.
//! Callers: the management API.

use super::actor::{Means, UserActor};
use super::attempt::PresentedKey;
use super::console_access::ConsoleAccess;
use super::decision::{Denial, DenialReason, Refusal};
use super::failure_groups::{Failure, FailureKind};
use crate::model::{ClientIp, Recognised, UserName};

/// Where the audit trail says that a failed key was shown.
const ENTRANCE: &str = "management";

impl ConsoleAccess {
    /// Whom `key` lets act at the management API, from where it comes.
    ///
    /// # Errors
    ///
    /// What the doors would tell of it. A failed key counts against the address.
    pub async fn manage_by_key(
        &self,
        key: PresentedKey<'_>,
        client_ip: ClientIp,
    ) -> Result<UserActor, Denial> {
        let judged = self.authenticator.authenticate_management(key, client_ip);
        let (id, user) = judged.inspect_err(|denial| self.note_management_failure(denial, client_ip))?;
        let name = format!("{}/{}", user.customer_handle(), user.login()).parse::<UserName>();
        // The index holds names that were parsed once.
        let unknown = |_| Denial::new(Refusal::Unauthenticated, DenialReason::UnknownUser);
        let name = name.map_err(unknown)?;
        if self.is_new_use(id, client_ip)
            && let Err(error) = self.plane.note_console_use(Recognised::Key(id), client_ip).await
        {
            tracing::warn!(%error, "the use of the management API could not be noted");
        }
        Ok(UserActor { id: user.id(), name, means: Means::ManageKey(id), client_ip })
    }

    /// Refuses a credential that is no key in readable form, and counts it as a failure of the address.
    pub fn refuse_unreadable_management(&self, client_ip: ClientIp) -> Denial {
        let denial = self.authenticator.refuse_unreadable(client_ip);
        self.note_management_failure(&denial, client_ip);
        denial
    }

    fn note_management_failure(&self, denial: &Denial, client_ip: ClientIp) {
        let kind = match denial.refusal {
            Refusal::TooManyFailures { .. } => FailureKind::Throttled,
            _ => FailureKind::SignIn,
        };
        self.failures.note(Failure {
            kind,
            entrance: ENTRANCE,
            client_ip,
            recognised: denial.recognised,
            reason: denial.reason.as_str().into(),
            at: self.plane.clock.now(),
        });
    }
}
