-- Lines that the file beside the store (its tombstones) does not hold yet. They are committed with what they tell of, and go
-- once they are in the file, in this order.
CREATE TABLE unnoted_tombstones (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    line TEXT NOT NULL
) STRICT;
