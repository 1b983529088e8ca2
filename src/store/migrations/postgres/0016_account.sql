-- The user who made a client on a page of ours, and when an operator said that it is what it says.
ALTER TABLE clients ADD COLUMN owner_subject TEXT REFERENCES subjects (id);
ALTER TABLE clients ADD COLUMN verified_at BIGINT;
CREATE INDEX clients_by_owner ON clients (owner_subject) WHERE owner_subject IS NOT NULL;

-- When a grant last got tokens for its code or its refresh token; NULL for grants from before this was kept.
ALTER TABLE grants ADD COLUMN last_used_at BIGINT;
