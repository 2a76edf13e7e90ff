-- How many requests may be made in a day and in a month of UTC; NULL: as many as one likes. `kind` says whose `subject_id`
-- is: `key` (api_keys), `user` (users) or `customer` (customers), as in usage_sums, where what is used stands. `told_day`
-- and `told_month` number the last period of which it was told that most is used.
CREATE TABLE quotas (
    kind TEXT NOT NULL,
    subject_id BIGINT NOT NULL,
    day BIGINT,
    month BIGINT,
    told_day BIGINT NOT NULL DEFAULT 0,
    told_month BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, subject_id)
);
