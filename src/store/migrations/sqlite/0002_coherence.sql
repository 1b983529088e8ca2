-- The hash over the log up to a position: two logs that agree there agree on everything before.
-- A 'flush' entry makes every fact that was read before it unusable; it alone may leave positions out before it.
ALTER TABLE revocation_head ADD COLUMN chain BLOB NOT NULL DEFAULT x'';
ALTER TABLE revocation_log ADD COLUMN chain BLOB NOT NULL DEFAULT x'';

-- How far each server has come, and until when it may answer without having come further; milliseconds of this database's clock.
CREATE TABLE sidecar_leases (
    id         TEXT   NOT NULL PRIMARY KEY,
    applied    BIGINT NOT NULL,
    lease      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Sets of grants that were ended at once and have no row of their own; grants created before revoked_seq are dead.
-- kind and target as in revocation_log: 'subject_client' and 'CLIENT SUBJECT', 'session' and its id; and
-- 'key' and its id, for keys that are good for nothing any more.
CREATE TABLE revoked_sets (
    kind        TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    revoked_seq BIGINT NOT NULL,
    PRIMARY KEY (kind, target)
);

-- One row: whose turn it is to prune, until when (Unix seconds).
CREATE TABLE pruning_turn (
    id    BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    until BIGINT NOT NULL
);
INSERT INTO pruning_turn (id, until) VALUES (1, 0);

-- The browser session in which the user approved, 32 hexadecimal digits; '' for grants from before this was kept.
ALTER TABLE grants ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
-- A pending grant ends, too: with its code.
UPDATE grants SET expires_at = created_at + 600 WHERE expires_at IS NULL;
CREATE INDEX grants_by_expiry ON grants (expires_at);
CREATE INDEX grants_by_revocation ON grants (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX grants_by_created_seq ON grants (created_seq);
CREATE INDEX browser_sessions_by_expiry ON browser_sessions (expires_at);
