-- Time belongs to the platform: what is due fires through the inbox, like a message of the person.

create table reminder (
    id uuid primary key,
    tenant_id uuid not null references tenant,
    kind text not null check (kind in ('heartbeat', 'once', 'recurring')),
    rule text,
    zone text,
    next_at timestamptz not null,
    body bytea,
    key_id smallint not null,
    state text not null default 'active' check (state in ('active', 'done')),
    created_at timestamptz not null
);
create unique index reminder_one_heartbeat on reminder (tenant_id) where kind = 'heartbeat';
create index reminder_due on reminder (next_at) where state = 'active';
create index reminder_tenant on reminder (tenant_id);
comment on table reminder is 'What is to happen at a time. Firing inserts the inbox row and advances next_at, in one transaction.';
comment on column reminder.id is 'UUIDv7; the inbox row of a firing is <id>:<next_at>.';
comment on column reminder.tenant_id is 'Whom it is for.';
comment on column reminder.kind is 'heartbeat: the agent looks whether the person needs something; once, recurring: the person asked for it.';
comment on column reminder.rule is 'When it recurs; null for a heartbeat, whose interval is a setting.';
comment on column reminder.zone is 'IANA name of the zone that the rule means; null for a heartbeat.';
comment on column reminder.next_at is 'When it fires next.';
comment on column reminder.body is 'Sealed: what to remind of; null for a heartbeat.';
comment on column reminder.key_id is 'Which key sealed the body.';
comment on column reminder.state is 'done: it never fires again.';
comment on column reminder.created_at is 'When it was made.';

-- Those who are here already; everybody after them gets theirs with the first message.
insert into reminder (id, tenant_id, kind, next_at, key_id, created_at)
select gen_random_uuid(), id, 'heartbeat', now() + random() * interval '30 minutes', 1, now()
from tenant where status = 'active';
