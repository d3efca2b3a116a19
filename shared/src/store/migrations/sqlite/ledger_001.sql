-- Alert history. Times are nanoseconds since the epoch; severity, category and entity are numbers
-- of the model; json is the whole transition, the other columns are what queries filter by.
CREATE TABLE alert (
    row             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL,
    action          TEXT NOT NULL,
    tstamp          INTEGER NOT NULL,
    severity        INTEGER NOT NULL,
    category        INTEGER NOT NULL,
    entity          INTEGER NOT NULL,
    entity_value    TEXT NOT NULL,
    alert_type      TEXT NOT NULL,
    site            TEXT NOT NULL,
    ifid            INTEGER NOT NULL,
    script          TEXT NOT NULL,
    score           INTEGER NOT NULL,
    acknowledged    INTEGER NOT NULL DEFAULT 0,
    acknowledged_by TEXT,
    acknowledged_at INTEGER,
    json            TEXT NOT NULL,
    UNIQUE (id, action)
) STRICT;
-- Every index ends in the row number by itself, so an equality comes out newest first unsorted.
-- A minimum severity has none: walking the rows newest first finds a page sooner than sorting.
CREATE INDEX alert_tstamp ON alert (tstamp);
CREATE INDEX alert_entity ON alert (entity, entity_value);
CREATE INDEX alert_entity_value ON alert (entity_value);
CREATE INDEX alert_category ON alert (category);
CREATE INDEX alert_type ON alert (alert_type);
CREATE INDEX alert_acknowledged ON alert (acknowledged);

-- Alerts engaged at this moment, in order of engaging.
CREATE TABLE engaged (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    part    INTEGER NOT NULL,
    json    TEXT NOT NULL
) STRICT;
CREATE INDEX engaged_part ON engaged (part);

-- Transitions to tell. A told one keeps its id, so that a replay cannot queue it again, and loses
-- its json; it goes when the history of its time is pruned.
CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    transition TEXT NOT NULL UNIQUE,
    tstamp     INTEGER NOT NULL,
    json       TEXT
) STRICT;
CREATE INDEX outbox_waiting ON outbox (number) WHERE json IS NOT NULL;
CREATE INDEX outbox_told ON outbox (tstamp) WHERE json IS NULL;

CREATE TABLE event (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL CHECK (kind IN ('alert', 'post')),
    order_key      TEXT NOT NULL,
    severity       INTEGER NOT NULL,
    payload        TEXT NOT NULL,
    traceparent    TEXT,
    accepted_at    INTEGER NOT NULL,
    config_version TEXT NOT NULL
) STRICT;
CREATE INDEX event_accepted_at ON event (accepted_at);

-- One event owed to one recipient; seq is the order of acceptance.
--
-- head marks the one delivery of each (recipient, order_key) that may be claimed: the oldest
-- unfinished one, or the one under way. Every order_key with unfinished deliveries has exactly one,
-- so claiming looks only at heads, however long the queue behind them is.
CREATE TABLE delivery (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    recipient   TEXT NOT NULL,
    order_key   TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'claimed', 'delivered', 'dead')),
    head        INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER NOT NULL,
    claim_owner TEXT,
    claim_until INTEGER,
    deadline    INTEGER NOT NULL,
    finished_at INTEGER,
    last_error  TEXT,
    UNIQUE (event_id, recipient)
) STRICT;
CREATE UNIQUE INDEX delivery_head ON delivery (recipient, order_key) WHERE head = 1;
CREATE INDEX delivery_oldest ON delivery (recipient, seq, next_at) WHERE head = 1 AND state = 'pending';
CREATE INDEX delivery_due ON delivery (recipient, next_at, seq) WHERE head = 1 AND state = 'pending';
CREATE INDEX delivery_claimed ON delivery (recipient, claim_until) WHERE state = 'claimed';
CREATE INDEX delivery_queue ON delivery (recipient, order_key, seq) WHERE finished_at IS NULL;
CREATE INDEX delivery_dead ON delivery (recipient, finished_at, seq) WHERE state = 'dead';

-- Every try, for the operator who asks what happened.
CREATE TABLE attempt (
    event_id  TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    recipient TEXT NOT NULL,
    n         INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT NOT NULL CHECK (outcome IN ('delivered', 'retry', 'dead')),
    reason    TEXT,
    PRIMARY KEY (event_id, recipient, n)
) STRICT, WITHOUT ROWID;

-- Totals per recipient, kept beside the rows: asking for them costs nothing, and what was delivered
-- stays counted after its rows are pruned.
CREATE TABLE lane (
    recipient  TEXT PRIMARY KEY,
    pending    INTEGER NOT NULL DEFAULT 0,
    delivered  INTEGER NOT NULL DEFAULT 0,
    dead       INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
) STRICT, WITHOUT ROWID;
