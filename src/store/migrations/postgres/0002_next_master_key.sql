-- As in the embedded store's 0010.
CREATE TABLE next_key_ring (
    purpose TEXT NOT NULL,
    id BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, id)
);
