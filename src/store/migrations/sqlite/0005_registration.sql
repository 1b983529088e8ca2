-- The secret before secret_hash, and until when it is good, too.
ALTER TABLE clients ADD COLUMN previous_secret_hash BLOB;
ALTER TABLE clients ADD COLUMN previous_secret_until BIGINT;
-- The SHA-256 of its registration access token (RFC 7592): whoever has one registered itself.
ALTER TABLE clients ADD COLUMN registration_hash BLOB;
-- One that registered itself goes then, unless it was used by then: that makes this NULL.
ALTER TABLE clients ADD COLUMN unused_until BIGINT;
-- When it last got tokens, to the day.
ALTER TABLE clients ADD COLUMN last_used_at BIGINT;
CREATE INDEX clients_by_registration ON clients (registration_hash) WHERE registration_hash IS NOT NULL;
CREATE INDEX clients_by_disuse ON clients (unused_until) WHERE unused_until IS NOT NULL;
CREATE INDEX clients_by_deletion ON clients (deleted_at) WHERE deleted_at IS NOT NULL;

-- Assertions that were used (RFC 7523 section 3): the SHA-256 of the client and the jti.
CREATE TABLE used_assertions (
    key        BLOB   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_at);
