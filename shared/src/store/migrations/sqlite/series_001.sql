-- Time series. Times are nanoseconds since the epoch; entity is a number of the model, period the
-- length of a window in seconds, at its end.
CREATE TABLE element (
    number INTEGER PRIMARY KEY,
    entity INTEGER NOT NULL,
    value  TEXT NOT NULL,
    site   TEXT NOT NULL,
    ifid   INTEGER NOT NULL,
    UNIQUE (entity, value, site, ifid)
) STRICT;

-- counters is what model/packed.rs makes of them.
CREATE TABLE sample (
    element  INTEGER NOT NULL,
    period   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    counters BLOB NOT NULL,
    PRIMARY KEY (element, period, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_at ON sample (period, at);

-- Numbers with names of their own: layer-7 protocols, and what scripts keep.
CREATE TABLE metric (
    element INTEGER NOT NULL,
    period  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    name    TEXT NOT NULL,
    gauge   INTEGER NOT NULL,
    sum     REAL NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (element, period, at, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_at ON metric (period, at);

-- Batches added, so that one that comes twice is added once; forgotten with the minutes of its time.
CREATE TABLE batch (
    key TEXT PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_at ON batch (at);
