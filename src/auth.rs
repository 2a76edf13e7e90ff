//! Who may come in: the decision for both doors, the rules behind it, and what administrators do to users and keys.
//!
//! [`Authenticator`] answers the data plane from memory; the use cases (`api_keys`, `users`, …) write the store.
//! Protocol modules see [`Attempt`], [`Decision`], [`Permit`] and [`Denial`], never the store or the crypto behind them.

mod access;
mod activity;
mod actor;
mod allow_lists;
mod api_keys;
mod api_sessions;
mod attempt;
mod audit;
mod audit_check;
mod authenticator;
mod backups;
mod change;
mod console_access;
mod control_plane;
mod customers;
mod decision;
mod enrolment;
mod evidence;
mod explanation;
mod failure_groups;
mod hashing;
mod holder;
mod key_import;
mod key_inspection;
mod key_ring;
mod links;
mod live_sessions;
mod management;
mod master_key_file;
mod master_key_rotation;
mod password_check;
mod password_turns;
mod passwords;
pub mod policy;
mod quota_settings;
mod quotas;
mod rate_limit;
mod reach;
mod restoring;
mod rights;
mod risen;
mod security_events;
mod security_keys;
mod shared_failures;
mod sign_in;
mod store_keeping;
#[cfg(test)]
pub(crate) mod testing;
mod throttle;
mod usage;
mod usage_meter;
mod user_list;
mod users;

/// Rows of the store that use cases answer with.
pub use crate::store::{ListedKey, ListedUser, UserRecord, UserSelection};
pub use access::{AccessCell, AccessTable, Obstacle};
pub use activity::{
    ACTIVITY_ROWS_MAX, ActivityFilter, ActivityPage, ActivityResult, ActivityRow, Naming,
    render_activity_csv, render_activity_csv_head, render_activity_csv_lines,
};
pub use actor::{Actor, Means, UserActor};
pub use api_keys::{
    KeyState, KeyToMake, MadeKey, MadeKeys, PasswordEnd, RotatedKey, first_key_ends_password, replacement_end,
};
pub use api_sessions::{SessionFault, SessionKeeper, SessionKeeperParts, SessionOrders};
pub use attempt::{Attempt, Credential, PresentedKey};
pub use audit::{Event, EventKind, InvalidEventKind};
pub use audit_check::{AuditFault, AuditHead, AuditProgress, InvalidAuditHead};
pub use authenticator::{Authenticator, AuthenticatorError, AuthenticatorParts, IndexAge, QuotasInForce};
pub use backups::{BackedUp, BackupProgress};
pub use console_access::{ConsoleAccess, SessionTerms, Visitor};
pub use control_plane::{ControlError, ControlPlane, MissingStore};
pub use customers::{CustomerToMake, DeletedCustomer, MadeCustomer};
pub use decision::{AuthMethod, Decision, Denial, DenialReason, ExhaustedQuota, Permit, Refusal};
pub use enrolment::{AddedMethod, AppSetUp, EnrolmentFault, MfaOverview, ShownCodes};
pub use evidence::{CredentialEvidence, Evidence, KeyEvidence, KeysEvidence};
pub use explanation::{Explanation, Outcome, Step, StepTaken, Trial, TrialDoor, is_explained};
pub use failure_groups::{Failure, FailureGroups, FailureKind};
pub use hashing::HashingLane;
pub use holder::{Holder, InvalidHolder};
pub use key_import::{
    ImportError, ImportOrder, ImportPlan, ImportProgress, KeyLine, KeyStrength, LineFault, MissingUsers,
    parse_key_line,
};
pub use key_inspection::KeyTest;
pub use key_ring::{KeyRingError, open_key_ring, open_stored_key_ring};
pub use links::{FollowedLink, LINK_LIVES_SECONDS, MadeLink};
pub use live_sessions::{LiveSession, OpenAtDoor, OpenSessions, OpenedBy};
pub use master_key_rotation::{RotatedInPlace, RotationBegun, RotationError};
pub use passwords::{OwnNames, PasswordFault, check_password, least_password_characters};
pub use quota_settings::{QUOTA_WARNING_PERCENT, QUOTAS_OF_A_PART, QuotaList, QuotaState, QuotaUse};
pub use rate_limit::Quota;
pub use reach::Reach;
pub use restoring::{Deletions, RestorePlan, UntrustedBackup};
pub use rights::{Action, Asker, Forbidden, KeyKind, ListChange, NewRights, Via, allow};
pub use risen::{BuriedAgain, bury_risen};
pub use security_events::SecurityEvent;
pub use security_keys::{SecurityKeys, SecurityKeysError};
pub use shared_failures::{FailureCounter, SharedFailures};
pub use sign_in::{
    ConfirmFault, ConsoleSession, FactorRefusal, PasswordSignIn, PresentedFactor, SecurityNotice,
    SessionLook, SessionStep, SignInFault, SignedIn, UsedFactor,
};
pub use usage::{Figures, LetInFrom, PasswordUses, Period, Usage, UsageStretch, UserTotal};
pub use usage_meter::{CollectedUsage, CountedUse};
pub use user_list::{Presence, USERS_OF_A_PART, UserList, UserListQuery};
pub use users::{Activation, DeletedUser, FirstPassword, MadeUser, UserChanges, UserToMake, mfa_state};
