-- The data keys once more, wrapped by the master key that is to take the place of the present one: here while a rotation is
-- half way, when either of the two opens the store.
CREATE TABLE next_key_ring (
    purpose TEXT NOT NULL,
    id INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, id)
) STRICT;
