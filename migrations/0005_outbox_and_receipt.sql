-- What goes out, and what WhatsApp says became of it.

create table outbox (
    id uuid primary key,
    tenant_id uuid not null references tenant,
    turn_id uuid references turn,
    seq bigint not null generated always as identity,
    key text not null,
    class text not null check (class in ('reply', 'proactive', 'ours')),
    type text not null check (type in ('text')),
    body bytea,
    key_id smallint not null,
    state text not null default 'queued' check (state in ('queued', 'sending', 'unknown', 'accepted', 'held', 'failed')),
    attempt integer not null default 0,
    resent boolean not null default false,
    worker_id uuid,
    run_after timestamptz not null,
    created_at timestamptz not null,
    sent_at timestamptz,
    done_at timestamptz,
    expires_at timestamptz not null,
    wamid text,
    rank smallint not null default 0,
    error text,
    constraint outbox_once unique (tenant_id, key)
);
create index outbox_open on outbox (tenant_id, seq) where state in ('queued', 'sending', 'unknown', 'held');
create index outbox_due on outbox (seq) where state = 'queued';
create index outbox_sent on outbox (tenant_id, sent_at);
create index outbox_wamid on outbox (wamid);
comment on table outbox is 'Messages to people, one row per WhatsApp message, sent in the order of seq per person.';
comment on column outbox.id is 'UUIDv7; travels with the send and comes back on every receipt.';
comment on column outbox.tenant_id is 'To whom.';
comment on column outbox.turn_id is 'The turn it answers; null when nobody asked.';
comment on column outbox.seq is 'Order of sending within a person.';
comment on column outbox.key is 'Transcript id and part, or a command''s key: the same thing is never queued twice.';
comment on column outbox.class is 'reply: of the agent to the person; proactive: of the agent, unasked; ours: our own sentences.';
comment on column outbox.type is 'Kind of WhatsApp message.';
comment on column outbox.body is 'Sealed content; cleared after the retention time.';
comment on column outbox.key_id is 'Which key sealed the body.';
comment on column outbox.state is 'sending is committed before the POST; unknown: it may have been taken, wait for a receipt.';
comment on column outbox.attempt is 'How often we have POSTed it; the receipt names the attempt.';
comment on column outbox.resent is 'It was queued once more after an unknown outcome; never a second time.';
comment on column outbox.worker_id is 'Who is sending it; without a live lease the outcome is unknown.';
comment on column outbox.run_after is 'Not before then.';
comment on column outbox.created_at is 'When it was queued.';
comment on column outbox.sent_at is 'When the last POST began.';
comment on column outbox.done_at is 'When WhatsApp had it for certain, or we gave up.';
comment on column outbox.expires_at is 'Queued until then, it is held until the person writes; held or unknown until then, it has failed.';
comment on column outbox.wamid is 'WhatsApp''s id of it, from the POST''s answer or a receipt, whichever came first.';
comment on column outbox.rank is 'Highest receipt: 0 none, 1 sent, 2 delivered, 3 read, 4 played.';
comment on column outbox.error is 'The provider''s code of the last failure, or our word for it; no content.';

create table receipt (
    line_id uuid not null references line,
    wamid text not null,
    status text not null,
    outbox_id uuid,
    attempt integer,
    at timestamptz,
    error text,
    primary key (line_id, wamid, status)
);
create index receipt_outbox on receipt (outbox_id);
comment on table receipt is 'Statuses of sent messages, in whatever order they came.';
comment on column receipt.line_id is 'The number that sent the message.';
comment on column receipt.wamid is 'WhatsApp''s id of the message.';
comment on column receipt.status is 'sent, delivered, read, played or failed.';
comment on column receipt.outbox_id is 'From the callback data; may be stored before the POST''s own answer.';
comment on column receipt.attempt is 'Which POST of that row, from the callback data.';
comment on column receipt.at is 'The provider''s time.';
comment on column receipt.error is 'The provider''s code when failed; its words may quote the message.';
