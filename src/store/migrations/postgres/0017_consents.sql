-- What users allowed clients, so that they need not be asked again. It outlives the grants; what revokes them ends it, too.
-- pair: client and subject, as in revoked_sets. allowed: a line for each decision. created_seq: as of grants; a revocation after it ends all.
CREATE TABLE consents (
    pair        TEXT   NOT NULL PRIMARY KEY,
    client_id   TEXT   NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    subject_id  TEXT   NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    allowed     TEXT   NOT NULL,
    created_seq BIGINT NOT NULL
);
CREATE INDEX consents_by_client ON consents (client_id);
CREATE INDEX consents_by_subject ON consents (subject_id);
