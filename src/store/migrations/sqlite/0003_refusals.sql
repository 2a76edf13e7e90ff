-- What was refused, for `latchkey explain`: kept for a day, written in batches and without change rows, lost without
-- harm. Rows are numbered as they come, so that the oldest go first. Users and keys are named by their ids alone; they
-- may be gone by now. Of key, user (by password) and user (by an API session) at most one is known.
CREATE TABLE refusals (
    number INTEGER PRIMARY KEY,
    request_id INTEGER NOT NULL,
    refused_at INTEGER NOT NULL,
    service TEXT NOT NULL,
    listener TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    via TEXT,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    key_id INTEGER,
    user_id INTEGER,
    session_user_id INTEGER
) STRICT;
CREATE INDEX refusals_of_request ON refusals (request_id);
