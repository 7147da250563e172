CREATE TABLE decisions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    record TEXT NOT NULL
);

CREATE INDEX decisions_request ON decisions (request_id);

CREATE TABLE decision_feedback (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    decision_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    feedback TEXT NOT NULL
);

CREATE INDEX decision_feedback_decision ON decision_feedback (decision_id);
