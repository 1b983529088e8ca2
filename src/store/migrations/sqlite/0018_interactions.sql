-- What login apps decided about interactions (login.method = "challenge"), until the browser has come back. An interaction has no row
-- before. verifier_hash: of the secret that the browser brings; challenge: the interaction, sealed; decision: a JSON object.
CREATE TABLE interactions (
    id            BLOB   NOT NULL PRIMARY KEY,
    verifier_hash BLOB   NOT NULL,
    challenge     TEXT   NOT NULL,
    decision      TEXT   NOT NULL,
    expires_at    BIGINT NOT NULL,
    used_at       BIGINT
);
CREATE INDEX interactions_by_expiry ON interactions (expires_at);

-- How a login app signed the user in: a JSON object; '' for the built-in login.
ALTER TABLE browser_sessions ADD COLUMN sign_in TEXT NOT NULL DEFAULT '';
