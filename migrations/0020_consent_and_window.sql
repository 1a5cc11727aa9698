-- Who has not agreed yet, who is kept out, and what goes out when WhatsApp takes no free text.

alter table tenant drop constraint tenant_status_check;
alter table tenant add constraint tenant_status_check
    check (status in ('active', 'refused', 'undecided', 'suspended', 'opted_out', 'erased'));
alter table tenant add column consent text check (consent in ('asked', 'declined', 'given'));
alter table tenant add column consent_at timestamptz;
comment on column tenant.status is 'refused: not let in, for nobody is, not without an invitation, or there was no room; becomes active with a message that may. undecided: asked whether they agree; nothing is made and nothing of theirs is read until they do. opted_out: wrote STOP; hears nothing until they write START.';
comment on column tenant.consent is 'What they said when they were asked whether they agree; null: they never were.';
comment on column tenant.consent_at is 'Since when that is so.';
comment on column line.policy is 'What an operator set for this line alone (signup, notice, notice_operator, notice_policy_url, consent, default_role, templates); what is absent is as the environment says.';
comment on column inbox.outcome is 'How: that of its turn; or refused, over_limit, opted_out, erased, restored, unsupported, empty, noted, taken_back, invited, agreed, declined, undecided, receipt, call, rekeyed, unknown, unknown_line; of a command: stop, fresh, help, opt_out, opt_in, delete_asked, delete_confirmed.';

create table blocked (
    line_id uuid not null references line,
    kind text not null check (kind in ('user_id', 'phone')),
    value bytea not null,
    address bytea,
    key_id smallint not null,
    person uuid not null,
    reason text,
    actor text not null,
    blocked_at timestamptz not null,
    synced_at timestamptz,
    lifted_at timestamptz,
    primary key (line_id, kind, value)
);
comment on table blocked is 'Addresses from which nothing is taken; `clawkaka block sync` brings the list to WhatsApp''s own.';
comment on column blocked.line_id is 'The number that they may not write to.';
comment on column blocked.kind is 'As in tenant_address.';
comment on column blocked.value is 'As in tenant_address: a keyed hash.';
comment on column blocked.address is 'Sealed: the address itself, for WhatsApp''s list. Null once its owner was erased: the hash keeps them out.';
comment on column blocked.key_id is 'Which key sealed the address.';
comment on column blocked.person is 'Addresses of one person have the same: who knows one of them can lift the block of all.';
comment on column blocked.reason is 'The operator''s own words; no names, no content.';
comment on column blocked.actor is 'The operator who did it.';
comment on column blocked.blocked_at is 'Since when.';
comment on column blocked.synced_at is 'When it was put on WhatsApp''s list; null: it is not there.';
comment on column blocked.lifted_at is 'Since when they may write again; the row waits to be taken off WhatsApp''s list.';

-- A template is all that WhatsApp takes from us when a person has not written for a day.
alter table outbox drop constraint outbox_type_check;
alter table outbox add constraint outbox_type_check
    check (type in ('text', 'file', 'place', 'contact', 'reaction', 'buttons', 'list', 'link', 'template'));
comment on column outbox.expires_at is 'Queued until then, it is held until the person writes, a template fails; held or unknown until then, it has failed.';
create index outbox_held on outbox (tenant_id) where state = 'held';
create index outbox_template on outbox (tenant_id, created_at) where type = 'template';

-- A call opens the window as a message does.
alter table inbox drop constraint inbox_kind_check;
alter table inbox add constraint inbox_kind_check
    check (kind in ('message', 'status', 'system', 'call', 'reminder', 'heartbeat', 'unknown'));
