//! What an authority has issued, on disk: the account, and each certificate with its key.
//!
//! A file each, of mode 0600 in a folder of mode 0700, put in place by renaming: a crash leaves the one before or the new
//! one. A certificate stands in one file with its key, so that the two always belong together. What others could read is
//! not used.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{AcmeSettings, mode_for_strangers};
use crate::net::{Certificate, TlsError};

/// More than a chain and a key need.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// Of the digest that tells authorities and sets of names apart, in hexadecimal digits.
const MARK_DIGITS: usize = 16;

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

    /// Keeps the certificate for `hosts`: its key and its chain, both PEM.
    pub(super) fn keep_certificate(&self, hosts: &[String], pem: &str) -> Result<(), CacheError> {
        self.keep(&self.certificate_file(hosts), pem.as_bytes())
    }

    /// Reads `pem` as what [`Self::keep_certificate`] would keep.
    pub(super) fn parse_certificate(&self, hosts: &[String], pem: &str) -> Result<Certificate, CacheError> {
        Ok(Certificate::parse(pem.as_bytes(), &self.certificate_file(hosts))?)
    }

    /// The account that was kept, as JSON; `None`: there is none.
    pub(super) fn load_account(&self) -> Result<Option<Zeroizing<Vec<u8>>>, CacheError> {
        read(&self.account_file())
    }

    /// Keeps the account.
    pub(super) fn keep_account(&self, json: &[u8]) -> Result<(), CacheError> {
        self.keep(&self.account_file(), json)
    }

    fn account_file(&self) -> PathBuf {
        let external = self.external_key_id.as_deref().unwrap_or_default();
        self.folder.join(format!("account-{}.json", mark(&[&self.directory, external])))
    }

    /// Called by the first name, for people; told apart by all of them and the directory, for programs.
    fn certificate_file(&self, hosts: &[String]) -> PathBuf {
        let mut names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.insert(0, &self.directory);
        let first = hosts.first().map(String::as_str).unwrap_or_default();
        self.folder.join(format!("{first}-{}.pem", mark(&names)))
    }

    fn keep(&self, file: &Path, contents: &[u8]) -> Result<(), CacheError> {
        let told = |source| CacheError::File { file: file.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(told)?;
        let new = file.with_added_extension("new");
        write(&new, contents).and_then(|()| fs::rename(&new, file)).map_err(told)?;
        // The renaming itself is to outlive a crash.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(told)
    }
}

fn mark(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(MARK_DIGITS).collect()
}

fn write(file: &Path, contents: &[u8]) -> io::Result<()> {
    // One that a crash left may have another mode.
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
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
            cache.keep_certificate(&names, &pem).unwrap();
            let kept = cache.load_certificate(&hosts(&["a.example", "b.example"])).unwrap().unwrap();
            assert_eq!(kept.leaf(), cache.parse_certificate(&names, &pem).unwrap().leaf());
        }
        cache.keep_account(b"{}").unwrap();
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
        one.keep_certificate(&hosts(&["a.example"]), &pem()).unwrap();
        one.keep_account(b"{}").unwrap();
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
        cache.keep_certificate(&names, &pem()).unwrap();
        let file = cache.certificate_file(&names);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        // Root's files may be read by a group.
        let told = cache.load_certificate(&names).unwrap_err().to_string();
        assert!(told.contains("others can read it, its mode is 0644"), "{told}");
        cache.keep_certificate(&names, "nothing").unwrap();
        let told = cache.load_certificate(&names).unwrap_err().to_string();
        assert!(told.ends_with("holds no PEM block with a certificate"), "{told}");
    }
}
