-- Times are milliseconds since 1970 (UTC); sets are small bit fields (see `model::service`); allow-lists are CIDRs
-- separated by commas. A row with an `import_id` that stands in `imports` belongs to an import that is still running
-- (or was cut off) and is invisible: every reader goes through the `visible_…` views.

CREATE TABLE feed_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO feed_head (only_row, revision) VALUES (1, 0);

CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('customer', 'user', 'key', 'everything')),
    subject BLOB NOT NULL
) STRICT;

CREATE TABLE imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL
) STRICT;

CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    handle TEXT NOT NULL UNIQUE,
    mfa_required INTEGER NOT NULL,
    allow_list TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    import_id INTEGER
) STRICT;

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    login TEXT NOT NULL,
    full_name TEXT NOT NULL,
    email TEXT NOT NULL,
    administrator INTEGER NOT NULL,
    permissions INTEGER NOT NULL,
    access_points INTEGER NOT NULL,
    active INTEGER NOT NULL,
    password_hash TEXT,
    password_version INTEGER NOT NULL,
    password_off_by_key INTEGER NOT NULL,
    mfa_forced INTEGER NOT NULL,
    mfa_active INTEGER NOT NULL,
    allow_list TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    import_id INTEGER,
    UNIQUE (customer_id, login)
) STRICT;

CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    digest_key INTEGER NOT NULL,
    last_characters TEXT NOT NULL,
    description TEXT NOT NULL,
    scope INTEGER NOT NULL CHECK (scope BETWEEN 1 AND 7),
    enabled INTEGER NOT NULL,
    expires_at INTEGER,
    allow_list TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    import_id INTEGER
) STRICT;
CREATE INDEX api_keys_of_user ON api_keys (user_id);
CREATE INDEX api_keys_of_import ON api_keys (import_id) WHERE import_id IS NOT NULL;
CREATE INDEX users_of_import ON users (import_id) WHERE import_id IS NOT NULL;

-- What was deleted stays known by its digest, so that an import cannot bring it back.
CREATE TABLE deleted_keys (
    digest BLOB PRIMARY KEY,
    key_id INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Kept apart from the keys, and without change rows: it is written often and lost without harm.
CREATE TABLE key_last_used (
    key_id INTEGER PRIMARY KEY,
    used_at INTEGER NOT NULL,
    service TEXT NOT NULL,
    address TEXT NOT NULL
) STRICT;

CREATE TABLE key_ring (
    purpose TEXT NOT NULL,
    id INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, id)
) STRICT;

-- Gateways that follow the feed, and how far each has come.
CREATE TABLE gateways (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE TABLE feed_acks (
    gateway_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    ended_sessions INTEGER NOT NULL,
    PRIMARY KEY (gateway_id, revision)
) STRICT, WITHOUT ROWID;

CREATE VIEW visible_customers AS
SELECT * FROM customers WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);
CREATE VIEW visible_users AS
SELECT * FROM users WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);
CREATE VIEW visible_keys AS
SELECT * FROM api_keys WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);

-- Lasting facts about the store itself; `demo` says that it may be served on loopback addresses only.
CREATE TABLE store_marks (
    mark TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
