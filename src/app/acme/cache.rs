//! What an authority has issued, on disk: the account, and each certificate with its key.
//!
//! A file each, of mode 0600 in a folder of mode 0700, put in place by renaming: a crash leaves the one before or the new
//! one. A certificate stands in one file with its key, so that the two always belong together. What others could read is
//! not used. Everything here waits for the disk, and is called where nobody else waits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::task::JoinError;
use zeroize::Zeroizing;

use crate::config::{AcmeSettings, mode_for_strangers};
use crate::crypto::random;
use crate::net::{Certificate, TlsError};

/// More than a chain and a key need.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// Of the digest that tells authorities and sets of names apart, in hexadecimal digits.
const MARK_DIGITS: usize = 16;
/// As much as is written to prove that an account and a certificate will find room.
const PROOF_BYTES: usize = 64 * 1024;

/// The folder of what was issued by one authority to one account.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    directory: String,
    external_key_id: Option<String>,
}

/// Why what was issued cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("{}: others can read it, its mode is {mode:04o}; run `chmod 600` on it, or remove it", file.display())]
    Exposed { file: PathBuf, mode: u32 },
    #[error(transparent)]
    Unusable(#[from] TlsError),
    #[error("what was issued could not be read or kept: {0}")]
    Broke(#[from] JoinError),
}

impl Cache {
    pub(super) fn new(settings: &AcmeSettings) -> Self {
        Self {
            folder: settings.cache.clone(),
            directory: settings.directory.clone(),
            external_key_id: settings.external_account.as_ref().map(|account| account.key_id.clone()),
        }
    }

    /// The certificate for `hosts` that was kept; `None`: there is none.
    pub(super) fn load_certificate(&self, hosts: &[String]) -> Result<Option<Certificate>, CacheError> {
        let file = self.certificate_file(hosts);
        let pem = read(&file)?;
        Ok(pem.map(|pem| Certificate::parse(&pem, &file)).transpose()?)
    }

    /// Reads `pem`, a key and a chain, as what would stand in the file of the certificate for `hosts`.
    pub(super) fn parse_certificate(&self, hosts: &[String], pem: &str) -> Result<Certificate, CacheError> {
        Ok(Certificate::parse(pem.as_bytes(), &self.certificate_file(hosts))?)
    }

    /// The account that was kept, as JSON; `None`: there is none.
    pub(super) fn load_account(&self) -> Result<Option<Zeroizing<Vec<u8>>>, CacheError> {
        read(&self.account_file())
    }

    /// Proves that what will be issued can be kept, before anybody is asked to issue it.
    pub(super) fn prove_writable(&self) -> Result<(), CacheError> {
        let told = |source| CacheError::File { file: self.folder.clone(), source };
        make_folder(&self.folder).map_err(told)?;
        let file = new_file(&self.folder.join("proof")).map_err(told)?;
        let written = write(&file, &vec![0; PROOF_BYTES]);
        let removed = fs::remove_file(&file);
        written.and(removed).map_err(told)
    }

    /// Where the account is kept, as JSON.
    pub(super) fn account_file(&self) -> PathBuf {
        let external = self.external_key_id.as_deref().unwrap_or_default();
        self.folder.join(format!("account-{}.json", mark(&[&self.directory, external])))
    }

    /// Where the certificate for `hosts`, which are sorted, is kept: its key and its chain, both PEM. Called by the first
    /// name, for people; told apart by all of them and the directory, for programs.
    pub(super) fn certificate_file(&self, hosts: &[String]) -> PathBuf {
        let mut names = vec![self.directory.as_str()];
        names.extend(hosts.iter().map(String::as_str));
        let first = hosts.first().map(String::as_str).unwrap_or_default();
        self.folder.join(format!("{first}-{}.pem", mark(&names)))
    }
}

/// Keeps `contents` in `file`: those of before, or the new ones, whenever the machine stops.
pub(super) fn keep(file: &Path, contents: &[u8]) -> Result<(), CacheError> {
    let told = |source| CacheError::File { file: file.to_owned(), source };
    let folder = file.parent().unwrap_or(Path::new("."));
    make_folder(folder).map_err(told)?;
    let new = new_file(file).map_err(told)?;
    let kept = write(&new, contents).and_then(|()| fs::rename(&new, file));
    if kept.is_err() {
        // Half of a secret, which nobody reads any more.
        let _ = fs::remove_file(&new);
    }
    // The renaming itself is to outlive a crash.
    kept.and_then(|()| File::open(folder)?.sync_all()).map_err(told)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Beside `file`, of a name that no other writer has: another process may be at the same file.
fn new_file(file: &Path) -> io::Result<PathBuf> {
    let own = random::bits().map_err(io::Error::other)?;
    Ok(file.with_added_extension(format!("{own:016x}.new")))
}

fn mark(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(MARK_DIGITS).collect()
}

fn write(file: &Path, contents: &[u8]) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    new.write_all(contents)?;
    new.sync_all()
}

fn read(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CacheError> {
    let told = |source| CacheError::File { file: file.to_owned(), source };
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
    };
    if let Some(mode) = mode_for_strangers(&opened.metadata().map_err(told)?) {
        return Err(CacheError::Exposed { file: file.to_owned(), mode });
    }
    let mut contents = Zeroizing::new(Vec::new());
    opened.take(FILE_MAX_BYTES).read_to_end(&mut contents).map_err(told)?;
    Ok(Some(contents))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::AcmeChallenge;

    fn cache(folder: &Path, directory: &str) -> Cache {
        Cache::new(&AcmeSettings {
            directory: directory.to_owned(),
            contact: Vec::new(),
            challenge: AcmeChallenge::TlsAlpn01,
            cache: folder.join("deep/acme"),
            ca: None,
            external_account: None,
        })
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn pem() -> String {
        let made = rcgen::generate_simple_self_signed(vec![String::from("a.example")]).unwrap();
        made.signing_key.serialize_pem() + &made.cert.pem()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_kept_is_read_again_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "https://ca.example/dir");
        let names = hosts(&["a.example", "b.example"]);
        assert!(cache.load_certificate(&names).unwrap().is_none() && cache.load_account().unwrap().is_none());
        for _ in 0..2 {
            let pem = pem();
            keep(&cache.certificate_file(&names), pem.as_bytes()).unwrap();
            let kept = cache.load_certificate(&hosts(&["a.example", "b.example"])).unwrap().unwrap();
            assert_eq!(kept.leaf(), cache.parse_certificate(&names, &pem).unwrap().leaf());
        }
        keep(&cache.account_file(), b"{}").unwrap();
        assert_eq!(cache.load_account().unwrap().unwrap().as_slice(), b"{}");
        assert_eq!(mode(&folder.path().join("deep/acme")), 0o700);
        let files: Vec<_> =
            fs::read_dir(folder.path().join("deep/acme")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "no half-written file is left: {files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    }

    #[test]
    fn authorities_and_sets_of_names_have_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let one = cache(folder.path(), "https://ca.example/dir");
        keep(&one.certificate_file(&hosts(&["a.example"])), pem().as_bytes()).unwrap();
        keep(&one.account_file(), b"{}").unwrap();
        let other = cache(folder.path(), "https://other.example/dir");
        assert!(other.load_certificate(&hosts(&["a.example"])).unwrap().is_none());
        assert!(other.load_account().unwrap().is_none());
        assert!(one.load_certificate(&hosts(&["a.example", "b.example"])).unwrap().is_none());
    }

    #[test]
    fn what_others_could_read_or_what_is_broken_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "https://ca.example/dir");
        let names = hosts(&["a.example"]);
        let file = cache.certificate_file(&names);
        keep(&file, pem().as_bytes()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        // Root's files may be read by a group.
        let told = cache.load_certificate(&names).unwrap_err().to_string();
        assert!(told.contains("others can read it, its mode is 0644"), "{told}");
        keep(&file, b"nothing").unwrap();
        let told = cache.load_certificate(&names).unwrap_err().to_string();
        assert!(told.ends_with("holds no PEM block with a certificate"), "{told}");
    }

    #[test]
    fn a_folder_that_nothing_can_be_kept_in_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "https://ca.example/dir");
        cache.prove_writable().unwrap();
        assert_eq!(mode(&folder.path().join("deep/acme")), 0o700);
        assert_eq!(fs::read_dir(folder.path().join("deep/acme")).unwrap().count(), 0, "nothing is left");
        // Whose name leads through a file; a mode would not stop root.
        fs::write(folder.path().join("file"), "").unwrap();
        let away = self::cache(&folder.path().join("file"), "https://ca.example/dir");
        let told = away.prove_writable().unwrap_err().to_string();
        assert!(told.contains("file/deep/acme: "), "{told}");
    }

    #[test]
    fn what_cannot_be_kept_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        fs::create_dir(&file).unwrap();
        assert!(keep(&file, b"secret").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
