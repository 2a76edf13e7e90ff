-- What credentials did in each hour of the last 30 days: written in batches and without change rows, lost without harm.
-- `kind` says whose `subject_id` is: `key` (api_keys), `password` or `session` (users). `hour` counts from 1970. Rows
-- are numbered as they come, so that the oldest go first.
CREATE TABLE usage_hours (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject_id INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    service TEXT NOT NULL,
    requests INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    UNIQUE (kind, subject_id, hour, service)
) STRICT;

-- From where credentials were let in last: the ten latest addresses of each at each entrance.
CREATE TABLE usage_addresses (
    kind TEXT NOT NULL,
    subject_id INTEGER NOT NULL,
    entrance TEXT NOT NULL,
    address TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (kind, subject_id, entrance, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_addresses_by_age ON usage_addresses (used_at);
