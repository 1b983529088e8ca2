-- Authorization requests that clients pushed (RFC 9126). id_hash: of the last part of the request_uri; request: its parameters as a form.
CREATE TABLE pushed_requests (
    id_hash    BYTEA  NOT NULL PRIMARY KEY,
    client_id  TEXT   NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    request    TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX pushed_requests_by_client ON pushed_requests (client_id, expires_at);
CREATE INDEX pushed_requests_by_expiry ON pushed_requests (expires_at);

-- DPoP proofs that were seen (RFC 9449 §11.1): the hash of key and jti.
CREATE TABLE dpop_proofs (
    id         BYTEA  NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX dpop_proofs_by_expiry ON dpop_proofs (expires_at);
