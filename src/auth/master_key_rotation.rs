//! Another master key in the place of the present one, while gateways run (docs/decisions/0024).
//!
//! It is begun (both open the store), the new key is put in place wherever the store is opened, and it is finished (the
//! new one alone opens it). The data keys stay, and running gateways hold them: no request notices anything. Operators
//! alone may do it. Called by the command line.

use std::path::{Path, PathBuf};

use super::audit::{Event, EventKind};
use super::change::Change;
use super::control_plane::{ControlError, ControlPlane};
use super::key_ring::{CHECK, KeyRingError, unwrap};
use super::master_key_file::{self, Made, read, read_file};
use super::rights::Action;
use crate::config::{MasterKeySource, StoreLocation};
use crate::crypto::MasterKey;
use crate::store::{WrappedKey, with_ending};

/// How a rotation was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationBegun {
    /// With a key that was drawn into a new file.
    WithNewKey,
    /// With the key of a file that was there.
    WithGivenKey,
    /// By an earlier command, with this key.
    Before,
}

/// What a rotation on one machine has made of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedInPlace {
    /// Where the old key is kept; `None`: an earlier command has put the new one in its place, and somebody has moved it since.
    pub kept: Option<PathBuf>,
    /// Where a file was moved that stood where the new key was to be drawn, and that nobody had begun a rotation with.
    pub set_aside: Option<PathBuf>,
}

/// Why a master key was not rotated; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The new key is the old one.
    #[error("{0} holds the present master key; name a file that does not exist, and a new key is made")]
    SameKey(PathBuf),
    /// Another key is on its way already.
    #[error(
        "another master key is to take the place of the present one already: put that in place and give `--finish`, \
         or give `--abandon` while the old one is configured"
    )]
    HalfWay,
    /// Nothing to finish or to abandon.
    #[error("no rotation of the master key is half way; give `--to FILE` to begin one")]
    NotBegun,
    /// The old key is still the one that is configured.
    #[error(
        "the configured master key is still the old one: put the new one in its place, wherever the store is opened, \
         and then give `--finish`; or give `--in-place`, where that has begun it"
    )]
    StillOld,
    /// The new key is the one that is configured.
    #[error("the configured master key is the new one already; give `--finish`")]
    AlreadyNew,
    /// The configuration holds the key itself.
    #[error(
        "the master key is in no file that could be replaced (`master_key` names its text); give `--to FILE`, and then \
         `--finish` with the new key's text"
    )]
    NotAFile,
    /// Other machines have files of their own.
    #[error(
        "this store may be opened from several machines, each with a file of its own; give `--to FILE`, put the new key \
         in place everywhere, and then give `--finish`"
    )]
    Shared,
}

/// Which key is configured, while a rotation is half way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Configured {
    Old,
    New,
}

/// The store's wraps inside one change.
struct Wraps {
    present: Vec<WrappedKey>,
    next: Vec<WrappedKey>,
}

impl Wraps {
    async fn of(change: &mut Change) -> Result<Self, ControlError> {
        Ok(Self { present: change.present_key_ring().await?, next: change.next_key_ring().await? })
    }

    const fn are_half_way(&self) -> bool {
        !self.next.is_empty()
    }

    fn require_half_way(&self) -> Result<(), RotationError> {
        if self.are_half_way() { Ok(()) } else { Err(RotationError::NotBegun) }
    }

    /// Is a rotation half way with the key of the file `new`, if there is one?
    fn are_half_way_with(&self, new: &Path) -> Result<bool, KeyRingError> {
        Ok(new.exists() && unwrap(&self.next, &read_file(new)?, CHECK).is_ok())
    }

    /// Which of the two `master` is.
    fn which(&self, master: &MasterKey) -> Result<Configured, KeyRingError> {
        if unwrap(&self.present, master, CHECK).is_ok() {
            return Ok(Configured::Old);
        }
        unwrap(&self.next, master, CHECK).map(|_| Configured::New)
    }
}

/// The data keys of `present`, wrapped by `new`; `opens` opens each in `among`.
fn wrap_all(
    present: &[WrappedKey],
    among: &[WrappedKey],
    opens: &MasterKey,
    new: &MasterKey,
) -> Result<Vec<WrappedKey>, KeyRingError> {
    let wrap = |WrappedKey { purpose, .. }: &WrappedKey| {
        let data_key = zeroize::Zeroizing::new(unwrap(among, opens, purpose)?);
        Ok(WrappedKey { wrapped: new.wrap(&data_key, purpose)?, purpose: purpose.clone() })
    };
    present.iter().map(wrap).collect()
}

impl ControlPlane {
    /// Lets the master key of the file `new` open the store beside the one that is `configured`; draws it into that file,
    /// mode 0600, where there is none.
    pub async fn begin_master_key_rotation(
        &self,
        configured: &MasterKeySource,
        new: &Path,
    ) -> Result<RotationBegun, ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let wraps = Wraps::of(&mut change).await?;
        let old = read(configured)?;
        if wraps.which(&old)? == Configured::New {
            return Err(RotationError::AlreadyNew.into());
        }
        if wraps.are_half_way() {
            let is_same = wraps.are_half_way_with(new)?;
            return if is_same { Ok(RotationBegun::Before) } else { Err(RotationError::HalfWay.into()) };
        }
        let begun = match master_key_file::make(new)? {
            Made::Here => RotationBegun::WithNewKey,
            Made::ThereBefore => RotationBegun::WithGivenKey,
        };
        let master = read_file(new)?;
        if unwrap(&wraps.present, &master, CHECK).is_ok() {
            return Err(RotationError::SameKey(new.to_owned()).into());
        }
        let_both_open(change, &wraps, &old, &master).await?;
        Ok(begun)
    }

    /// Lets the master key that is `configured`, which must be the new one, alone open the store.
    pub async fn finish_master_key_rotation(&self, configured: &MasterKeySource) -> Result<(), ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let wraps = Wraps::of(&mut change).await?;
        wraps.require_half_way()?;
        let new = read(configured)?;
        if wraps.which(&new)? == Configured::Old {
            return Err(RotationError::StillOld.into());
        }
        let all = [wraps.present.as_slice(), &wraps.next].concat();
        let wrapped = wrap_all(&wraps.present, &all, &new, &new)?;
        change.set_key_ring(&wrapped).await?;
        change.commit(Event::new(EventKind::MasterKeyRotated)).await?;
        Ok(())
    }

    /// Lets the master key that is `configured`, which must be the old one, alone open the store.
    pub async fn abandon_master_key_rotation(
        &self,
        configured: &MasterKeySource,
    ) -> Result<(), ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let wraps = Wraps::of(&mut change).await?;
        wraps.require_half_way()?;
        if wraps.which(&read(configured)?)? == Configured::New {
            return Err(RotationError::AlreadyNew.into());
        }
        change.drop_next_key_ring().await?;
        change.commit(Event::new(EventKind::MasterKeyRotationAbandoned)).await?;
        Ok(())
    }

    /// Does all of it with a key that is drawn for it, and puts that in the place of the file that is `configured`. What was cut
    /// off is gone on with.
    pub async fn rotate_master_key_in_place(
        &self,
        configured: &MasterKeySource,
    ) -> Result<RotatedInPlace, ControlError> {
        let MasterKeySource::File(named) = configured else { return Err(RotationError::NotAFile.into()) };
        if matches!(self.store.location(), StoreLocation::Postgres(_)) {
            return Err(RotationError::Shared.into());
        }
        // A name that stands for another file goes on standing for it.
        let path = std::fs::canonicalize(named)
            .map_err(|source| KeyRingError::File { path: named.clone(), source })?;
        let rotated = self.put_new_key_in_place(configured, &path).await?;
        self.finish_master_key_rotation(configured).await?;
        Ok(rotated)
    }

    /// Does all but the end of it. What can fail for a file's sake is done before the store is changed.
    async fn put_new_key_in_place(
        &self,
        configured: &MasterKeySource,
        path: &Path,
    ) -> Result<RotatedInPlace, ControlError> {
        let mut change = self.begin().await?;
        change.require(Action::Operate)?;
        let wraps = Wraps::of(&mut change).await?;
        let old = read(configured)?;
        if wraps.which(&old)? == Configured::New {
            let is_old = |key: &MasterKey| unwrap(&wraps.present, key, CHECK).is_ok();
            return Ok(RotatedInPlace { kept: master_key_file::find_kept(path, is_old), set_aside: None });
        }
        let new = with_ending(path, ".new");
        if wraps.are_half_way() && !wraps.are_half_way_with(&new)? {
            return Err(RotationError::HalfWay.into());
        }
        let kept = Some(master_key_file::keep(path)?);
        let mut set_aside = None;
        if !wraps.are_half_way() {
            // Whoever could write this folder may have put it there: no key is taken that was not drawn now.
            set_aside = master_key_file::set_aside(&new)?;
            if master_key_file::make(&new)? == Made::ThereBefore {
                let source = std::io::ErrorKind::AlreadyExists.into();
                return Err(KeyRingError::File { path: new, source }.into());
            }
            let_both_open(change, &wraps, &old, &read_file(&new)?).await?;
        }
        master_key_file::put_in_place(&new, path)?;
        Ok(RotatedInPlace { kept, set_aside })
    }
}

/// Commits that the master key `new` opens the store beside the `old` one.
async fn let_both_open(
    mut change: Change,
    wraps: &Wraps,
    old: &MasterKey,
    new: &MasterKey,
) -> Result<(), ControlError> {
    let next = wrap_all(&wraps.present, &wraps.present, old, new)?;
    let now = change.now();
    change.set_next_key_ring(&next, now).await?;
    change.commit(Event::new(EventKind::MasterKeyRotationBegun)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::super::MissingStore;
    use super::super::actor::Actor;
    use super::super::key_ring::open_key_ring;
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::model::{Secret, Timestamp};
    use crate::store::AuditFilter;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    struct World {
        folder: tempfile::TempDir,
        config: Config,
        plane: ControlPlane,
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let config = super::super::control_plane::tests::config(folder.path()).await;
            let actor = Actor::Operator(String::from("tester"));
            let plane =
                ControlPlane::open(&config, Clock::given(NOW), MissingStore::Make, actor).await.unwrap();
            Self { folder, config, plane }
        }

        fn source(&self, name: &str) -> MasterKeySource {
            MasterKeySource::File(self.folder.path().join(name))
        }

        /// Does the key of that file open the store, with the data keys that it always had?
        async fn opens(&self, name: &str) -> bool {
            match open_key_ring(&self.plane.store, &self.source(name), NOW).await {
                Ok(ring) => {
                    let same = [&ring, &*self.plane.key_ring].map(|ring| ring.digest.digest(b"a key"));
                    assert_eq!(same[0], same[1]);
                    true
                }
                Err(KeyRingError::DoesNotFit) => false,
                Err(error) => panic!("{error}"),
            }
        }

        async fn begin(&self, configured: &str, new: &str) -> Result<RotationBegun, ControlError> {
            let new = self.folder.path().join(new);
            self.plane.begin_master_key_rotation(&self.source(configured), &new).await
        }

        async fn finish(&self, configured: &str) -> Result<(), ControlError> {
            self.plane.finish_master_key_rotation(&self.source(configured)).await
        }

        async fn rotate_in_place(&self) -> RotatedInPlace {
            self.plane.rotate_master_key_in_place(&self.config.master_key).await.unwrap()
        }

        fn is_shared(&self) -> bool {
            matches!(self.config.store, StoreLocation::Postgres(_))
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap()
        }

        /// Puts a key into a file as its owner would.
        fn plant(&self, name: &str, key: &Secret<String>) {
            let path = self.folder.path().join(name);
            std::fs::write(&path, key.expose()).unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }

        async fn events(&self) -> Vec<String> {
            let rows = self.plane.store.oldest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
            rows.into_iter().map(|row| row.entry.event).collect()
        }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, ControlError>) -> RotationError {
        match result {
            Err(ControlError::Rotation(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn s99_between_beginning_and_end_both_keys_open_the_store_and_afterwards_the_new_one_alone() {
        let world = World::new().await;
        assert!(!world.plane.store_status().await.unwrap().rotates_master_key);
        assert_eq!(world.begin("master.key", "new.key").await.unwrap(), RotationBegun::WithNewKey);
        assert!(world.plane.store_status().await.unwrap().rotates_master_key);
        assert!(world.opens("master.key").await && world.opens("new.key").await);
        assert_eq!(world.begin("master.key", "new.key").await.unwrap(), RotationBegun::Before);
        world.finish("new.key").await.unwrap();
        assert!(world.opens("new.key").await && !world.opens("master.key").await);
        assert!(!world.plane.store_status().await.unwrap().rotates_master_key);
        assert_eq!(world.events().await, ["store.rotation_begun", "store.rotation_finished"]);
        assert!(world.plane.verify_audit(None, &mut |_| {}).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn s99_a_rotation_is_finished_by_the_new_key_and_given_up_by_the_old_one() {
        let world = World::new().await;
        assert!(matches!(refusal(world.finish("master.key").await), RotationError::NotBegun));
        assert!(matches!(refusal(world.begin("master.key", "master.key").await), RotationError::SameKey(_)));
        world.begin("master.key", "new.key").await.unwrap();
        assert!(matches!(refusal(world.finish("master.key").await), RotationError::StillOld));
        assert!(matches!(refusal(world.begin("master.key", "third.key").await), RotationError::HalfWay));
        assert!(!world.folder.path().join("third.key").exists());
        assert!(matches!(refusal(world.begin("new.key", "new.key").await), RotationError::AlreadyNew));
        let by_new = world.plane.abandon_master_key_rotation(&world.source("new.key")).await;
        assert!(matches!(refusal(by_new), RotationError::AlreadyNew));
        world.plane.abandon_master_key_rotation(&world.source("master.key")).await.unwrap();
        assert!(world.opens("master.key").await && !world.opens("new.key").await);
        // The key of a file that is there is taken.
        assert_eq!(world.begin("master.key", "new.key").await.unwrap(), RotationBegun::WithGivenKey);
        assert!(world.opens("new.key").await);
    }

    #[tokio::test]
    async fn s99_a_rotation_in_place_goes_on_wherever_it_was_cut_off() {
        let world = World::new().await;
        if world.is_shared() {
            let refused = world.plane.rotate_master_key_in_place(&world.config.master_key).await;
            return assert!(matches!(refusal(refused), RotationError::Shared));
        }
        let [path, new] = ["master.key", "master.key.new"].map(|name| world.folder.path().join(name));
        for cut_off_behind in 0..=5 {
            let before = world.text("master.key");
            if cut_off_behind == 2 {
                master_key_file::make(&new).unwrap();
            }
            if cut_off_behind >= 3 {
                world.begin("master.key", "master.key.new").await.unwrap();
            }
            if matches!(cut_off_behind, 1 | 2 | 4 | 5) {
                master_key_file::keep(&path).unwrap();
            }
            if cut_off_behind == 5 {
                master_key_file::put_in_place(&new, &path).unwrap();
            }
            let told = world.rotate_in_place().await;
            let kept = match cut_off_behind {
                0 => String::from("master.key.old"),
                earlier => format!("master.key.old.{}", earlier + 1),
            };
            assert_eq!(told.kept, Some(world.folder.path().join(&kept)));
            assert_eq!(told.set_aside.is_some(), cut_off_behind == 2);
            assert!(world.opens("master.key").await && !world.opens(&kept).await);
            assert_eq!(world.text(&kept), before);
            assert!(!new.exists() && !world.plane.store_status().await.unwrap().rotates_master_key);
        }
    }

    #[tokio::test]
    async fn s99_a_rotation_in_place_takes_no_key_that_somebody_left_beside_the_file() {
        let world = World::new().await;
        if world.is_shared() {
            return;
        }
        let planted = MasterKey::draw().unwrap().to_text();
        world.plant("master.key.new", &planted);
        let aside = world.rotate_in_place().await.set_aside.unwrap();
        assert_eq!(&std::fs::read_to_string(&aside).unwrap(), planted.expose(), "nothing is lost");
        assert!(world.opens("master.key").await);
        assert!(!world.opens(aside.file_name().unwrap().to_str().unwrap()).await);
        // The same where a rotation was begun with it, and given up.
        world.begin("master.key", "master.key.new").await.unwrap();
        world.plane.abandon_master_key_rotation(&world.source("master.key")).await.unwrap();
        let abandoned = world.text("master.key.new");
        let aside = world.rotate_in_place().await.set_aside.unwrap();
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), abandoned);
        assert!(!world.opens(aside.file_name().unwrap().to_str().unwrap()).await);
        // One that goes on goes on with its own key, and with no other.
        world.begin("master.key", "other.key").await.unwrap();
        world.plant("master.key.new", &planted);
        let refused = world.plane.rotate_master_key_in_place(&world.config.master_key).await;
        assert!(matches!(refusal(refused), RotationError::HalfWay));
        assert!(world.opens("other.key").await && !world.opens("master.key.new").await);
    }
}
