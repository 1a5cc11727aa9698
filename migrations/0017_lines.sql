-- Lines that an operator adds and removes while the product runs, beside those of the environment.

alter table line add column verification_token bytea;
alter table line add column removed_at timestamptz;

comment on column line.source is 'env: seeded from the environment at start, which wins; db: added by `clawkaka line add`.';
comment on column line.access_token is 'Sealed to the worker''s key: it alone sends. Null where the environment holds it.';
comment on column line.webhook_secret is 'Sealed to the webhook key, which web has, too: web verifies and cannot read anything else. Null where the environment holds it.';
comment on column line.verification_token is 'Meta''s: the word of the webhook''s registration. Sealed as webhook_secret is.';
comment on column line.removed_at is 'Since then nothing is taken from it or sent on it; the row stays, for its people do.';
