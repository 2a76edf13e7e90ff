//! Backing the embedded store up, while gateways run, and telling what the backup holds. Putting it back is in `restoring`.
//!
//! Operators alone may do it, and the audit trail tells of it. How the file is written is `store`'s. Called by the command
//! line.

use std::path::Path;

use super::audit::{Event, EventKind};
use super::audit_check::{AuditFault, AuditHead, AuditProgress, check_trail};
use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use crate::store::BackupContents;

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupProgress {
    /// The file is being copied.
    Copying {
        /// Bytes that are written.
        done: u64,
        /// Bytes that there will be about.
        of: u64,
    },
    /// Its audit trail is being checked.
    Checking(AuditProgress),
}

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// What it holds, as it was read back.
    pub contents: BackupContents,
    /// Where its audit trail ends, or why it is not whole; a restore refuses one that is not.
    pub trail: Result<AuditHead, AuditFault>,
}

impl ControlPlane {
    /// Backs the store up to the file `path`, which must not exist.
    pub async fn back_up_store(
        &self,
        path: &Path,
        progress: &mut impl FnMut(BackupProgress),
    ) -> Result<BackedUp, ControlError> {
        self.require(Action::Operate).await?;
        let mut copying = |done, of| progress(BackupProgress::Copying { done, of });
        let mut backup = self.store.back_up(path, &mut copying).await?;
        let end = backup.contents.audit_end;
        let rows = async |after, count| backup.audit_rows(after, count).await;
        let mut checking = |checked| progress(BackupProgress::Checking(checked));
        let trail = check_trail(&self.key_ring.audit, end, rows, &mut checking).await?;
        // Told before there is a file that somebody could take away.
        self.record(Event::new(EventKind::StoreBackedUp).with("file", path.display())).await?;
        Ok(BackedUp { contents: backup.publish().await?, trail })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::control_plane::tests::plane;
    use super::*;
    use crate::store::BackupError;

    #[tokio::test]
    async fn s99_a_backup_is_whole_for_its_owner_alone_never_over_a_file_and_told_in_the_trail() {
        let (folder, plane) = plane().await;
        let path = folder.path().join("latchkey.backup");
        let before = plane.audit_head().await.unwrap();
        let mut steps = Vec::new();
        let made = plane.back_up_store(&path, &mut |step| steps.push(step)).await;
        if plane.store.is_shared() {
            let told = made.unwrap_err().to_string();
            return assert!(told.contains("pg_dump") && !path.exists(), "{told}");
        }
        let made = made.unwrap();
        assert_eq!((made.contents.customers, made.contents.users, made.contents.keys), (1, 2, 0));
        assert_eq!(made.trail, Ok(before));
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o777, file.len()), (0o600, made.contents.bytes));
        assert!(matches!(steps.last(), Some(BackupProgress::Checking(_))), "{steps:?}");
        assert_eq!(plane.audit_head().await.unwrap().sequence(), before.sequence() + 1);

        let again = plane.back_up_store(&path, &mut |_| {}).await.unwrap_err();
        assert!(matches!(again, ControlError::Backup(BackupError::Exists(_))), "{again}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), made.contents.bytes);
        let parts = std::fs::read_dir(folder.path()).unwrap();
        let parts = parts.filter(|entry| entry.as_ref().unwrap().path().to_str().unwrap().ends_with("part"));
        assert_eq!(parts.count(), 0);
    }
}
