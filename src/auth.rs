//! Who may come in: the decision for both doors, the rules behind it, and what administrators do to users and keys.
//!
//! [`Authenticator`] answers the data plane from memory; the use cases (`api_keys`, `users`, …) write the store.
//! Protocol modules see [`Attempt`], [`Decision`], [`Permit`] and [`Denial`], never the store or the crypto behind them.

mod access;
mod actor;
mod allow_lists;
mod api_keys;
mod api_sessions;
mod attempt;
mod audit;
mod authenticator;
mod change;
mod control_plane;
mod customers;
mod decision;
mod explanation;
mod key_import;
mod key_inspection;
mod key_ring;
mod live_sessions;
mod password_check;
mod password_turns;
mod passwords;
pub mod policy;
mod rate_limit;
mod rights;
mod security_events;
#[cfg(test)]
pub(crate) mod testing;
mod throttle;
mod users;

pub use access::{AccessCell, AccessTable};
pub use actor::{Actor, Means, UserActor};
pub use allow_lists::{AllowListOwner, InvalidAllowListOwner};
pub use api_keys::{KeyState, KeyToMake, MadeKey, MadeKeys, PasswordEnd, RotatedKey};
pub use api_sessions::{SessionFault, SessionKeeper, SessionKeeperParts, SessionOrders};
pub use attempt::{Attempt, Credential, PresentedKey};
pub use audit::{Event, EventKind};
pub use authenticator::{Authenticator, AuthenticatorError, AuthenticatorParts};
pub use control_plane::{ControlError, ControlPlane, MissingStore};
pub use customers::{CustomerToMake, DeletedCustomer, MadeCustomer};
pub use decision::{AuthMethod, Decision, Denial, DenialReason, Permit, Refusal};
pub use explanation::{Explanation, Outcome, Step, StepTaken, Trial, TrialDoor, is_explained};
pub use key_import::{
    ImportError, ImportOrder, ImportPlan, ImportProgress, KeyStrength, LineFault, MissingUsers,
};
pub use key_inspection::KeyTest;
pub use key_ring::{KeyRingError, open_key_ring};
pub use live_sessions::LiveSession;
pub use passwords::{OwnNames, PasswordFault, check_password};
pub use rate_limit::Quota;
pub use rights::{Action, Asker, Forbidden, KeyKind, ListChange, NewRights, Via, allow};
pub use security_events::{SecurityEvent, SecurityEventSink};
pub use users::{Activation, DeletedUser, UserChanges, UserToMake, mfa_state};
