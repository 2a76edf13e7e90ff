-- API sessions (`POST /v2/session`), found by a keyed digest. `last_used_at` is written about once a minute, without
-- change rows.
CREATE TABLE api_sessions (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    user_id INTEGER NOT NULL REFERENCES users (id),
    password_version INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX api_sessions_of_user ON api_sessions (user_id);

-- Sessions whose user's password opens the API no more. They are removed by the change that takes the password away,
-- so that nothing that gives it back revives them.
CREATE VIEW lost_api_sessions AS
SELECT s.digest, s.user_id, u.customer_id
FROM api_sessions s JOIN users u ON u.id = s.user_id JOIN customers c ON c.id = u.customer_id
WHERE NOT u.active OR u.password_off_by_key OR u.mfa_active OR u.mfa_forced OR c.mfa_required
    OR u.password_version <> s.password_version;

-- Which kinds of change there are is the program's to check: a constraint would need a new table for each.
CREATE TABLE changes_of_any_kind (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject BLOB NOT NULL
) STRICT;
INSERT INTO changes_of_any_kind SELECT revision, kind, subject FROM changes;
DROP TABLE changes;
ALTER TABLE changes_of_any_kind RENAME TO changes;
