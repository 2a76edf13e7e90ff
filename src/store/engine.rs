//! What differs between the two engines: how transactions begin, what a connection is told, and how many rows are handed
//! over in one parameter. Everything else is one text that both understand.

use serde_json::Value;
use sqlx::AnyConnection;

/// The dialect of SQL that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The embedded store.
    Sqlite,
    /// `PostgreSQL`.
    Postgres,
}

/// What a column of [`Dialect::given`] holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Integer,
    Text,
    Flag,
    /// Written as hexadecimal digits.
    Bytes,
}

impl Dialect {
    pub(super) fn of(connection: &AnyConnection) -> Self {
        if connection.backend_name() == "PostgreSQL" { Self::Postgres } else { Self::Sqlite }
    }

    /// Begins a change. All changes of all processes stand in one line: each sees what the one before it has made, and
    /// revisions are committed in their order (docs/decisions/0022).
    pub(super) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            // The number is Latchkey's choice; it stands for "writes this store".
            Self::Postgres => "BEGIN; SELECT pg_advisory_xact_lock(7311001)",
        }
    }

    /// Begins the writing of what nobody waits for: uses, usage, refusals. It has a line of its own where the engine can
    /// have two, so that deletions do not wait for it.
    pub(super) const fn begin_bookkeeping(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => {
                "BEGIN; SET LOCAL synchronous_commit TO OFF; SELECT pg_advisory_xact_lock(7311002)"
            }
        }
    }

    /// Begins the writing of rows that nobody else writes, which may wait for nobody. Lost without harm.
    pub(super) const fn begin_unordered(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN; SET LOCAL synchronous_commit TO OFF",
        }
    }

    /// Behind a selection of rows that bookkeeping writes, too: those that it holds at this moment are passed over, because
    /// whoever waited for them would do so in another order than it does.
    pub(super) const fn but_those_in_hand(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Begins reading: everything is seen as it stands at one moment.
    pub(super) const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The beginning of a statement that reads rows from its first parameter, which [`rows`] has made: a table `given` with
    /// the `columns`, and `place`, which counts from 0.
    pub(super) fn given(self, columns: &[(&str, Kind)]) -> String {
        use std::fmt::Write;
        let mut text = String::from(match self {
            Self::Sqlite => "WITH given AS (SELECT key AS place",
            Self::Postgres => "WITH given AS (SELECT place - 1 AS place",
        });
        for (number, (name, kind)) in columns.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = match (self, kind) {
                (Self::Sqlite, Kind::Bytes) => write!(text, ", unhex(value ->> {number}) AS {name}"),
                (Self::Sqlite, _) => write!(text, ", value ->> {number} AS {name}"),
                (Self::Postgres, Kind::Bytes) => {
                    write!(text, ", decode(item ->> {number}, 'hex') AS {name}")
                }
                (Self::Postgres, Kind::Integer) => {
                    write!(text, ", CAST(item ->> {number} AS BIGINT) AS {name}")
                }
                (Self::Postgres, Kind::Flag) => {
                    write!(text, ", CAST(item ->> {number} AS BOOLEAN) AS {name}")
                }
                (Self::Postgres, Kind::Text) => write!(text, ", item ->> {number} AS {name}"),
            };
        }
        text.push_str(match self {
            Self::Sqlite => " FROM json_each($1)) ",
            Self::Postgres => {
                " FROM jsonb_array_elements(CAST($1 AS jsonb)) WITH ORDINALITY AS items (item, place)) "
            }
        });
        text
    }
}

/// The parameter that [`Dialect::given`] reads: one array a row. A NUL, which `PostgreSQL` takes in no text, becomes the sign
/// for what cannot be shown.
pub(super) fn rows(rows: impl Iterator<Item = Value>) -> String {
    let text = rows.collect::<Value>().to_string();
    if text.contains("\\u0000") { without_nul(&text) } else { text }
}

/// Replaces what JSON writes for a NUL, and not a backslash that stands before `u0000` in the text itself.
fn without_nul(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        if let Some(behind) = escape.strip_prefix("\\u0000") {
            clean.push('\u{fffd}');
            rest = behind;
        } else {
            // An escape is a backslash and one ASCII letter; hexadecimal digits behind it are left as they are.
            let (pair, behind) = escape.split_at(2.min(escape.len()));
            clean.push_str(pair);
            rest = behind;
        }
    }
    clean.push_str(rest);
    clean
}

/// Bytes as a column of [`Kind::Bytes`] is written.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nul_is_replaced_and_nothing_else() {
        let given = ["a\0b", "\0", "\\u0000", "\\\0", "\"\\\"", "é\n\u{1}\0"];
        let text = rows(given.iter().map(|text| json!([text])));
        let read: Vec<[String; 1]> = serde_json::from_str(&text).unwrap();
        let read: Vec<String> = read.into_iter().map(|[text]| text).collect();
        assert_eq!(read, given.map(|text| text.replace('\0', "\u{fffd}")));
        assert_eq!(rows(std::iter::empty::<Value>()), "[]");
    }
}
