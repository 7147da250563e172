-- One row for each attempt that a provider charges for, and for each cached answer.
CREATE TABLE ledger (
    id TEXT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    team TEXT NOT NULL,
    user_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    surface TEXT NOT NULL,
    route TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    images BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    avoided_nanos BIGINT NOT NULL,
    price TEXT NOT NULL,
    estimated BIGINT NOT NULL,
    outcome TEXT NOT NULL
);
CREATE INDEX ledger_time ON ledger (at_ms, id);
CREATE INDEX ledger_tenant_time ON ledger (tenant, at_ms);
