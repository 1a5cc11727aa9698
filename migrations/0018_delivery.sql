-- How what people write to a line that was added gets to us: some are asked about, and post no webhooks.

alter table line add column delivery text not null default 'webhook' check (delivery in ('webhook', 'poll'));
alter table line add column polled_at timestamptz;

comment on column line.delivery is 'Of a line that was added: webhook: its provider posts what comes; poll: it is asked for. Of one that the environment names, KAPSO_DELIVERY holds.';
comment on column line.polled_at is 'When Kapso was last asked about it, and answered.';
comment on column line.webhook_secret is 'Sealed to the webhook key, which web has, too: web verifies and cannot read anything else. Null where the environment holds it, and where none is needed (delivery).';
