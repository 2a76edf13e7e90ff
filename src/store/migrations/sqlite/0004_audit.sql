-- The audit trail: append-only. `mac` chains each row to the one before it by a key that is not in the store in clear,
-- so that a row that was changed, removed or slipped in is found. `details` is a JSON object of texts.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    customer_id INTEGER,
    actor TEXT NOT NULL,
    actor_id INTEGER,
    entrance TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id INTEGER,
    details TEXT NOT NULL,
    mac BLOB NOT NULL CHECK (length(mac) = 32)
) STRICT;
CREATE INDEX audit_of_customer ON audit (customer_id, sequence);
CREATE INDEX audit_of_subject ON audit (subject_id, sequence);

ALTER TABLE users ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
-- A password that somebody else chose opens nothing from then on, unless its owner has replaced it; NULL: it lasts.
ALTER TABLE users ADD COLUMN password_ends_at INTEGER;
-- Who made the key, as the audit trail names actors; empty: not known any more.
ALTER TABLE api_keys ADD COLUMN created_by TEXT NOT NULL DEFAULT '';

-- `*` in a view stands for the columns that there were when it was made.
DROP VIEW visible_users;
CREATE VIEW visible_users AS
SELECT * FROM users WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);
DROP VIEW visible_keys;
CREATE VIEW visible_keys AS
SELECT * FROM api_keys WHERE import_id IS NULL OR import_id NOT IN (SELECT id FROM imports);
