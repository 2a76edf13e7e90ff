-- People at the console: sessions, second factors, recovery codes, one-time links, and what is to be told at the next
-- sign-in. What a browser holds is found by a keyed digest; secrets that must be read again are sealed.

-- `half`: the password was right, a second factor is due. Changes here are no one's but the console's: no change rows.
CREATE TABLE console_sessions (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    stage TEXT NOT NULL CHECK (stage IN ('half', 'full')),
    tries INTEGER NOT NULL,
    password_version INTEGER NOT NULL,
    mfa_generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    client_ip TEXT NOT NULL,
    browser TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX console_sessions_of_user ON console_sessions (user_id);

-- `secret` is sealed: the seed of an app, or the public key of a security key with its counter. `failures` are those in
-- a row; `burst` counts those since `burst_began_at`.
CREATE TABLE mfa_methods (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('app', 'key')),
    name TEXT NOT NULL,
    secret BLOB NOT NULL,
    credential_id BLOB UNIQUE,
    last_step INTEGER,
    failures INTEGER NOT NULL,
    burst INTEGER NOT NULL,
    burst_began_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
CREATE INDEX mfa_methods_of_user ON mfa_methods (user_id);

-- The hashes of a set share one salt, so that a code that is tried costs one hash. A code that was used has no row any
-- more.
CREATE TABLE recovery_sets (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    failures INTEGER NOT NULL,
    burst INTEGER NOT NULL,
    burst_began_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE recovery_codes (
    user_id INTEGER NOT NULL REFERENCES recovery_sets (user_id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- What a session is in the middle of: recovery codes that are shown, an app or a security key being set up, a challenge
-- that was sent. One of each purpose, taken out as it is used.
CREATE TABLE ceremonies (
    session BLOB NOT NULL REFERENCES console_sessions (digest) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    state BLOB NOT NULL,
    mfa_generation INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    PRIMARY KEY (session, purpose)
) STRICT, WITHOUT ROWID;

-- One-time links; a user has one at most.
CREATE TABLE links (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    purpose TEXT NOT NULL CHECK (purpose IN ('password', 'sign_in')),
    expires_at INTEGER NOT NULL
) STRICT;

-- Security events that their user has not been shown yet.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    client_ip TEXT NOT NULL
) STRICT;
CREATE INDEX notices_of_user ON notices (user_id);

-- Forms and calls that make something may be sent once; sent again, they answer what was made.
CREATE TABLE used_tokens (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    made TEXT NOT NULL,
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Lasting facts with a value; `rp_id` is what security keys were registered for.
CREATE TABLE store_facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Grows with every change of a user's methods: what was begun before cannot finish after it.
ALTER TABLE users ADD COLUMN mfa_generation INTEGER NOT NULL DEFAULT 0;
-- After a reset of MFA the next sign-in takes a one-time link beside the password.
ALTER TABLE users ADD COLUMN link_required INTEGER NOT NULL DEFAULT 0;
DROP VIEW visible_users;
CREATE VIEW visible_users AS
SELECT * FROM users WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);
