-- Lists come in pages, each of which is found along an index.
CREATE INDEX grants_by_creation ON grants (created_at DESC, id);
CREATE INDEX grants_by_client_and_creation ON grants (client_id, created_at DESC, id);
CREATE INDEX grants_by_subject_and_client ON grants (subject_id, client_id);
DROP INDEX grants_by_client;
DROP INDEX grants_by_subject;
CREATE INDEX subjects_by_name ON subjects (name);
CREATE INDEX clients_by_creation ON clients (created_at, id);

-- When the user last decided. What was decided before this was kept counts as decided now, so that it is not pruned too early.
ALTER TABLE consents ADD COLUMN decided_at BIGINT NOT NULL DEFAULT 0;
UPDATE consents SET decided_at = CAST(EXTRACT(EPOCH FROM now()) AS BIGINT);
CREATE INDEX consents_by_decision ON consents (decided_at);
