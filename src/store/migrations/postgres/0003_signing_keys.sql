-- The keys that sign ID tokens. number: the order in which they were made; each server that wants the next one inserts it under
-- the number after the last, and one of them succeeds. id: the RFC 7638 thumbprint. public_key: a JSON Web Key.
-- private_key: PKCS #8, sealed under a key that derives from the master secret.
CREATE TABLE signing_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    number       BIGINT NOT NULL UNIQUE,
    public_key   TEXT   NOT NULL,
    private_key  BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    activates_at BIGINT NOT NULL,
    retires_at   BIGINT NOT NULL
);

-- How the user signed in, for ID tokens: JSON; '' where the grant is not for OpenID Connect.
ALTER TABLE grants ADD COLUMN authentication TEXT NOT NULL DEFAULT '';
-- Where a client may have browsers sent after signing out, one a line.
ALTER TABLE clients ADD COLUMN post_logout_redirect_uris TEXT NOT NULL DEFAULT '';
