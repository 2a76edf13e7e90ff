-- The audit trail is read by user too, and nothing of ours changes or removes a row of it. That keeps mistakes out;
-- whoever can drop these triggers is found by the chain.
CREATE INDEX audit_of_actor ON audit (actor_id, sequence);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
