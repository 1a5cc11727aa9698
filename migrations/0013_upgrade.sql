-- Upgrades: each sandbox runs the image it was made with, until an upgrade moves it to another, with a way back.

comment on column sandbox.image is 'Id of the image it runs: a name may move on to another image, an id cannot. Null until the worker has seen it first.';

create table upgrade (
    id uuid primary key,
    image text not null,
    reference text not null,
    canaries integer not null check (canaries >= 0),
    max_failures integer not null check (max_failures >= 1),
    ready_within_seconds integer not null check (ready_within_seconds >= 1),
    state text not null default 'running' check (state in ('running', 'done', 'stopped')),
    outcome text,
    stop_asked boolean not null default false,
    actor text not null,
    requested_at timestamptz not null,
    done_at timestamptz
);
create unique index upgrade_running on upgrade (state) where state = 'running';
comment on table upgrade is 'Moves of sandboxes to another image. A command asks; the worker does it, again after it died. One runs at a time.';
comment on column upgrade.id is 'UUIDv7.';
comment on column upgrade.image is 'Id of the image to which they are moved.';
comment on column upgrade.reference is 'How the operator calls it.';
comment on column upgrade.canaries is 'So many come first; when one of them fails, it stops.';
comment on column upgrade.max_failures is 'After so many failures it stops.';
comment on column upgrade.ready_within_seconds is 'A gateway that has not let us in by then is not ready.';
comment on column upgrade.state is 'running; done: nothing is left to do; stopped before that.';
comment on column upgrade.outcome is 'Why it ended, in our word.';
comment on column upgrade.stop_asked is 'An operator wants it to end after the sandbox at hand.';
comment on column upgrade.actor is 'The operator who asked.';
comment on column upgrade.requested_at is 'When it was asked for.';
comment on column upgrade.done_at is 'When it ended.';

create table upgrade_sandbox (
    upgrade_id uuid not null references upgrade on delete cascade,
    sandbox_id uuid not null,
    position integer not null,
    state text not null default 'waiting' check (state in
        ('waiting', 'running', 'replacing', 'rolling_back', 'done', 'rolled_back', 'skipped', 'failed')),
    outcome text,
    image_before text,
    snapshot text,
    attempts integer not null default 0,
    worker_id uuid,
    run_after timestamptz not null,
    started_at timestamptz,
    done_at timestamptz,
    primary key (upgrade_id, sandbox_id)
);
create index upgrade_sandbox_next on upgrade_sandbox (upgrade_id, position)
    where state in ('waiting', 'running', 'replacing', 'rolling_back');
comment on table upgrade_sandbox is 'The sandboxes of an upgrade, one after the other.';
comment on column upgrade_sandbox.upgrade_id is 'The upgrade it belongs to.';
comment on column upgrade_sandbox.sandbox_id is 'Which sandbox. No reference, for this outlives the row.';
comment on column upgrade_sandbox.position is 'In this order, from 0; the canaries are the first.';
comment on column upgrade_sandbox.state is 'waiting; running: nothing is changed yet; replacing: the new image may have touched its files; rolling_back: it is to be as it was; then how it ended: failed changed nothing, skipped had no need.';
comment on column upgrade_sandbox.outcome is 'How it ended, or what it waits for, in our word; no content.';
comment on column upgrade_sandbox.image_before is 'Id of the image it ran, for the way back.';
comment on column upgrade_sandbox.snapshot is 'Its files before the new image touched them, by their name in the store.';
comment on column upgrade_sandbox.attempts is 'How often its state was taken up.';
comment on column upgrade_sandbox.worker_id is 'Who took it up last: nobody else may note what became of it.';
comment on column upgrade_sandbox.run_after is 'Not before then.';
comment on column upgrade_sandbox.started_at is 'When it was taken up first.';
comment on column upgrade_sandbox.done_at is 'When it ended.';

comment on column event.kind is 'What was done, by the command''s name: freeze, unfreeze, suspend, resume, reveal, erase, export, backup, restore, sandbox_backup, sandbox_restore, wake, pause, stop, logs, sandbox_upgrade, sandbox_upgrade_stop.';
