-- More goes out than texts; and a file that WhatsApp has from us is not given to it again.

alter table outbox drop constraint outbox_type_check;
alter table outbox add constraint outbox_type_check
    check (type in ('text', 'file', 'place', 'contact', 'reaction', 'buttons', 'list', 'link'));
comment on column outbox.type is 'What kind of message it is, and so how its body is written: a text as its words, all else as JSON.';

create table upload (
    tenant_id uuid not null references tenant,
    digest bytea not null check (length(digest) = 32),
    provider_id text not null,
    usable_until timestamptz not null,
    primary key (tenant_id, digest)
);
create index upload_usable_until on upload (usable_until);
comment on table upload is 'Files that agents sent to their people and WhatsApp still has.';
comment on column upload.tenant_id is 'Whose agent sent it.';
comment on column upload.digest is 'SHA-256 of the file.';
comment on column upload.provider_id is 'WhatsApp''s id of it, by which it is sent.';
comment on column upload.usable_until is 'Then it is uploaded again: WhatsApp keeps it for 30 days, and a message may wait for a while.';
