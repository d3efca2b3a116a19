-- The outbox of events. An event that was told keeps its id for a while, so that it is not queued
-- again, and loses its content. owner is the process that is to tell it.
CREATE TABLE event_outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner  text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id     text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    json   text,
    UNIQUE (source, id)
);
CREATE INDEX event_outbox_waiting ON event_outbox (number) WHERE json IS NOT NULL;
CREATE INDEX event_outbox_told ON event_outbox (at) WHERE json IS NULL;

-- The last number given in each key, and when.
CREATE TABLE event_sequence (
    key  text COLLATE "C" PRIMARY KEY,
    last bigint NOT NULL,
    at   bigint NOT NULL
);
CREATE INDEX event_sequence_at ON event_sequence (at);

-- Profiles with a session.
CREATE TABLE session (
    profile text COLLATE "C" PRIMARY KEY,
    until   bigint NOT NULL
);

-- Events that came to the hook manager, in the order of their coming.
CREATE TABLE hook_event (
    place   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key     text COLLATE "C" NOT NULL UNIQUE,
    came_at bigint NOT NULL,
    at      bigint NOT NULL,
    json    text NOT NULL
);
CREATE INDEX hook_event_at ON hook_event (at);

-- Executions of hooks. place is the number of the first try, by which tries keep their turn; class is 1
-- where nothing went wrong, 0 where something did, 2 of what was left out, null while it is not done.
CREATE SEQUENCE hook_run_number;
CREATE TABLE hook_run (
    number          bigint PRIMARY KEY DEFAULT nextval('hook_run_number'),
    hook            text COLLATE "C" NOT NULL,
    revision        bigint NOT NULL,
    event           text COLLATE "C" NOT NULL,
    subject         text NOT NULL,
    order_key       text COLLATE "C" NOT NULL,
    idempotency_key text NOT NULL,
    attempt         bigint NOT NULL,
    place           bigint NOT NULL,
    reason_for      text NOT NULL,
    asked_by        text NOT NULL,
    state           text NOT NULL CHECK (state IN ('queued', 'running', 'done')),
    outcome         text,
    class           bigint,
    dead            boolean NOT NULL DEFAULT false,
    queued_at       bigint NOT NULL,
    next_at         bigint NOT NULL,
    started_at      bigint,
    ended_at        bigint,
    exit_code       integer,
    signal          integer,
    command         text NOT NULL DEFAULT '',
    input           text,
    given           boolean NOT NULL DEFAULT false,
    stdout          bytea,
    stdout_bytes    bigint NOT NULL DEFAULT 0,
    stderr          bytea,
    stderr_bytes    bigint NOT NULL DEFAULT 0,
    cpu_ms          bigint,
    max_rss_kib     bigint,
    node            text NOT NULL DEFAULT '',
    reason          text NOT NULL DEFAULT ''
);
ALTER SEQUENCE hook_run_number OWNED BY hook_run.number;
CREATE INDEX hook_run_open ON hook_run (hook, order_key, place) WHERE state <> 'done';
CREATE INDEX hook_run_queued ON hook_run (hook, place, next_at) WHERE state = 'queued';
CREATE INDEX hook_run_next ON hook_run (next_at) WHERE state = 'queued';
CREATE INDEX hook_run_running ON hook_run (number) WHERE state = 'running';
CREATE INDEX hook_run_done ON hook_run (hook, dead, class, number) WHERE state = 'done';
CREATE INDEX hook_run_hook ON hook_run (hook, number);
CREATE INDEX hook_run_event ON hook_run (event);

-- What hooks have done altogether, also what is on record no longer.
CREATE TABLE hook_count (
    hook    text COLLATE "C" PRIMARY KEY,
    success bigint NOT NULL DEFAULT 0,
    failure bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0
);

-- Who runs executions of hooks, and until when it has said so.
CREATE TABLE hook_holder (
    one   bigint PRIMARY KEY CHECK (one = 1),
    node  text NOT NULL,
    until bigint NOT NULL
);
