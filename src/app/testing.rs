//! What a gateway is made of, in a folder of its own, for tests of its parts.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_setfl};
use tempfile::TempDir;

use super::loading::StoreAway;
use super::opening::{Opened, open_shared};
use super::sockets::{Held, Sockets};
use crate::auth::{Actor, ControlPlane};
use crate::config::Config;
use crate::telemetry::Metrics;

/// One door for two threads.
const TEXT: &str = "\
threads: 2
listeners:
  - { name: api, protocol: http, address: \"127.0.0.1:0\", routes: [{ path: /, upstream: up }] }
upstreams: [{ name: up, protocol: http, servers: [\"http://127.0.0.1:1\"] }]
";

/// An installation with an empty store.
pub(super) struct TestInstallation {
    pub(super) config: Arc<Config>,
    folder: TempDir,
}

impl TestInstallation {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parsed = crate::config::parse(TEXT, "f.yaml".as_ref(), folder.path(), &|_| None);
        let mut config = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        config.store = crate::store::testing::new_location(folder.path()).await;
        Self { config: Arc::new(config), folder }
    }

    /// Opens it as a gateway does.
    pub(super) async fn open(&self) -> Opened {
        let metrics = Arc::new(Metrics::default());
        open_shared(&self.config, &metrics, StoreAway::FromSnapshot).await.unwrap()
    }

    /// The sockets for its listener, of which the last is none: no runtime can watch it.
    pub(super) fn sockets_with_a_broken_one(&self) -> Vec<Held> {
        let sockets = Sockets::default().successor(&self.config).unwrap();
        sockets.listen().unwrap();
        let mut held = sockets.held().to_vec();
        drop(sockets);
        let bound = Arc::get_mut(&mut held[0].bound).unwrap();
        let file = File::create(self.folder.path().join("no socket")).unwrap();
        fcntl_setfl(&file, OFlags::NONBLOCK).unwrap();
        *bound.sockets.last_mut().unwrap() = TcpListener::from(OwnedFd::from(file));
        held
    }
}

/// The command line's control plane beside a gateway.
pub(super) fn operator(opened: &Opened) -> ControlPlane {
    ControlPlane { actor: Actor::Operator(String::from("tester")), ..opened.plane.clone() }
}
