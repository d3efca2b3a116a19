-- The outbox of events. An event that was told keeps its id for a while, so that it is not queued
-- again, and loses its content.
CREATE TABLE event_outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    id     TEXT NOT NULL,
    at     INTEGER NOT NULL,
    json   TEXT,
    UNIQUE (source, id)
) STRICT;
CREATE INDEX event_outbox_waiting ON event_outbox (number) WHERE json IS NOT NULL;
CREATE INDEX event_outbox_told ON event_outbox (at) WHERE json IS NULL;

-- The last number given in each key.
CREATE TABLE event_sequence (
    key  TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Profiles with a session.
CREATE TABLE session (
    profile TEXT PRIMARY KEY,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events that came to the hook manager, in the order of their coming.
CREATE TABLE hook_event (
    place   INTEGER PRIMARY KEY AUTOINCREMENT,
    key     TEXT NOT NULL UNIQUE,
    came_at INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    json    TEXT NOT NULL
) STRICT;
CREATE INDEX hook_event_at ON hook_event (at);

-- Executions of hooks. place is the number of the first try, by which tries keep their turn; good is 1
-- where nothing went wrong, 0 otherwise, null while it is not done.
CREATE TABLE hook_run (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    hook            TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    event           TEXT NOT NULL,
    subject         TEXT NOT NULL,
    order_key       TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    attempt         INTEGER NOT NULL,
    place           INTEGER NOT NULL,
    reason_for      TEXT NOT NULL,
    by              TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done')),
    outcome         TEXT,
    good            INTEGER,
    dead            INTEGER NOT NULL DEFAULT 0,
    queued_at       INTEGER NOT NULL,
    next_at         INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    exit_code       INTEGER,
    signal          INTEGER,
    command         TEXT NOT NULL DEFAULT '',
    input           TEXT,
    given           INTEGER NOT NULL DEFAULT 0,
    stdout          BLOB,
    stdout_bytes    INTEGER NOT NULL DEFAULT 0,
    stderr          BLOB,
    stderr_bytes    INTEGER NOT NULL DEFAULT 0,
    cpu_ms          INTEGER,
    max_rss_kib     INTEGER,
    node            TEXT NOT NULL DEFAULT '',
    reason          TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX hook_run_open ON hook_run (hook, order_key, place) WHERE state <> 'done';
CREATE INDEX hook_run_queued ON hook_run (hook, place, next_at) WHERE state = 'queued';
CREATE INDEX hook_run_next ON hook_run (next_at) WHERE state = 'queued';
CREATE INDEX hook_run_running ON hook_run (node) WHERE state = 'running';
CREATE INDEX hook_run_done ON hook_run (hook, dead, good, number) WHERE state = 'done';
CREATE INDEX hook_run_hook ON hook_run (hook, number);
CREATE INDEX hook_run_event ON hook_run (event);

-- What hooks have done altogether, also what is on record no longer.
CREATE TABLE hook_count (
    hook    TEXT PRIMARY KEY,
    success INTEGER NOT NULL DEFAULT 0,
    failure INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
