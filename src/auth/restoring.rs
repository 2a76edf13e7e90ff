//! Putting the embedded store back to a backup: what that would change, whether the backup can be trusted, and doing it.
//!
//! A backup is trusted that its own audit trail proves to be whole and to be of this installation (S98, S99). How rows are
//! put in the place of others is `store`'s, what the audit trail tells of it `trail`'s. Operators alone may do it. Called by
//! the command line.

mod trail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::actor::Actor;
use super::audit_check::{AuditFault, AuditHead, check_trail};
use super::backups::BackupProgress;
use super::control_plane::{ControlError, ControlPlane, MissingStore};
use super::key_ring::{KeyRingError, open_key_ring};
use crate::clock::Clock;
use crate::config::{Config, StoreLocation};
use crate::crypto::KeyRing;
use crate::store::{
    AuditFilter, BackupContents, BackupError, Difference, Image, NewStore, Present, RestoreError,
    RestoreOrder, Restored, Revival, Store,
};

/// Why a backup is not put in force; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UntrustedBackup {
    /// Rows of its trail were changed, removed or added.
    #[error("the backup's audit trail is not whole: {0}; whatever else was changed in it is not known")]
    Trail(AuditFault),
    /// Its data keys do not open.
    #[error(
        "the backup was made under another master key: configure the one that opens it (the master key is in no backup)"
    )]
    OtherMasterKey,
    /// Its data keys are others than those that gateways hold.
    #[error(
        "the backup is of another installation, with other data keys; to restore it, stop the gateways and move the \
         present store away"
    )]
    OtherInstallation,
}

/// A restore that was looked at, and not done yet.
#[derive(Debug)]
pub struct RestorePlan {
    backup: PathBuf,
    image: Image,
    into: Target,
    key_ring: Arc<KeyRing>,
    clock: Clock,
    actor: Actor,
    /// What it would change.
    pub differences: Vec<Difference>,
    /// How what was deleted since the backup is known.
    pub deletions: Deletions,
    /// Where the audit trail of the backup ends.
    pub trail: AuditHead,
    /// Is that a row of the present trail, which goes on? One of another trail is that of a store that went its own way.
    pub trail_goes_on: bool,
}

/// How it is known what was deleted since a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// From the store that is there.
    Store,
    /// The store is lost: from the file beside it alone, which tells of so many things. Of nothing else that was taken away
    /// since, such as disabled keys, is anything known.
    File(usize),
    /// The store is lost, and the file beside it is missing.
    Unknown,
}

#[derive(Debug)]
enum Target {
    Present(Store),
    New(NewStore),
}

impl Target {
    const fn store(&self) -> &Store {
        match self {
            Self::Present(store) => store,
            Self::New(new) => &new.store,
        }
    }

    const fn present(&self) -> Present {
        match self {
            Self::Present(_) => Present::Kept,
            Self::New(_) => Present::Lost,
        }
    }
}

impl RestorePlan {
    /// Looks at the backup in the file `backup`, for the store that `config` names, on behalf of the operator `actor`. A copy
    /// of the backup stands beside the store until the plan is carried out or dropped.
    pub async fn of(
        config: &Config,
        clock: Clock,
        actor: Actor,
        backup: &Path,
        progress: &mut impl FnMut(BackupProgress),
    ) -> Result<Self, ControlError> {
        let StoreLocation::Sqlite(path) = &config.store else { return Err(RestoreError::Shared.into()) };
        let plane = match path.symlink_metadata() {
            Ok(_) => {
                Some(ControlPlane::open(config, clock.clone(), MissingStore::Refuse, actor.clone()).await?)
            }
            Err(_) => None,
        };
        let mut copying = |done, of| progress(BackupProgress::Copying { done, of });
        let image = Image::of(backup, &config.store, &mut copying).await?;
        if image.store.key_ring().await?.is_empty() {
            return Err(BackupError::NotAStore(backup.to_owned()).into());
        }
        let own = match open_key_ring(&image.store, &config.master_key, clock.now()).await {
            Ok(own) => Some(own),
            Err(KeyRingError::DoesNotFit) => None,
            Err(error) => return Err(error.into()),
        };
        let present = plane.as_ref().map(|plane| Arc::clone(&plane.key_ring));
        let (key_ring, trail) = trusted(&image, own, present, progress).await?;
        let (into, trail_goes_on) = match plane {
            Some(plane) => {
                let goes_on = is_row_of(&plane.store, &image).await?;
                (Target::Present(plane.store), goes_on)
            }
            None => (Target::New(NewStore::create(path).await?), true),
        };
        let differences = image.compare(into.store(), into.present()).await?;
        let deletions = match (&into, image.known_deletions()?) {
            (Target::Present(_), _) => Deletions::Store,
            (Target::New(_), Some(count)) => Deletions::File(count),
            (Target::New(_), None) => Deletions::Unknown,
        };
        let backup = backup.to_owned();
        Ok(Self { backup, image, into, key_ring, clock, actor, differences, deletions, trail, trail_goes_on })
    }

    /// What the backup holds.
    pub const fn contents(&self) -> BackupContents {
        self.image.contents
    }

    /// Is there no store any more, so that a new one is made?
    pub const fn makes_store(&self) -> bool {
        matches!(self.into, Target::New(_))
    }

    /// Fails where whatever was deleted would come back in silence, to which nobody has agreed.
    pub fn require_known_deletions(&self, revival: Revival) -> Result<(), ControlError> {
        match (self.deletions, revival) {
            (Deletions::Unknown, Revival::Refused) => Err(self.image.deletions_unknown().into()),
            _ => Ok(()),
        }
    }

    /// Does it, where no more comes back than the differences tell. Gateways that follow the store take over at once what
    /// they find in it.
    pub async fn carry_out(self, revival: Revival) -> Result<Restored, ControlError> {
        self.require_known_deletions(revival)?;
        let now = self.clock.now();
        let customers = self.image.store.customers().await?;
        let tell = |differences: &[Difference]| {
            let of_all = trail::of_store(&self.backup, self.trail, self.deletions, revival, differences);
            let events = [of_all].into_iter().chain(trail::of_customers(&customers, revival, differences));
            events.map(|event| event.entry(&self.actor, now)).collect::<Vec<_>>()
        };
        let order = RestoreOrder {
            revival,
            present: self.into.present(),
            agreed: Some(&self.differences),
            tell,
            audit_key: &self.key_ring.audit,
            now,
        };
        let restored = self.image.put_into(self.into.store(), order).await?;
        if let Target::New(new) = self.into {
            new.publish().await?;
        }
        self.image.remove().await;
        Ok(restored)
    }

    /// Leaves all as it is.
    pub async fn give_up(self) {
        self.image.remove().await;
    }
}

/// The data keys to go on with, and where the backup's trail ends, which they prove; `own` are the backup's, where the master
/// key opens them, `present` those of the store that is there.
async fn trusted(
    image: &Image,
    own: Option<KeyRing>,
    present: Option<Arc<KeyRing>>,
    progress: &mut impl FnMut(BackupProgress),
) -> Result<(Arc<KeyRing>, AuditHead), ControlError> {
    let opens = own.is_some();
    let is_other = match (&own, &present) {
        (Some(own), Some(present)) => own.digest.digest(b"same?") != present.digest.digest(b"same?"),
        _ => false,
    };
    if is_other {
        return Err(UntrustedBackup::OtherInstallation.into());
    }
    let Some(key_ring) = present.or(own.map(Arc::new)) else {
        return Err(UntrustedBackup::OtherMasterKey.into());
    };
    let rows = async |after, count| {
        let filter = AuditFilter { after, ..AuditFilter::default() };
        image.store.oldest_audit_rows(&filter, count).await
    };
    let mut checking = |checked| progress(BackupProgress::Checking(checked));
    let checked = check_trail(&key_ring.audit, image.contents.audit_end, rows, &mut checking).await?;
    match checked {
        // Of this installation all the same, before its master key was rotated: nobody else makes such a row.
        Ok(trail) if opens || trail.sequence() > 0 => Ok((key_ring, trail)),
        Err(fault) if opens => Err(UntrustedBackup::Trail(fault).into()),
        Ok(_) | Err(_) => Err(UntrustedBackup::OtherMasterKey.into()),
    }
}

/// Is the last row of the backup's trail one of the store's?
async fn is_row_of(store: &Store, image: &Image) -> Result<bool, ControlError> {
    let end = image.contents.audit_end;
    let filter = AuditFilter {
        after: end.sequence.saturating_sub(1),
        before: end.sequence.saturating_add(1),
        ..AuditFilter::default()
    };
    let rows = store.oldest_audit_rows(&filter, 1).await?;
    Ok(end.sequence == 0 || rows.first().is_some_and(|row| row.mac == end.mac))
}
