-- Roles of nodes: the run that was heard of last, and whether it is there.
CREATE TABLE presence (
    role  TEXT NOT NULL,
    node  TEXT NOT NULL,
    run   INTEGER NOT NULL,
    state TEXT NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (role, node)
) STRICT;
