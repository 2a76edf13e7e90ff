//! What an installation begins with: an annotated configuration, its schema, certificates for development.
//!
//! Writes all of it or nothing, and never over anything that is there. Makes no store and no master key: the first
//! customer does. Prints nothing. Called by `latchkey init`; `demo` takes the certificates alone.

pub mod certificates;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::certificates::{DevelopmentCertificateError, draw_development_certificates};
use crate::config;
use crate::model::Timestamp;

/// The annotated reference: every key with its default.
const CONFIGURATION: &str = include_str!("../config/latchkey.yaml");

/// The files of an installation that is not written yet.
#[derive(Debug)]
pub struct NewInstallation {
    folder: PathBuf,
    files: Vec<NewFile>,
}

#[derive(Debug)]
struct NewFile {
    path: PathBuf,
    text: String,
    mode: u32,
}

/// Why there is no new installation.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// What would be written is there already.
    #[error("in the way: {}; nothing is overwritten, so move it, or take another folder", .0.join(", "))]
    InTheWay(Vec<String>),
    /// The certificates cannot be made.
    #[error(transparent)]
    Certificates(#[from] DevelopmentCertificateError),
    /// The schema is no text.
    #[error("the schema cannot be written: {0}")]
    Schema(#[from] serde_json::Error),
    /// A file or a folder cannot be written; those that were are removed again.
    #[error("{path}: {source}")]
    Write {
        /// Which one.
        path: String,
        /// What stood in the way.
        source: io::Error,
    },
}

impl NewInstallation {
    /// What `folder` would hold, with certificates that are valid from `now`; touches nothing.
    ///
    /// # Errors
    ///
    /// Something is in the way, or the certificates cannot be made.
    pub fn plan(folder: &Path, now: Timestamp) -> Result<Self, InstallationError> {
        let certificates = draw_development_certificates(now)?;
        let schema = serde_json::to_string_pretty(&config::schema())? + "\n";
        let file = |name: &str, text: String, mode| NewFile { path: folder.join(name), text, mode };
        // The configuration comes last: where it is, everything that it names is.
        let files = vec![
            file("certs/ca.crt", certificates.authority, 0o644),
            file("certs/dev.key", certificates.server_key, 0o600),
            file("certs/dev.crt", certificates.server_chain, 0o644),
            file("latchkey.schema.json", schema, 0o644),
            file("latchkey.yaml", CONFIGURATION.to_owned(), 0o644),
        ];
        let is_there = |file: &&NewFile| file.path.symlink_metadata().is_ok();
        let in_the_way: Vec<String> = files.iter().filter(is_there).map(|file| shown(&file.path)).collect();
        if in_the_way.is_empty() {
            Ok(Self { folder: folder.to_owned(), files })
        } else {
            Err(InstallationError::InTheWay(in_the_way))
        }
    }

    /// Where the files go, the configuration last.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Writes the files, and the folders that are missing.
    ///
    /// # Errors
    ///
    /// One cannot be written. No file is left behind then.
    pub fn write(&self) -> Result<(), InstallationError> {
        let certs = self.folder.join("certs");
        let made = DirBuilder::new().recursive(true).create(&certs);
        made.map_err(|source| InstallationError::Write { path: shown(&certs), source })?;
        for (position, file) in self.files.iter().enumerate() {
            if let Err(source) = file.write() {
                for written in self.files.iter().take(position) {
                    // The fault that is told is the one that counts.
                    let _ = std::fs::remove_file(&written.path);
                }
                return Err(InstallationError::Write { path: shown(&file.path), source });
            }
        }
        Ok(())
    }
}

impl NewFile {
    fn write(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&self.path)?;
        let written = file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a file would be in the way next time.
            let _ = std::fs::remove_file(&self.path);
        }
        written
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn plan(folder: &Path) -> Result<NewInstallation, InstallationError> {
        NewInstallation::plan(folder, "2026-11-23".parse().unwrap())
    }

    #[test]
    fn what_is_written_is_a_configuration_without_faults() {
        let folder = tempfile::tempdir().unwrap();
        let installation = folder.path().join("deep/gateway");
        let new = plan(&installation).unwrap();
        assert!(!installation.exists(), "a plan touches nothing");
        new.write().unwrap();
        for path in new.paths() {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            let is_key = path.extension().is_some_and(|extension| extension == "key");
            assert_eq!(mode == 0o600, is_key, "{}: {mode:o}", path.display());
        }
        let config =
            config::load(new.paths().last().unwrap(), &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(config.listeners.len(), 4);
        assert!(
            !installation.join("certs/ca.key").exists(),
            "nobody can make more certificates of this authority"
        );
    }

    #[test]
    fn nothing_that_is_there_is_touched_and_all_of_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("certs")).unwrap();
        std::fs::write(folder.path().join("latchkey.yaml"), "mine").unwrap();
        symlink("nowhere", folder.path().join("certs/dev.key")).unwrap();
        let error = plan(folder.path()).unwrap_err().to_string();
        assert!(error.contains("latchkey.yaml") && error.contains("certs/dev.key"), "{error}");
        assert!(!error.contains("dev.crt"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.path().join("latchkey.yaml")).unwrap(), "mine");
    }

    #[test]
    fn what_comes_in_the_way_meanwhile_stays_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let new = plan(folder.path()).unwrap();
        std::fs::write(folder.path().join("latchkey.yaml"), "mine").unwrap();
        let error = new.write().unwrap_err();
        assert!(error.to_string().contains("latchkey.yaml: File exists"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.path().join("latchkey.yaml")).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(folder.path().join("certs")).unwrap().count(), 0);
        assert!(!folder.path().join("latchkey.schema.json").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = plan(Path::new("/dev/null/gateway")).unwrap().write().unwrap_err();
        assert!(error.to_string().starts_with("/dev/null/gateway/certs: "), "{error}");
    }
}
