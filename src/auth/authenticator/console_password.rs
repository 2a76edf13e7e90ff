//! Passwords at the console: the same throttles as at the doors, and a hashing lane of their own.

use std::fmt;
use std::sync::Arc;

use super::super::decision::Denial;
use super::super::password_check::QueueFull;
use super::{Authenticator, BUSY};
use crate::crypto::PasswordHash;
use crate::model::{ClientIp, Secret};

/// A password that was typed at the console; prints nothing of itself.
pub(in crate::auth) struct ConsolePassword<'a> {
    /// From where.
    pub(in crate::auth) client_ip: ClientIp,
    /// Under which name failures are counted: the one that was typed, or what only the user's own browser has.
    pub(in crate::auth) counted_as: &'a str,
    /// The password.
    pub(in crate::auth) password: Secret<String>,
    /// The one to compare with; `None` takes the same time and is never right.
    pub(in crate::auth) hash: Option<PasswordHash>,
    /// Would a right one be let in? If not, it counts as a failure after the same work.
    pub(in crate::auth) admitted: bool,
}

impl fmt::Debug for ConsolePassword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsolePassword(…)")
    }
}

impl Authenticator {
    /// Passwords of the console that were hashed and compared.
    #[cfg(test)]
    pub(in crate::auth) fn checked_console_passwords(&self) -> usize {
        self.console_passwords.checked.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Is the password right, and its user let in? Counted before it is hashed, so that many at once are not all hashed.
    pub(in crate::auth) async fn check_console_password(
        &self,
        attempt: ConsolePassword<'_>,
    ) -> Result<bool, Denial> {
        let ConsolePassword { client_ip, counted_as, password, hash, admitted } = attempt;
        self.throttle.admit_password(client_ip, counted_as)?;
        let digest = self.console_passwords.attempt_digest(counted_as, &password);
        let _turn = self.password_turns.take(digest).await.map_err(|QueueFull| BUSY)?;
        let counted = self.count_password(client_ip, counted_as).await?;
        match self.console_passwords.check(password, hash.map(Arc::new)).await {
            Ok(true) if admitted => {
                counted.let_in();
                Ok(true)
            }
            // It stays counted.
            Ok(_) => Ok(false),
            Err(QueueFull) => {
                counted.not_hashed();
                Err(BUSY)
            }
        }
    }
}
