-- Groups: of those that are not served is known only that they wrote, so that an operator can allow one.

create table unserved_group (
    line_id uuid not null references line,
    value bytea not null,
    address bytea not null,
    key_id smallint not null,
    last_at timestamptz not null,
    primary key (line_id, value)
);
comment on table unserved_group is 'Groups that write to a number which serves them not: for whoever wants to have one served.';
comment on column unserved_group.line_id is 'The number that is a member of the group.';
comment on column unserved_group.value is 'As in tenant_address: a keyed hash.';
comment on column unserved_group.address is 'Sealed: the group''s id.';
comment on column unserved_group.key_id is 'Which key sealed the address.';
comment on column unserved_group.last_at is 'When somebody last wrote there. What they wrote is kept nowhere.';

-- Until now every group that wrote was somebody of its own. Nobody there asked to be spoken to unasked.
delete from reminder using tenant_address
where reminder.tenant_id = tenant_address.tenant_id and tenant_address.kind = 'group';

comment on column line.policy is 'What an operator set for this line alone (signup, notice, notice_operator, notice_policy_url, consent, default_role, templates, groups, group_prefix); what is absent is as the environment says.';
comment on column tenant.name is 'Sealed: the name in the person''s WhatsApp profile when they were let in. Not trusted. A group has none.';
comment on column inbox.outcome is 'How: that of its turn; or refused, over_limit, opted_out, erased, restored, unsupported, empty, noted, taken_back, invited, agreed, declined, undecided, not_served (a group that is not on its line''s list), not_addressed (said in a group, and not to us), receipt, call, rekeyed, unknown, unknown_line; of a command: stop, fresh, help, opt_out, opt_in, delete_asked, delete_confirmed, export_asked, export_confirmed.';
comment on column inbox.body is 'Sealed: the raw slice of the webhook. Null once retention is over, and at once where it was said in a group and not to us.';
