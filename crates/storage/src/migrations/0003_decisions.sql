CREATE TABLE decision_counter (
    id BIGINT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO decision_counter (id, value) VALUES (1, 0);

CREATE TABLE decisions (
    sequence BIGINT NOT NULL PRIMARY KEY,
    first_sequence BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    request_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    record TEXT NOT NULL,
    feedback TEXT NOT NULL
);

CREATE UNIQUE INDEX decisions_request ON decisions (request_id, tenant);
