-- What operators did: what they have stopped, and a record of every action.

create table frozen (
    id uuid primary key,
    line_id uuid references line,
    tenant_id uuid references tenant,
    since timestamptz not null,
    actor text not null,
    why text,
    constraint frozen_once unique nulls not distinct (line_id, tenant_id),
    constraint frozen_one_scope check (line_id is null or tenant_id is null)
);
comment on table frozen is 'Where nothing goes out: no message is sent and no turn is opened, while webhooks are stored and routed.';
comment on column frozen.id is 'UUIDv7.';
comment on column frozen.line_id is 'Everybody on this number; null with tenant_id null means the whole deployment.';
comment on column frozen.tenant_id is 'One person; null otherwise.';
comment on column frozen.since is 'When it was frozen.';
comment on column frozen.actor is 'The operator who did it.';
comment on column frozen.why is 'The operator''s own words; no content of messages.';

-- The one place that says whom a freeze reaches.
create view frozen_tenant as
select t.id as tenant_id from tenant t
where exists (select from frozen f where f.line_id = t.line_id or f.tenant_id = t.id
              or (f.line_id is null and f.tenant_id is null));
comment on view frozen_tenant is 'Everybody to whom nothing goes out now, for whatever of the three reasons.';

create table event (
    id uuid primary key,
    at timestamptz not null,
    actor text not null,
    tenant_id uuid,
    kind text not null,
    detail jsonb not null default '{}'
);
create index event_tenant on event (tenant_id, at);
comment on table event is 'Every action of an operator, written with it in one transaction; rows are never changed or removed.';
comment on column event.id is 'UUIDv7: the order in which things were done.';
comment on column event.at is 'When.';
comment on column event.actor is 'The operator: as they said with --as, else the user of the machine.';
comment on column event.tenant_id is 'The person it was about, if one; no reference, for the record outlives the row.';
comment on column event.kind is 'freeze, unfreeze, suspend, resume, reveal.';
comment on column event.detail is 'What else belongs to it: ids, counts, the operator''s reason; no content of messages.';

create function event_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the table event is append-only';
end
$$;
create trigger event_append_only before update or delete or truncate on event
    for each statement execute function event_is_append_only();
