-- Ended flows. Times are nanoseconds since the epoch, addresses are text in canonical form; json is
-- the whole record, the other columns are what queries filter by.
CREATE TABLE flow (
    row         INTEGER PRIMARY KEY AUTOINCREMENT,
    last_seen   INTEGER NOT NULL,
    ifid        INTEGER NOT NULL,
    client_ip   TEXT NOT NULL,
    server_ip   TEXT NOT NULL,
    client_port INTEGER NOT NULL,
    server_port INTEGER NOT NULL,
    l7          TEXT NOT NULL,
    json        TEXT NOT NULL
) STRICT;
CREATE INDEX flow_last_seen ON flow (last_seen);
CREATE INDEX flow_client_ip ON flow (client_ip);
CREATE INDEX flow_server_ip ON flow (server_ip);

-- Batches added, so that one that comes twice is added once. newest is the latest last_seen of its
-- flows: a key is forgotten together with them.
CREATE TABLE batch (
    key    TEXT PRIMARY KEY,
    newest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_newest ON batch (newest);
