-- What users edit, and every version that there was; value is null in a version that deletes.
CREATE TABLE document (
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    value    TEXT,
    by       TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (kind, name, revision)
) WITHOUT ROWID;
