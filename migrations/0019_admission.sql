-- Who may write: by invitation, by a list, with which role.

create table invite (
    id uuid primary key,
    line_id uuid references line,
    code bytea not null unique check (length(code) = 32),
    role text,
    uses integer not null check (uses > 0),
    uses_left integer not null check (uses_left between 0 and uses),
    valid_until timestamptz not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);
comment on table invite is 'Codes that let new people in where a line takes nobody without.';
comment on column invite.id is 'UUIDv7.';
comment on column invite.line_id is 'The number on which it counts; null: on all.';
comment on column invite.code is 'HMAC-SHA-256 of the code under a worker key: it can be looked up, not read. Only who made it has seen it.';
comment on column invite.role is 'The role of whoever comes with it; null: the default.';
comment on column invite.uses is 'How many people it was made for.';
comment on column invite.uses_left is 'How many more may come with it.';
comment on column invite.valid_until is 'From then on it lets nobody in.';
comment on column invite.created_at is 'When an operator made it.';
comment on column invite.revoked_at is 'Since when it lets nobody in by an operator''s will.';

create table allowed (
    line_id uuid not null references line,
    kind text not null check (kind in ('user_id', 'phone')),
    value bytea not null,
    address bytea not null,
    key_id smallint not null,
    role text,
    created_at timestamptz not null,
    primary key (line_id, kind, value)
);
comment on table allowed is 'Addresses that are let in however a line takes new people.';
comment on column allowed.line_id is 'The number that they may write to.';
comment on column allowed.kind is 'As in tenant_address.';
comment on column allowed.value is 'As in tenant_address: a keyed hash.';
comment on column allowed.address is 'Sealed: the address itself, for whoever asks who is on the list.';
comment on column allowed.key_id is 'Which key sealed the address.';
comment on column allowed.role is 'The role they get when they come; null: the default.';
comment on column allowed.created_at is 'When an operator put it there.';

alter table tenant add column role_is_new boolean not null default false;
comment on column tenant.role is 'What the operator calls this person''s rights; null: the default of their line.';
comment on column tenant.role_is_new is 'Their agent has not been told of it yet.';
comment on column tenant.status is 'refused: not let in, for nobody is, not without an invitation, or there was no room; becomes active with a message that may. opted_out: wrote STOP; hears nothing until they write START.';
comment on column tenant.name is 'Sealed: the name in the person''s WhatsApp profile when they were let in. Not trusted.';
comment on column line.policy is 'What an operator set for this line alone (signup, notice, notice_operator, notice_policy_url, default_role); what is absent is as the environment says.';
comment on column inbox.outcome is 'How: that of its turn; or refused, over_limit, opted_out, erased, restored, unsupported, empty, noted, taken_back, invited, receipt, rekeyed, unknown, unknown_line; of a command: stop, fresh, help, opt_out, opt_in, delete_asked, delete_confirmed.';
