//! The statements of a restore, in their order. They see the present store as `main`, the backup's copy as `backup`, and what
//! `comparison` has found out about both.

use super::Present;

/// Takes out of the copy what is dead by now, and puts in what must stay as it is.
pub(super) const KEEP_DEAD: &[&str] = &[
    "DELETE FROM backup.api_keys WHERE id IN (SELECT id FROM dead_keys) \
     OR user_id IN (SELECT id FROM dropped_users)",
    "DELETE FROM backup.users WHERE id IN (SELECT id FROM dropped_users)",
    "DELETE FROM backup.customers WHERE id IN (SELECT id FROM dead_customers)",
    "UPDATE backup.api_keys AS b SET enabled = MIN(b.enabled, p.enabled), \
     expires_at = CASE WHEN p.expires_at IS NULL THEN b.expires_at WHEN b.expires_at IS NULL THEN p.expires_at \
     ELSE MIN(b.expires_at, p.expires_at) END FROM main.api_keys AS p WHERE p.digest = b.digest",
    "UPDATE backup.customers AS b SET mfa_required = MAX(b.mfa_required, p.mfa_required) \
     FROM main.customers AS p WHERE p.id = b.id AND b.id IN (SELECT id FROM same_customers)",
    "UPDATE backup.users AS b SET active = MIN(b.active, p.active), password_hash = p.password_hash, \
     password_ends_at = p.password_ends_at, link_required = p.link_required, \
     password_off_by_key = MAX(b.password_off_by_key, p.password_off_by_key), \
     mfa_forced = MAX(b.mfa_forced, p.mfa_forced) \
     FROM main.users AS p WHERE p.id = b.id AND b.id IN (SELECT id FROM same_users)",
    // One active administrator always remains (PROTOCOL section 3, point 3).
    "UPDATE backup.users SET administrator = 1, active = 1 WHERE id IN (SELECT id FROM kept_administrators)",
    // Second factors and codes of whoever is there by now are the present ones.
    "DELETE FROM backup.mfa_methods WHERE user_id IN (SELECT id FROM same_users) OR credential_id IN \
     (SELECT credential_id FROM main.mfa_methods WHERE user_id IN (SELECT id FROM same_users) \
     AND credential_id IS NOT NULL)",
    "INSERT INTO backup.mfa_methods (user_id, kind, name, secret, credential_id, last_step, failures, burst, \
     burst_began_at, created_at, last_used_at) SELECT user_id, kind, name, secret, credential_id, last_step, failures, \
     burst, burst_began_at, created_at, last_used_at FROM main.mfa_methods \
     WHERE user_id IN (SELECT id FROM same_users) ORDER BY id",
    "DELETE FROM backup.recovery_codes WHERE (user_id, hash) IN (SELECT user_id, hash FROM dead_codes)",
    "DELETE FROM backup.recovery_sets WHERE user_id IN (SELECT id FROM same_users)",
    "INSERT INTO backup.recovery_sets (user_id, failures, burst, burst_began_at, created_at) \
     SELECT user_id, failures, burst, burst_began_at, created_at FROM main.recovery_sets \
     WHERE user_id IN (SELECT id FROM same_users)",
    "INSERT INTO backup.recovery_codes (user_id, hash) SELECT user_id, hash FROM main.recovery_codes \
     WHERE user_id IN (SELECT id FROM same_users)",
];

/// Where revival is accepted: a code of an app that was used stays used, and a security key's counter does not go back.
pub(super) const KEEP_COUNTERS: &[&str] = &[
    "UPDATE backup.mfa_methods AS b SET secret = p.secret, failures = p.failures, burst = p.burst, \
     burst_began_at = p.burst_began_at, last_used_at = p.last_used_at, \
     last_step = CASE WHEN p.last_step > COALESCE(b.last_step, 0) THEN p.last_step ELSE b.last_step END \
     FROM main.mfa_methods AS p WHERE p.user_id = b.user_id AND p.kind = b.kind AND p.created_at = b.created_at \
     AND b.user_id IN (SELECT id FROM same_users)",
];

/// Whatever was begun or remembered by an earlier generation ends with it; what a user has not been told is told.
pub(super) const ALWAYS_KEEP: &[&str] = &[
    "UPDATE backup.users AS b SET password_version = MAX(b.password_version, p.password_version) + 1, \
     mfa_generation = MAX(b.mfa_generation, p.mfa_generation) + 1 \
     FROM main.users AS p WHERE p.id = b.id AND b.id IN (SELECT id FROM same_users)",
    "UPDATE backup.users AS b \
     SET mfa_active = EXISTS (SELECT 1 FROM backup.mfa_methods AS m WHERE m.user_id = b.id)",
    "DELETE FROM backup.notices WHERE user_id IN (SELECT id FROM same_users)",
    "INSERT INTO backup.notices (user_id, at, event, client_ip) SELECT user_id, at, event, client_ip \
     FROM main.notices WHERE user_id IN (SELECT id FROM same_users) ORDER BY id",
];

/// Empties the present store of what the copy takes the place of, and of every session and link.
pub(super) const EMPTY: &[&str] = &[
    "DELETE FROM main.console_sessions",
    "DELETE FROM main.links",
    "DELETE FROM main.used_tokens",
    "DELETE FROM main.api_sessions",
    "DELETE FROM main.quotas",
    "DELETE FROM main.api_keys",
    "DELETE FROM main.users",
    "DELETE FROM main.customers",
];

/// Is the table's content the backup's afterwards?
pub(super) fn is_taken_over(table: &str, present: Present) -> bool {
    match table {
        "customers" | "users" | "api_keys" | "mfa_methods" | "recovery_sets" | "recovery_codes"
        | "notices" | "quotas" => true,
        // Joined below with what is there.
        "store_facts" | "deleted_keys" | "key_last_used" => false,
        _ => present == Present::Lost,
    }
}

const MISSING_FACTS: &str = "INSERT INTO main.store_facts (name, value) \
                             SELECT name, value FROM backup.store_facts WHERE TRUE ON CONFLICT (name) DO NOTHING";

/// Methods are the present ones, and so is what they were registered for.
pub(super) const PRESENT_FACTS_FIRST: &[&str] = &[MISSING_FACTS];

/// Methods are the backup's, and so is what they were registered for. How far security events were told is about the trail.
pub(super) const BACKED_UP_FACTS_FIRST: &[&str] = &[
    "INSERT INTO main.store_facts (name, value) SELECT name, value FROM backup.store_facts WHERE name = 'rp_id' \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    MISSING_FACTS,
];

/// What stays dead is known as deleted, also where only the file beside the store knew it.
pub(super) const BURY: &str = "INSERT OR IGNORE INTO main.deleted_keys (digest, key_id, deleted_at) \
                               SELECT digest, id, $1 FROM dead_keys";

/// Joins what both know, and sees to it that no number is given out twice: the audit trail names them all.
pub(super) const FINISH: &[&str] = &[
    "INSERT OR IGNORE INTO main.deleted_keys (digest, key_id, deleted_at) \
     SELECT digest, key_id, deleted_at FROM backup.deleted_keys",
    "DELETE FROM main.deleted_keys WHERE digest IN (SELECT digest FROM main.api_keys)",
    "INSERT OR IGNORE INTO main.key_last_used (key_id, used_at, service, address) \
     SELECT key_id, used_at, service, address FROM backup.key_last_used",
    "DELETE FROM main.key_last_used WHERE key_id NOT IN (SELECT id FROM main.api_keys)",
    "DELETE FROM main.quotas WHERE (kind = 'key' AND subject_id NOT IN (SELECT id FROM main.api_keys)) \
     OR (kind = 'user' AND subject_id NOT IN (SELECT id FROM main.users)) \
     OR (kind = 'customer' AND subject_id NOT IN (SELECT id FROM main.customers))",
    "INSERT INTO main.sqlite_sequence (name, seq) SELECT b.name, b.seq FROM backup.sqlite_sequence b \
     WHERE b.name NOT IN (SELECT name FROM main.sqlite_sequence)",
    "UPDATE main.sqlite_sequence AS p SET seq = MAX(p.seq, b.seq) FROM backup.sqlite_sequence AS b \
     WHERE b.name = p.name",
    "UPDATE main.sqlite_sequence AS p SET seq = MAX(p.seq, g.id) FROM (SELECT kind, MAX(id) AS id FROM gone \
     WHERE kind IN ('user', 'customer') GROUP BY kind) AS g WHERE p.name = g.kind || 's'",
];
