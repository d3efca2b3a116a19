-- The gravest are claimed first: a delivery knows its event's severity (0 of what was finished before).
ALTER TABLE delivery ADD COLUMN severity INTEGER NOT NULL DEFAULT 0;
UPDATE delivery SET severity = (SELECT severity FROM event WHERE id = event_id)
    WHERE finished_at IS NULL OR state = 'dead';
CREATE INDEX delivery_gravest ON delivery (recipient, severity DESC, seq, next_at)
    WHERE head = 1 AND state = 'pending';

-- When a try began, and what the far end said of one that went well.
ALTER TABLE delivery ADD COLUMN claimed_at INTEGER;
ALTER TABLE attempt ADD COLUMN started INTEGER;
ALTER TABLE attempt ADD COLUMN answer TEXT;

-- How many deliveries were decided, less those that were discarded; 0 of events accepted before.
ALTER TABLE event ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE lane ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN last_success INTEGER;
UPDATE lane SET failed = max(0, attempts - delivered);

-- What recipients were not told, by why.
CREATE TABLE dropped (
    recipient TEXT NOT NULL,
    reason    TEXT NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (recipient, reason)
) STRICT, WITHOUT ROWID;
