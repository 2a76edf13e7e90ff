-- What was done, ready for the pages that tell it: by the hour for two days and by the day for 30, of each credential,
-- user and customer. `kind` says whose `subject_id` is: `key` (api_keys), `password`, `session` or `user` (users),
-- `customer` (customers); a user's and a customer's are sums, in which keys stay that were deleted since. `length` is 1
-- or 24 hours, `hour` the first of them, counted from 1970.
CREATE TABLE usage_sums (
    kind TEXT NOT NULL,
    subject_id INTEGER NOT NULL,
    length INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    service TEXT NOT NULL,
    requests INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    PRIMARY KEY (kind, subject_id, length, hour, service)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_sums_by_age ON usage_sums (length, hour);

CREATE TEMPORARY TABLE counted AS
SELECT h.kind, h.subject_id, u.id AS user_id, u.customer_id, h.hour, h.service, h.requests, h.refusals
FROM usage_hours h LEFT JOIN api_keys k ON h.kind = 'key' AND k.id = h.subject_id
JOIN users u ON u.id = CASE h.kind WHEN 'key' THEN k.user_id ELSE h.subject_id END;

CREATE TEMPORARY VIEW summed AS
SELECT kind, subject_id, hour, service, requests, refusals FROM counted
UNION ALL SELECT 'user', user_id, hour, service, requests, refusals FROM counted
UNION ALL SELECT 'customer', customer_id, hour, service, requests, refusals FROM counted;

INSERT INTO usage_sums SELECT kind, subject_id, 1, hour, service, SUM(requests), SUM(refusals) FROM summed
WHERE hour > (SELECT MAX(hour) FROM counted) - 48 GROUP BY kind, subject_id, hour, service;
INSERT INTO usage_sums SELECT kind, subject_id, 24, hour - hour % 24, service, SUM(requests), SUM(refusals) FROM summed
GROUP BY kind, subject_id, hour - hour % 24, service;

DROP VIEW summed;
DROP TABLE counted;
DROP TABLE usage_hours;
