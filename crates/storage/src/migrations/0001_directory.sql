-- Tenants, teams, users, keys, budgets, prices: one row each, its content as JSON.
CREATE TABLE directory_records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    revision BIGINT NOT NULL,
    body TEXT,
    PRIMARY KEY (kind, id)
);
CREATE UNIQUE INDEX directory_records_revision ON directory_records (revision);
CREATE INDEX directory_records_tenant ON directory_records (kind, tenant, id);

-- The number of the last change. Its row lock puts changes in order: a revision that was skipped
-- never comes later.
CREATE TABLE directory_clock (one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1), revision BIGINT NOT NULL);
INSERT INTO directory_clock (one, revision) VALUES (1, 0);

CREATE TABLE admin_events (
    number BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    tenant TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX admin_events_tenant ON admin_events (tenant, number);

CREATE TABLE idempotent_answers (
    name TEXT NOT NULL PRIMARY KEY,
    request_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);

CREATE TABLE key_use (id TEXT NOT NULL PRIMARY KEY, last_used_ms BIGINT NOT NULL);
