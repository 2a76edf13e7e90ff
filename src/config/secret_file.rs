//! Files that hold a secret: who else can read them.
//!
//! Reads nothing of what they hold. Called by `meaning` for an upstream's login key, and by `auth` for the master key.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The mode of a secret's file that strangers can read, which must be refused; `None`: they cannot.
pub fn mode_for_strangers(metadata: &Metadata) -> Option<u32> {
    // Kubernetes mounts secrets as root's, readable by the pod's group; everybody else's group is a stranger.
    let strangers = if metadata.uid() == 0 { 0o007 } else { 0o077 };
    (metadata.mode() & strangers != 0).then(|| metadata.mode() & 0o7777)
}
