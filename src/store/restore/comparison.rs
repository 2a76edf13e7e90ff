//! What differs between the present store (`main`) and a backup (`backup`), inside one transaction that sees both.
//!
//! Somebody is the same in both where number and name agree: after a restore elsewhere the same number may have been given
//! to somebody else. A key is the same where its digest is.

use std::collections::HashSet;
use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::difference::{Difference, DifferenceKind as Kind};
use super::{Present, RestoreError, run};
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
    "CREATE TEMP TABLE dead_users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, customer_id INTEGER NOT NULL)",
    "CREATE TEMP TABLE dropped_users (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE dead_keys (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL, \
     customer_id INTEGER NOT NULL)",
    "CREATE TEMP TABLE leaderless (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE kept_administrators (id INTEGER PRIMARY KEY)",
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
    "INSERT INTO dead_users SELECT b.id, c.handle || '/' || b.login, c.id FROM backup.users b \
     JOIN backup.customers c ON c.id = b.customer_id \
     WHERE b.id NOT IN (SELECT id FROM same_users) AND c.id NOT IN (SELECT id FROM dead_customers) \
     AND (EXISTS (SELECT 1 FROM main.audit a WHERE a.subject_id = b.id AND a.event = 'user.deleted' \
     AND a.subject = c.handle || '/' || b.login) OR (b.id, b.created_at) IN (SELECT id, created_at FROM gone \
     WHERE kind = 'user'))",
    "INSERT INTO dropped_users SELECT id FROM dead_users \
     UNION SELECT id FROM backup.users WHERE customer_id IN (SELECT id FROM dead_customers)",
    "CREATE INDEX temp.gone_digests ON gone (digest)",
    "INSERT INTO dead_keys SELECT b.id, b.digest, c.handle || '/' || u.login, c.id FROM backup.api_keys b \
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
    // Customers without an active administrator where what is dead stays dead; and who administers them now, and stays.
    "INSERT INTO leaderless SELECT c.id FROM backup.customers c WHERE c.id NOT IN (SELECT id FROM dead_customers) \
     AND NOT EXISTS (SELECT 1 FROM backup.users b WHERE b.customer_id = c.id AND b.administrator AND b.active \
     AND b.id NOT IN (SELECT id FROM dropped_users) AND (b.id NOT IN (SELECT id FROM same_users) \
     OR EXISTS (SELECT 1 FROM main.users p WHERE p.id = b.id AND p.active)))",
    "INSERT INTO kept_administrators SELECT s.id FROM same_users s JOIN main.users p ON p.id = s.id \
     WHERE p.administrator AND p.active AND p.customer_id IN (SELECT id FROM leaderless)",
];

/// What of a user, a key or a method is asked for both.
macro_rules! users {
    ($condition:literal) => {
        concat!(
            "SELECT 0 AS id, s.name AS name, b.customer_id AS customer FROM same_users s \
             JOIN backup.users b ON b.id = s.id JOIN main.users p ON p.id = s.id WHERE ",
            $condition,
            " ORDER BY s.name"
        )
    };
}
macro_rules! customers {
    ($condition:literal) => {
        concat!(
            "SELECT 0 AS id, s.name AS name, s.id AS customer FROM same_customers s \
             JOIN backup.customers b ON b.id = s.id JOIN main.customers p ON p.id = s.id WHERE ",
            $condition,
            " ORDER BY s.name"
        )
    };
}
macro_rules! keys {
    ($condition:literal) => {
        concat!(
            "SELECT b.id AS id, c.handle || '/' || u.login AS name, c.id AS customer \
             FROM backup.api_keys b JOIN main.api_keys p ON p.digest = b.digest \
             JOIN backup.users u ON u.id = b.user_id JOIN backup.customers c ON c.id = u.customer_id \
             WHERE u.id NOT IN (SELECT id FROM dropped_users) AND ",
            $condition,
            " ORDER BY 2, 1"
        )
    };
}

/// What asks for each kind of difference: a key's number or 0, a name, and the customer in the backup.
const fn question(kind: Kind) -> &'static str {
    match kind {
        Kind::CustomerDeleted => "SELECT 0 AS id, name, id AS customer FROM dead_customers ORDER BY name",
        Kind::UserDeleted => "SELECT 0 AS id, name, customer_id AS customer FROM dead_users ORDER BY name",
        Kind::KeyDeleted => "SELECT id, name, customer_id AS customer FROM dead_keys ORDER BY name, id",
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
            "SELECT 0 AS id, c.handle || '/' || u.login || ': ' || COUNT(*) AS name, c.id AS customer \
             FROM dead_codes d JOIN backup.users u ON u.id = d.user_id \
             JOIN backup.customers c ON c.id = u.customer_id \
             WHERE u.id NOT IN (SELECT id FROM dropped_users) GROUP BY u.id ORDER BY 2"
        }
        Kind::AdministratorKept => users!("s.id IN (SELECT id FROM kept_administrators)"),
        Kind::NoAdministrator => {
            "SELECT 0 AS id, c.handle AS name, c.id AS customer FROM leaderless l \
             JOIN backup.customers c ON c.id = l.id \
             WHERE c.id NOT IN (SELECT customer_id FROM main.users WHERE id IN (SELECT id FROM kept_administrators)) \
             AND EXISTS (SELECT 1 FROM backup.users b WHERE b.customer_id = c.id AND b.administrator AND b.active) \
             ORDER BY c.handle"
        }
        // An administrator holds every permission, whatever is stored beside that.
        Kind::Rights => {
            users!("NOT p.administrator AND (b.administrator OR (b.permissions & ~p.permissions) <> 0)")
        }
        Kind::Entrances => users!("(b.access_points & ~p.access_points) <> 0"),
        Kind::CustomerAllowList => customers!("b.allow_list <> p.allow_list"),
        Kind::UserAllowList => users!("b.allow_list <> p.allow_list"),
        Kind::KeyAllowList => keys!("b.allow_list <> p.allow_list"),
        Kind::CustomerBack => {
            "SELECT 0 AS id, handle AS name, id AS customer FROM backup.customers \
             WHERE id NOT IN (SELECT id FROM same_customers) AND id NOT IN (SELECT id FROM dead_customers) \
             ORDER BY handle"
        }
        Kind::UserBack => {
            "SELECT 0 AS id, c.handle || '/' || b.login AS name, c.id AS customer FROM backup.users b \
             JOIN backup.customers c ON c.id = b.customer_id \
             WHERE b.id NOT IN (SELECT id FROM same_users) AND b.id NOT IN (SELECT id FROM dropped_users) \
             ORDER BY 2"
        }
        Kind::KeyBack => {
            "SELECT b.id AS id, c.handle || '/' || u.login AS name, c.id AS customer FROM backup.api_keys b \
             JOIN backup.users u ON u.id = b.user_id JOIN backup.customers c ON c.id = u.customer_id \
             WHERE NOT EXISTS (SELECT 1 FROM main.api_keys p WHERE p.digest = b.digest) \
             AND b.id NOT IN (SELECT id FROM dead_keys) AND u.id NOT IN (SELECT id FROM dropped_users) \
             ORDER BY 2, 1"
        }
        Kind::RightsGiven => {
            users!(
                "NOT b.administrator AND (p.administrator OR (p.permissions & ~b.permissions) <> 0) \
                 AND s.id NOT IN (SELECT id FROM kept_administrators)"
            )
        }
        Kind::UserReactivated => {
            users!("p.active AND NOT b.active AND s.id NOT IN (SELECT id FROM kept_administrators)")
        }
        Kind::CustomerMade => {
            "SELECT 0 AS id, handle AS name, NULL AS customer FROM main.customers \
             WHERE id NOT IN (SELECT id FROM same_customers) ORDER BY handle"
        }
        Kind::UserMade => {
            "SELECT 0 AS id, c.handle || '/' || p.login AS name, s.id AS customer FROM main.users p \
             JOIN main.customers c ON c.id = p.customer_id LEFT JOIN same_customers s ON s.id = c.id \
             WHERE p.id NOT IN (SELECT id FROM same_users) ORDER BY 2"
        }
        Kind::KeyMade => {
            "SELECT p.id AS id, c.handle || '/' || u.login AS name, s.id AS customer FROM main.api_keys p \
             JOIN main.users u ON u.id = p.user_id JOIN main.customers c ON c.id = u.customer_id \
             LEFT JOIN same_customers s ON s.id = c.id \
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

/// Everything that differs, in the order of its kinds. Where the present store is lost, all of it comes back, and is not named.
pub(super) async fn differences(
    connection: &mut AnyConnection,
    present: Present,
) -> Result<Vec<Difference>, RestoreError> {
    let mut found = Vec::new();
    let is_asked = |kind: &Kind| {
        present == Present::Kept || !matches!(kind, Kind::CustomerBack | Kind::UserBack | Kind::KeyBack)
    };
    for kind in Kind::ALL.into_iter().filter(is_asked) {
        let mut rows = sqlx::query(question(kind)).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let (id, name): (i64, String) = (row.try_get("id")?, row.try_get("name")?);
            let customer = row.try_get::<Option<i64>, _>("customer")?.map(CustomerId);
            let is_of_key = matches!(
                kind,
                Kind::KeyDeleted
                    | Kind::KeyDisabled
                    | Kind::KeyEndsSooner
                    | Kind::KeyAllowList
                    | Kind::KeyBack
                    | Kind::KeyMade
            );
            let subject = if is_of_key { format!("{} of {name}", KeyId::from_stored(id)) } else { name };
            found.push(Difference { kind, subject, customer });
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
