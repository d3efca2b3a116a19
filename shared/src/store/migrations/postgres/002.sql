-- Partitions of aggregators: the highest fence under which each was claimed, the last step that caused
-- something, and the state after a step. A stream is known by when it was made.
CREATE TABLE partition_state (
    part           bigint PRIMARY KEY,
    fence          bigint NOT NULL,
    done_stream    bigint NOT NULL DEFAULT 0,
    done_sequence  bigint NOT NULL DEFAULT 0,
    state_stream   bigint,
    state_sequence bigint,
    state          bytea
) WITH (fillfactor = 50);
