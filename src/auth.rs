//! Who may come in: the decision for both doors, the rules behind it, and what administrators do to users and keys.
//!
//! [`Authenticator`] answers the data plane from memory; the use cases (`api_keys`, `users`, …) write the store.
//! Protocol modules see [`Attempt`], [`Decision`], [`Permit`] and [`Denial`], never the store or the crypto behind them.

mod attempt;
mod authenticator;
mod decision;
mod key_ring;
mod live_sessions;
mod password_check;
pub mod policy;
#[cfg(test)]
pub mod test_world;
#[cfg(test)]
mod testing;
mod throttle;

pub use attempt::{Attempt, Credential, PresentedKey};
pub use authenticator::{Authenticator, AuthenticatorError, AuthenticatorParts};
pub use decision::{AuthMethod, Decision, Denial, DenialReason, Permit, Refusal};
pub use key_ring::{KeyRingError, open_key_ring};
pub use live_sessions::LiveSession;
