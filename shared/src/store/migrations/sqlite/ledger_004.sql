-- What scripts remember, by interface.
CREATE TABLE memory (
    part   INTEGER NOT NULL,
    site   TEXT    NOT NULL,
    ifid   INTEGER NOT NULL,
    script TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    PRIMARY KEY (part, site, ifid, script, key)
) STRICT, WITHOUT ROWID;
