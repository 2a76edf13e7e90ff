//! What an authority has issued and could not be written: held until it can be, so that a full disk costs no new order.
//!
//! It is lost when the process ends before that. Whoever has the turn to order has this, too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::cache::{CacheError, keep};

/// What belongs into files, and is not there yet. Shows nothing of it.
#[derive(Default)]
pub(super) struct Unwritten {
    contents: HashMap<PathBuf, Zeroizing<Vec<u8>>>,
    /// Why the latest of them is not there.
    fault: Option<String>,
}

impl Unwritten {
    /// What belongs into `file`, where it is not there yet.
    pub(super) fn contents(&self, file: &Path) -> Option<Zeroizing<Vec<u8>>> {
        self.contents.get(file).cloned()
    }

    /// Why something is not written yet; `None`: everything is.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Writes `contents` into `file`, and holds on to them where that fails.
    pub(super) async fn write(&mut self, file: PathBuf, contents: Zeroizing<Vec<u8>>) {
        // From now on, as this may be given up meanwhile.
        self.contents.insert(file, contents);
        self.write_again().await;
    }

    /// Tries to write everything that is not written yet.
    pub(super) async fn write_again(&mut self) {
        self.fault = None;
        for (file, contents) in self.contents.clone() {
            let place = file.clone();
            let kept = spawn_blocking(move || keep(&place, &contents)).await;
            match kept.map_err(CacheError::from).flatten() {
                Ok(()) => drop(self.contents.remove(&file)),
                Err(error) => {
                    tracing::error!(
                        %error,
                        "what was issued cannot be written, and is lost if this process ends before it can be"
                    );
                    self.fault = Some(error.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_written_is_held_until_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("account.json");
        std::fs::create_dir(&file).unwrap();
        let mut unwritten = Unwritten::default();
        unwritten.write(file.clone(), Zeroizing::new(b"{}".to_vec())).await;
        assert!(unwritten.fault().unwrap().contains("account.json: "));
        assert_eq!(unwritten.contents(&file).unwrap().as_slice(), b"{}");
        std::fs::remove_dir(&file).unwrap();
        unwritten.write_again().await;
        assert!(unwritten.fault().is_none() && unwritten.contents(&file).is_none());
        assert_eq!(std::fs::read(file).unwrap(), b"{}");
    }
}
