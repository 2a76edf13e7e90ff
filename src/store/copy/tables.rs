//! What a copy holds: every table of it with its columns, which a test compares with the schema of both engines.
//!
//! Not copied, on purpose: sessions, ceremonies, links, used tokens, failed passwords and refusals, which end with the
//! move; gateways with their acknowledgements and the feed, which belong to one store; imports and what they staged. What
//! is on its way into the file beside an embedded store is put there anew (`tombstones`).

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{Row, ValueRef};

use crate::store::engine::Kind::{self, Bytes, Flag, Integer, Text};
use crate::store::engine::{Dialect, hex};
use crate::store::records::flag;

/// A table that is copied.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// What is read: the table, or a view of what is visible of it.
    read_from: &'static str,
    /// Which rows are read; empty: all.
    only: &'static str,
    /// The primary key first.
    pub(super) columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    key_columns: usize,
    /// Does the engine number the rows?
    pub(super) numbering: Numbering,
}

/// Where the first column of a table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// The engine gives out the next number.
    ByEngine,
    /// The program says it.
    ByProgram,
}

const fn table(name: &'static str, key_columns: usize, columns: &'static [(&'static str, Kind)]) -> Table {
    Table { name, read_from: name, only: "", columns, key_columns, numbering: Numbering::ByProgram }
}

/// In an order in which each row's references are there before it.
pub(in crate::store) static TABLES: [Table; 17] = [
    table("key_ring", 2, &[("purpose", Text), ("id", Integer), ("wrapped", Bytes), ("created_at", Integer)]),
    table(
        "next_key_ring",
        2,
        &[("purpose", Text), ("id", Integer), ("wrapped", Bytes), ("created_at", Integer)],
    ),
    // The other two marks are about this one store, and not about what it holds.
    Table { only: "WHERE mark NOT IN ('moved', 'unfinished')", ..table("store_marks", 1, &[("mark", Text)]) },
    table("store_facts", 1, &[("name", Text), ("value", Text)]),
    Table {
        read_from: "visible_customers",
        numbering: Numbering::ByEngine,
        ..table(
            "customers",
            1,
            &[
                ("id", Integer),
                ("handle", Text),
                ("mfa_required", Flag),
                ("allow_list", Text),
                ("created_at", Integer),
            ],
        )
    },
    Table {
        read_from: "visible_users",
        numbering: Numbering::ByEngine,
        ..table(
            "users",
            1,
            &[
                ("id", Integer),
                ("customer_id", Integer),
                ("login", Text),
                ("full_name", Text),
                ("email", Text),
                ("administrator", Flag),
                ("permissions", Integer),
                ("access_points", Integer),
                ("active", Flag),
                ("password_hash", Text),
                ("password_version", Integer),
                ("password_off_by_key", Flag),
                ("mfa_forced", Flag),
                ("mfa_active", Flag),
                ("allow_list", Text),
                ("created_at", Integer),
                ("mfa_generation", Integer),
                ("link_required", Flag),
                ("language", Text),
                ("password_ends_at", Integer),
            ],
        )
    },
    Table {
        read_from: "visible_keys",
        ..table(
            "api_keys",
            1,
            &[
                ("id", Integer),
                ("user_id", Integer),
                ("digest", Bytes),
                ("digest_key", Integer),
                ("last_characters", Text),
                ("description", Text),
                ("scope", Integer),
                ("enabled", Flag),
                ("expires_at", Integer),
                ("allow_list", Text),
                ("created_at", Integer),
                ("created_by", Text),
            ],
        )
    },
    table(
        "quotas",
        2,
        &[
            ("kind", Text),
            ("subject_id", Integer),
            ("day", Integer),
            ("month", Integer),
            ("told_day", Integer),
            ("told_month", Integer),
        ],
    ),
    table("deleted_keys", 1, &[("digest", Bytes), ("key_id", Integer), ("deleted_at", Integer)]),
    table(
        "key_last_used",
        1,
        &[("key_id", Integer), ("used_at", Integer), ("service", Text), ("address", Text)],
    ),
    Table {
        numbering: Numbering::ByEngine,
        ..table(
            "mfa_methods",
            1,
            &[
                ("id", Integer),
                ("user_id", Integer),
                ("kind", Text),
                ("name", Text),
                ("secret", Bytes),
                ("credential_id", Bytes),
                ("last_step", Integer),
                ("failures", Integer),
                ("burst", Integer),
                ("burst_began_at", Integer),
                ("created_at", Integer),
                ("last_used_at", Integer),
            ],
        )
    },
    table(
        "recovery_sets",
        1,
        &[
            ("user_id", Integer),
            ("failures", Integer),
            ("burst", Integer),
            ("burst_began_at", Integer),
            ("created_at", Integer),
        ],
    ),
    table("recovery_codes", 2, &[("user_id", Integer), ("hash", Text)]),
    Table {
        numbering: Numbering::ByEngine,
        ..table(
            "notices",
            1,
            &[("id", Integer), ("user_id", Integer), ("at", Integer), ("event", Text), ("client_ip", Text)],
        )
    },
    table(
        "audit",
        1,
        &[
            ("sequence", Integer),
            ("at", Integer),
            ("customer_id", Integer),
            ("actor", Text),
            ("actor_id", Integer),
            ("entrance", Text),
            ("client_ip", Text),
            ("event", Text),
            ("subject", Text),
            ("subject_id", Integer),
            ("details", Text),
            ("mac", Bytes),
        ],
    ),
    table(
        "usage_sums",
        5,
        &[
            ("kind", Text),
            ("subject_id", Integer),
            ("length", Integer),
            ("hour", Integer),
            ("service", Text),
            ("requests", Integer),
            ("refusals", Integer),
        ],
    ),
    table(
        "usage_addresses",
        4,
        &[
            ("kind", Text),
            ("subject_id", Integer),
            ("entrance", Text),
            ("address", Text),
            ("used_at", Integer),
        ],
    ),
];

impl Table {
    /// Answers how many rows there are to be read.
    pub(super) fn count(&self) -> String {
        format!("SELECT COUNT(*) FROM {} {}", self.read_from, self.only)
    }

    /// Reads all rows in the order of their primary key, which is the same in both engines.
    pub(super) fn select(&self, dialect: Dialect) -> String {
        let order: Vec<String> = self
            .columns
            .iter()
            .take(self.key_columns)
            .map(|(name, kind)| match (dialect, kind) {
                // The embedded engine compares bytes by itself.
                (Dialect::Postgres, Text) => format!("{name} COLLATE \"C\""),
                _ => (*name).to_owned(),
            })
            .collect();
        format!("SELECT {} FROM {} {} ORDER BY {}", self.names(), self.read_from, self.only, order.join(", "))
    }

    /// Writes rows that [`rows`](crate::store::engine::rows) has made.
    pub(super) fn insert(&self, dialect: Dialect) -> String {
        let (given, names) = (dialect.given(self.columns), self.names());
        format!("{given}INSERT INTO {} ({names}) SELECT {names} FROM given ORDER BY place", self.name)
    }

    /// Copies all rows between two attached databases of the embedded engine.
    pub(in crate::store) fn insert_from(&self, from: &str, to: &str) -> String {
        let names = self.names();
        let (name, read_from, only) = (self.name, self.read_from, self.only);
        format!("INSERT INTO {to}.{name} ({names}) SELECT {names} FROM {from}.{read_from} {only}")
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// A row that [`select`](Self::select) has read, in a form that is the same for both engines.
    pub(super) fn cells(&self, row: &AnyRow) -> Result<Value, sqlx::Error> {
        self.columns.iter().enumerate().map(|(place, (_, kind))| cell(row, place, *kind)).collect()
    }
}

fn cell(row: &AnyRow, place: usize, kind: Kind) -> Result<Value, sqlx::Error> {
    if row.try_get_raw(place)?.is_null() {
        return Ok(Value::Null);
    }
    Ok(match kind {
        Integer => json!(row.try_get::<i64, _>(place)?),
        Flag => json!(flag(row, place)?),
        // As `rows` writes it: the copy of a NUL is not a difference.
        Text => json!(row.try_get::<&str, _>(place)?.replace('\0', "\u{fffd}")),
        Bytes => json!(hex(row.try_get::<&[u8], _>(place)?)),
    })
}
