-- Who is to tell an event; of those queued before, anybody.
ALTER TABLE event_outbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- Who runs executions of hooks, and until when it has said so.
CREATE TABLE hook_holder (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    node  TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
