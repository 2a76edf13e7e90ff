//! What differs between the present store (`main`) and a backup (`backup`), inside one transaction that sees both.
//!
//! Somebody is the same in both where number and name agree: after a restore elsewhere the same number may have been given
//! to somebody else. A key is the same where its digest is.

use std::collections::HashSet;
use std::path::Path;

use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::difference::{Difference, DifferenceKind as Kind};
use super::{RestoreError, run};
use crate::crypto::RecoveryHash;
use crate::model::{CustomerId, KeyDigest, KeyId, UserId};
use crate::store::engine::{Dialect, Kind as Column, hex, rows};
use crate::store::records::digest;
use crate::store::tombstones::{self, Born, Tombstone};

/// Rows that are handed over at once.
const ROWS_AT_ONCE: usize = 5_000;

/// Tables that go with the transaction's connection.
const TABLES: &[&str] = &[
    "CREATE TEMP TABLE gone (kind TEXT NOT NULL, id INTEGER NOT NULL, created_at INTEGER NOT NULL, \
     digest BLOB NOT NULL)",
    "CREATE TEMP TABLE dead_codes (user_id INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (user_id, hash))",
    "CREATE TEMP TABLE same_customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TEMP TABLE same_users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TEMP TABLE dead_customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TEMP TABLE dead_users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TEMP TABLE dropped_users (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE dead_keys (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL)",
];

/// Who is the same, and who and what is dead by now.
const FILL: &[&str] = &[
    "INSERT INTO same_customers SELECT b.id, b.handle FROM backup.customers b \
     JOIN main.customers p ON p.id = b.id AND p.handle = b.handle",
    "INSERT INTO same_users SELECT b.id, s.name || '/' || b.login FROM backup.users b \
     JOIN same_customers s ON s.id = b.customer_id \
     JOIN main.users p ON p.id = b.id AND p.customer_id = b.customer_id AND p.login = b.login \
     AND p.created_at = b.created_at",
    "INSERT INTO dead_customers SELECT b.id, b.handle FROM backup.customers b \
     WHERE b.id NOT IN (SELECT id FROM same_customers) \
     AND (EXISTS (SELECT 1 FROM main.audit a WHERE a.customer_id = b.id AND a.event = 'customer.deleted' \
     AND a.subject = b.handle) OR (b.id, b.created_at) IN (SELECT id, created_at FROM gone \
     WHERE kind = 'customer'))",
    "INSERT INTO dead_users SELECT b.id, c.handle || '/' || b.login FROM backup.users b \
     JOIN backup.customers c ON c.id = b.customer_id \
     WHERE b.id NOT IN (SELECT id FROM same_users) AND c.id NOT IN (SELECT id FROM dead_customers) \
     AND (EXISTS (SELECT 1 FROM main.audit a WHERE a.subject_id = b.id AND a.event = 'user.deleted' \
     AND a.subject = c.handle || '/' || b.login) OR (b.id, b.created_at) IN (SELECT id, created_at FROM gone \
     WHERE kind = 'user'))",
    "INSERT INTO dropped_users SELECT id FROM dead_users \
     UNION SELECT id FROM backup.users WHERE customer_id IN (SELECT id FROM dead_customers)",
    "CREATE INDEX temp.gone_digests ON gone (digest)",
    "INSERT INTO dead_keys SELECT b.id, b.digest, c.handle || '/' || u.login FROM backup.api_keys b \
     JOIN backup.users u ON u.id = b.user_id JOIN backup.customers c ON c.id = u.customer_id \
     WHERE NOT EXISTS (SELECT 1 FROM main.api_keys p WHERE p.digest = b.digest) \
     AND (EXISTS (SELECT 1 FROM main.deleted_keys d WHERE d.digest = b.digest) \
     OR EXISTS (SELECT 1 FROM gone g WHERE g.digest = b.digest AND g.kind = 'key'))",
    "INSERT OR IGNORE INTO dead_codes SELECT b.user_id, b.hash FROM backup.recovery_codes b \
     WHERE b.user_id IN (SELECT id FROM same_users) \
     AND NOT EXISTS (SELECT 1 FROM main.recovery_codes p WHERE p.user_id = b.user_id AND p.hash = b.hash)",
    // A change that failed may have said too much.
    "DELETE FROM dead_codes WHERE EXISTS (SELECT 1 FROM main.recovery_codes p \
     WHERE p.user_id = dead_codes.user_id AND p.hash = dead_codes.hash)",
];

/// What of a user, a key or a method is asked for both.
macro_rules! users {
    ($condition:literal) => {
        concat!(
            "SELECT 0 AS id, s.name AS name FROM same_users s JOIN backup.users b ON b.id = s.id \
             JOIN main.users p ON p.id = s.id WHERE ",
            $condition,
            " ORDER BY s.name"
        )
    };
}
macro_rules! customers {
    ($condition:literal) => {
        concat!(
            "SELECT 0 AS id, s.name AS name FROM same_customers s JOIN backup.customers b ON b.id = s.id \
             JOIN main.customers p ON p.id = s.id WHERE ",
            $condition,
            " ORDER BY s.name"
        )
    };
}
macro_rules! keys {
    ($condition:literal) => {
        concat!(
            "SELECT b.id AS id, c.handle || '/' || u.login AS name FROM backup.api_keys b \
             JOIN main.api_keys p ON p.digest = b.digest JOIN backup.users u ON u.id = b.user_id \
             JOIN backup.customers c ON c.id = u.customer_id \
             WHERE u.id NOT IN (SELECT id FROM dropped_users) AND ",
            $condition,
            " ORDER BY 2, 1"
        )
    };
}

/// What asks for each kind of difference: a key's number or 0, and a name.
const fn question(kind: Kind) -> &'static str {
    match kind {
        Kind::CustomerDeleted => "SELECT 0 AS id, name FROM dead_customers ORDER BY name",
        Kind::UserDeleted => "SELECT 0 AS id, name FROM dead_users ORDER BY name",
        Kind::KeyDeleted => "SELECT id, name FROM dead_keys ORDER BY name, id",
        Kind::UserDeactivated => users!("b.active AND NOT p.active"),
        Kind::KeyDisabled => keys!("b.enabled AND NOT p.enabled"),
        Kind::KeyEndsSooner => {
            keys!("p.expires_at IS NOT NULL AND (b.expires_at IS NULL OR p.expires_at < b.expires_at)")
        }
        Kind::PasswordChanged => {
            users!("b.password_hash IS NOT NULL AND p.password_hash IS NOT b.password_hash")
        }
        Kind::PasswordEndedByKey => users!("p.password_off_by_key AND NOT b.password_off_by_key"),
        Kind::CustomerMfaRequired => customers!("p.mfa_required AND NOT b.mfa_required"),
        Kind::MfaRequired => users!("p.mfa_forced AND NOT b.mfa_forced"),
        Kind::MfaChanged => {
            users!(
                "EXISTS (SELECT kind, created_at FROM backup.mfa_methods WHERE user_id = s.id \
                 EXCEPT SELECT kind, created_at FROM main.mfa_methods WHERE user_id = s.id) \
                 OR EXISTS (SELECT kind, created_at FROM main.mfa_methods WHERE user_id = s.id \
                 EXCEPT SELECT kind, created_at FROM backup.mfa_methods WHERE user_id = s.id)"
            )
        }
        Kind::RecoveryCodes => {
            "SELECT 0 AS id, c.handle || '/' || u.login || ': ' || COUNT(*) AS name FROM dead_codes d \
             JOIN backup.users u ON u.id = d.user_id JOIN backup.customers c ON c.id = u.customer_id \
             WHERE u.id NOT IN (SELECT id FROM dropped_users) GROUP BY u.id ORDER BY 2"
        }
        Kind::Rights => {
            users!("(b.administrator AND NOT p.administrator) OR (b.permissions & ~p.permissions) <> 0")
        }
        Kind::Entrances => users!("(b.access_points & ~p.access_points) <> 0"),
        Kind::CustomerAllowList => customers!("b.allow_list <> p.allow_list"),
        Kind::UserAllowList => users!("b.allow_list <> p.allow_list"),
        Kind::KeyAllowList => keys!("b.allow_list <> p.allow_list"),
        Kind::CustomerMade => {
            "SELECT 0 AS id, handle AS name FROM main.customers \
             WHERE id NOT IN (SELECT id FROM same_customers) ORDER BY handle"
        }
        Kind::UserMade => {
            "SELECT 0 AS id, c.handle || '/' || p.login AS name FROM main.users p \
             JOIN main.customers c ON c.id = p.customer_id \
             WHERE p.id NOT IN (SELECT id FROM same_users) ORDER BY 2"
        }
        Kind::KeyMade => {
            "SELECT p.id AS id, c.handle || '/' || u.login AS name FROM main.api_keys p \
             JOIN main.users u ON u.id = p.user_id JOIN main.customers c ON c.id = u.customer_id \
             WHERE NOT EXISTS (SELECT 1 FROM backup.api_keys b WHERE b.digest = p.digest) ORDER BY 2, 1"
        }
    }
}

/// Finds out who is the same in both, and who and what is dead by now; of that the file beside `store` tells, too.
pub(super) async fn prepare(connection: &mut AnyConnection, store: &Path) -> Result<(), RestoreError> {
    run(connection, TABLES).await?;
    let dead = tombstones::read(store)?;
    note_gone(connection, &dead).await?;
    note_dead_codes(connection, &dead).await?;
    run(connection, FILL).await
}

async fn note_gone(connection: &mut AnyConnection, dead: &HashSet<Tombstone>) -> Result<(), RestoreError> {
    let insert = format!(
        "{}INSERT INTO gone SELECT kind, id, created_at, digest FROM given",
        Dialect::Sqlite.given(&[
            ("kind", Column::Text),
            ("id", Column::Integer),
            ("created_at", Column::Integer),
            ("digest", Column::Bytes),
        ])
    );
    let gone = dead.iter().filter_map(|tombstone| match tombstone {
        Tombstone::Key(KeyDigest(digest)) => Some(json!(["key", 0, 0, hex(digest)])),
        Tombstone::User(Born { id: UserId(id), created_at }) => Some(json!(["user", id, created_at, ""])),
        Tombstone::Customer(Born { id: CustomerId(id), created_at }) => {
            Some(json!(["customer", id, created_at, ""]))
        }
        Tombstone::RecoveryCode(_) => None,
    });
    let gone: Vec<_> = gone.collect();
    for batch in gone.chunks(ROWS_AT_ONCE) {
        let batch = rows(batch.iter().cloned());
        sqlx::query(AssertSqlSafe(insert.clone())).bind(batch).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Codes are known by checksums of their hashes, which the engine cannot make.
async fn note_dead_codes(
    connection: &mut AnyConnection,
    dead: &HashSet<Tombstone>,
) -> Result<(), RestoreError> {
    if !dead.iter().any(|tombstone| matches!(tombstone, Tombstone::RecoveryCode(_))) {
        return Ok(());
    }
    let codes: Vec<(i64, String)> =
        sqlx::query_as("SELECT user_id, hash FROM backup.recovery_codes").fetch_all(&mut *connection).await?;
    for (user, hash) in codes {
        if dead.contains(&Tombstone::of_code(&RecoveryHash::from_stored(hash.clone()))) {
            sqlx::query("INSERT INTO dead_codes (user_id, hash) VALUES ($1, $2)")
                .bind(user)
                .bind(hash)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Everything that differs, in the order of its kinds.
pub(super) async fn differences(connection: &mut AnyConnection) -> Result<Vec<Difference>, RestoreError> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        for row in sqlx::query(question(kind)).fetch_all(&mut *connection).await? {
            let (id, name): (i64, String) = (row.try_get("id")?, row.try_get("name")?);
            let is_of_key = matches!(
                kind,
                Kind::KeyDeleted
                    | Kind::KeyDisabled
                    | Kind::KeyEndsSooner
                    | Kind::KeyAllowList
                    | Kind::KeyMade
            );
            let subject = if is_of_key { format!("{} of {name}", KeyId::from_stored(id)) } else { name };
            found.push(Difference { kind, subject });
        }
    }
    Ok(found)
}

/// What comes back where revival is accepted, as the file beside the store knows it.
pub(super) async fn dead(connection: &mut AnyConnection) -> Result<Vec<Tombstone>, RestoreError> {
    let mut dead = Vec::new();
    for row in sqlx::query("SELECT digest FROM dead_keys").fetch_all(&mut *connection).await? {
        let digest = digest(row.try_get("digest")?)?;
        dead.push(Tombstone::Key(digest));
    }
    for hash in
        sqlx::query_scalar::<_, String>("SELECT hash FROM dead_codes").fetch_all(&mut *connection).await?
    {
        dead.push(Tombstone::of_code(&RecoveryHash::from_stored(hash)));
    }
    let born = |statement: &'static str| sqlx::query_as::<_, (i64, i64)>(statement);
    let users = "SELECT id, created_at FROM backup.users WHERE id IN (SELECT id FROM dropped_users)";
    for (id, created_at) in born(users).fetch_all(&mut *connection).await? {
        dead.push(Tombstone::User(Born { id: UserId(id), created_at }));
    }
    let customers = "SELECT id, created_at FROM backup.customers WHERE id IN (SELECT id FROM dead_customers)";
    for (id, created_at) in born(customers).fetch_all(connection).await? {
        dead.push(Tombstone::Customer(Born { id: CustomerId(id), created_at }));
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_has_a_name_and_is_asked_for_by_a_question_of_its_own() {
        let names: HashSet<_> = Kind::ALL.map(Kind::as_str).into();
        let questions: HashSet<_> = Kind::ALL.map(question).into();
        assert_eq!((names.len(), questions.len()), (Kind::ALL.len(), Kind::ALL.len()));
    }
}
