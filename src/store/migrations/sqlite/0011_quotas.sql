-- How many requests may be made in a day and in a month of UTC; NULL: as many as one likes. `kind` says whose `subject_id`
-- is: `key` (api_keys), `user` (users) or `customer` (customers), as in usage_sums, where what is used stands. `told_day`
-- and `told_month` number the last period of which it was told that most is used.
CREATE TABLE quotas (
    kind TEXT NOT NULL,
    subject_id INTEGER NOT NULL,
    day INTEGER,
    month INTEGER,
    told_day INTEGER NOT NULL DEFAULT 0,
    told_month INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, subject_id)
) STRICT, WITHOUT ROWID;
