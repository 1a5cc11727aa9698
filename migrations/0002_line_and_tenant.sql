-- A line is one WhatsApp business number; a tenant is one person on it.
-- Sealed columns hold `key id, ephemeral public key, nonce, box`: only the worker's key opens them.

create table line (
    id uuid primary key,
    provider text not null check (provider in ('meta', 'kapso')),
    phone_number_id text not null,
    source text not null check (source in ('env', 'db')),
    access_token bytea,
    webhook_secret bytea,
    key_id smallint not null,
    blocked_until timestamptz,
    blocked_reason text,
    signup_at timestamptz not null default '-infinity',
    poll_cursor text,
    policy jsonb not null default '{}',
    unique (provider, phone_number_id)
);
comment on table line is 'WhatsApp business numbers that people write to.';
comment on column line.id is 'UUIDv7.';
comment on column line.provider is 'Whose API it speaks.';
comment on column line.phone_number_id is 'The provider''s id of the number; opaque.';
comment on column line.source is 'env: seeded from the environment at start, which wins; db: added by an operator.';
comment on column line.access_token is 'Sealed. Null where the environment holds it.';
comment on column line.webhook_secret is 'Sealed. Null where the environment holds it.';
comment on column line.key_id is 'Which key sealed the columns of this row.';
comment on column line.blocked_until is 'Nothing is sent on this line before then: a throttle, or infinity after a refused token.';
comment on column line.blocked_reason is 'The provider''s code that blocked it last; null once an operator or a restart has opened it.';
comment on column line.signup_at is 'Theoretical arrival time of the next new person: the whole state of the signup limit.';
comment on column line.poll_cursor is 'Where polling goes on, for providers that are polled.';
comment on column line.policy is 'Who may write, notices and templates; empty means the defaults.';

create table tenant (
    id uuid primary key,
    line_id uuid not null references line,
    status text not null check (status in ('active', 'refused', 'suspended', 'opted_out', 'erased')),
    role text,
    name bytea,
    key_id smallint not null,
    time_zone text not null default 'UTC',
    language text not null default 'en',
    quiet_from time not null default '23:00',
    quiet_to time not null default '07:00',
    last_inbound_at timestamptz,
    told_at timestamptz,
    has_agenda boolean not null default false,
    merged_into uuid references tenant,
    created_at timestamptz not null
);
create index tenant_line on tenant (line_id);
comment on table tenant is 'People. Each active one has a sandbox of their own.';
comment on column tenant.id is 'UUIDv7.';
comment on column tenant.line_id is 'The number this person writes to.';
comment on column tenant.status is 'refused: came when the limit for new people was reached; becomes active when there is room.';
comment on column tenant.role is 'What the operator calls this person''s rights; null means the default.';
comment on column tenant.name is 'Sealed: the name in the person''s WhatsApp profile. Not trusted.';
comment on column tenant.key_id is 'Which key sealed the columns of this row.';
comment on column tenant.time_zone is 'IANA name.';
comment on column tenant.language is 'BCP 47 tag.';
comment on column tenant.quiet_from is 'Start of the hours in which we do not speak unasked, in the person''s zone.';
comment on column tenant.quiet_to is 'End of the quiet hours.';
comment on column tenant.last_inbound_at is 'Opens WhatsApp''s 24-hour window; the provider''s time.';
comment on column tenant.told_at is 'When we last said that a limit was reached: once a day, then silence.';
comment on column tenant.has_agenda is 'The agent''s checklist is not empty or something is due.';
comment on column tenant.merged_into is 'The same person''s older row: a message under a new id came before its explanation.';
comment on column tenant.created_at is 'First contact.';

create table tenant_address (
    line_id uuid not null references line,
    kind text not null check (kind in ('user_id', 'phone', 'group')),
    value bytea not null,
    address bytea not null,
    key_id smallint not null,
    tenant_id uuid not null references tenant,
    retired_at timestamptz,
    primary key (line_id, kind, value)
);
create index tenant_address_tenant on tenant_address (tenant_id);
comment on table tenant_address is 'How a person is reached. A phone number can change hands; a user id does not.';
comment on column tenant_address.line_id is 'User ids differ from line to line.';
comment on column tenant_address.kind is 'user_id: WhatsApp''s business-scoped id; phone: digits; group: a group id.';
comment on column tenant_address.value is 'HMAC-SHA-256 of the address under a worker key: it can be looked up, not read.';
comment on column tenant_address.address is 'Sealed: the address itself, to send to.';
comment on column tenant_address.key_id is 'Which key sealed the address.';
comment on column tenant_address.tenant_id is 'Whose address it is now.';
comment on column tenant_address.retired_at is 'When the person told us it is no longer theirs; never used to send.';
