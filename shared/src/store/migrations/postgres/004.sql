-- The gravest are claimed first: a delivery knows its event's severity (0 of what was finished before).
ALTER TABLE delivery ADD COLUMN severity bigint NOT NULL DEFAULT 0;
UPDATE delivery AS d SET severity = e.severity FROM event AS e
    WHERE e.id = d.event_id AND (d.finished_at IS NULL OR d.state = 'dead');
CREATE INDEX delivery_gravest ON delivery (recipient, severity DESC, seq) WHERE head AND state = 'pending';

-- When a try began, and what the far end said of one that went well.
ALTER TABLE delivery ADD COLUMN claimed_at bigint;
ALTER TABLE attempt ADD COLUMN started bigint;
ALTER TABLE attempt ADD COLUMN answer text;

-- How many deliveries were decided, less those that were discarded; 0 of events accepted before.
ALTER TABLE event ADD COLUMN owed bigint NOT NULL DEFAULT 0;

ALTER TABLE lane ADD COLUMN failed bigint NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN last_success bigint;
UPDATE lane SET failed = greatest(0, attempts - delivered);

-- What recipients were not told, by why. Written after the lanes are locked, in order of its key.
CREATE TABLE dropped (
    recipient text COLLATE "C" NOT NULL,
    reason    text COLLATE "C" NOT NULL,
    count     bigint NOT NULL,
    PRIMARY KEY (recipient, reason)
);
