-- A worker holds a session of Postgres open for as long as it lives: when that is gone, so is the worker, and the next one
-- need not wait for the end of its lease.

alter table worker
    add column session_pid integer,
    add column session_started_at timestamptz;
comment on column worker.session_pid is 'The session that its process holds open. Null: a program of before, of which only the lease tells.';
comment on column worker.session_started_at is 'With the pid this names one session for ever; pids come again.';
