-- Clients that have to be told that a user was signed out (OpenID Connect Back-Channel Logout). session_id: '' where it is not known.
-- due_at: when to try, until expires_at. Whoever tries claims all that is due for a client, and leaves the client to itself until then.
CREATE TABLE logout_notices (
    client_id     TEXT   NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    subject_id    TEXT   NOT NULL,
    session_id    TEXT   NOT NULL,
    attempts      BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    PRIMARY KEY (client_id, subject_id, session_id)
);
CREATE INDEX logout_notices_by_due ON logout_notices (due_at);
CREATE INDEX logout_notices_by_expiry ON logout_notices (expires_at);
CREATE INDEX grants_by_session ON grants (session_id);

-- The public name of the session, 32 hexadecimal digits: the first half of the id, or that of the session that this one goes on with,
-- when the same user signed in again in the same browser.
ALTER TABLE browser_sessions ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
UPDATE browser_sessions SET session_id = encode(substr(id_hash, 1, 16), 'hex');
CREATE INDEX browser_sessions_by_session ON browser_sessions (session_id);
