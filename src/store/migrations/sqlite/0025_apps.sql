-- What the app-management APIs say of a client of a user beside what every client has. The number is never used again.
CREATE TABLE apps (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id   TEXT   NOT NULL UNIQUE REFERENCES clients (id) ON DELETE CASCADE,
    description TEXT,
    website     TEXT,
    updated_at  BIGINT NOT NULL
);
INSERT INTO apps (client_id, updated_at)
    SELECT id, created_at FROM clients WHERE owner_subject IS NOT NULL ORDER BY created_at, id;
