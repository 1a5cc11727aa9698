-- What came in, and the turns it is answered in.

create table turn (
    id uuid primary key,
    tenant_id uuid not null references tenant,
    sandbox_id uuid not null references sandbox,
    session text,
    trigger text not null check (trigger in ('message', 'reminder', 'heartbeat')),
    state text not null default 'active' check (state in ('active', 'done', 'buried')),
    worker_id uuid,
    attempt integer not null default 1,
    claims integer not null default 1,
    created_at timestamptz not null,
    submitted_at timestamptz,
    deadline_at timestamptz not null,
    done_at timestamptz,
    outcome text
);
create unique index turn_one_active on turn (tenant_id) where state = 'active';
create index turn_active on turn (worker_id) where state = 'active';
comment on table turn is 'One exchange with an agent: one or more inbox rows in, any number of outbox rows out.';
comment on column turn.id is 'UUIDv7; with the attempt it is the idempotency key towards the agent.';
comment on column turn.tenant_id is 'Whose turn it is; a person has at most one that is active.';
comment on column turn.sandbox_id is 'Where it runs.';
comment on column turn.session is 'The conversation it was submitted to; null before that.';
comment on column turn.trigger is 'What started it.';
comment on column turn.state is 'active until answered (done) or given up (buried).';
comment on column turn.worker_id is 'Who works on it; null after a graceful stop. Without a live lease anyone may take over.';
comment on column turn.attempt is 'How often the agent was asked: part of the key, so raised before it is asked again.';
comment on column turn.claims is 'How many workers have taken it because the one before died: poison is buried.';
comment on column turn.created_at is 'When the messages were taken.';
comment on column turn.submitted_at is 'When the agent first had the question.';
comment on column turn.deadline_at is 'After this the person gets an apology.';
comment on column turn.done_at is 'When it left active.';
comment on column turn.outcome is 'answered, silent, or why it was buried.';

create table inbox (
    id uuid primary key,
    line_id uuid references line,
    kind text not null check (kind in ('message', 'status', 'system', 'reminder', 'heartbeat', 'unknown')),
    provider_id text not null,
    provider_at timestamptz,
    received_at timestamptz not null,
    tenant_id uuid references tenant,
    turn_id uuid references turn,
    body bytea,
    key_id smallint not null,
    run_after timestamptz not null,
    done_at timestamptz,
    outcome text,
    constraint inbox_once unique nulls not distinct (line_id, kind, provider_id)
);
create index inbox_unrouted on inbox (id) where done_at is null and tenant_id is null;
create index inbox_waiting on inbox (tenant_id, id) where done_at is null and tenant_id is not null and turn_id is null;
create index inbox_tenant_received on inbox (tenant_id, received_at);
create index inbox_turn on inbox (turn_id);
comment on table inbox is 'Every update a provider sent us, raw and once, and what our own clock wants done.';
comment on column inbox.id is 'UUIDv7: the order of arrival.';
comment on column inbox.line_id is 'The number it came in on; null when the update names none that we know.';
comment on column inbox.kind is 'What the update is, as far as its envelope tells.';
comment on column inbox.provider_id is 'The provider''s id (a status: <message>:<status>), or a SHA-256 of the raw bytes.';
comment on column inbox.provider_at is 'The provider''s own time, when it gave one.';
comment on column inbox.received_at is 'When the webhook came.';
comment on column inbox.tenant_id is 'Who it is from; null until routed.';
comment on column inbox.turn_id is 'The turn that took it.';
comment on column inbox.body is 'Sealed raw update; cleared after the retention time.';
comment on column inbox.key_id is 'Which key sealed the body.';
comment on column inbox.run_after is 'Not before then.';
comment on column inbox.done_at is 'When it was finished with.';
comment on column inbox.outcome is 'How: answered, refused, over_limit, receipt, rekeyed, unknown, buried.';
