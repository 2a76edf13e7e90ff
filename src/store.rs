//! The store: records, migrations and the change feed on `SQLite` or `PostgreSQL`, and the index that the hot path reads.
//!
//! Knows no rules: what may be changed by whom is decided in `auth`. Every change goes through a [`Mutation`], which
//! cannot be committed without its row in the change feed. Callers: `auth` and `app`; the doors never.

mod acknowledgement;
mod api_sessions;
mod audit;
mod audit_reading;
mod backup;
mod backup_file;
mod ceremonies;
mod console_sessions;
mod copy;
mod engine;
mod facts;
mod failed_passwords;
mod feed;
mod follower;
mod import;
mod import_checks;
pub mod index;
mod key_ring;
mod last_used;
mod leadership;
mod links;
mod log_mark;
mod marks;
mod mfa_methods;
mod mutation;
mod new_file;
mod notices;
mod open;
mod postgres;
mod queries;
mod quota_lists;
mod quotas;
mod records;
mod recovery_codes;
mod refusals;
mod restore;
mod schema;
mod snapshot;
mod sqlite;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod tombstones;
mod usage;
mod usage_queries;
mod used_tokens;
mod user_list;

pub use acknowledgement::{Acknowledgement, GatewayRegistration, NewGateway};
pub use api_sessions::SessionUse;
pub use audit::{AuditEnd, AuditEntry, AuditRow};
pub use audit_reading::{Among, AuditFilter};
pub use backup::Backup;
pub use backup_file::{BackupContents, BackupError};
pub use ceremonies::CeremonyRecord;
pub use copy::{AfterCopy, CopiedTable, CopyError, CopyOrder, CopyProgress, CopyReport, CopyStep};
pub use facts::StoreFact;
pub use failed_passwords::{CallerDigest, FailureCount, PasswordCallers};
pub use feed::{Change, Subject};
pub use follower::{Follower, FollowerError, FollowerEvents};
pub use import::{ImportedKey, ImportedUser, KeyImport, ROWS_PER_BATCH};
pub use import_checks::DigestOrigin;
pub use index::Index;
pub use key_ring::WrappedKey;
pub use last_used::KeyUse;
pub use leadership::Leadership;
pub use links::{LinkDemand, LinkRecord};
pub use marks::StoreMark;
pub use mfa_methods::NewMethod;
pub use mutation::Mutation;
pub(crate) use new_file::{sync_folder, with_ending};
pub use notices::NoticeRecord;
pub use open::{Store, StoreError};
pub use quota_lists::{ListedQuota, ListedQuotas, QuotasOf};
pub use quotas::QuotaSums;
pub use records::{CustomerRecord, LastUse, ListedKey, NewCustomer, NewUser, UserRecord};
pub use recovery_codes::RecoverySetRecord;
pub use restore::{
    Difference, DifferenceKind, Effect, Image, NewStore, Present, RestoreError, RestoreOrder, Restored,
    Revival,
};
pub use schema::Schema;
pub use snapshot::{Snapshot, SnapshotError, SnapshotFacts, SnapshotKeeper};
pub use status::{FollowingGateway, StoreStatus};
pub use tombstones::Risen;
pub use usage::{
    SeenAddress, USAGE_KEPT_SECONDS, USAGE_LET_GO_AT_ONCE, USAGE_ROWS_PER_COMMIT, UsageCount, UsageHour,
    UsageSubject,
};
pub use usage_queries::{CredentialTotal, UsageLength, UsageOf, UsageSum};
pub use used_tokens::Use;
pub use user_list::{ListedUser, UserCounts, UserSelection, WantedUsers};
