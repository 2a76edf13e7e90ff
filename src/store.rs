//! The store: records, migrations and the change feed on SQLite, and the index that the hot path reads.
pub mod index;
