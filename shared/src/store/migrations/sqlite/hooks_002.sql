-- When each key was numbered last, so that those nobody speaks of any more can be forgotten.
ALTER TABLE event_sequence ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX event_sequence_at ON event_sequence (at);
