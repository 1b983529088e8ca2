-- The portable subset: TEXT, BIGINT, BYTEA; times are Unix seconds; a nullable "…_at" instead of a boolean.

-- One row. Locking it is what orders the log, so the log has no gaps and its order is the order of the commits.
CREATE TABLE revocation_head (
    id   BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    head BIGINT NOT NULL
);
INSERT INTO revocation_head (id, head) VALUES (1, 0);

-- What ended, in order. kind and target: 'grant' and its id, 'client' and its id, 'subject' and its id.
-- value: for a grant, the generation below which its access tokens are dead.
CREATE TABLE revocation_log (
    seq    BIGINT NOT NULL PRIMARY KEY,
    kind   TEXT   NOT NULL,
    target TEXT   NOT NULL,
    value  BIGINT NOT NULL,
    at     BIGINT NOT NULL
);

-- A deleted client stays as a row, so its grants stay dead; it is invisible otherwise.
-- Grants created before revoked_seq are dead.
CREATE TABLE clients (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    secret_hash   BYTEA,
    redirect_uris TEXT   NOT NULL,
    scopes        TEXT   NOT NULL,
    introspects   TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT,
    deleted_at    BIGINT,
    revoked_seq   BIGINT NOT NULL
);

-- Who grants. Grants created before revoked_seq are dead.
CREATE TABLE subjects (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT,
    revoked_seq BIGINT NOT NULL
);

-- The built-in login's users.
CREATE TABLE accounts (
    username      TEXT   NOT NULL PRIMARY KEY,
    subject_id    TEXT   NOT NULL UNIQUE REFERENCES subjects (id),
    password_hash TEXT   NOT NULL
);

-- Who is signed in where. The id is the hash of the cookie.
CREATE TABLE browser_sessions (
    id_hash    BYTEA  NOT NULL PRIMARY KEY,
    subject_id TEXT   NOT NULL REFERENCES subjects (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX browser_sessions_by_subject ON browser_sessions (subject_id);

-- "Subject S lets client C use scopes X." Tokens are not stored: they point here.
-- variants: scope subsets, one a line, the first is everything that was granted.
CREATE TABLE grants (
    id                BYTEA  NOT NULL PRIMARY KEY,
    client_id         TEXT   NOT NULL REFERENCES clients (id),
    subject_id        TEXT   NOT NULL REFERENCES subjects (id),
    variants          TEXT   NOT NULL,
    state             TEXT   NOT NULL CHECK (state IN ('pending', 'active', 'revoked')),
    generation        BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    created_seq       BIGINT NOT NULL,
    -- what the redemption of the code has to prove; '' where the authorization request had no redirect_uri
    redirect_uri      TEXT   NOT NULL,
    code_challenge    TEXT   NOT NULL,
    failed_redemptions BIGINT NOT NULL,
    -- the refresh token that is good now
    refresh_serial    BIGINT NOT NULL,
    refresh_variant   BIGINT NOT NULL,
    rotated_at        BIGINT,
    expires_at        BIGINT,
    revoked_at        BIGINT
);
CREATE INDEX grants_by_subject ON grants (subject_id);
CREATE INDEX grants_by_client ON grants (client_id);
