-- What an operator wants of one sandbox now. Whether it is awake follows from the latest of these and of the person's
-- turns; whatever comes later counts more, so that nobody has to take an order back.

alter table sandbox
    add column wake_at timestamptz,
    add column pause_at timestamptz,
    add column stop_at timestamptz,
    add column booted_at timestamptz;
comment on column sandbox.wake_at is 'An operator wanted it awake at that time; counts as activity of its person.';
comment on column sandbox.pause_at is 'An operator paused it at that time; activity since then wakes it.';
comment on column sandbox.stop_at is 'An operator stopped it at that time; activity since then wakes it.';
comment on column sandbox.booted_at is 'Its gateway first let us in at that time: one in the warm pool may be given away.';
create index sandbox_pool on sandbox (created_at) where tenant_id is null and intent = 'auto';
create index sandbox_called on sandbox (wake_at) where wake_at is not null;
create index sandbox_going on sandbox (id) where intent = 'gone' and gone_at is null;
