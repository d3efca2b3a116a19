-- Partitions of the aggregators: whose writes count, how far each has come, and its state.
CREATE TABLE partition (
    part           bigint PRIMARY KEY,
    fence          bigint NOT NULL,
    done_stream    bigint NOT NULL DEFAULT 0,
    done_sequence  bigint NOT NULL DEFAULT 0,
    state_stream   bigint,
    state_sequence bigint,
    state          bytea
);
