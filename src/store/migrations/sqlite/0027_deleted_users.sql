-- A user that was deleted stays as a row without a name until nothing refers to it, so that what ended stays dead. It is disabled, too.
ALTER TABLE subjects ADD COLUMN deleted_at BIGINT;
CREATE INDEX subjects_by_deletion ON subjects (deleted_at) WHERE deleted_at IS NOT NULL;
