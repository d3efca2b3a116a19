-- Deliveries that end without having been sent by themselves: suppressed (nobody is told), merged (told
-- in the message of another). A table's CHECK cannot be changed, so both tables are made anew.
CREATE TABLE delivery_new (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    recipient   TEXT NOT NULL,
    order_key   TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'claimed', 'delivered', 'dead', 'suppressed', 'merged')),
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
INSERT INTO delivery_new (seq, event_id, recipient, order_key, state, head, attempts, next_at, claim_owner,
                          claim_until, deadline, finished_at, last_error)
    SELECT seq, event_id, recipient, order_key, state, head, attempts, next_at, claim_owner,
           claim_until, deadline, finished_at, last_error FROM delivery;
DROP TABLE delivery;
ALTER TABLE delivery_new RENAME TO delivery;
CREATE UNIQUE INDEX delivery_head ON delivery (recipient, order_key) WHERE head = 1;
CREATE INDEX delivery_oldest ON delivery (recipient, seq, next_at) WHERE head = 1 AND state = 'pending';
CREATE INDEX delivery_due ON delivery (recipient, next_at, seq) WHERE head = 1 AND state = 'pending';
CREATE INDEX delivery_claimed ON delivery (recipient, claim_until) WHERE state = 'claimed';
CREATE INDEX delivery_queue ON delivery (recipient, order_key, seq) WHERE finished_at IS NULL;
CREATE INDEX delivery_dead ON delivery (recipient, finished_at, seq) WHERE state = 'dead';

-- A try whose request was sent and whose answer was not read ends as unknown.
CREATE TABLE attempt_new (
    event_id  TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    recipient TEXT NOT NULL,
    n         INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT NOT NULL CHECK (outcome IN ('delivered', 'retry', 'unknown', 'dead')),
    reason    TEXT,
    PRIMARY KEY (event_id, recipient, n)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt_new (event_id, recipient, n, at, outcome, reason)
    SELECT event_id, recipient, n, at, outcome, reason FROM attempt;
DROP TABLE attempt;
ALTER TABLE attempt_new RENAME TO attempt;

ALTER TABLE lane ADD COLUMN suppressed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN merged INTEGER NOT NULL DEFAULT 0;

-- What the notifier keeps beside deliveries, by scope.
CREATE TABLE note (
    scope TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
