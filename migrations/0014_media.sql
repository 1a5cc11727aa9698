-- What people sent beside words, counted; the files themselves are in their sandboxes and nowhere else.

create table media (
    tenant_id uuid not null references tenant,
    digest bytea not null check (length(digest) = 32),
    bytes bigint not null check (bytes >= 0),
    brought_at timestamptz not null,
    words bytea,
    key_id smallint,
    primary key (tenant_id, digest)
);
create index media_brought_at on media (brought_at);
comment on table media is 'Files that were brought into sandboxes in the last day, for the limit on what one person may send.';
comment on column media.tenant_id is 'Who sent it.';
comment on column media.digest is 'SHA-256 of the file: the same one again does not count again.';
comment on column media.bytes is 'Its size.';
comment on column media.words is 'What is said in it, sealed: so that nobody pays twice for hearing it. Empty: nobody speaks.';
comment on column media.key_id is 'The key under which the words are sealed.';
comment on column media.brought_at is 'When it was first brought.';
