-- Clients whose id is the URL of a document about them: when it was read, and until when that is good enough.
ALTER TABLE clients ADD COLUMN document_read_at BIGINT;
ALTER TABLE clients ADD COLUMN document_fresh_until BIGINT;
CREATE INDEX clients_by_document ON clients (document_read_at) WHERE document_read_at IS NOT NULL;
