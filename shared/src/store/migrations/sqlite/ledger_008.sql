-- Events of changes made here, on their way into the outbox, which is in hooks.db.
CREATE TABLE event_handover (
    number INTEGER PRIMARY KEY,
    owner  TEXT NOT NULL,
    json   TEXT NOT NULL
) STRICT;
