-- Users that the app knows. realm: who names the subject; 'accounts' are the built-in login's and those of machines. claims: a JSON
-- object, '' where the app does not name the user.
ALTER TABLE subjects ADD COLUMN realm TEXT NOT NULL DEFAULT 'accounts';
ALTER TABLE subjects ADD COLUMN claims TEXT NOT NULL DEFAULT '';
