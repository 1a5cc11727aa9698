-- A sandbox is one container and one volume. Docker records what exists; here is only what Docker cannot know.

create table sandbox (
    id uuid primary key,
    slot integer not null unique check (slot between 1 and 65000),
    tenant_id uuid unique references tenant,
    intent text not null default 'auto' check (intent in ('auto', 'stopped', 'gone')),
    image text,
    spec_hash text,
    epoch integer not null default 1,
    broker_token_hash bytea,
    session_no integer not null default 1,
    cursor text,
    last_active_at timestamptz,
    next_due_at timestamptz,
    failures integer not null default 0,
    retry_at timestamptz,
    gone_at timestamptz,
    snapshot_at timestamptz,
    created_at timestamptz not null
);
create index sandbox_broker_token on sandbox (broker_token_hash);
comment on table sandbox is 'Sandboxes, one per person; those without a tenant wait in the warm pool.';
comment on column sandbox.id is 'UUIDv7; the label on its container and volume.';
comment on column sandbox.slot is 'Gives its address, uid and host name. Used again only when the row is deleted.';
comment on column sandbox.tenant_id is 'Whose it is; null in the pool.';
comment on column sandbox.intent is 'The operator''s will. Whether it should be awake is derived afresh at every pass.';
comment on column sandbox.image is 'Image it is to run; null means the configured one.';
comment on column sandbox.spec_hash is 'Hash of the specification its container was last created with.';
comment on column sandbox.epoch is 'Part of the gateway token''s derivation; raised to make older tokens worthless.';
comment on column sandbox.broker_token_hash is 'SHA-256 of the token it calls the broker with; new at every start.';
comment on column sandbox.session_no is 'The conversation is main-<session_no>; a fresh one is the next number.';
comment on column sandbox.cursor is 'How far its transcript has been read; null before the first read of a session.';
comment on column sandbox.last_active_at is 'Last turn of the person; heartbeats do not count.';
comment on column sandbox.next_due_at is 'Earliest reminder.';
comment on column sandbox.failures is 'Starts in a row that did not end in a ready gateway.';
comment on column sandbox.retry_at is 'Not touched again before then, after a failure.';
comment on column sandbox.gone_at is 'Container and volume are removed; the slot rests ten minutes, then the row goes.';
comment on column sandbox.snapshot_at is 'Last backup.';
comment on column sandbox.created_at is 'When the row was made.';
