-- What operators say of an alert.
ALTER TABLE alert ADD COLUMN label TEXT;
ALTER TABLE alert ADD COLUMN labelled_by TEXT;
ALTER TABLE alert ADD COLUMN labelled_at INTEGER;
