-- What a client registered beside its redirect URIs and scopes, as a JSON object with the names of RFC 7591.
ALTER TABLE clients ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
