-- Deliveries that end without having been sent by themselves, and what the notifier keeps beside them.
ALTER TABLE lane ADD COLUMN suppressed bigint NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN merged bigint NOT NULL DEFAULT 0;

CREATE TABLE note (
    scope text COLLATE "C" NOT NULL,
    key   text COLLATE "C" NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (scope, key)
);
