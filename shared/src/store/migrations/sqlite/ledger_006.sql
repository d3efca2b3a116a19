-- Partitions: the highest fence under which each was claimed, the last step that caused something, and
-- the state after a step. A stream is known by when it was made.
CREATE TABLE partition (
    part           INTEGER PRIMARY KEY,
    fence          INTEGER NOT NULL,
    done_stream    INTEGER NOT NULL DEFAULT 0,
    done_sequence  INTEGER NOT NULL DEFAULT 0,
    state_stream   INTEGER,
    state_sequence INTEGER,
    state          BLOB
) STRICT;
