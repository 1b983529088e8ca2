-- What the tokens of the current rotation are made from, beside the serial and the time: what the policy was then. A policy that
-- changes later changes the tokens of later rotations alone. idle_until: when the refresh token ends if it is not used; NULL for
-- rotations from before this was kept, whose refresh tokens say themselves when they end.
ALTER TABLE grants ADD COLUMN access_lifetime BIGINT NOT NULL DEFAULT 600;
ALTER TABLE grants ADD COLUMN idle_until BIGINT;

-- The grant of a machine is found by this name: the hash of the client and what is granted. It is taken from a grant that ended.
ALTER TABLE grants ADD COLUMN machine TEXT;
CREATE UNIQUE INDEX grants_by_machine ON grants (machine) WHERE machine IS NOT NULL;
CREATE INDEX grants_of_machines ON grants (client_id) WHERE machine IS NOT NULL;

-- Devices that wait for a user (RFC 8628). The id is that of the grant to be. user_code: a MAC of the code that the user enters.
-- poll_interval: how many seconds the device has to wait between two requests; slowed_at: it asked too early, and when.
CREATE TABLE device_requests (
    id            BLOB   NOT NULL PRIMARY KEY,
    client_id     TEXT   NOT NULL REFERENCES clients (id),
    user_code     BLOB   NOT NULL UNIQUE,
    variant       TEXT   NOT NULL,
    state         TEXT   NOT NULL CHECK (state IN ('pending', 'approved', 'denied')),
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    poll_interval BIGINT NOT NULL,
    polled_at     BIGINT,
    slowed_at     BIGINT
);
CREATE INDEX device_requests_by_client ON device_requests (client_id);
CREATE INDEX device_requests_by_expiry ON device_requests (expires_at);

-- How many codes that are none a user has entered since then: codes are not there to be guessed at.
CREATE TABLE user_code_attempts (
    subject_id TEXT   NOT NULL PRIMARY KEY REFERENCES subjects (id),
    failures   BIGINT NOT NULL,
    since      BIGINT NOT NULL
);
