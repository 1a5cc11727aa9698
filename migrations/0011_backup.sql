-- Backups: what is to be done about them, and who was erased.

create table backup (
    id uuid primary key,
    kind text not null check (kind in ('all', 'sandbox', 'restore', 'erase')),
    parent_id uuid references backup on delete cascade,
    sandbox_id uuid,
    object text,
    state text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'failed')),
    outcome text,
    actor text,
    worker_id uuid,
    attempts integer not null default 0,
    run_after timestamptz not null,
    requested_at timestamptz not null,
    started_at timestamptz,
    done_at timestamptz,
    entries bigint not null default 0,
    bytes bigint not null default 0,
    stored_bytes bigint not null default 0
);
create index backup_open on backup (run_after) where state in ('waiting', 'running');
create index backup_parent on backup (parent_id);
create index backup_sandbox on backup (sandbox_id, id);
create index backup_all on backup (requested_at) where kind = 'all';
comment on table backup is 'What is to be done about backups. Commands and the schedule ask; the worker does it, again after it died.';
comment on column backup.id is 'UUIDv7: what concerns the same sandbox is done in this order.';
comment on column backup.kind is 'all: every sandbox that changed, then the tables; sandbox: one; restore: one back into its volume; erase: an erased one''s snapshots.';
comment on column backup.parent_id is 'The backup of everything that it belongs to.';
comment on column backup.sandbox_id is 'Which sandbox; null for all. No reference, for snapshots outlive the row.';
comment on column backup.object is 'The snapshot''s name in the store: what was written, or what is to be restored.';
comment on column backup.state is 'waiting for its time or its turn; running; done; failed and given up.';
comment on column backup.outcome is 'How it ended, or what it waits for, in our word; no content.';
comment on column backup.actor is 'The operator who asked; null for the schedule and for what an operator''s wish entails.';
comment on column backup.worker_id is 'Who does it; without a live lease it is taken up again.';
comment on column backup.attempts is 'How often it was begun.';
comment on column backup.run_after is 'Not before then.';
comment on column backup.requested_at is 'When it was asked for.';
comment on column backup.started_at is 'When it was begun first.';
comment on column backup.done_at is 'When it was done or given up.';
comment on column backup.entries is 'Files and folders so far.';
comment on column backup.bytes is 'Their size, or the tables''.';
comment on column backup.stored_bytes is 'What it takes in the store.';

create table tombstone (
    tenant_id uuid primary key,
    addresses bytea[] not null,
    erased_at timestamptz not null,
    stored_at timestamptz
);
create index tombstone_unstored on tombstone (erased_at) where stored_at is null;
comment on table tombstone is 'Who was erased: a backup of before erases them again when it is restored. It keeps nobody from writing anew.';
comment on column tombstone.tenant_id is 'The person''s id.';
comment on column tombstone.addresses is 'Keyed hashes of their addresses, as in tenant_address.';
comment on column tombstone.erased_at is 'Who came later is somebody new.';
comment on column tombstone.stored_at is 'When it was written beside the backups, where it outlives this database.';

alter table sandbox add column restored boolean not null default false;
comment on column sandbox.restored is 'Its files were put back: what its conversation holds is old, and none of it is sent, until it has been read once.';
comment on column sandbox.snapshot_at is 'When its files were last taken into a backup.';
