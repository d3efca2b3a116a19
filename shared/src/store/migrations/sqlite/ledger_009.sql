-- A number is never given again: what was kept after others were carried over is not forgotten with them.
ALTER TABLE event_handover RENAME TO event_handover_before;
CREATE TABLE event_handover (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner  TEXT NOT NULL,
    json   TEXT NOT NULL
) STRICT;
INSERT INTO event_handover (owner, json) SELECT owner, json FROM event_handover_before ORDER BY number;
DROP TABLE event_handover_before;
