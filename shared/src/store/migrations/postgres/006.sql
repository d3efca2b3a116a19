-- Roles of nodes: the run that was heard of last, and whether it is there.
CREATE TABLE presence (
    role  text COLLATE "C" NOT NULL,
    node  text COLLATE "C" NOT NULL,
    run   bigint NOT NULL,
    state text NOT NULL,
    at    bigint NOT NULL,
    PRIMARY KEY (role, node)
);
