-- What the models cost.

create table usage (
    request_id uuid primary key,
    sandbox_id uuid not null references sandbox on delete cascade,
    tenant_id uuid references tenant,
    at timestamptz not null,
    model text not null,
    tokens bigint not null,
    cost_micros bigint not null default 0,
    state text not null check (state in ('reserved', 'final'))
);
create index usage_tenant_at on usage (tenant_id, at);
create index usage_at on usage (at);
comment on table usage is 'One row per call of a model.';
comment on column usage.request_id is 'UUIDv7.';
comment on column usage.sandbox_id is 'Which sandbox called.';
comment on column usage.tenant_id is 'Who pays; null in the pool.';
comment on column usage.at is 'When the call began.';
comment on column usage.model is 'The model asked for.';
comment on column usage.tokens is 'Input and output; while reserved, the worst case.';
comment on column usage.cost_micros is 'Millionths of a dollar; 0 until money is counted.';
comment on column usage.state is 'reserved before the call is forwarded, final once its usage is known.';
