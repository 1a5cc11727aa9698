-- Nothing is kept for ever: what the hourly sweep looks for is found by an index, and so is what the worker measures.

-- Rows that still have a body, and rows at all, by when they were finished. Open rows are in neither, so that taking a
-- webhook in costs nothing more.
create index inbox_full on inbox (done_at) where done_at is not null and body is not null;
create index inbox_done on inbox (done_at) where done_at is not null;
create index outbox_full on outbox (done_at) where done_at is not null and body is not null;
create index outbox_done on outbox (done_at) where done_at is not null;
create index turn_done on turn (done_at) where done_at is not null;
create index turn_tenant on turn (tenant_id, id);

-- A receipt's own time is WhatsApp's, and may be missing.
alter table receipt add column recorded_at timestamptz not null default now();
create index receipt_recorded on receipt (recorded_at);
comment on column receipt.recorded_at is 'When we stored it: its age for the sweep.';

-- The key of a message outlives its turn.
alter table outbox drop constraint outbox_turn_id_fkey;
alter table outbox add constraint outbox_turn_id_fkey foreign key (turn_id) references turn on delete set null;
create index outbox_turn on outbox (turn_id) where turn_id is not null;
comment on column outbox.turn_id is 'The turn it answers; null when nobody asked, or once the turn has been swept.';

-- A sandbox's row goes when nothing refers to it; Postgres looks there each time.
create index turn_sandbox on turn (sandbox_id);
create index usage_sandbox on usage (sandbox_id);
