-- Ten thousand people of one line: each with two addresses, a sandbox that sleeps and ten turns of the last days.
-- The sealed columns have the sizes that sealing gives them; nobody reads these.

insert into tenant (id, line_id, status, name, key_id, last_inbound_at, created_at)
select gen_random_uuid(), line.id, 'active', decode(repeat('00', 90), 'hex'), 1,
       now() - random() * interval '7 days', now() - interval '30 days'
from line, generate_series(1, 10000);

insert into tenant_address (line_id, kind, value, address, key_id, tenant_id)
select line_id, kind, sha256((id::text || kind)::bytea), decode(repeat('00', 85), 'hex'), 1, id
from tenant, unnest(array['user_id', 'phone']) kind;

insert into sandbox (id, slot, tenant_id, spec_hash, cursor, last_active_at, created_at)
select gen_random_uuid(), row_number() over (), id, '0123456789abcdef', 'a1b2c3d4 ' || repeat('c', 60),
       last_inbound_at, created_at
from tenant;

insert into turn (id, tenant_id, sandbox_id, session, trigger, state, created_at, submitted_at, deadline_at, done_at,
                  outcome)
select gen_random_uuid(), tenant_id, id, 'main-1', 'message', 'done', at, at, at + interval '10 minutes', at,
       'answered'
from sandbox, generate_series(1, 10) n, lateral (select last_active_at - n * interval '1 hour' as at) times;

insert into inbox (id, line_id, kind, provider_id, provider_at, received_at, tenant_id, turn_id, body, key_id,
                   run_after, done_at, outcome)
select gen_random_uuid(), line_id, 'message', 'wamid.' || turn.id, turn.created_at, turn.created_at, tenant_id,
       turn.id, decode(repeat('00', 600), 'hex'), 1, turn.created_at, turn.done_at, 'answered'
from turn join tenant on tenant.id = turn.tenant_id;

insert into outbox (id, tenant_id, turn_id, key, class, type, body, key_id, state, attempt, run_after, created_at,
                    sent_at, done_at, expires_at, wamid, rank)
select gen_random_uuid(), tenant_id, id, '1/' || id || '/0', 'reply', 'text', decode(repeat('00', 300), 'hex'), 1,
       'accepted', 1, created_at, created_at, created_at, created_at, created_at + interval '1 day',
       'wamid.out.' || id, 3
from turn;

insert into receipt (line_id, wamid, status, outbox_id, attempt, at)
select tenant.line_id, outbox.wamid, rank.status, outbox.id, 1, outbox.sent_at
from outbox join tenant on tenant.id = outbox.tenant_id, unnest(array['sent', 'delivered', 'read']) rank (status);

insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, state)
select gen_random_uuid(), sandbox_id, tenant_id, created_at, 'simulated', 4000, 'final' from turn;

analyze;
