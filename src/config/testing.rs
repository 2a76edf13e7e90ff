//! What the tests of the configuration share: the smallest sound one, and a folder to read it in.

use std::path::{Path, PathBuf};

use super::{Config, Faults, parse};

/// One listener, one upstream; lines 2 to 6 and 8 to 10.
pub(super) const BASE: &str = "\
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    routes:
      - { path: /, upstream: registry }
upstreams:
  - name: registry
    protocol: http
    servers: [http://127.0.0.1:9000]
";

/// A folder with certificates to name, gone with this value.
pub(super) struct TestFolder(tempfile::TempDir);

impl TestFolder {
    pub(super) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("certs/dev.crt", "");
        folder.write("certs/dev.key", "");
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Parses `text` as `f.yaml`, with `NUMBER` and `SECRET` in the environment.
    pub(super) fn parse(&self, text: &str) -> Result<Config, Faults> {
        let environment = |name: &str| match name {
            "NUMBER" => Some(String::from("12")),
            "SECRET" => Some(String::from("hunter2")),
            _ => None,
        };
        parse(text, Path::new("f.yaml"), self.0.path(), &environment)
    }

    /// What is told about `text`, which must not be sound.
    pub(super) fn faults(&self, text: &str) -> String {
        self.parse(text).unwrap_err().to_string()
    }
}
