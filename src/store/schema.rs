//! Which version a store's schema has, and had before it was opened.
//!
//! Whoever opens a store brings it up to date; this only tells of it. Called by `auth` for the command line.

use super::Store;
use super::open::Place;

/// The newest migration that was carried out, where the migrations' table is made.
pub(super) const NEWEST_MIGRATION: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";

/// What opening a store made of its schema. Versions are numbers of migrations; each engine has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The version before; 0: there was nothing.
    pub before: i64,
    /// The version now. A shared database may have a later one than this program knows.
    pub now: i64,
}

impl Store {
    /// What opening it made of its schema; `None` for a shared store that is still awaited.
    pub fn schema(&self) -> Option<Schema> {
        match &*self.place {
            Place::File(file) => Some(file.schema()),
            Place::Server(server) => server.schema(),
        }
    }
}
