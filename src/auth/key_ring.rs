//! Opening the store's data keys with the master key; making both on the very first start.
//!
//! Beside a store that is not empty nothing is ever invented: a missing or another master key refuses to start (S99).

use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::master_key_file::{read, read_or_make};
use crate::config::MasterKeySource;
use crate::crypto::random::{self, RandomError};
use crate::crypto::{KeyPurpose, KeyRing, MasterKey, MasterKeyError, WrapError};
use crate::model::Timestamp;
use crate::store::{Store, StoreError, WrappedKey};

/// A known value that shows whether the master key fits.
pub(super) const CHECK: &str = "check";

/// The data keys cannot be opened; the gateway must not start.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The master key file cannot be read or made.
    #[error("the master key file {path} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not there although the store holds data.
    #[error("the master key file {0} is missing, and the store was made with one: put the file back")]
    Missing(PathBuf),
    /// Others may read the file.
    #[error("the master key file {path} has mode {mode:04o}: others can read it; run `chmod 600` on it")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The text is no master key.
    #[error(transparent)]
    NotAKey(#[from] MasterKeyError),
    /// The master key is another one than the store was made with.
    #[error("the master key is not the one that this store was made with")]
    DoesNotFit,
    /// A data key that only one of two master keys would open.
    #[error(
        "this version adds a data key to the store, which must wait while a rotation of the master key is half way: end it \
         with the version before (`latchkey store rotate-master-key --finish`, or `--abandon`)"
    )]
    RotationHalfWay,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store failed, or lacks a data key.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<WrapError> for KeyRingError {
    fn from(error: WrapError) -> Self {
        match error {
            WrapError::Random(error) => Self::Random(error),
            WrapError::DoesNotFit => Self::DoesNotFit,
        }
    }
}

/// Opens the data keys of `store`; makes master key (where it is a file) and data keys for an empty one.
pub async fn open_key_ring(
    store: &Store,
    source: &MasterKeySource,
    now: Timestamp,
) -> Result<KeyRing, KeyRingError> {
    let stored = store.key_ring().await?;
    let master = if stored.is_empty() { read_or_make(source)? } else { read(source)? };
    if !stored.is_empty() {
        unwrap(&stored, &master, CHECK)?;
    }
    let missing = missing_keys(&stored);
    if missing.is_empty() {
        return unwrap_all(&stored, &master);
    }
    match make_data_keys(store, &master, &missing, now).await {
        // Another start was quicker: its keys are the keys.
        Ok(()) | Err(KeyRingError::Store(StoreError::Exists(_))) => {}
        Err(error) => return Err(error),
    }
    unwrap_all(&store.key_ring().await?, &master)
}

/// Opens data keys that were stored before, beside a store that is away. Makes nothing.
pub fn open_stored_key_ring(
    stored: &[WrappedKey],
    source: &MasterKeySource,
) -> Result<KeyRing, KeyRingError> {
    unwrap_all(stored, &read(source)?)
}

/// The keys to be made: all for an empty store, and those that an older version knew nothing of. One that records were
/// made with is never made anew.
fn missing_keys(stored: &[WrappedKey]) -> Vec<&'static str> {
    let added_later = [KeyPurpose::Sealing, KeyPurpose::Audit, KeyPurpose::Console].map(KeyPurpose::as_str);
    let all = std::iter::once(CHECK).chain(KeyPurpose::ALL.map(KeyPurpose::as_str));
    all.filter(|purpose| stored.is_empty() || added_later.contains(purpose))
        .filter(|purpose| !stored.iter().any(|key| key.purpose == *purpose))
        .collect()
}

async fn make_data_keys(
    store: &Store,
    master: &MasterKey,
    purposes: &[&'static str],
    now: Timestamp,
) -> Result<(), KeyRingError> {
    let mut change = store.mutate().await?;
    // Whichever master key did not wrap it would open the store no more.
    if !change.next_key_ring().await?.is_empty() {
        return Err(KeyRingError::RotationHalfWay);
    }
    for &purpose in purposes {
        let data_key =
            if purpose == CHECK { Zeroizing::new([0; 32]) } else { Zeroizing::new(random::bytes::<32>()?) };
        let wrapped = master.wrap(&data_key, purpose)?;
        change.insert_wrapped_key(&WrappedKey { purpose: purpose.to_owned(), wrapped }, now).await?;
    }
    change.commit().await?;
    Ok(())
}

/// The data key for `purpose`, from whichever of its wraps the master key opens.
pub(super) fn unwrap(
    stored: &[WrappedKey],
    master: &MasterKey,
    purpose: &str,
) -> Result<[u8; 32], KeyRingError> {
    let mut wraps = stored.iter().filter(|key| key.purpose == purpose).peekable();
    if wraps.peek().is_none() {
        return Err(StoreError::Corrupt("key ring").into());
    }
    wraps.find_map(|key| master.unwrap(&key.wrapped, purpose).ok()).ok_or(KeyRingError::DoesNotFit)
}

fn unwrap_all(stored: &[WrappedKey], master: &MasterKey) -> Result<KeyRing, KeyRingError> {
    unwrap(stored, master, CHECK)?;
    KeyRing::fill(|purpose| unwrap(stored, master, purpose.as_str()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    async fn new_store(folder: &Path) -> Store {
        let location = crate::store::testing::new_location(folder).await;
        Store::open_or_create(&location).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_start_makes_keys_and_every_later_one_opens_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store(folder.path()).await;
        let source = MasterKeySource::File(folder.path().join("master.key"));
        let first = open_key_ring(&store, &source, NOW).await.unwrap();
        let again = open_key_ring(&store, &source, NOW).await.unwrap();
        assert_eq!(first.digest.digest(b"some key"), again.digest.digest(b"some key"));
        assert_eq!(first.tag.tag(b"random part"), again.tag.tag(b"random part"));
        let mode = std::fs::metadata(folder.path().join("master.key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_store_of_an_older_version_gets_the_keys_that_were_added_since() {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store(folder.path()).await;
        let source = MasterKeySource::File(folder.path().join("master.key"));
        let master = read_or_make(&source).unwrap();
        let older = [CHECK, KeyPurpose::ApiKeyDigest.as_str(), KeyPurpose::ApiKeyTag.as_str()];
        make_data_keys(&store, &master, &older, NOW).await.unwrap();
        let first = open_key_ring(&store, &source, NOW).await.unwrap();
        let again = open_key_ring(&store, &source, NOW).await.unwrap();
        assert_eq!(first.audit.digest(b"event"), again.audit.digest(b"event"));
        let lost = new_store(&folder.path().join("lost")).await;
        make_data_keys(&lost, &master, &[CHECK], NOW).await.unwrap();
        let error = open_key_ring(&lost, &source, NOW).await.unwrap_err();
        assert!(matches!(error, KeyRingError::Store(StoreError::Corrupt(_))), "{error}");
    }

    #[tokio::test]
    async fn s99_no_data_key_is_added_while_two_master_keys_open_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store(folder.path()).await;
        let source = MasterKeySource::File(folder.path().join("master.key"));
        let master = read_or_make(&source).unwrap();
        let older = [CHECK, KeyPurpose::ApiKeyDigest.as_str(), KeyPurpose::ApiKeyTag.as_str()];
        make_data_keys(&store, &master, &older, NOW).await.unwrap();
        let next = MasterKey::draw().unwrap();
        let stored = store.key_ring().await.unwrap();
        let wrap = |WrappedKey { purpose, .. }: &WrappedKey| {
            let data_key = unwrap(&stored, &master, purpose).unwrap();
            WrappedKey { wrapped: next.wrap(&data_key, purpose).unwrap(), purpose: purpose.clone() }
        };
        let wrapped: Vec<_> = stored.iter().map(wrap).collect();
        let mut change = store.mutate().await.unwrap();
        change.set_next_key_ring(&wrapped, NOW).await.unwrap();
        change.commit().await.unwrap();
        for source in [&source, &MasterKeySource::Text(next.to_text())] {
            let refused = open_key_ring(&store, source, NOW).await.unwrap_err();
            assert!(matches!(refused, KeyRingError::RotationHalfWay), "{refused}");
        }
        let mut change = store.mutate().await.unwrap();
        change.drop_next_key_ring().await.unwrap();
        change.commit().await.unwrap();
        assert!(open_key_ring(&store, &source, NOW).await.is_ok());
    }

    #[tokio::test]
    async fn s99_a_missing_or_other_master_key_refuses_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store(folder.path()).await;
        let path = folder.path().join("master.key");
        let source = MasterKeySource::File(path.clone());
        open_key_ring(&store, &source, NOW).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open_key_ring(&store, &source, NOW).await, Err(KeyRingError::Missing(_))));
        assert!(!path.exists(), "nothing is invented beside a store that is not empty");
        let other = MasterKeySource::Text(MasterKey::draw().unwrap().to_text());
        assert!(matches!(open_key_ring(&store, &other, NOW).await, Err(KeyRingError::DoesNotFit)));
    }

    #[tokio::test]
    async fn s99_a_master_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store(folder.path()).await;
        let path = folder.path().join("master.key");
        let source = MasterKeySource::File(path.clone());
        open_key_ring(&store, &source, NOW).await.unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let error = open_key_ring(&store, &source, NOW).await.unwrap_err();
        assert!(error.to_string().contains("mode 0604"), "{error}");
    }
}
