-- Who is at work: the lease that fences every claim, and the proof that webhooks were being received.

create table worker (
    host text primary key,
    id uuid not null unique,
    lease_until timestamptz not null
);
comment on table worker is 'One working process per Docker host. Claims carry its id; whoever holds the lease may act.';
comment on column worker.host is 'Name of the Docker host; a second process for the same host stands by until the lease runs out.';
comment on column worker.id is 'New at every start of a process, so that a restarted one never finishes its predecessor''s work.';
comment on column worker.lease_until is 'Renewed every 2 s for 10 s, by the database''s clock.';

create table presence (
    role text primary key check (role in ('web')),
    since timestamptz not null,
    until timestamptz not null
);
comment on table presence is 'Time without a gap in which at least one process of a role was alive.';
comment on column presence.role is 'Only web so far: a missing receipt proves nothing while nobody could receive it.';
comment on column presence.since is 'Start of the current stretch without a gap.';
comment on column presence.until is 'Renewed every 2 s; the stretch has ended when this has passed.';
